"""Send Redis commands in the background: in order, in batches, and again after an outage."""

from __future__ import annotations

import asyncio
import time
from itertools import islice
from typing import Final, Self

import structlog

from seatweb.storage.caching import BoundedDict
from seatweb.storage.redis import Command, RedisAway, RedisClient, end_task

GATHER_SECONDS: Final = 0.01
RETRY_SECONDS: Final = 0.2
BATCH: Final = 500  # commands in one round trip, so that it stays far below Redis's time limit
COMMANDS_KEPT: Final = 10_000

log = structlog.get_logger(__name__)


class RedisOutbox:
    """This process's queue of unsent commands: equal ones are sent once; above 10,000 the oldest are dropped."""

    def __init__(self, redis: RedisClient) -> None:
        self._redis = redis
        self._waiting: BoundedDict[Command, None] = BoundedDict(COMMANDS_KEPT)
        self._some = asyncio.Event()

    async def __aenter__(self) -> Self:
        """Start sending."""
        self._sending = asyncio.create_task(self._send())
        return self

    async def __aexit__(self, *exception: object) -> None:
        """Stop sending; drop what is still queued."""
        await end_task(self._sending)

    def put(self, command: Command) -> None:
        """Queue the command, to be sent after those put before it. Never raises."""
        self._waiting[command] = None
        self._some.set()

    async def _send(self) -> None:
        # One batch at a time: commands put meanwhile go into the next one, so a rush needs few round trips.
        sent = 0.0
        while True:
            await self._some.wait()
            if time.monotonic() - sent < GATHER_SECONDS:  # send a lone command at once; in a rush, collect more
                await asyncio.sleep(GATHER_SECONDS)
            sent = time.monotonic()
            batch = list(islice(self._waiting, BATCH))
            for command in batch:
                del self._waiting[command]
            if not self._waiting:
                self._some.clear()
            try:
                await self._redis.batch(batch)
            except Exception as error:
                if not isinstance(error, RedisAway):
                    log.exception("sending to Redis failed; retrying")
                later = list(self._waiting)
                self._waiting.clear()
                for command in [*batch, *later]:
                    self._waiting[command] = None
                self._some.set()
                await asyncio.sleep(RETRY_SECONDS)
