"""Fuzzing: whatever is sent to any route, Seatweb answers with an expected status, and no data changes.

`make test` sends a few requests to each route, different ones every day; it prints the seed, and SEATWEB_TEST_SEED
repeats it. `SEATWEB_TEST_FUZZ_CASES=5000` sends 5,000 different requests to each route and prints statistics.
"""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import json
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from urllib.parse import unquote

import asyncpg
import httpx
import pytest
from seatweb.http.protocol import BAD_REQUEST, HEADERS_TOO_LARGE, URL_TOO_LONG

from tests.api.conftest import PROBLEM_JSON
from tests.bad_input.forms import FORMS, Form
from tests.bad_input.line import Answer, Line
from tests.bad_input.requests import Attempt, Route
from tests.bad_input.routes import PARTS, part_of, table
from tests.bad_input.state import everything, populated
from tests.bad_input.twists import People, attempts, unchanged
from tests.bad_input.values import MARK, SUM
from tests.http.test_headers import Asked, check
from tests.support import NO_LIMITS, Clock, Site, until

CASES = int(os.environ.get("SEATWEB_TEST_FUZZ_CASES", "0"))
EACH = 16  # about one of each kind of bad input
LINES = 2
REFUSALS = (BAD_REQUEST, HEADERS_TOO_LARGE, URL_TOO_LONG)
AT_ONCE = 4  # requests between two resets of a form's attempt counter
ROOT = Path(__file__).parents[2]
INSIDE = (b"Traceback", b'File "', b"site-packages", str(ROOT).encode(), b"asyncpg", b"msgspec", b"litestar")
FORM_FIELD = re.compile(r"(?:fields|\(await read_form\(request\)\))\.get\(\"(\w+)\"")


def test_every_field_of_every_form_is_known(site: Site) -> None:
    seen: set[str] = set()
    for route, found in table(site):
        handler = found[0] if isinstance(found, tuple) else found
        seen.add(route.name)
        parameters = set(re.findall(r"\{(\w+)\}", route.path))
        assert all(set(base.path) == parameters for base in route.form.bases), route.name
        assert all({*base.fields} == {*route.fields} for base in route.form.bases), route.name
        fields = set(FORM_FIELD.findall(inspect.getsource(handler.fn)))
        if handler.parsed_data_field:
            fields = {*handler.parsed_data_field.annotation.__struct_fields__}
        assert fields <= {*route.fields}, (
            f"{route.name} reads {fields - {*route.fields}}, which its entry does not list"
        )
    assert seen >= {*FORMS}, f"{ {*FORMS} - seen } are no longer routes"
    assert len(seen) > 70


# What must hold for every answer


def check_answer(route: Route, attempt: Attempt, answer: Answer) -> None:
    """Fail if this answer is not acceptable."""
    status, headers, body = answer.status, answer.headers, answer.body
    assert status < 500, "server error"
    assert not any(mark in body for mark in INSIDE), "the answer leaks internals"
    assert "x-bad-input" not in headers, "header injection"
    if answer.from_server:
        assert body in {b"", *(text for _, text in REFUSALS)}
        return
    target = re.sub("^http://[^/]*", "", attempt.sent.split(b" ", 2)[1].decode(errors="replace"))
    check(Asked(route.method, unquote(target), {}), httpx.Response(status, headers=headers, content=b""), https=False)
    kind = headers.get("content-type", "").partition(";")[0]
    bad_host = status in {400, 421} and kind == "text/plain"  # the host is checked first
    if "location" in headers:
        assert re.match(r"/(?![/\\])", headers["location"]), "open redirect"
    if kind == "text/html":
        assert b"<" + MARK not in body, "markup injection"
        assert SUM not in body, "template injection"
    if status >= 400 and kind == PROBLEM_JSON and not attempt.bodiless:
        assert json.loads(body)["status"] == status
    elif status >= 400 and not bad_host:
        assert kind in {"text/html", PROBLEM_JSON}, f"{kind} is not an answer for people"
    if status >= 400 and route.program and not route.form.bases[0].path:
        assert kind == PROBLEM_JSON or bad_host or attempt.last, f"{kind} is not an answer for programs"


def errors_in(log: str) -> list[str]:
    """Return the log lines that report an error in Seatweb."""
    levels = ('"level":"error"', '"level":"critical"', "Traceback")
    return [line[:3000] for line in log.splitlines() if any(level in line for level in levels)]


def line_to(site: Site) -> Line:
    return Line(("127.0.0.1", int(site.url.rpartition(":")[2])))


def send(site: Site, route: Route, batch: list[Attempt]) -> tuple[Counter[int], list[str]]:
    """Send the batch; return the answers' statuses, and descriptions of problems."""
    seen: Counter[int] = Counter()
    problems: list[str] = []
    line = line_to(site)
    for attempt in batch:
        answer: Answer | None = None
        try:
            answer = line.ask(attempt)
            seen[answer.status if answer else 0] += 1
            assert answer or attempt.disconnects, "no answer"
            if answer:
                check_answer(route, attempt, answer)
        except (AssertionError, OSError, ValueError, LookupError) as error:
            received = f"{answer.status} {answer.body[:300]!r}" if answer else ""
            problems.append(f"{route.name}: {attempt.twists}\n{error!r}\n{attempt.sent[:1500]!r}\n{received}")
    line.close()
    return seen, problems


def distinct(route: Route, everyone: People, host: bytes, count: int) -> Iterator[Attempt]:
    """Yield `count` different requests."""
    seen: set[bytes] = set()
    for attempt in attempts(route, everyone, host):
        sent = hashlib.blake2b(attempt.sent, digest_size=16).digest()
        if sent not in seen:
            seen.add(sent)
            yield attempt
        if len(seen) == count:
            return


@pytest.mark.parametrize("part", PARTS)
async def test_bad_input_is_refused_and_changes_nothing(
    part: str,
    capsys: pytest.CaptureFixture[str],
    start_site: Callable[..., Site],
    connection: asyncpg.Connection,
    clock: Clock,
) -> None:
    site = start_site(**NO_LIMITS, SEATWEB_LOG_FORMAT="json")
    host = site.url.removeprefix("http://").replace("127.0.0.1", "localhost").encode()  # where passkeys work
    statistics: list[str] = []
    problems: list[str] = []
    async with populated(site, connection, clock) as everyone:
        for route in [route for route, _ in table(site) if part_of(route.path) == part]:
            started, form = time.perf_counter(), route.form
            before = await everything(connection, site.backends.redis_url)
            if not form.only_forged:
                for base, attempt in unchanged(route, everyone, host):
                    seen, found = await asyncio.to_thread(send, site, route, [attempt])
                    problems += found
                    if base.status and not seen[base.status]:
                        problems.append(f"{route.name} answers {dict(seen)} unchanged, not {base.status}")
            statuses: Counter[int] = Counter()
            requests = distinct(route, everyone, host, CASES or EACH)
            while batch := list(islice(requests, AT_ONCE if form.reset_sql else 200)):
                if form.reset_sql:
                    await connection.execute(form.reset_sql)
                parts = [batch] if form.reset_sql else [batch[start::LINES] for start in range(LINES)]
                for seen, found in await asyncio.gather(*(asyncio.to_thread(send, site, route, one) for one in parts)):
                    statuses += seen
                    problems += found
            if form.reset_sql:
                await connection.execute(form.reset_sql)
            after = await everything(connection, site.backends.redis_url)
            for name in before.keys() | after.keys():
                changed = set(before.get(name, [])) ^ set(after.get(name, []))
                problems += [f"{route.name} changed {name}: {sorted(changed)[:5]}"] if changed else []
            problems += [f"{route.name} logged {line}" for line in errors_in(capsys.readouterr().err)]
            counts = ", ".join(f"{times} x {status or 'no answer'}" for status, times in sorted(statuses.items()))
            statistics.append(f"{route.name}: {statuses.total()} in {time.perf_counter() - started:.1f} s: {counts}")
    sys.stdout.write("\n".join(statistics))
    seed = f"SEATWEB_TEST_SEED={os.environ['SEATWEB_TEST_SEED']}"
    assert not problems, f"{len(problems)} problems, {seed}\n\n" + "\n\n".join(problems[:12])


async def test_a_client_that_disconnects_early_is_not_logged_as_an_error(
    capsys: pytest.CaptureFixture[str], start_site: Callable[..., Site]
) -> None:
    site = start_site(SEATWEB_LOG_FORMAT="json")
    paths = ("/days/2026-11-23/any", "/bookings", "/nowhere")
    for path in paths:
        kind = "application/json" if path == "/bookings" else "application/x-www-form-urlencoded"
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: 50\r\n\r\na=b"
        await asyncio.to_thread(line_to(site).ask, Attempt(head.encode(), "disconnects", disconnects=True))
    log = ""

    def are_logged() -> bool:
        nonlocal log
        log += capsys.readouterr().err
        return all(f'"path":"{path}"' in log for path in paths)

    await until(are_logged)
    assert errors_in(log) == []
    assert log.count('"status":4') == len(paths)


async def test_an_id_beyond_bigint_is_not_found(
    start_site: Callable[..., Site], connection: asyncpg.Connection, clock: Clock
) -> None:
    site = start_site()
    unexpected = []
    async with populated(site, connection, clock) as everyone:
        for route, _ in table(site):
            base = route.form.bases[0]
            for name in {"user_text", "passkey_text", "booking_text", "seat_text", "booking_id"} & {*base.path}:
                for number in (2**63, 10**19 - 1):
                    too_large = base._replace(path={**base.path, name: b"%d" % number})
                    changed_route = route._replace(form=Form((too_large,)))
                    ((_, attempt),) = unchanged(changed_route, everyone, b"localhost")
                    seen, _ = await asyncio.to_thread(send, site, changed_route, [attempt])
                    if seen != {404: 1}:
                        unexpected.append((route.name, number, seen))
    assert unexpected == []
