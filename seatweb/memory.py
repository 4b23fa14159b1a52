"""Values that may be a moment old, kept in the process: read often, fetched by one reader at a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from msgspec import Struct

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class _Kept(Struct, Generic[V], frozen=True):
    value: V
    read_at: float  # when the fetch began, on the monotonic clock


class _Flight(Struct, Generic[V]):
    task: asyncio.Task[V]
    stale: bool = False  # something changed since it began: good enough for who waits already, not for who comes now


class Memory(Generic[K, V]):
    """What `fetch` returned for each key, for at most `seconds`, and at most `entries` of them."""

    def __init__(self, fetch: Callable[[K], Awaitable[V]], *, seconds: float, entries: int) -> None:
        self._fetch = fetch
        self._seconds = seconds
        self._entries = entries
        self._kept: dict[K, _Kept[V]] = {}
        self._flights: dict[K, _Flight[V]] = {}

    def peek(self, key: K) -> V | None:
        """Return the value if it is known and not too old, without waiting for anything."""
        kept = self._kept.get(key)
        return kept.value if kept is not None and time.monotonic() - kept.read_at < self._seconds else None

    async def get(self, key: K, *, fresh: bool = False) -> V:
        """Return the value; with `fresh`, as it is now or later, not as it was before this call."""
        if fresh:
            self.forget(key)
        while (kept := self._kept.get(key)) is None or time.monotonic() - kept.read_at >= self._seconds:
            flight = self._flights.get(key)
            if flight is None:
                flight = self._start(key)
            elif flight.stale:
                await asyncio.wait([flight.task])
                continue
            return await asyncio.shield(flight.task)
        return kept.value

    def forget(self, key: K) -> None:
        """Take what is known of the key, and what is being fetched, as old: something changed."""
        self._kept.pop(key, None)
        if flight := self._flights.get(key):
            flight.stale = True

    def _start(self, key: K) -> _Flight[V]:
        began = time.monotonic()

        async def fetch() -> V:
            return await self._fetch(key)

        flight = _Flight(asyncio.create_task(fetch()))
        self._flights[key] = flight

        def landed(task: asyncio.Task[V]) -> None:
            del self._flights[key]
            # Taking the exception tells asyncio that it is not lost, also when every reader left meanwhile.
            if task.cancelled() or task.exception() is not None or flight.stale:
                return
            self._kept.pop(key, None)
            self._kept[key] = _Kept(task.result(), began)
            if len(self._kept) > self._entries:
                del self._kept[next(iter(self._kept))]

        flight.task.add_done_callback(landed)
        return flight
