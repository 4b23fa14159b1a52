"""The AUC, by which the benchmarks compare times."""

from __future__ import annotations

import math
import random
import statistics

import pytest
from benchmarks.auc import estimate_auc


def test_the_auc_is_the_probability_that_the_first_kind_is_higher() -> None:
    assert estimate_auc([([3, 4], [1, 2])]).area == 1
    assert estimate_auc([([1, 2], [3, 4])]).area == 0
    assert estimate_auc([([1, 2], [3, 4])]).either_way == 1
    assert estimate_auc([([2, 2], [2, 2])]).area == 0.5
    assert estimate_auc([([2, 5, 3], [1, 3])]).area == pytest.approx((1 + 2 + 1.5) / 6)


def test_times_are_compared_only_within_a_stratum() -> None:
    assert estimate_auc([([1, 2], [1, 2]), ([101, 102], [101, 102])]).area == 0.5
    assert estimate_auc([([1], [2, 3, 4]), ([102], [101])]).area == 0.25  # one of four pairs


def test_the_error_is_the_standard_deviation_by_chance() -> None:
    order = random.Random(1)  # noqa: S311
    estimates = []
    for _ in range(2000):
        strata = [([order.random() for _ in range(4)], [order.random() for _ in range(6)]) for _ in range(5)]
        estimates.append(estimate_auc(strata))
    assert estimates[0].error == pytest.approx(math.sqrt(5 * 24 * 11 / 12) / 120)
    assert statistics.mean(estimate.area for estimate in estimates) == pytest.approx(0.5, abs=0.01)
    assert statistics.stdev(estimate.area for estimate in estimates) == pytest.approx(estimates[0].error, rel=0.1)
