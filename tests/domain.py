"""Fixtures for the booking domain, on a real database and a real Redis but without a web server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Self

import pytest
from seatweb.accounts.failed_sign_ins import FailedSignIns
from seatweb.app import CONSTRAINTS
from seatweb.booking.bookings import Bookings
from seatweb.booking.changes import Changes
from seatweb.booking.day_views import DayViews
from seatweb.booking.hold_store import HoldStore
from seatweb.booking.section_cache import SectionCache
from seatweb.booking.undo import Undo
from seatweb.booking.window import BookingWindow
from seatweb.limits.keyed_hash import KeyedHash
from seatweb.limits.limits import Limits, Rules
from seatweb.settings import Backends
from seatweb.storage.database import Database
from seatweb.storage.outbox import RedisOutbox
from seatweb.storage.redis import RedisClient

from tests.faults.support import OwnRedis, running_redis
from tests.support import Clock, until


@pytest.fixture
async def database(backends: Backends) -> AsyncIterator[Database]:
    async with Database(backends.database_url, CONSTRAINTS, size=10) as database:
        yield database


@pytest.fixture
async def redis_client(backends: Backends) -> AsyncIterator[RedisClient]:
    async with RedisClient(backends.redis_url) as client:
        yield client


@pytest.fixture
def own() -> Iterator[OwnRedis]:
    """Yield a Redis server that only this test uses, and so may break."""
    with running_redis() as own:
        yield own


@pytest.fixture
def cache(redis_client: RedisClient) -> SectionCache:
    return SectionCache(redis_client)


@pytest.fixture
async def outbox(redis_client: RedisClient) -> AsyncIterator[RedisOutbox]:
    async with RedisOutbox(redis_client) as outbox:
        yield outbox


@pytest.fixture
def hold_store(redis_client: RedisClient, outbox: RedisOutbox) -> HoldStore:
    return HoldStore(redis_client, outbox, seconds=90)


@pytest.fixture
def limits(redis_client: RedisClient) -> Limits:
    """Return limits that are all off; they have tests of their own."""
    return Limits(redis_client, Rules(), KeyedHash(""), workers=1, now=lambda: datetime.now(UTC))


@pytest.fixture
def failed_sign_ins(database: Database) -> FailedSignIns:
    """Return a counter of failed sign-ins with its limits off."""
    return FailedSignIns(database, KeyedHash(""), per_account=None, per_address=None, now=lambda: datetime.now(UTC))


class Process:
    """The booking domain as one process runs it."""

    def __init__(
        self, database: Database, redis: RedisClient, outbox: RedisOutbox, clock: Clock, limits: Limits
    ) -> None:
        self.window = BookingWindow(clock)
        self.changes = Changes(redis, outbox)
        self.hold_store = HoldStore(redis, outbox, seconds=90)
        self.views = DayViews(database, SectionCache(redis), self.hold_store, self.changes, self.window)
        self.bookings = Bookings(database, self.views, self.hold_store, self.changes, self.window, limits)
        self.undo = Undo(database, self.hold_store, limits, self.bookings)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        async with self.changes:
            await until(lambda: self.changes.connected)
            yield self


@pytest.fixture
async def process(
    database: Database, redis_client: RedisClient, outbox: RedisOutbox, clock: Clock, limits: Limits
) -> AsyncIterator[Process]:
    async with Process(database, redis_client, outbox, clock, limits).running() as process:
        yield process


@pytest.fixture
async def another(
    database: Database, redis_client: RedisClient, outbox: RedisOutbox, clock: Clock, limits: Limits
) -> AsyncIterator[Process]:
    """Yield another process: the same database and Redis, but its own memory."""
    async with Process(database, redis_client, outbox, clock, limits).running() as process:
        yield process


@pytest.fixture
def bookings(process: Process) -> Bookings:
    return process.bookings


@pytest.fixture
def views(process: Process) -> DayViews:
    return process.views
