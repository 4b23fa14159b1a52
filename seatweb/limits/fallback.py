"""What one process let through itself: with Redis away it decides by that alone."""

from __future__ import annotations

import time
from collections import deque
from typing import Final

from seatweb.settings import Limit
from seatweb.storage.caching import BoundedDict

KEYS_KEPT: Final = 10_000


class OwnShare:
    """The latest attempts that this process let through, and its share of each limit: a part for each worker.

    A share is one at least. Of more than 10,000 keys, those are forgotten under which nothing was counted for longest.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._times: BoundedDict[str, deque[float]] = BoundedDict(KEYS_KEPT)  # on the monotonic clock, the oldest first

    def seconds_to_wait(self, key: str, limit: Limit) -> float:
        """Return how long until the share has room for one more attempt; 0 where it has."""
        times = self._times.get(key)
        if times is None or len(times) < self._share(limit):
            return 0
        return max(0, times[0] + limit.seconds - time.monotonic())

    def add(self, key: str, limit: Limit) -> None:
        """Count an attempt that was let through."""
        times = self._times.get(key) or deque(maxlen=self._share(limit))  # who has room for the share needs no more
        times.append(time.monotonic())
        self._times[key] = times

    def _share(self, limit: Limit) -> int:
        return max(1, limit.count // self._workers)
