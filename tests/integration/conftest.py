"""The domain on a real database and a real Redis, without a web server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime

import pytest
from seatweb.app import CONSTRAINTS
from seatweb.booking.bookings import Bookings
from seatweb.booking.changes import Changes
from seatweb.booking.holds import Reservations
from seatweb.booking.section_cache import SectionCache
from seatweb.limits.limits import Limits, Rules
from seatweb.settings import Backends
from seatweb.storage.database import Database
from seatweb.storage.redis import RedisClient

from tests.faults.support import OwnRedis, running_redis
from tests.support import Clock, until


@pytest.fixture
async def database(backends: Backends) -> AsyncIterator[Database]:
    async with Database.open(backends.database_url, CONSTRAINTS, size=10) as database:
        yield database


@pytest.fixture
async def redis_client(backends: Backends) -> AsyncIterator[RedisClient]:
    async with RedisClient.open(backends.redis_url) as client:
        yield client


@pytest.fixture
def own() -> Iterator[OwnRedis]:
    """Give a Redis of this test's own, for trouble."""
    with running_redis() as own:
        yield own


@pytest.fixture
def cache(redis_client: RedisClient) -> SectionCache:
    return SectionCache(redis_client)


@pytest.fixture
def reservations(redis_client: RedisClient) -> Reservations:
    return Reservations(redis_client, seconds=90)


@pytest.fixture
def limits(redis_client: RedisClient) -> Limits:
    """Give no limits at all: they have tests of their own."""
    return Limits(redis_client, Rules(), secret="", workers=1, now=lambda: datetime.now(UTC))


@pytest.fixture
async def changes(redis_client: RedisClient) -> AsyncIterator[Changes]:
    async with Changes.open(redis_client) as changes:
        await until(lambda: changes.connected)
        yield changes


@pytest.fixture
async def bookings(
    database: Database,
    cache: SectionCache,
    reservations: Reservations,
    changes: Changes,
    clock: Clock,
    limits: Limits,
) -> Bookings:
    return Bookings(database, cache, reservations, changes, clock, limits)


@pytest.fixture
async def another(
    database: Database,
    cache: SectionCache,
    reservations: Reservations,
    redis_client: RedisClient,
    clock: Clock,
    limits: Limits,
) -> AsyncIterator[Bookings]:
    """Give the bookings as another process sees them: the same database and Redis, a memory of its own."""
    async with Changes.open(redis_client) as changes:
        await until(lambda: changes.connected)
        yield Bookings(database, cache, reservations, changes, clock, limits)
