"""While Redis or PostgreSQL fails, no seat is booked twice and every answer is in time; recovery is fast."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import date
from functools import partial

import asyncpg
import httpx
import pytest
from seatweb.booking.changes import CHANNEL, Changes
from seatweb.settings import Backends
from seatweb.storage import database
from seatweb.storage.outbox import RedisOutbox
from seatweb.storage.redis import RedisClient

from tests.faults.support import (
    FAULTS,
    PATIENT,
    PATIENT_SECONDS,
    Deadlines,
    OwnRedis,
    Stream,
    at,
    held_soon,
    hold,
    live,
    with_redis,
)
from tests.support import Clock, Site, Visitor, together, until, until_definite

DAY = date(2026, 11, 23)
ALL_FAULTS = FAULTS | {"emptied": (OwnRedis.flush, OwnRedis.flush), "full": (OwnRedis.fill, OwnRedis.make_room)}
PEOPLE = 30
SEATS = 6  # seats that all people want


@pytest.fixture
def start(
    start_site: Callable[..., Site], backends: Backends, own: OwnRedis, patient_with_database: None
) -> Callable[..., Site]:
    """Return a function that starts a site on this test's own Redis."""
    # Some tests retry until something works, so holds are not limited.
    return partial(start_site, with_backends=with_redis(backends, own.url), SEATWEB_LIMIT_HOLDS="off")


async def timed(request: Awaitable[httpx.Response]) -> tuple[float, httpx.Response]:
    """Return the seconds that an answer took, and the answer."""
    started = time.monotonic()
    answer = await request
    return time.monotonic() - started, answer


async def slowest(ask: Callable[[], Awaitable[httpx.Response]]) -> tuple[float, httpx.Response]:
    """Repeat the request until the answer is definite; return the slowest answer's seconds, and the last answer."""
    took = []

    async def once() -> httpx.Response:
        seconds, answer = await timed(ask())
        took.append(seconds)
        return answer

    answer = await until_definite(once)
    return max(took), answer


def shown(stream: Stream) -> set[int]:
    """Return the seats that the map shows as taken; it started with all of them free."""
    statuses = dict(
        pair for event in stream.changes for pair in re.findall(r'id="seat-(\d+)".*?-status="(\w+)"', event.data)
    )
    return {int(seat_id) for seat_id, status in statuses.items() if status == "taken"}


@pytest.mark.parametrize("fault", ALL_FAULTS)
async def test_a_race_for_seats_during_a_redis_fault_has_one_winner_per_seat(
    start: Callable[..., Site], own: OwnRedis, connection: asyncpg.Connection, fault: str, deadlines: Deadlines
) -> None:
    inject, repair = ALL_FAULTS[fault]
    broken = asyncio.Event()
    site, another = start(), start()

    async def visit(visitor: Visitor, number: int) -> list[tuple[float, httpx.Response]]:
        """View the map, hold, book, view again: before, during or after the fault."""
        if number >= PEOPLE // 2:
            await broken.wait()
        seat = f"/days/{DAY}/seats/{number % SEATS + 1}"
        requests = (
            partial(visitor.get, seat),
            partial(visitor.post_htmx, f"{seat}/hold"),
            partial(visitor.post, f"{seat}/book"),
            partial(visitor.get, "/"),
        )
        return [await slowest(request) for request in requests]

    async def break_redis() -> None:
        async with asyncio.timeout(PATIENT_SECONDS):
            while not await connection.fetchval("select exists(select from bookings)"):
                await asyncio.sleep(0)
        inject(own)
        broken.set()

    async with site.people(PEOPLE) as people, live(another.visitor(), DAY) as stream:
        for number, visitor in enumerate(people):  # those who want the same seat are on different processes
            at((site, another)[number // SEATS % 2], visitor)
        breaking = asyncio.create_task(break_redis())
        answers = await asyncio.gather(*map(visit, people, range(PEOPLE)))
        await breaking
        assert max(seconds for each in answers for seconds, _ in each) < deadlines.answer
        assert {answer.status_code for each in answers for _, answer in each} <= {200, 303, 409}
        winners = [number for number, (_, _, (_, booking), _) in enumerate(answers) if booking.status_code == 303]
        rows = await connection.fetch("select seat_id, user_id from bookings order by user_id")
        assert [(row["seat_id"], row["user_id"]) for row in rows] == [
            (number % SEATS + 1, person.user.id) for number in winners if (person := people[number]).user
        ]
        assert {row["seat_id"] for row in rows} == {*range(1, SEATS + 1)}  # no seat is left free

        views = await together(*(timed(visitor.get(f"/days/{DAY}")) for visitor in people[:20]))
        assert max(seconds for seconds, _ in views) < deadlines.page
        losers = [visitor for number, visitor in enumerate(people) if number not in winners]
        assert (await timed(until_definite(partial(losers[0].book, DAY, 80))))[0] < deadlines.page

        repair(own)
        await held_soon(losers[1], DAY, SEATS + 1, deadlines.healed)
        await together(
            *(held_soon(visitor, DAY, seat, deadlines.healed) for seat, visitor in enumerate(losers[1:], SEATS + 1))
        )
        booked = await together(*(visitor.book(DAY, seat) for seat, visitor in enumerate(losers[1:], SEATS + 1)))
        assert {answer.status_code for answer in booked} == {303}
        taken = {row["seat_id"] for row in await connection.fetch("select seat_id from bookings")}
        assert len(taken) == PEOPLE
        await until(lambda: shown(stream) == taken, deadlines.broken)
        await until(lambda: own.store.keys("holds:*") == [], deadlines.healed)


async def test_no_hold_outlasts_a_redis_outage(start: Callable[..., Site], own: OwnRedis, deadlines: Deadlines) -> None:
    async with start().people(7) as (ada, grace, mary, zoe, *others):
        token = await held_soon(ada, DAY, 7)
        await held_soon(grace, DAY, 8)
        own.freeze()
        assert await hold(mary, DAY, 9) == ""  # Redis runs it later, although the caller was refused
        await ada.post(f"/days/{DAY}/seats/7/release", token=token)
        assert (await grace.book(DAY, 10)).status_code == 303
        own.thaw()
        async with asyncio.timeout(deadlines.healed):
            await held_soon(zoe, DAY, 20)
            for seat_id, visitor in enumerate(others, 7):
                while (await visitor.book(DAY, seat_id)).status_code != 303:
                    await asyncio.sleep(0.02)


async def test_a_signal_that_could_not_be_sent_is_sent_later(own: OwnRedis, clock: Clock, deadlines: Deadlines) -> None:
    """The outage is so short that other processes do not notice it."""
    heard: list[date | None] = []
    async with (
        RedisClient(own.url) as client,
        RedisOutbox(client) as outbox,
        Changes(client, outbox) as here,
        Changes(client, outbox) as there,
    ):
        await until(lambda: here.connected and there.connected)
        there.listen(heard.append)
        own.freeze()
        here.signal(DAY)
        here.signal(clock.ahead(1))
        while not await client.trouble(CHANNEL):
            pass
        own.thaw()
        await until(lambda: {DAY, clock.ahead(1)} <= {*heard}, deadlines.healed)
        assert there.connected
        assert None not in heard


async def test_a_redis_that_starts_late_is_used(
    start: Callable[..., Site], own: OwnRedis, deadlines: Deadlines
) -> None:
    own.kill()
    site, another = start(), start()
    async with site.people(2) as (ada, grace), live(another.visitor(), DAY) as stream:
        assert (stream.named[0].name, stream.named[0].data) == ("status", "catching-up")
        assert await hold(ada, DAY, 7) == ""
        own.start()
        await held_soon(ada, DAY, 7, deadlines.healed)
        await stream.says("status", "live", deadlines.broken)
        await grace.book(DAY, 8)
        await stream.shows(8, "taken", deadlines.change)


# PostgreSQL


async def test_without_a_free_connection_requests_are_refused_soon_with_retry_after(
    start_site: Callable[..., Site],
    connection: asyncpg.Connection,
    clock: Clock,
    deadlines: Deadlines,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if deadlines is PATIENT:  # on a busy machine, all requests must be refused before the lock times out
        monkeypatch.setattr(database, "ACQUIRE_SECONDS", 0.1)
    site = start_site(SEATWEB_DATABASE_POOL=1)
    async with site.people(5) as (ada, grace, eve, joan, mary):
        async with connection.transaction():
            await connection.execute("lock table bookings in access exclusive mode")
            stuck = asyncio.create_task(ada.get("/my/bookings"))
            async with asyncio.timeout(PATIENT_SECONDS):
                while not await connection.fetchval(
                    "select exists("
                    "select from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database())"
                ):
                    await asyncio.sleep(0.005)
            answers = await together(
                *(
                    timed(request)
                    for request in (
                        site.visitor().get(f"/days/{clock.ahead(1)}"),
                        grace.get(f"/days/{clock.ahead(2)}"),
                        eve.book(clock.ahead(3), 7),
                        joan.post_htmx(f"/days/{clock.ahead(4)}/seats/7/hold"),
                        mary.get("/my/bookings"),
                        site.visitor().get(f"/days/{clock.ahead(5)}/live"),
                    )
                )
            )
            assert [answer.status_code for _, answer in answers] == [503] * 6
            assert min(int(answer.headers["retry-after"]) for _, answer in answers) > 0
            assert max(seconds for seconds, _ in answers) < deadlines.refusal
            assert (await stuck).status_code == 503
        assert (await eve.book(clock.ahead(3), 7)).status_code == 303


async def test_a_live_map_survives_a_database_outage(
    start_site: Callable[..., Site], connection: asyncpg.Connection, deadlines: Deadlines
) -> None:
    site = start_site()
    async with site.people(1) as (ada,), live(site.visitor(), DAY) as stream:
        async with connection.transaction():
            await connection.execute("lock table sections in access exclusive mode")
            with suppress(httpx.HTTPError):
                await ada.book(DAY, 7)
            await stream.says("status", "catching-up", deadlines.broken)
        await stream.says("status", "live", deadlines.broken)
        await ada.book(DAY, 8)
        await until(lambda: shown(stream) & {7, 8}, deadlines.change)
        assert not stream.ended
