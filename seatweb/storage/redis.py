"""The Redis client: short timeouts, one retry, and a circuit breaker. Only this module imports redis.

Redis helps and never decides, so every call ends soon: with Redis's answer or with `RedisAway`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, Self, TypeAlias, TypeVar

import redis.asyncio as redis
import structlog
from msgspec import Struct
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AskError,
    AuthenticationError,
    ClusterDownError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)

from seatweb.server_urls import check_redis_url
from seatweb.storage.batching import Batcher

T = TypeVar("T")
Command: TypeAlias = tuple[str | int, ...]

SOCKET_SECONDS: Final = 0.25
CALL_SECONDS: Final = 0.5  # for a call with its one retry
REST_SECONDS: Final = 1.0  # how long the circuit breaker stays open after a failure, so that requests do not queue
CONNECTIONS: Final = 32
OLDEST_REDIS: Final = 7
REFUSALS_SECONDS: Final = 60.0
LONGEST_REFUSAL: Final = 200
QUIET_SECONDS: Final = 2.0  # a subscription that has received nothing for this long sends a ping

# What the health check does. In a cluster, keys as many as these are on more than one node.
PROBED_KEYS: Final = 8
PROBE_MILLISECONDS: Final = 1000
PROBE: Final = "return redis.call('SET', KEYS[1], 1, 'PX', ARGV[1])"
NO_ANSWER: Final = "Redis does not answer"
TROUBLES: Final[tuple[tuple[type[RedisError], str], ...]] = (
    (NoPermissionError, "Redis does not allow its user (ACL) to do what Seatweb needs"),
    (AskError, "Redis is a cluster; Seatweb needs a single server"),
    (ClusterDownError, "Redis is a cluster; Seatweb needs a single server"),
    (ReadOnlyError, "Redis is a read-only replica"),
    (OutOfMemoryError, "Redis is out of memory and does not evict keys"),
    (RedisError, "Redis refuses commands; the log says why"),
)

log = structlog.get_logger(__name__)


class ScriptCall(Struct, frozen=True):
    """A Lua script to run, with its keys and arguments."""

    text: str
    digest: str
    arguments: Command


class RedisUnusable(Exception):
    """Redis cannot be used; the message says in one line what is wrong, without the password."""


class RedisAway(Exception):
    """Redis did not answer, refused the command, or is not asked because the circuit breaker is open."""


class Refusals:
    """Logs what Redis refuses, in its own words: at once, and then once a minute with the number of refusals."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._kinds: dict[type[ResponseError], tuple[float, int]] = {}  # when it was logged last, and how often since

    def add(self, error: ResponseError) -> None:
        """Count a refusal, and log it if its kind was not logged in the last minute."""
        logged, count = self._kinds.get(type(error), (-REFUSALS_SECONDS, 0))
        if self._now() - logged < REFUSALS_SECONDS:
            self._kinds[type(error)] = (logged, count + 1)
            return
        self._kinds[type(error)] = (self._now(), 0)
        # Redis repeats the arguments of a command that it does not know; they are not for the log.
        said = " ".join(str(error).partition(", with args")[0].split())[:LONGEST_REFUSAL]
        log.warning("Redis refused commands", count=count + 1, error=type(error).__name__, said=said)


class RedisClient:
    """The few Redis operations that Seatweb needs. If Redis is away, they raise `RedisAway` within half a second.

    A script that is requested while a batch of others is running waits for that batch first, for half a second more at
    most.
    """

    def __init__(self, url: str) -> None:
        self._client = _client(url)
        self._url = url
        self._rests_until = 0.0
        self._probing = False
        self._scripts: Batcher[ScriptCall, Any] = Batcher(self._run_batch)
        self._refusals = Refusals()

    async def __aenter__(self) -> Self:
        """Return the client; it connects on the first call."""
        return self

    async def __aexit__(self, *exception: object) -> None:
        """Close all connections."""
        self._scripts.close()
        await self._client.aclose()

    async def get_many(self, keys: Iterable[str]) -> list[bytes | None]:
        """Return the value of each key."""

        async def work(client: redis.Redis) -> list[bytes | None]:
            found = await client.mget([*keys])
            return [value if isinstance(value, bytes) else None for value in found]

        return await self._call(work)

    async def set_many(self, values: Mapping[str, bytes], seconds: int) -> None:
        """Store the values; they expire after `seconds`."""

        async def work(client: redis.Redis) -> None:
            async with client.pipeline(transaction=False) as pipe:
                for key, value in values.items():
                    pipe.set(key, value, ex=seconds)
                await pipe.execute()

        await self._call(work)

    def script(self, text: str) -> Callable[[list[str], list[str | int]], Awaitable[Any]]:
        """Return a function that runs the Lua script with keys and arguments; concurrent calls share a round trip."""
        digest = self._client.register_script(text).sha

        async def run(keys: list[str], arguments: list[str | int]) -> Any:  # noqa: ANN401 - what the script returns
            self._check_rest()
            return await self._scripts.get(ScriptCall(text, digest, (len(keys), *keys, *arguments)))

        return run

    async def _run_batch(self, calls: list[ScriptCall]) -> list[Any]:
        answers = await self._call(lambda client: _run_scripts(client, calls))
        return [self._refused(answer) if isinstance(answer, ResponseError) else answer for answer in answers]

    async def batch(self, commands: Iterable[Command]) -> None:
        """Run the commands in order, in one round trip; a refused command does not stop the others."""

        async def work(client: redis.Redis) -> None:
            async with client.pipeline(transaction=False) as pipe:
                for command in commands:
                    pipe.execute_command(*command)
                for answer in await pipe.execute(raise_on_error=False):
                    if isinstance(answer, ResponseError):
                        self._refused(answer)

        await self._call(work)

    async def trouble(self, channel: str) -> str:
        """Return why Redis cannot do what Seatweb needs, empty if it can; ignore the circuit breaker.

        It writes keys that expire soon, runs a script, and publishes an empty message in the channel.
        """
        keys = [f"seatweb:health:{number}" for number in range(PROBED_KEYS)]
        try:
            async with asyncio.timeout(CALL_SECONDS), self._client.pipeline(transaction=False) as pipe:
                for key in keys:
                    pipe.set(key, 1, px=PROBE_MILLISECONDS)
                pipe.eval(PROBE, 1, keys[0], PROBE_MILLISECONDS)
                pipe.mget(keys[0])
                pipe.publish(channel, "")
                answers = await pipe.execute(raise_on_error=False)
        except (RedisError, OSError, TimeoutError):
            return NO_ANSWER
        refused = [answer for answer in answers if isinstance(answer, RedisError)]
        return next((text for kind, text in TROUBLES for answer in refused if isinstance(answer, kind)), "")

    @asynccontextmanager
    async def listen(self, channel: str) -> AsyncIterator[AsyncIterator[str]]:
        """Yield an iterator over the channel's messages from now on, on a separate connection.

        Raises:
            RedisAway: the connection was lost, or Redis stopped answering; messages may have been missed.
        """
        client = _client(self._url)
        subscription = client.pubsub()
        try:
            async with asyncio.timeout(CALL_SECONDS):
                await subscription.subscribe(channel)
                while (await subscription.get_message(timeout=CALL_SECONDS) or {}).get("type") != "subscribe":
                    pass
            yield _messages(subscription)
        except ResponseError as error:
            raise self._refused(error) from error
        except (RedisError, OSError, TimeoutError) as error:
            raise RedisAway from error
        finally:
            await subscription.aclose()  # type: ignore[no-untyped-call]
            await client.aclose()

    def _check_rest(self) -> None:
        if self._rests_until > 0 and (self._probing or time.monotonic() < self._rests_until):
            raise RedisAway

    async def _call(self, work: Callable[[redis.Redis], Awaitable[T]]) -> T:
        self._check_rest()
        failed = self._rests_until > 0
        self._probing = failed  # one call probes whether Redis is back; the others fail at once
        try:
            async with asyncio.timeout(CALL_SECONDS):
                result = await work(self._client)
        except ResponseError as error:  # Redis is up, but out of memory, or read-only during a failover
            raise self._refused(error) from error
        except (RedisError, OSError, TimeoutError) as error:
            if not self._rests_until:
                log.warning("Redis is unavailable; continuing without it", error=type(error).__name__)
            self._rests_until = time.monotonic() + REST_SECONDS
            raise RedisAway from error
        finally:
            if failed:
                self._probing = False
        if failed:
            log.warning("Redis is available again")
            self._rests_until = 0.0
        return result

    def _refused(self, error: ResponseError) -> RedisAway:
        self._refusals.add(error)
        return RedisAway()


async def _run_scripts(client: redis.Redis, calls: list[ScriptCall]) -> list[Any]:
    async with client.pipeline(transaction=False) as pipe:
        for call in calls:
            pipe.execute_command("EVALSHA", call.digest, *call.arguments)
        answers: list[Any] = await pipe.execute(raise_on_error=False)
        unknown = [place for place, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        for place in unknown:  # a restarted server has lost its scripts; EVAL loads them again
            pipe.execute_command("EVAL", calls[place].text, *calls[place].arguments)
        for place, answer in zip(unknown, await pipe.execute(raise_on_error=False), strict=True):
            answers[place] = answer
    return answers


async def _messages(subscription: Any) -> AsyncIterator[str]:  # noqa: ANN401 - redis-py does not type it
    asked = False
    while True:
        message = await subscription.get_message(ignore_subscribe_messages=True, timeout=QUIET_SECONDS)
        if message is not None:
            asked = False
            if message["type"] == "message":
                yield message["data"].decode()
        elif asked:
            raise TimeoutError
        else:
            asked = True
            await subscription.ping()


async def end_task(task: asyncio.Task[None]) -> None:
    """Cancel a task that talks to Redis until it ends: redis-py sometimes swallows a cancellation."""
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=0.05)


async def check_redis(url: str) -> None:
    """Check that Redis answers and is new enough.

    Raises:
        RedisUnusable: it cannot be reached, refused the password, or is too old.
    """
    try:
        check_redis_url(url)
        client = _client(url)
    except ValueError as error:
        raise RedisUnusable(f"REDIS_URL cannot be used: {error}") from None
    try:
        info = await client.info("server")
        version = str(info.get("redis_version", "0"))
        if int(version.split(".", maxsplit=1)[0]) < OLDEST_REDIS:
            raise RedisUnusable(f"Redis {OLDEST_REDIS} or Valkey 8 or newer is needed; this server is {version}")
    except NoPermissionError:
        raise RedisUnusable("Redis does not allow the user of REDIS_URL to run INFO; see docs/deploy.md") from None
    except TypeError:  # from the connection's constructor
        raise RedisUnusable("REDIS_URL has a parameter after '?' that the Redis client does not know") from None
    except (RedisError, OSError, TimeoutError) as error:
        text = " ".join(str(error).split()) or type(error).__name__
        # On a unix socket redis-py reports a refused password as a lost connection, so check the message too.
        if isinstance(error, AuthenticationError) or "username-password" in text:
            raise RedisUnusable("Redis refused the user name or password of REDIS_URL") from None
        raise RedisUnusable(f"Redis at REDIS_URL cannot be reached: {text}") from None
    finally:
        await client.aclose()


def _client(url: str) -> redis.Redis:
    pool = redis.BlockingConnectionPool.from_url(
        url,
        max_connections=CONNECTIONS,
        timeout=SOCKET_SECONDS,
        socket_timeout=SOCKET_SECONDS,
        socket_connect_timeout=SOCKET_SECONDS,
        retry=Retry(NoBackoff(), 1),
    )
    return redis.Redis.from_pool(pool)
