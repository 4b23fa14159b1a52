"""The attempts that one process counted itself: what it knows of limits without asking anyone."""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import Final

from msgspec import Struct

from seatweb.settings import Limit

PENDING_SECONDS: Final = 5.0  # longer than any request: an attempt this old is not given back any more


class Log(Struct, frozen=True):
    """Where attempts are counted, and how many may stand there."""

    key: str
    limit: Limit


class _Counted(Struct):
    at: float  # on the monotonic clock
    failed: bool = False


class Refusal(Struct, frozen=True):
    """Why an attempt is too much: how long to wait, and whether that is settled, or one may still be given back."""

    seconds: float
    settled: bool


class OwnAttempts:
    """When this process counted what: at most so many attempts; beyond, the log is forgotten that was idle longest."""

    def __init__(self, attempts: int) -> None:
        self._attempts = attempts
        self._logs: OrderedDict[str, OrderedDict[str, _Counted]] = OrderedDict()
        self._size = 0

    def add(self, logs: list[Log], attempt: str) -> Refusal | None:
        """Count the attempt, unless this process alone has counted as many as all may."""
        if refusal := self.refusal(logs, attempt):
            return refusal
        now = time.monotonic()
        for log in logs:
            self._logs.setdefault(log.key, OrderedDict())[attempt] = _Counted(now)
            self._logs.move_to_end(log.key)
            self._size += 1
        while self._size > self._attempts:
            self._size -= len(self._logs.popitem(last=False)[1])
        return None

    def refusal(self, logs: list[Log], attempt: str, share: int = 1) -> Refusal | None:
        """Return why the attempt is too much by this process's own count, with that share of the limit."""
        found = None
        now = time.monotonic()
        for log in logs:
            most = max(1, log.limit.count // share)
            times = self._before(log, attempt, now, most)
            if len(times) >= most:
                wait = times[len(times) - most] + log.limit.seconds - now
                settled = now - times[most - 1] >= PENDING_SECONDS
                found = Refusal(max(wait, found.seconds), settled or found.settled) if found else Refusal(wait, settled)
        return found

    def fail(self, logs: list[Log], attempt: str) -> None:
        """Keep that the attempt failed: it is not given back any more."""
        for log in logs:
            known = self._logs.get(log.key)
            if known and (counted := known.get(attempt)):
                counted.failed = True

    def failed(self, log: Log) -> list[tuple[str, int]]:
        """Return the attempts that failed, with their age in milliseconds."""
        now = time.monotonic()
        known = self._logs.get(log.key) or OrderedDict[str, _Counted]()
        return [(attempt, round(1000 * (now - one.at))) for attempt, one in known.items() if one.failed]

    def remove(self, logs: list[Log], attempt: str) -> None:
        """Forget the attempt."""
        for log in logs:
            known = self._logs.get(log.key)
            if known and known.pop(attempt, None) is not None:
                self._size -= 1
                if not known:
                    del self._logs[log.key]

    def _before(self, log: Log, attempt: str, now: float, most: int) -> list[float]:
        """Return when the attempts before this one were counted that still count, oldest first; none if not so many."""
        known = self._logs.get(log.key)
        if not known:
            return []
        while known and known[next(iter(known))].at <= now - log.limit.seconds:
            known.popitem(last=False)
            self._size -= 1
        if not known:
            del self._logs[log.key]
        if len(known) - (attempt in known) < most:
            return []
        times = []
        for other, counted in known.items():
            if other == attempt:
                break
            times.append(counted.at)
        return times
