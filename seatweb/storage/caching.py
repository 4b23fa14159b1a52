"""In-process caches: a bounded dictionary, and a short-lived cache in which concurrent readers share one fetch."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable, Iterable
from typing import Generic, TypeVar

from msgspec import Struct

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")
V = TypeVar("V")


class BoundedDict(dict[K, T]):
    """A dictionary of at most `entries` entries; it drops the oldest one when a new one does not fit."""

    def __init__(self, entries: int) -> None:
        super().__init__()
        self._entries = entries

    def __setitem__(self, key: K, value: T) -> None:
        """Store the value as the newest entry."""
        self.pop(key, None)
        super().__setitem__(key, value)
        if len(self) > self._entries:
            del self[next(iter(self))]


class _Entry(Struct, Generic[V], frozen=True):
    value: V
    read_at: float  # when the fetch began, on the monotonic clock


class _Flight(Struct, Generic[V]):
    task: asyncio.Task[V]
    stale: bool = False  # something changed after it began; current waiters may use it, later callers must not


class TimedCache(Generic[K, V]):
    """Caches what `fetch` returns for each key, for at most `seconds` since the fetch began; at most `entries` keys.

    A `peek` at a value that is older than `renewed_after` seconds starts to fetch it again, so that readers of a value
    that is in steady use never have to wait.
    """

    def __init__(
        self,
        fetch: Callable[[K], Awaitable[V]],
        *,
        seconds: float,
        entries: int,
        renewed_after: float = float("inf"),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._monotonic = monotonic
        self._fetch = fetch
        self._seconds = seconds
        self._renewed_after = renewed_after
        self._unchanged_at = float("-inf")
        self._kept: BoundedDict[K, _Entry[V]] = BoundedDict(entries)
        self._flights: dict[K, _Flight[V]] = {}

    def peek(self, key: K) -> V | None:
        """Return the cached value; None if there is none or it is too old. Never waits."""
        return self._peek(key, self._monotonic())

    def peek_all(self, keys: Iterable[K]) -> list[V | None]:
        """Return what `peek` returns for each key."""
        now = self._monotonic()
        return [self._peek(key, now) for key in keys]

    async def get(self, key: K, *, fresh: bool = False) -> V:
        """Return the value, cached or fetched; with `fresh`, fetched after this call."""
        if fresh:
            self.forget(key)
        while (kept := self._kept.get(key)) is None or self._age(kept, self._monotonic()) >= self._seconds:
            flight = self._flights.get(key)
            if flight is None:
                flight = self._start(key)
            elif flight.stale:
                await asyncio.wait([flight.task])
                continue
            return await asyncio.shield(flight.task)
        return kept.value

    def renew_all(self, unchanged_at: float) -> None:
        """Extend all lifetimes: the values that are cached or being fetched were current then (monotonic clock)."""
        self._unchanged_at = unchanged_at

    def forget(self, key: K) -> None:
        """Drop the cached value and mark a fetch in progress as stale, because something changed."""
        self._kept.pop(key, None)
        if flight := self._flights.get(key):
            flight.stale = True

    def forget_all(self, wanted: Callable[[K], bool] = lambda _: True) -> None:
        """Drop all cached values, or those whose key is `wanted`, as `forget` does."""
        for key in [key for key in (*self._kept, *self._flights) if wanted(key)]:
            self.forget(key)

    def _peek(self, key: K, now: float) -> V | None:
        kept = self._kept.get(key)
        if kept is None or (age := self._age(kept, now)) >= self._seconds:
            return None
        if age > self._renewed_after and key not in self._flights:
            self._start(key)
        return kept.value

    def _age(self, entry: _Entry[V], now: float) -> float:
        return now - max(entry.read_at, self._unchanged_at)

    def _start(self, key: K) -> _Flight[V]:
        began = self._monotonic()

        async def fetch() -> V:
            return await self._fetch(key)

        flight = _Flight(asyncio.create_task(fetch()))
        self._flights[key] = flight

        def finish(task: asyncio.Task[V]) -> None:
            del self._flights[key]
            # Retrieving the exception keeps asyncio from logging it when every reader was cancelled.
            if task.cancelled() or task.exception() is not None or flight.stale:
                return
            self._kept[key] = _Entry(task.result(), began)

        flight.task.add_done_callback(finish)
        return flight
