"""Cached section views save work and are never wrong (promises 4 and 5)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest
import redis
from seatweb.accounts import queries as account_queries
from seatweb.accounts import sessions as sessions_module
from seatweb.accounts.model import User
from seatweb.booking import day_views as day_views_module
from seatweb.booking import queries as booking_queries
from seatweb.booking.bookings import Bookings
from seatweb.booking.day_views import DayViews
from seatweb.booking.model import DayView
from seatweb.booking.section_cache import SectionCache
from seatweb.limits.limits import Limits
from seatweb.settings import Backends
from seatweb.storage import redis as redis_module
from seatweb.storage.database import Database
from seatweb.storage.outbox import RedisOutbox
from seatweb.storage.redis import RedisClient, RedisUnusable, check_redis
from seatweb.storage.statements import Statements

from tests.domain import Process
from tests.faults.support import running_redis
from tests.support import Clock, Site, promised, soup


@pytest.fixture
async def user(database: Database) -> User:
    return await database.run(account_queries.register_user, "ada", "ada", ["ada"], "none")


@pytest.fixture
def store(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def queries_run(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Give the names of the queries that were run."""
    names: list[str] = []
    for method in ("one", "all"):
        original: Callable[..., Any] = getattr(Statements, method)

        async def recorded(
            self: Statements, name: str, _original: Callable[..., Any] = original, **parameters: object
        ) -> Any:
            if name != "session_changes":  # runs in the background, independently of requests
                names.append(name)
            return await _original(self, name, **parameters)

        monkeypatch.setattr(Statements, method, recorded)
    return names


def taken(view: DayView) -> set[str]:
    return {seat.seat.label for seat in view.seats.values() if seat.sitter}


async def test_a_second_view_reads_no_seats_from_the_database(
    bookings: Bookings, views: DayViews, another: Process, clock: Clock, queries_run: list[str]
) -> None:
    views._days._monotonic = lambda: 0.0
    first = await views.day(clock.today)
    assert queries_run == ["read_generations", "read_seats"]
    assert await views.day(clock.today) == first  # from memory: it is recent enough
    assert queries_run == ["read_generations", "read_seats"]
    assert await views.day(clock.today, fresh=True) == first
    assert queries_run == ["read_generations", "read_seats", "read_generations"]
    assert await another.views.day(clock.today) == first  # in another process: from Redis
    assert queries_run == ["read_generations", "read_seats", "read_generations", "read_generations"]


async def test_every_change_is_in_the_next_view(
    bookings: Bookings, views: DayViews, user: User, clock: Clock, store: redis.Redis
) -> None:
    await views.day(clock.today)
    booking = await bookings.book(user, 7, clock.today)
    assert taken(await views.day(clock.today)) == {"A-07"}
    await bookings.move(user, booking.id, 43)
    assert taken(await views.day(clock.today)) == {"C-03"}
    await bookings.cancel(user, booking.id)
    assert taken(await views.day(clock.today)) == set()
    for key in store.keys("view:*"):
        assert 0 < int(store.ttl(key)) <= 300


@pytest.mark.parametrize("order", ["generation first", "rows first"])
async def test_the_stale_view_race(
    bookings: Bookings,
    views: DayViews,
    another: Process,
    database: Database,
    cache: SectionCache,
    user: User,
    clock: Clock,
    order: str,
) -> None:
    """A booking commits between a reader's read and its write to the cache; only in the right order is it harmless."""
    day = clock.today
    if order == "generation first":
        generations = (await database.run(booking_queries.read_generations, [day]))[day]
        rows = await database.run(booking_queries.read_seats, [(1, day)])
        await bookings.book(user, 7, day)
    else:  # the wrong order: rows are stored under a generation that is newer than they are
        rows = await database.run(booking_queries.read_seats, [(1, day)])
        await bookings.book(user, 7, day)
        generations = (await database.run(booking_queries.read_generations, [day]))[day]
    await cache.put(day, {(1, {section.id: generation for section, generation in generations}[1]): rows[1, day].seats})
    shown = taken(await another.views.day(day))
    assert shown == ({"A-07"} if order == "generation first" else set())


async def test_a_reader_overtaken_by_a_booking_caches_nothing_wrong(
    bookings: Bookings, views: DayViews, user: User, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same race in the real code: a booking commits after the reader has read and before it writes to the cache."""
    original = booking_queries.read_seats
    overtaken = False

    async def read_then_book(sql: Any, wanted: Any) -> Any:
        nonlocal overtaken
        rows = await original(sql, wanted)
        if not overtaken:
            overtaken = True
            await bookings.book(user, 7, clock.today)
        return rows

    monkeypatch.setattr(booking_queries, "read_seats", read_then_book)
    assert taken(await views.day(clock.today)) == set()  # as it was when the read began
    assert taken(await views.day(clock.today)) == {"A-07"}


async def test_days_that_cannot_be_booked_are_not_cached(
    bookings: Bookings, views: DayViews, clock: Clock, store: redis.Redis
) -> None:
    for days in (-1, -5000, 91, 40_000):
        await views.day(clock.ahead(days))
    assert store.dbsize() == 0


async def test_a_malformed_cache_entry_is_a_miss(
    bookings: Bookings, views: DayViews, another: Process, clock: Clock, store: redis.Redis
) -> None:
    first = await views.day(clock.today)
    for key in store.keys("view:*"):
        store.set(key, b"\xc1malformed")
    assert await another.views.day(clock.today) == first


async def test_everything_works_without_redis(
    start_site: Callable[..., Site], backends: Backends, clock: Clock
) -> None:
    without_redis = Backends(
        database_url=backends.database_url, redis_url="redis://127.0.0.1:1/0", jwt_secret=backends.jwt_secret
    )
    site = start_site(with_backends=without_redis)
    async with site.people(2) as (ada, grace):
        assert (await ada.book(clock.today, 7)).status_code == 303
        assert (await ada.statuses(clock.today))["A-07"] == "mine"
        assert (await grace.statuses(clock.today))["A-07"] == "taken"
        assert (await grace.book(clock.today, 7)).status_code == 409
        health = await ada.get("/health")
        assert (health.status_code, health.json()["status"]) == (200, "degraded")


async def test_the_number_of_queries_per_page_does_not_grow_with_the_seats(
    site: Site, clock: Clock, connection: asyncpg.Connection, queries_run: list[str], store: redis.Redis
) -> None:
    counts: dict[str, list[int]] = {}
    for seats in (80, 1000):
        if seats == 1000:
            await connection.execute(
                "insert into seats (section_id, number, grid_row, grid_column) select 1, to_char(n, 'FM0000'),"
                " 100 + n / 10, 1 + n % 10 from generate_series(21, 940) as n"
            )
        for path in ("/", f"/days/{clock.ahead(seats % 7 + 1)}", "/my/bookings", "/account", "/login"):
            async with site.people(1, prefix=f"{path} {seats} ") as (ada,):
                ada.http.cookies.set("seatweb_changed", "1")  # bypasses the in-memory cache
                store.flushdb()
                queries_run.clear()
                answer = await ada.get(path)
                assert answer.status_code in {200, 303}
                counts.setdefault(path if "days" not in path else "/days", []).append(len(queries_run))
    for path, (few, many) in counts.items():
        # The seats of a week's days are read together, or at worst each day for itself.
        assert max(few, many) <= (9 if path in {"/", "/days"} else 4), path


async def test_one_more_viewer_costs_no_query(
    start_site: Callable[..., Site], clock: Clock, queries_run: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A week in memory shows everyone their own bookings, and known sessions are not asked for again."""
    monkeypatch.setattr(day_views_module, "MEMORY_SECONDS", 600.0)
    monkeypatch.setattr(day_views_module, "RENEWED_AFTER_SECONDS", 600.0)
    monkeypatch.setattr(sessions_module, "SESSION_SECONDS", 600.0)
    async with start_site().people(6) as people:
        for number, person in enumerate(people[:3], start=1):
            assert (await person.book(clock.today, number)).status_code == 303
        for person in people:
            person.http.cookies.delete("seatweb_changed")
            await person.get(f"/days/{clock.today}")  # fills the caches
        queries_run.clear()
        for number, person in enumerate(people, start=1):
            page = soup(await person.get(f"/days/{clock.today}"))
            own = [f"A-0{number}"] if number < 4 else []
            assert [seat["id"] for seat in page.select("a[data-status=mine]")] == [f"seat-{number}" for _ in own]
            assert [ticket.get_text() for ticket in page.select(".ticket-seat")] == own
            assert [label.get_text() for label in page.select(".weekday[aria-current] .weekday-mine")] == own
        assert not {"find_session", "list_confirmed_bookings"} & set(queries_run)
        assert len(queries_run) < len(people)  # at most what all share, read again after a signal


async def test_an_unreachable_redis_is_reported_in_one_line(redis_url: str) -> None:
    await check_redis(redis_url)
    for url in ("redis://127.0.0.1:1/0", "redis://:wrong@127.0.0.1:1/0"):
        with pytest.raises(RedisUnusable, match="cannot be reached") as error:
            await check_redis(url)
        assert "\n" not in str(error.value)
        assert "wrong" not in str(error.value)


async def test_a_refused_redis_password_is_reported(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.acl_setuser("keeper", enabled=True, passwords=["+right"], commands=["+@all"], keys=["*"])
        address = urlsplit(redis_url)
        server = address.netloc.rpartition("@")[2]
        with pytest.raises(RedisUnusable, match="refused the user name or password"):
            await check_redis(address._replace(netloc=f"keeper:wrong@{server}").geturl())
        await check_redis(address._replace(netloc=f"keeper:right@{server}").geturl())
        client.acl_deluser("keeper")


@promised(1.2)
async def test_a_slow_redis_does_not_delay_a_page(
    database: Database, clock: Clock, limits: Limits, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    with running_redis() as own:
        async with RedisClient(own.url) as client, RedisOutbox(client) as outbox:
            views = Process(database, client, outbox, clock, limits).views
            await views.day(clock.today)
            own.freeze()
            monkeypatch.setattr(redis_module, "CALL_SECONDS", 0.5)
            async with asyncio.timeout(seconds):
                assert len((await views.day(clock.today, fresh=True)).sections) == 4
                assert len((await views.day(clock.today, fresh=True)).sections) == 4
