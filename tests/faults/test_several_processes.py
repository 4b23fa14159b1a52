"""Several processes on one database and one Redis behave as one, even during a Redis outage (promises 4 and 7)."""

from __future__ import annotations

import asyncio
import re
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import jwt
import pytest
from seatweb.booking import queries as booking_queries
from seatweb.http.tokens import LEEWAY_SECONDS, key_id
from seatweb.settings import Backends

from tests.faults.support import (
    PATIENT_SECONDS,
    Deadlines,
    OwnRedis,
    at,
    held_soon,
    live,
    tag_of,
    with_redis,
)
from tests.faults.test_serve import Seatweb
from tests.support import NO_LIMITS, Clock, Site, Visitor, one, soup, together, until, until_definite

DAY = "2026-11-23"
COUNT = f"#free-{DAY}"  # the day's free seats in the week above the map
READERS = 100


@pytest.fixture
def two(
    start_site: Callable[..., Site], backends: Backends, own: OwnRedis, patient_with_database: None
) -> tuple[Site, Site]:
    """Return two sites on one database and this test's own Redis."""
    start = partial(start_site, with_backends=with_redis(backends, own.url), **NO_LIMITS)
    return start(), start()


class Reads:
    """Counts reads of today's seats; each read waits until all readers have asked, so that none comes too late."""

    def __init__(self) -> None:
        self.count = 0
        self.answered = READERS


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch, two: tuple[Site, Site], clock: Clock) -> Reads:
    reads = Reads()
    original = booking_queries.read_seats

    async def read_seats(sql: Any, wanted: Any) -> Any:
        reads.count += any(day == clock.today for _, day in wanted)
        await until(lambda: reads.answered + sum(site.requests for site in two) >= READERS)
        return await original(sql, wanted)

    monkeypatch.setattr(booking_queries, "read_seats", read_seats)
    return reads


async def sees(visitor: Visitor, day: date, label: str, status: str, seconds: float = PATIENT_SECONDS) -> None:
    """Wait until the visitor's page shows the seat with this status."""
    deadline = time.monotonic() + seconds
    while (seen := (await visitor.statuses(day))[label]) != status:
        assert time.monotonic() < deadline, f"{label} is still {seen} after {seconds} s"


async def cancel(visitor: Visitor) -> None:
    action = one(soup(await visitor.get("/my/bookings")), "form[action$='/cancel']")["action"]
    assert (await visitor.post(str(action))).status_code == 303


@pytest.mark.usefixtures("patient_with_redis")
async def test_a_hundred_readers_of_an_uncached_day_cause_one_read_per_process(
    two: tuple[Site, Site], clock: Clock, reads: Reads
) -> None:
    async with two[0].people(20) as people:
        for number, visitor in enumerate(people):
            at(two[number % 2], visitor)

        async def look(visitor: Visitor) -> httpx.Response:
            answer = await visitor.get(f"/days/{DAY}")
            reads.answered += 1
            return answer if answer.status_code != 503 else await until_definite(lambda: visitor.get(f"/days/{DAY}"))

        async def everyone_looks() -> list[str]:
            reads.count = reads.answered = 0
            answers = await together(*(look(people[n % 20]) for n in range(READERS)), at_a_time=READERS)
            assert {answer.status_code for answer in answers} == {200}
            return [str(one(soup(answer), "#seat-7")["data-status"]) for answer in answers[:2]]

        assert await everyone_looks() == ["free", "free"]
        assert 1 <= reads.count <= 2
        booked = await until_definite(lambda: people[2].book(clock.today, 7))
        assert booked.status_code in {303, 409}  # 409 if the first attempt succeeded after all
        assert (await everyone_looks())[0] == "taken"  # the other process may not know yet
        assert 1 <= reads.count <= 2


@pytest.mark.parametrize("redis", ["up", "down"])
async def test_users_see_their_own_change_in_the_next_view_on_another_process(
    two: tuple[Site, Site], own: OwnRedis, clock: Clock, redis: str
) -> None:
    first, second = two
    async with first.people(2) as (ada, eve):
        if redis == "down":
            own.kill()
        for here, there in (two, (second, first)):

            async def next_view(visitor: Visitor, *labels: str, there: Site = there) -> list[str]:
                seen = await at(there, visitor).statuses(clock.today)
                return [seen[label] for label in labels]

            for act, labels, expected in (
                (lambda: ada.book(clock.today, 7), ["A-07"], ["mine"]),
                (lambda: ada.post_htmx(f"/days/{DAY}/seats/43/move"), ["A-07", "C-03"], ["free", "mine"]),
                (lambda: cancel(ada), ["C-03"], ["free"]),
                (lambda: ada.post(f"/days/{DAY}/any", section="D"), ["D-01"], ["mine"]),
                (lambda: cancel(ada), ["D-01"], ["free"]),
            ):
                await at(there, eve).get(f"/days/{DAY}")  # so that the other process caches it
                await at(there, ada).get(f"/days/{DAY}")
                at(here, ada)
                await act()
                assert await next_view(ada, *labels) == expected


@pytest.mark.parametrize("redis", ["up", "down"])
async def test_others_see_a_change_in_time_on_another_process(
    two: tuple[Site, Site], own: OwnRedis, clock: Clock, redis: str, deadlines: Deadlines
) -> None:
    first, second = two
    async with first.people(2) as (ada, eve):
        visitor = second.visitor()
        if redis == "down":
            own.kill()
        seconds = deadlines.change if redis == "up" else deadlines.broken
        await visitor.get(f"/days/{DAY}")
        await ada.book(clock.today, 7)
        await sees(visitor, clock.today, "A-07", "taken", seconds)
        await cancel(ada)
        await sees(at(second, eve), clock.today, "A-07", "free", seconds)
        if redis == "up":
            await held_soon(ada, clock.today, 8)
            await sees(visitor, clock.today, "A-08", "held", seconds)


async def test_emptying_or_restarting_redis_never_brings_back_old_views(
    two: tuple[Site, Site], own: OwnRedis, clock: Clock, connection: asyncpg.Connection
) -> None:
    def restart() -> None:
        own.kill()
        own.start()

    async with two[0].people(13) as (eve, *people):
        for number, visitor in enumerate(people):
            seat_id, label = number + 1, f"A-{number + 1:02}"
            here, there = two[number % 2], two[1 - number % 2]
            await at(there, eve).get(f"/days/{DAY}")
            assert (await at(here, visitor).book(clock.today, seat_id)).status_code == 303
            (own.flush, restart, own.kill, own.start)[number % 4]()
            assert (await at(there, visitor).statuses(clock.today))[label] == "mine"
            await sees(eve, clock.today, label, "taken")
        taken = {f"A-{number + 1:02}" for number in range(len(people))}
        for site in two:
            shown = await at(site, eve).statuses(clock.today)
            assert {label for label, status in shown.items() if status == "taken"} == taken


@pytest.mark.usefixtures("patient_with_redis")
async def test_visitors_cannot_make_redis_grow_without_bound(
    two: tuple[Site, Site], own: OwnRedis, clock: Clock
) -> None:
    site = two[0]
    async with site.people(1) as (ada,):
        days = [clock.ahead(n) for n in (-400, -1, *range(91), 91, 400, 40_000)]
        for day in days:
            await ada.get(f"/days/{day}")
        for odd in (
            "?section=A", "?section=ZZ", "?section=%F0%9F%AA%91", "?section=" + "A" * 300, "?x=1", "/sections/ZZ",
            "/sections/A?section=B", "/seats/999", "/seats/7?section=A", "/live?since=x&section=ZZ",
        ):  # fmt: skip
            await ada.get(f"/days/{DAY}{odd}")
        for seat_id in (999, 2**63, 10**18, 8, 7):
            for day in (clock.today, clock.ahead(90), clock.ahead(91), clock.ahead(-1)):
                await ada.post(f"/days/{day}/seats/{seat_id}/hold", token="x" * 60)
        await ada.book(clock.today, 7)
        await ada.get(f"/days/{DAY}")
    open_days = {str(clock.ahead(n)) for n in range(91)}
    found: dict[str, list[str]] = {"view": [], "holds": []}
    await until(lambda: own.store.exists(f"holds:{{{clock.today}}}") == 0)  # the booking ended the hold of today
    for key in own.store.keys("*"):
        if b"limit:" in (key if isinstance(key, bytes) else key.encode()):
            assert 0 < int(own.store.ttl(key)) <= 3600
            continue
        match = re.fullmatch(
            r"(holds|view):\{([0-9-]{10})\}(:\d+:\d+)?", key.decode() if isinstance(key, bytes) else key
        )
        assert match, key
        kind = match[1]
        assert match[2] in open_days
        found[kind].append(match[2])
        assert 0 < int(own.store.ttl(key)) <= {"view": 300, "holds": 90}[kind]
    assert len(found["view"]) <= 91 * 4 + 1
    assert found["holds"] == [str(clock.ahead(90))]


def without_tokens(answer: httpx.Response) -> str:
    """Return the page without its CSRF tokens, and without the query that bypasses the cache."""
    return re.sub(r'[0-9a-f]{96}|[?&]x=1|(%3F|%26)x%3D1| aria-current="page"', "", answer.text)


async def test_a_cached_page_equals_the_rendered_page_for_each_viewer(site: Site, clock: Clock) -> None:
    async with site.people(4) as (ada, grace, eve, joan):
        viewers = [ada, grace, eve, joan, site.visitor()]
        await ada.book(clock.today, 7)
        await joan.book(clock.ahead(1), 9)
        await held_soon(grace, clock.today, 8)
        for visitor in viewers:
            await visitor.get("/")  # notices are shown here, once
            for cookie in [cookie for cookie in visitor.http.cookies.jar if cookie.name == "seatweb_changed"]:
                visitor.http.cookies.jar.clear(cookie.domain, cookie.path, cookie.name)
        for path in ("/", f"/days/{DAY}", f"/days/{DAY}?section=A", f"/days/{DAY}/sections/A"):
            uncached_path = path + ("&x=1" if "?" in path else "?x=1")
            rendered = [await visitor.get(uncached_path) for visitor in viewers]
            for _ in range(2):
                cached = await together(*(visitor.get(path) for visitor in viewers))
                assert list(map(without_tokens, cached)) == list(map(without_tokens, rendered))
        tokens = {str(one(soup(await ada.get("/")), "#any input, form[action='/logout'] input")["value"]) for _ in "12"}
        assert len(tokens) == 2
        await eve.book(clock.today, 10)
        assert [(await visitor.statuses(clock.today))["A-10"] for visitor in viewers] == [
            *["taken"] * 2,
            "mine",
            *["taken"] * 2,
        ]


async def test_a_session_from_a_process_with_a_fast_clock_becomes_valid_soon(site: Site, backends: Backends) -> None:
    async with site.people(1, prefix="Zoltan") as (zoltan,):
        token = zoltan.http.cookies[site.our_cookies.session_cookie]
        claims = jwt.decode(token, options={"verify_signature": False})
        kid = {"kid": key_id(backends.jwt_secret)}
        ahead = jwt.encode(
            claims | {"iat": int(time.time()) + LEEWAY_SECONDS + 2}, backends.jwt_secret, "HS256", headers=kid
        )
        zoltan.http.cookies.set(site.our_cookies.session_cookie, ahead)
        await zoltan.get("/")
        async with asyncio.timeout(PATIENT_SECONDS):
            while "Zoltan1" not in (await zoltan.get("/")).text:
                await asyncio.sleep(0.05)
        for _ in range(5):
            assert "Zoltan1" in (await zoltan.get("/")).text


# The live map


@pytest.mark.parametrize("fault", ["kill", "freeze"])
async def test_a_live_map_shows_changes_from_another_process_with_and_without_redis(
    two: tuple[Site, Site], own: OwnRedis, clock: Clock, fault: str, deadlines: Deadlines
) -> None:
    first, second = two
    async with second.people(3) as (ada, grace, joan), live(first.visitor(), clock.today) as stream:
        await ada.book(clock.today, 7)
        await stream.shows(7, "taken", deadlines.change)
        await held_soon(grace, clock.today, 8)
        await stream.shows(8, "held", deadlines.change)

        getattr(own, fault)()
        await cancel(ada)
        await stream.shows(7, "free", deadlines.broken)
        await stream.says("status", "catching-up", deadlines.broken)
        await ada.book(clock.today, 9)
        await stream.shows(9, "taken", deadlines.broken)

        own.start() if fault == "kill" else own.thaw()
        await held_soon(joan, clock.today, 10, deadlines.healed)
        await stream.shows(10, "held", deadlines.broken)  # recovery may not be complete yet
        await stream.says("status", "live", deadlines.broken)
        await joan.book(clock.today, 10)
        await stream.shows(10, "taken", deadlines.change)


@pytest.mark.parametrize("redis", ["up", "down"])
async def test_signing_out_on_another_process_ends_the_stream_within_a_second(
    two: tuple[Site, Site], own: OwnRedis, clock: Clock, redis: str, deadlines: Deadlines
) -> None:
    first, second = two
    async with first.people(2) as (ada, grace), live(ada, clock.today) as hers, live(grace, clock.today) as others:
        if redis == "down":
            own.kill()
        await at(second, ada).post("/logout")
        await hers.says("bye", "signed-out", deadlines.sign_out)
        assert not others.ended


async def test_a_live_map_resumes_on_another_process(two: tuple[Site, Site], clock: Clock) -> None:
    first, second = two
    visitor = first.visitor()
    async with first.people(2) as (ada, grace), live(second.visitor(), clock.today) as witness:
        async with live(visitor, clock.today) as stream:
            await ada.book(clock.today, 7)
            last = (await stream.shows(7, "taken")).id
            await witness.shows(7, "taken")
        await grace.book(clock.today, 8)
        await witness.shows(8, "taken")
        async with live(at(second, visitor), clock.today, since=last) as stream:
            assert (await stream.shows(8, "taken")).targets == ["#seat-8", "#section-A-count", "#tally", COUNT]


# Real processes


@asynccontextmanager
async def many_streams(url: str, day: date, count: int) -> AsyncIterator[list[Any]]:
    """Yield live maps on separate connections, which are spread over the workers."""
    async with AsyncExitStack() as stack:
        tag = await tag_of(Visitor(url), day)
        yield [await stack.enter_async_context(live(Visitor(url), day, since=tag)) for _ in range(count)]


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_all_workers_stream_a_booking_and_end_their_streams_in_time(
    used: Path, workers: str, deadlines: Deadlines
) -> None:
    with Seatweb(used, SEATWEB_WORKERS=workers) as serving:
        await asyncio.to_thread(serving.ready)
        url = f"http://127.0.0.1:{serving.port}"
        ada = Visitor(url)
        await ada.register("ada")
        today = date.fromisoformat(str(one(soup(await ada.get("/")), "#day")["data-day"]))
        with socket.create_connection(("127.0.0.1", serving.port)) as silent_client:
            silent_client.sendall(f"GET /days/{today}/live HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            async with many_streams(url, today, 12) as streams:
                assert (await ada.book(today, 7)).status_code == 303
                await asyncio.gather(*(stream.shows(7, "taken", deadlines.change) for stream in streams))
                ending = asyncio.create_task(asyncio.to_thread(serving.ends, deadlines.end, by=serving.terminate))
                await until(lambda: all(stream.ended for stream in streams), deadlines.streams)
                await ending
                assert [stream.broken for stream in streams] == [False] * 12
