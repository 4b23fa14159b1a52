"""The outbox sends Redis commands in order, in batches, and again after an outage."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis
from seatweb.storage import outbox as module
from seatweb.storage.outbox import BATCH, COMMANDS_KEPT, RedisOutbox
from seatweb.storage.redis import Command, RedisClient

from tests.faults.support import OwnRedis
from tests.support import until


@pytest.fixture
def store(own: OwnRedis) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(own.url) as client:
        yield client


async def test_commands_run_in_the_order_in_which_they_were_queued(own: OwnRedis, store: redis.Redis) -> None:
    async with RedisClient(own.url) as client, RedisOutbox(client) as outbox:
        for n in range(3 * BATCH):
            outbox.put(("RPUSH", "list", n))
        await until(lambda: store.llen("list") == 3 * BATCH)
        assert [int(n) for n in store.lrange("list", 0, -1)] == list(range(3 * BATCH))


async def test_equal_queued_commands_are_sent_once(own: OwnRedis, store: redis.Redis) -> None:
    async with RedisClient(own.url) as client, RedisOutbox(client) as outbox:
        for _ in range(100):
            outbox.put(("INCR", "count"))
        outbox.put(("SET", "last", 1))
        await until(lambda: store.get("last") is not None)
        assert store.get("count") == b"1"


async def test_after_an_outage_all_queued_commands_are_sent_in_batches(
    own: OwnRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even a full queue is sent: no batch is too large for Redis's time limit."""
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.01)
    sizes: list[int] = []
    batch = RedisClient.batch

    async def counted(self: RedisClient, commands: list[Command]) -> None:
        sizes.append(len(commands))
        await batch(self, commands)

    monkeypatch.setattr(RedisClient, "batch", counted)
    own.kill()
    async with RedisClient(own.url) as client, RedisOutbox(client) as outbox:
        for n in range(COMMANDS_KEPT + 10):
            outbox.put(("HSET", "hash", n, 1))
        await until(lambda: len(sizes) > 2)
        own.start()
        with redis.Redis.from_url(own.url) as store:
            await until(lambda: store.hlen("hash") == COMMANDS_KEPT)
        assert max(sizes) == BATCH
