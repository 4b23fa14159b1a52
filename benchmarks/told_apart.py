"""Whether two kinds of requests are told apart by their times: the area under the ROC curve (AUC).

It is the chance that one of the first takes longer than one of the second (Mann and Whitney): 0.5 where the time tells
nothing, 1 or 0 where it tells everything.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from math import sqrt
from typing import Final, NamedTuple

CONFIDENCE: Final = 1.96  # standard errors, for 95 %


class Estimate(NamedTuple):
    """What some times tell; `error` is the standard error of the area where nothing tells them apart."""

    area: float
    error: float

    @property
    def either_way(self) -> float:
        """The area for who looks for the longer or for the shorter times, whatever is better: at least 0.5."""
        return max(self.area, 1 - self.area)

    @property
    def interval(self) -> tuple[float, float]:
        """In which it is with 95 %, as long as it is near 0.5."""
        return self.either_way - CONFIDENCE * self.error, self.either_way + CONFIDENCE * self.error


def told_apart(strata: Iterable[tuple[Sequence[float], Sequence[float]]]) -> Estimate:
    """Return how well times of the first kind are told from those of the second, each compared within its stratum."""
    area = variance = pairs = 0.0
    for first, second in strata:
        weight = len(first) * len(second)
        area += _higher(first, second)
        # That of a rank sum (Mann and Whitney 1947), exact for times that come in any order with the same chance.
        variance += weight * (len(first) + len(second) + 1) / 12
        pairs += weight
    return Estimate(area / pairs, sqrt(variance) / pairs)


def _higher(first: Sequence[float], second: Sequence[float]) -> float:
    """Return how many pairs have the higher value in the first, half of them where it is the same."""
    ordered = sorted(second)
    return sum(bisect_left(ordered, value) + bisect_right(ordered, value) for value in first) / 2
