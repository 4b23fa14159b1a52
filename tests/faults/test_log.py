"""The log holds no secret after a journey through the whole site, and stops nothing when nobody reads it."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import threading
from pathlib import Path
from typing import Self

import httpx
import pyotp
import pytest
from seatweb.http.log_output import LogOutput

from tests.faults.support import PATIENT_SECONDS, Deadlines
from tests.faults.test_serve import Seatweb, wait_for
from tests.support import Visitor, one, soup, together

PASSWORD, NEW_PASSWORD = "a very secret battery", "another secret staple"


async def test_no_log_line_holds_a_secret(used: Path) -> None:
    with Seatweb(used, SEATWEB_LOG_FORMAT="json") as site:
        site.ready()
        visitor, secrets = Visitor(f"http://127.0.0.1:{site.port}"), {PASSWORD, NEW_PASSWORD}

        def remember(answer: httpx.Response) -> httpx.Response:
            for cookie in visitor.http.cookies.jar:
                if cookie.value and len(cookie.value) > 8:
                    secrets.update(cookie.value.split("."))
            secrets.update(re.findall(r'name="_csrf_token" value="([0-9a-f]+)"', answer.text))
            return answer

        remember(await visitor.register("ada", PASSWORD))
        for path in ("/", "/account", "/account/password", "/account/second-factor", "/my/bookings", "/nowhere"):
            remember(await visitor.get(path))
        remember(await visitor.post("/days/2020-01-01/seats/7/book"))
        remember(await visitor.post("/account/password", password="wrong secret", new_password=NEW_PASSWORD))
        remember(await visitor.post("/account/password", password=PASSWORD, new_password=NEW_PASSWORD))
        secrets.add("wrong secret")
        remember(await visitor.post("/account/second-factor/confirm", password=NEW_PASSWORD))
        remember(await visitor.post("/account/second-factor/app"))
        page = remember(await visitor.get("/account/second-factor/app"))
        key = re.sub(r"\s", "", one(soup(page), ".enrol-key code").get_text())
        code = pyotp.TOTP(key).now()
        secrets.update({key, code})
        done = remember(await visitor.post("/account/second-factor/app/code", code=code))
        assert done.status_code in {200, 303}
        remember(await visitor.get("/account/data"))
        token = (await visitor.http.post("/auth/login", json={"username": "ada", "password": NEW_PASSWORD})).text
        assert "second_factor_needed" in token
        registered = await visitor.http.post("/auth/register", json={"username": "grace", "password": PASSWORD})
        bearer = registered.json()["access_token"]
        secrets.update(bearer.split("."))
        await visitor.get("/me", headers={"authorization": f"Bearer {bearer}"})
        await visitor.get("/me", headers={"authorization": "Bearer nonsense-but-secret"})
        secrets.add("nonsense-but-secret")
        await visitor.get("/", headers={"x-anything": "a-header-of-mine"})
        await visitor.get("/?q=a-query-of-mine")
        secrets.update({"a-header-of-mine", "a-query-of-mine"})
        await visitor.post("/account/second-factor/confirm", password=NEW_PASSWORD, code="000000")
        remember(await visitor.post("/logout"))
        await visitor.post("/login", username="ada", password="a guessed secret")
        await visitor.post("/login", username="name-or-password", password=PASSWORD)
        await visitor.post("/login/reset", username="ada", code="QWER-TYUI-OPAS-DFGH", new_password="fully new secret")
        secrets.update({"a guessed secret", "name-or-password", "QWER-TYUI-OPAS-DFGH", "fully new secret"})
        await visitor.http.post("/my/bookings/1/cancel", data={"_csrf_token": "made-up-token"})
        secrets.add("made-up-token")
        secrets.add((used / "jwt_secret").read_text().strip())
        site.ends(by=site.terminate)
        log = site.err.read_text()
        assert log.count('"path":"/account/password"') >= 3  # this is the right log
        events = [json.loads(line) for line in log.splitlines() if '"event"' in line]
        refused = [(line["event"], line.get("user_id")) for line in events if "refused" in line["event"]]
        assert refused == [
            ("password refused", 1),
            ("code refused", 1),
            ("sign-in refused", 1),
            ("sign-in refused", None),
            ("password reset refused", None),
        ]
        assert len(secrets) > 20
        assert [secret for secret in secrets if len(secret) > 5 and secret in log] == []


REQUESTS = 200  # many more lines than fit into the pipe


class Pipe:
    """A pipe that takes 4 KB, and what was read from it."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        fcntl.fcntl(self.writer, fcntl.F_SETPIPE_SZ, 4096)
        self.found = bytearray()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.reader)

    def read(self) -> bytes:
        data = os.read(self.reader, 65536)
        self.found += data
        return data

    def read_in_background(self) -> threading.Thread:
        """Read until all writers have closed it."""

        def read_all() -> None:
            while self.read():
                pass

        thread = threading.Thread(target=read_all, daemon=True)
        thread.start()
        return thread


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_log_that_nobody_reads_stops_nothing_and_is_complete_once_someone_does(
    used: Path, workers: str
) -> None:
    with Pipe() as pipe:
        with Seatweb(used, "serve", pipe.writer, SEATWEB_LOG_FORMAT="json", SEATWEB_WORKERS=workers) as site:
            os.close(pipe.writer)
            site.ready()
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{site.port}", timeout=PATIENT_SECONDS) as client:
                answers = await together(*(client.get(f"/nowhere/{number}") for number in range(REQUESTS)))
            assert {answer.status_code for answer in answers} == {404}
            reading = pipe.read_in_background()
            wait_for(lambda: pipe.found.count(b"/nowhere/") == REQUESTS, "the whole log")
            site.get("/nowhere/last")
            site.ends(by=site.terminate)
            reading.join(PATIENT_SECONDS)
        paths = [line["path"] for line in map(json.loads, pipe.found.splitlines()) if line.get("status") == 404]
        assert sorted(paths[:-1]) == sorted(f"/nowhere/{number}" for number in range(REQUESTS))
        assert paths[-1] == "/nowhere/last"


def test_seatweb_ends_in_time_though_nobody_reads_its_log(used: Path, deadlines: Deadlines) -> None:
    with Pipe() as pipe, Seatweb(used, "serve", pipe.writer, SEATWEB_LOG_FORMAT="json") as site:
        os.close(pipe.writer)
        site.ready()
        for number in range(60):
            site.get(f"/nowhere/{number}")
        site.ends(deadlines.end, by=site.terminate)


def test_lines_that_cannot_be_kept_are_dropped_and_counted() -> None:
    dropped: list[int] = []
    with Pipe() as pipe:
        output = LogOutput(dropped.append, descriptor=pipe.writer, most=100)
        output.start()
        for number in range(5000):
            output.write(f"{number} {'x' * 100}")
        reading = pipe.read_in_background()
        wait_for(lambda: pipe.found.count(b"\n") + sum(dropped) == 5000, "all lines, written or dropped")
        output.write("the last")  # it is kept, now that there is room
        output.end(PATIENT_SECONDS)
        os.close(pipe.writer)
        reading.join(PATIENT_SECONDS)
    *lines, last = pipe.found.decode().splitlines()
    assert last == "the last"
    assert sum(dropped) > 0
    numbers = [int(line.split()[0]) for line in lines]
    assert numbers == sorted(set(numbers))  # no line is written twice or in pieces


def test_lines_that_a_full_disk_refused_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    dropped: list[int] = []
    written = 0
    with Pipe() as pipe:
        output = LogOutput(dropped.append, descriptor=pipe.writer)
        failures, write = iter([OSError(errno.ENOSPC, "No space left on device")]), os.write

        def write_if_there_is_room(descriptor: int, text: bytes) -> int:
            for failure in failures if descriptor == pipe.writer else ():
                raise failure
            return write(descriptor, text)

        def are_counted() -> bool:
            nonlocal written
            output.write("a line")
            written += 1
            return bool(dropped)

        monkeypatch.setattr(os, "write", write_if_there_is_room)
        reading = pipe.read_in_background()
        output.start()
        wait_for(are_counted, "the number of dropped lines")
        output.end(PATIENT_SECONDS)
        os.close(pipe.writer)
        reading.join(PATIENT_SECONDS)
    assert 0 < sum(dropped) == written - pipe.found.count(b"\n")


def test_lines_for_a_closed_pipe_are_dropped() -> None:
    read, write = os.pipe()
    os.close(read)
    output = LogOutput(descriptor=write)
    output.start()
    for number in range(100):
        output.write(str(number))
    output.end(PATIENT_SECONDS)
    os.close(write)
