"""Measure in interleaved rounds, and present the results."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from benchmarks.servers import Servers

T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True, slots=True)
class Bench:
    """The servers, and how long to measure; passed to every row."""

    servers: Servers
    rounds: int
    seconds: float  # of each round
    quick: bool
    history: int
    say: Callable[[str], None]

    def interleaved(self, limit: Callable[[], T], ours: Callable[[], U]) -> tuple[list[T], list[U]]:
        """Run both in turn (the limit, ours, the limit, ours) and return the results of each."""
        limits, results = [], []
        for _ in range(self.rounds):
            limits.append(limit())
            results.append(ours())
        return limits, results


@dataclass(frozen=True, slots=True)
class Result:
    """One line of the table."""

    name: str
    sent: str
    ours: str
    against: str
    figure: float | None  # compared with the goal; None if the row failed
    unit: str = ""
    goal: float | None = None
    better: Literal["more", "less"] = "more"
    rounds: dict[str, list[float]] = field(default_factory=dict)

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None without a goal."""
        if self.goal is None:
            return None
        if self.figure is None:
            return False
        return self.figure >= self.goal if self.better == "more" else self.figure <= self.goal

    @property
    def failed(self) -> bool:
        """Whether the row could not be measured."""
        return self.figure is None


def failure(name: str, why: str) -> Result:
    """Return the result for a row that could not be measured."""
    first_line = why.partition("\n")[0].strip()
    return Result(name=name, sent="", ours=f"failed: {first_line}", against="", figure=None, goal=0)


def median(values: Iterable[float]) -> float:
    """Return the median."""
    return statistics.median(values)


def per_second(rate: float) -> str:
    """Format a rate."""
    return f"{rate:,.0f}/s"


def milliseconds(seconds: float) -> str:
    """Format a time in milliseconds."""
    return f"{1000 * seconds:.2f} ms"
