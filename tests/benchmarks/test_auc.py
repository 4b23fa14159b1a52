"""The figure by which times are compared."""

from __future__ import annotations

import math
import random
import statistics

import pytest
from benchmarks.told_apart import told_apart


def test_it_is_the_chance_that_one_of_the_first_is_higher() -> None:
    assert told_apart([([3, 4], [1, 2])]).area == 1
    assert told_apart([([1, 2], [3, 4])]).area == 0
    assert told_apart([([1, 2], [3, 4])]).either_way == 1
    assert told_apart([([2, 2], [2, 2])]).area == 0.5
    assert told_apart([([2, 5, 3], [1, 3])]).area == pytest.approx((1 + 2 + 1.5) / 6)


def test_only_times_of_one_stratum_are_compared() -> None:
    assert told_apart([([1, 2], [1, 2]), ([101, 102], [101, 102])]).area == 0.5
    assert told_apart([([1], [2, 3, 4]), ([102], [101])]).area == 0.25  # of four pairs one


def test_the_error_is_how_far_chance_leads() -> None:
    order = random.Random(1)  # noqa: S311
    found = []
    for _ in range(2000):
        strata = [([order.random() for _ in range(4)], [order.random() for _ in range(6)]) for _ in range(5)]
        found.append(told_apart(strata))
    assert found[0].error == pytest.approx(math.sqrt(5 * 24 * 11 / 12) / 120)
    assert statistics.mean(one.area for one in found) == pytest.approx(0.5, abs=0.01)
    assert statistics.stdev(one.area for one in found) == pytest.approx(found[0].error, rel=0.1)
