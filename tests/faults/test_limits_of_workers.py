"""Several worker processes together allow ten failed sign-ins, with and without Redis."""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import partial
from pathlib import Path

import httpx
import psutil  # type: ignore[import-untyped]

from tests.faults.test_serve import Seatweb, wait_for
from tests.support import NO_TLS, together, until_definite

WORKERS = 2


async def guess(url: str, name: str) -> httpx.Response:
    """Guess a password over a new connection, so that any worker may handle it."""
    async with httpx.AsyncClient(base_url=url, timeout=60, verify=NO_TLS) as http:
        return await http.post("/auth/login", json={"username": name, "password": "wrong"})


async def guesses(url: str, times: int, name: str) -> list[httpx.Response]:
    guessing = partial(guess, url, name)
    found = await together(*(until_definite(guessing) for _ in range(times)), at_a_time=times)
    workers = {answer.headers["x-request-id"][:8] for answer in found}
    assert len(workers) > 1, "one worker handled all requests"
    return found


async def test_the_limit_of_ten_failed_sign_ins_is_shared_by_all_workers(used: Path) -> None:
    with Seatweb(used, SEATWEB_WORKERS=str(WORKERS)).ready() as seatweb:
        url = f"http://127.0.0.1:{seatweb.port}"
        async with httpx.AsyncClient(base_url=url, timeout=60, verify=NO_TLS) as http:
            john = {"username": "john", "password": "secret"}
            token = (await http.post("/auth/register", json=john)).json()["access_token"]
            answers = await guesses(url, 40, "john")
            assert Counter(answer.status_code for answer in answers) == {401: 10, 429: 30}
            assert all(3000 < int(one.headers["retry-after"]) <= 3600 for one in answers if one.status_code == 429)

            (valkey,) = [one for one in seatweb.family() if "valkey" in one.name()]
            valkey.suspend()  # unavailable; killing our own server would stop everything
            try:
                answers = await guesses(url, 40, "nobody")
                assert Counter(answer.status_code for answer in answers) == {401: 10, 429: 30}
                headers = {"authorization": f"Bearer {token}"}
                assert (await until_definite(partial(http.get, "/me", headers=headers))).status_code == 200
                book = partial(http.post, "/bookings", json={"seat_id": 7}, headers=headers)
                assert (await until_definite(book)).status_code == 201
            finally:
                valkey.resume()
        assert await asyncio.to_thread(_all_running, seatweb)


def _all_running(seatweb: Seatweb) -> bool:
    wait_for(lambda: seatweb.get("/health").json()["redis"] == "ok", "the return of Redis")
    return all(isinstance(one, psutil.Process) and one.is_running() for one in seatweb.family())
