"""Signals that a day changed: to this process at once, to the others through Redis.

A signal says only which day changed; everyone reads from the database what the day is like now. So a signal may come
twice, late or never: after a gap the listeners are told that anything may have changed, and look for themselves.
"""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import Callable
from datetime import date
from typing import Final, Self

import structlog

from seatweb.storage.outbox import RedisOutbox
from seatweb.storage.redis import RedisAway, RedisClient, end_task

CHANNEL: Final = "seatweb:changes"
LONGEST_REST_SECONDS: Final = 2.0

log = structlog.get_logger(__name__)


class Changes:
    """The signals of this process and of all others on the same Redis."""

    def __init__(self, redis: RedisClient, outbox: RedisOutbox) -> None:
        self._redis = redis
        self._outbox = outbox
        self._name = secrets.token_hex(8)  # of this process, to know its own signals
        self._listeners: list[Callable[[date | None], None]] = []
        self.connected = False
        """Whether the signals of others arrive."""

    async def __aenter__(self) -> Self:
        """Begin to receive."""
        self._receiving = asyncio.create_task(self._receive())
        return self

    async def __aexit__(self, *exception: object) -> None:
        """Stop receiving."""
        await end_task(self._receiving)

    def listen(self, listener: Callable[[date | None], None]) -> None:
        """Call the listener with each day that changed, and with None when anything may have changed."""
        self._listeners.append(listener)

    def tell(self, day: date) -> None:
        """Say that the day changed; to be called after the commit. It cannot fail.

        Other processes hear of it after every command that was put into the outbox before.
        """
        self._notify(day)
        self._outbox.put(("PUBLISH", CHANNEL, f"{self._name} {day}"))

    def _notify(self, day: date | None) -> None:
        for listener in self._listeners:
            listener(day)

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
