"""Section views in Redis: a copy that saves work, never one that decides.

A view is kept under the generation that was read from PostgreSQL before its seats were, so a write that comes between
makes the key dead, never wrong, and nothing has to be deleted (docs/decisions/0002).
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import date
from typing import Final, Self

import msgspec
import redis.asyncio as redis
import structlog
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError

from seatweb.model import SeatView, Section

VIEW_SECONDS: Final = 300
SOCKET_SECONDS: Final = 0.25
REST_SECONDS: Final = 1.0  # after a failure Redis is left alone for so long, so that requests do not queue for it
OLDEST_REDIS: Final = 7

log = structlog.get_logger(__name__)


class RedisUnusable(Exception):
    """Redis cannot be used; the message says in one line what is wrong, without the password."""


class SectionCache:
    """The section views of a day, by section id and generation; with Redis away, every view is a miss."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(tuple[SeatView, ...]).decode
        self._rests_until = 0.0

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str) -> AsyncIterator[Self]:
        """Yield a cache; nothing is sent to Redis before the first view."""
        client = _client(url)
        try:
            yield cls(client)
        finally:
            await client.aclose()

    async def get(self, day: date, generations: Iterable[tuple[Section, int]]) -> dict[int, tuple[SeatView, ...]]:
        """Return the seats of those sections that are known at exactly these generations, by section id."""
        wanted = list(generations)
        if not wanted or time.monotonic() < self._rests_until:
            return {}
        try:
            found = await self._client.mget([_key(day, section.id, generation) for section, generation in wanted])
            return {
                section.id: self._decode(value)
                for (section, _), value in zip(wanted, found, strict=True)
                if isinstance(value, bytes)
            }
        except (RedisError, OSError, TimeoutError, msgspec.MsgspecError) as error:
            self._rest(error)
            return {}

    async def put(self, day: date, views: Mapping[tuple[int, int], tuple[SeatView, ...]]) -> None:
        """Keep the seats of sections by (section id, generation), for five minutes at most."""
        if not views or time.monotonic() < self._rests_until:
            return
        try:
            async with self._client.pipeline(transaction=False) as pipe:
                for (section_id, generation), seats in views.items():
                    pipe.set(_key(day, section_id, generation), self._encode(seats), ex=VIEW_SECONDS)
                await pipe.execute()
        except (RedisError, OSError, TimeoutError) as error:
            self._rest(error)

    async def ping(self) -> bool:
        """Return whether Redis answers."""
        try:
            return bool(await self._client.ping())
        except (RedisError, OSError, TimeoutError):
            return False

    def _rest(self, error: Exception) -> None:
        self._rests_until = time.monotonic() + REST_SECONDS
        log.warning("redis did not answer: views come from the database", error=type(error).__name__)


def _key(day: date, section_id: int, generation: int) -> str:
    # One hash tag for the whole day, so that a cluster can answer one MGET for all its sections.
    return f"view:{{{day.isoformat()}}}:{section_id}:{generation}"


def _client(url: str) -> redis.Redis:
    pool = redis.BlockingConnectionPool.from_url(
        url,
        max_connections=16,
        timeout=SOCKET_SECONDS,
        socket_timeout=SOCKET_SECONDS,
        socket_connect_timeout=SOCKET_SECONDS,
        retry=Retry(NoBackoff(), 1),
    )
    return redis.Redis.from_pool(pool)


async def check_redis(url: str) -> None:
    """Return when Redis answers and is new enough.

    Raises:
        RedisUnusable: it cannot be reached, refuses the password, or is too old.
    """
    try:
        client = _client(url)
    except (ValueError, RedisError) as error:
        raise RedisUnusable(f"REDIS_URL cannot be used: {error}") from None
    try:
        info = await client.info("server")
        version = str(info.get("redis_version", "0"))
        if int(version.split(".", maxsplit=1)[0]) < OLDEST_REDIS:
            raise RedisUnusable(f"Redis {OLDEST_REDIS} or Valkey 8 or newer is needed; this server is {version}")
    except (RedisError, OSError, TimeoutError) as error:
        text = " ".join(str(error).split()) or type(error).__name__
        # redis-py reports a refused password on a unix socket as a lost connection, so the words count too.
        if isinstance(error, AuthenticationError | NoPermissionError) or "username-password" in text:
            raise RedisUnusable("Redis refused the user name or password of REDIS_URL") from None
        raise RedisUnusable(f"Redis cannot be reached by REDIS_URL: {text}") from None
    finally:
        await client.aclose()
