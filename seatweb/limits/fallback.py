"""Limits in one process, enforced while Redis is away."""

from __future__ import annotations

import time
from collections import deque
from typing import Final

from seatweb.settings import Limit
from seatweb.storage.caching import BoundedDict

KEYS_KEPT: Final = 10_000


class LocalLimits:
    """The latest attempts that this process allowed, and its share of each limit: the limit divided by `workers`.

    A share is at least 1. Of more than 10,000 keys, the least recently counted ones are dropped.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._times: BoundedDict[str, deque[float]] = BoundedDict(KEYS_KEPT)  # on the monotonic clock, oldest first

    def seconds_to_wait(self, key: str, limit: Limit) -> float:
        """Return how long until the share has room for another attempt; 0 if it has room now."""
        times = self._times.get(key)
        if times is None or len(times) < self._share(limit):
            return 0
        return max(0, times[0] + limit.seconds - time.monotonic())

    def add(self, key: str, limit: Limit) -> None:
        """Count an attempt that was allowed."""
        times = self._times.get(key) or deque(maxlen=self._share(limit))  # older ones are not needed
        times.append(time.monotonic())
        self._times[key] = times

    def _share(self, limit: Limit) -> int:
        return max(1, limit.count // self._workers)
