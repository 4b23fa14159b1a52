"""The domain on a real database and a real Redis, without a web server."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from seatweb.bookings import Bookings
from seatweb.database import Database
from seatweb.section_cache import SectionCache
from seatweb.settings import Backends

from tests.support import Clock


@pytest.fixture
async def database(backends: Backends) -> AsyncIterator[Database]:
    async with Database.open(backends.database_url, size=10) as database:
        yield database


@pytest.fixture
async def cache(backends: Backends) -> AsyncIterator[SectionCache]:
    async with SectionCache.open(backends.redis_url) as cache:
        yield cache


@pytest.fixture
async def bookings(database: Database, cache: SectionCache, clock: Clock) -> Bookings:
    return Bookings(database, cache, clock)
