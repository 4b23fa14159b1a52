"""Signal that a day changed: to this process at once, to the others through Redis.

A signal only names the day; listeners read its new state from the database. So a signal may arrive twice, late or
never: after a gap, listeners are told that any day may have changed.
"""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import Callable, Iterable
from datetime import date
from typing import Final, Self

import structlog

from seatweb.storage.outbox import RedisOutbox
from seatweb.storage.redis import Command, RedisAway, RedisClient, end_task

CHANNEL: Final = "seatweb:changes"
FIRST_RETRY_SECONDS: Final = 0.05
LONGEST_RETRY_SECONDS: Final = 2.0

log = structlog.get_logger(__name__)


class Changes:
    """Sends signals, and passes them to its listeners, including those from other processes on the same Redis."""

    def __init__(self, redis: RedisClient, outbox: RedisOutbox) -> None:
        self._redis = redis
        self._outbox = outbox
        self._sender = secrets.token_hex(8)  # this process; it skips its own signals when they come back
        self._listeners: list[Callable[[date | None], None]] = []
        self.connected = False
        """Whether signals from other processes arrive."""

    async def __aenter__(self) -> Self:
        """Start receiving."""
        self._receiving = asyncio.create_task(self._receive())
        return self

    async def __aexit__(self, *exception: object) -> None:
        """Stop receiving."""
        await end_task(self._receiving)

    def listen(self, listener: Callable[[date | None], None]) -> None:
        """Call the listener with each day that changes, and with None when any day may have changed."""
        self._listeners.append(listener)

    def signal(self, day: date) -> None:
        """Signal that the day changed; call it after the commit. Never raises.

        Other processes receive it after the commands that were put into the outbox before it.
        """
        self._notify(day)
        self._outbox.put(signal_command(self._sender, [day]))

    def _notify(self, day: date | None) -> None:
        for listener in self._listeners:
            listener(day)

    async def _receive(self) -> None:
        delay = FIRST_RETRY_SECONDS
        while True:
            try:
                async with self._redis.listen(CHANNEL) as messages:
                    self.connected, delay = True, FIRST_RETRY_SECONDS
                    self._notify(None)
                    async for message in messages:
                        sender, *days = message.split(" ")
                        for day in days if sender != self._sender else ():
                            self._notify(date.fromisoformat(day))
            except RedisAway:
                if self.connected:
                    log.warning("no signals from other processes; polling for changes instead")
            except Exception:
                log.exception("receiving signals failed; retrying")
            self.connected = False
            self._notify(None)
            await asyncio.sleep(random.uniform(delay / 2, delay))  # noqa: S311 - jitter, not a secret
            delay = min(2 * delay, LONGEST_RETRY_SECONDS)


def signal_command(sender: str, days: Iterable[date]) -> Command:
    """Return the Redis command that signals the days to every process but the sender."""
    return ("PUBLISH", CHANNEL, " ".join([sender, *map(str, days)]))
