"""Several worker processes together allow ten failed sign-ins, with and without Redis."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import httpx
import psutil  # type: ignore[import-untyped]

from tests.faults.support import PATIENT_SECONDS
from tests.faults.test_serve import Seatweb, wait_for
from tests.support import NO_TLS, together, until_definite

WORKERS = 2


async def connect(stack: AsyncExitStack, url: str) -> list[httpx.AsyncClient]:
    """Return clients with an open connection each, twenty to every worker."""
    found: dict[str, list[httpx.AsyncClient]] = {}
    async with asyncio.timeout(PATIENT_SECONDS):
        while len(found) < WORKERS or min(map(len, found.values())) < 20:
            for client, answer in await together(*(_greet(stack, url) for _ in range(20))):
                found.setdefault(answer.headers["x-request-id"][:8], []).append(client)
    return [client for clients in found.values() for client in clients[:20]]


async def _greet(stack: AsyncExitStack, url: str) -> tuple[httpx.AsyncClient, httpx.Response]:
    client = httpx.AsyncClient(base_url=url, timeout=PATIENT_SECONDS, verify=NO_TLS)
    return await stack.enter_async_context(client), await client.get("/health/live")


async def guesses(clients: list[httpx.AsyncClient], name: str) -> list[httpx.Response]:
    """Let each client guess a password."""
    guess = {"username": name, "password": "wrong"}
    return await together(*(until_definite(partial(client.post, "/auth/login", json=guess)) for client in clients))


async def test_the_limit_of_ten_failed_sign_ins_is_shared_by_all_workers(used: Path) -> None:
    with Seatweb(used, SEATWEB_WORKERS=str(WORKERS)).ready() as seatweb:
        url = f"http://127.0.0.1:{seatweb.port}"
        async with AsyncExitStack() as stack:
            clients = await connect(stack, url)
            http = clients[0]
            john = {"username": "john", "password": "secret"}
            token = (await http.post("/auth/register", json=john)).json()["access_token"]
            answers = await guesses(clients, "john")
            assert Counter(answer.status_code for answer in answers) == {401: 10, 429: 30}
            assert all(3000 < int(one.headers["retry-after"]) <= 3600 for one in answers if one.status_code == 429)

            (valkey,) = [one for one in seatweb.family() if "valkey" in one.name()]
            valkey.suspend()  # unavailable; killing our own server would stop everything
            try:
                answers = await guesses(clients, "nobody")
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
