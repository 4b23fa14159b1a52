"""Concurrent scripts share a round trip to Redis, and each caller gets its own answer."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from seatweb.storage import redis as module
from seatweb.storage.redis import CALL_SECONDS, RedisAway, RedisClient

from tests.faults.support import OwnRedis
from tests.support import within

ECHO = "redis.call('INCR', 'runs') return {KEYS[1], ARGV[1]}"
MANY = 300


async def test_concurrent_scripts_share_round_trips(own: OwnRedis) -> None:
    async with RedisClient(own.url) as client:
        echo = client.script(ECHO)
        assert await echo(["first"], ["0"]) == [b"first", b"0"]
        before = reads(own)
        answers = await asyncio.gather(*(echo([f"key {n}"], [n]) for n in range(MANY)))
        read = reads(own) - before
    assert answers == [[f"key {n}".encode(), str(n).encode()] for n in range(MANY)]
    assert own.store.get("runs") == str(MANY + 1).encode()
    assert read < MANY / 10


def reads(own: OwnRedis) -> int:
    """Return how often the server read from a connection."""
    return int(own.store.info("stats")["total_reads_processed"])


async def test_scripts_requested_during_a_batch_are_answered_too(own: OwnRedis) -> None:
    async with RedisClient(own.url) as client:
        echo = client.script(ECHO)

        async def again_and_again(name: str) -> list[Any]:
            return [await echo([name], [n]) for n in range(50)]

        found = await asyncio.gather(*(again_and_again(f"task {n}") for n in range(10)))
        for number, answers in enumerate(found):
            assert answers == [[f"task {number}".encode(), str(n).encode()] for n in range(50)]


async def test_a_script_that_the_server_does_not_know_runs_once(own: OwnRedis) -> None:
    async with RedisClient(own.url) as client:
        echo, other = client.script(ECHO), client.script("return 1")
        for runs in (1, 2):
            await other([], [])
            own.store.script_flush()
            here, one = await asyncio.gather(echo(["here"], ["1"]), other([], []))
            assert (here, one) == ([b"here", b"1"], 1)
            assert own.store.get("runs") == str(runs).encode()


async def test_a_refused_or_cancelled_script_does_not_affect_the_others(own: OwnRedis) -> None:
    async with RedisClient(own.url) as client:
        echo, wrong = client.script(ECHO), client.script("return redis.call('INCR', 'text')")
        own.store.set("text", "abc")
        left = asyncio.ensure_future(echo(["left"], ["0"]))
        asked = [asyncio.ensure_future(run) for run in (echo(["a"], ["1"]), wrong([], []), echo(["b"], ["2"]))]
        await asyncio.sleep(0)
        left.cancel()
        found = await asyncio.gather(*asked, return_exceptions=True)
        assert (found[0], found[2]) == ([b"a", b"1"], [b"b", b"2"])
        assert isinstance(found[1], RedisAway)
        assert own.store.get("runs") == b"2"  # the cancelled one had not been sent yet
        assert await echo(["later"], ["3"]) == [b"later", b"3"]  # a refusal does not open the circuit breaker


@pytest.mark.parametrize("limit", [60, pytest.param(2 * CALL_SECONDS, marks=pytest.mark.timing)])
async def test_calls_fail_in_time_while_redis_is_frozen_and_work_again_afterwards(
    own: OwnRedis, limit: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    if limit == 60:
        for name in ("SOCKET_SECONDS", "CALL_SECONDS", "REST_SECONDS"):
            monkeypatch.setattr(module, name, 0.1)
    async with RedisClient(own.url) as client:
        echo = client.script(ECHO)

        async def answers() -> bool:
            try:
                return bool(await echo(["key"], ["1"]))
            except RedisAway:
                return False

        await within(30, answers)
        own.freeze()
        try:
            loop = asyncio.get_running_loop()
            began = loop.time()
            asked = [asyncio.ensure_future(echo(["first"], [n])) for n in range(20)]
            for _ in range(3):
                await asyncio.sleep(0)
            asked += [asyncio.ensure_future(echo(["late"], [n])) for n in range(20)]  # while the others are in flight
            found = await asyncio.gather(*asked, return_exceptions=True)
            took = loop.time() - began
        finally:
            own.thaw()
        assert all(isinstance(one, RedisAway) for one in found)
        assert took < limit

        own.freeze()
        try:
            async with asyncio.timeout(30):
                while (probe := await under_way(echo)) is None:  # calls fail at once while the circuit breaker is open
                    await asyncio.sleep(0.01)
            beside_it = asyncio.ensure_future(echo(["beside it"], ["1"]))
            ended = [await one for one in asyncio.as_completed([refused(probe), refused(beside_it)])]
            assert ended == [beside_it, probe]
        finally:
            own.thaw()
        await within(30, answers)


async def refused(asked: asyncio.Future[Any]) -> asyncio.Future[Any]:
    """Return the call once it has failed because Redis is away."""
    with pytest.raises(RedisAway):
        await asked
    return asked


async def under_way(echo: Any) -> asyncio.Future[Any] | None:
    """Return a call that is in flight to Redis; None if it was refused before it was sent."""
    asked: asyncio.Future[Any] = asyncio.ensure_future(echo(["probe"], ["1"]))
    for _ in range(3):
        await asyncio.sleep(0)
    if not asked.done():
        return asked
    assert isinstance(asked.exception(), RedisAway)
    return None
