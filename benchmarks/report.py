"""Print the results."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from benchmarks.measure import Result

HEADS: Final = ("row", "what", "ours", "against", "figure", "goal", "met")


def markdown(machine: Mapping[str, str], results: Iterable[Result]) -> str:
    """Return the machine and the table as markdown."""
    lines = [f"- {name}: {value}" for name, value in machine.items()]
    rows = [HEADS, *(("---",) * len(HEADS),), *map(_cells, results)]
    return "\n".join(["", *lines, "", *(f"| {' | '.join(row)} |" for row in rows)])


def as_json(machine: Mapping[str, str], results: Iterable[Result]) -> bytes:
    """Return the machine and the results as JSON, with the figures of each round."""
    rows = [{**msgspec.to_builtins(result), "met": result.met} for result in results]
    return msgspec.json.format(msgspec.json.encode({"machine": machine, "rows": rows}), indent=2) + b"\n"


def _cells(result: Result) -> tuple[str, ...]:
    sign = "≥" if result.better == "more" else "≤"
    goal = "" if result.goal is None or result.failed else f"{sign} {_shown(result.goal, result.unit)}"
    figure = "" if result.figure is None else _shown(result.figure, result.unit)
    met = {None: "", True: "yes", False: "NO"}[result.met]
    cells = (result.name, result.sent, result.ours, result.against, figure, goal, met)
    return tuple(cell.replace("|", "\\|").replace("\n", " ") for cell in cells)


def _shown(figure: float, unit: str) -> str:
    number = f"{figure:,.0f}" if abs(figure) >= 100 or unit == " more" else f"{figure:.2f}"
    return number + unit
