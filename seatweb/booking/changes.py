"""Who changes a day tells it to everyone: to this process at once, to the others through Redis.

A signal says only which day changed; what it is like now, everyone reads from the database. So one that comes twice,
late or never is no harm: after a gap the listeners are told that anything may have changed, and look for themselves.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import date
from typing import Final, Self

import structlog

from seatweb.storage.caching import Kept
from seatweb.storage.redis import Command, RedisAway, RedisClient

CHANNEL: Final = "seatweb:changes"
LONGEST_REST_SECONDS: Final = 2.0
GATHER_SECONDS: Final = 0.01
AGAIN_SECONDS: Final = 0.2
UNDONE_KEPT: Final = 10_000

log = structlog.get_logger(__name__)


class Changes:
    """The signals of this process and of all others on the same Redis."""

    def __init__(self, redis: RedisClient) -> None:
        self._redis = redis
        self._name = secrets.token_hex(8)  # of this process, to know its own signals
        self._listeners: list[Callable[[date | None], None]] = []
        self._untold: set[date] = set()
        self._undone: Kept[Command, None] = Kept(UNDONE_KEPT)
        self._something = asyncio.Event()
        self.connected = False
        """Whether the signals of others arrive."""

    @classmethod
    @asynccontextmanager
    async def open(cls, redis: RedisClient) -> AsyncIterator[Self]:
        """Yield the signals, sent and received until the end."""
        changes = cls(redis)
        tasks = [asyncio.create_task(changes._send()), asyncio.create_task(changes._receive())]
        try:
            yield changes
        finally:
            while not all(task.done() for task in tasks):  # redis-py loses a cancellation now and then
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks, timeout=0.05)

    def listen(self, listener: Callable[[date | None], None]) -> None:
        """Call the listener with each day that changed, and with None when anything may have changed."""
        self._listeners.append(listener)

    def tell(self, day: date, *commands: Command) -> None:
        """Say that the day changed; to be called after the commit. It cannot fail.

        The commands are what else Redis is to do; the others hear of the day after they were done.
        """
        self._notify(day)
        self._untold.add(day)
        for command in commands:
            self._undone[command] = None
        self._something.set()

    def _notify(self, day: date | None) -> None:
        for listener in self._listeners:
            listener(day)

    async def _send(self) -> None:
        # One message at a time: what changes while it is on its way goes into the next, so a rush costs few messages.
        sent = 0.0
        while True:
            await self._something.wait()
            if time.monotonic() - sent < GATHER_SECONDS:  # the first goes at once; in a rush they gather a little
                await asyncio.sleep(GATHER_SECONDS)
            sent = time.monotonic()
            self._something.clear()
            (days, self._untold), (undone, self._undone) = (self._untold, set()), (self._undone, Kept(UNDONE_KEPT))
            try:
                await self._redis.batch([*undone, ("PUBLISH", CHANNEL, " ".join([self._name, *map(str, days)]))])
            except Exception as error:
                if not isinstance(error, RedisAway):
                    log.exception("the signals could not be sent; trying again")
                # The others may be connected and know of nothing: they are told as soon as that works again.
                self._untold |= days
                for command in undone:
                    self._undone[command] = None
                await asyncio.sleep(AGAIN_SECONDS)
                self._something.set()

    async def _receive(self) -> None:
        rest = 0.05
        while True:
            try:
                async with self._redis.listen(CHANNEL) as messages:
                    self.connected, rest = True, 0.05
                    self._notify(None)
                    async for message in messages:
                        name, *days = message.split(" ")
                        for day in days if name != self._name else ():
                            self._notify(date.fromisoformat(day))
            except RedisAway:
                if self.connected:
                    log.warning("no signals from other processes: looking for changes instead")
            except Exception:
                log.exception("the signals failed; starting again")
            self.connected = False
            self._notify(None)
            await asyncio.sleep(random.uniform(rest / 2, rest))  # noqa: S311 - jitter, not a secret
            rest = min(2 * rest, LONGEST_REST_SECONDS)
