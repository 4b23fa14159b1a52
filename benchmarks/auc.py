"""Can two kinds of requests be distinguished by their times? Computes the area under the ROC curve (AUC).

The AUC is the probability that a request of the first kind takes longer than one of the second (Mann and Whitney): 0.5
if the times reveal nothing, 1 or 0 if they reveal everything.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from math import sqrt
from typing import Final, NamedTuple

CONFIDENCE: Final = 1.96  # standard errors, for 95 %


class Estimate(NamedTuple):
    """An estimate of the AUC; `error` is its standard error if the two kinds do not differ."""

    area: float
    error: float

    @property
    def either_way(self) -> float:
        """The AUC or one minus it, whichever is larger: 0.5 or more."""
        return max(self.area, 1 - self.area)

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % confidence interval, valid near 0.5."""
        return self.either_way - CONFIDENCE * self.error, self.either_way + CONFIDENCE * self.error


def estimate_auc(strata: Iterable[tuple[Sequence[float], Sequence[float]]]) -> Estimate:
    """Return how well the first kind's times can be told from the second's; compare only within each stratum."""
    area = variance = pairs = 0.0
    for first, second in strata:
        weight = len(first) * len(second)
        area += _higher(first, second)
        # The variance of a rank sum (Mann and Whitney 1947), exact if all orders of the times are equally likely.
        variance += weight * (len(first) + len(second) + 1) / 12
        pairs += weight
    return Estimate(area / pairs, sqrt(variance) / pairs)


def _higher(first: Sequence[float], second: Sequence[float]) -> float:
    """Return the number of pairs in which the first value is higher; ties count half."""
    ordered = sorted(second)
    return sum(bisect_left(ordered, value) + bisect_right(ordered, value) for value in first) / 2
