"""The command: `python -m benchmarks [row …]`, or `make bench`."""

from __future__ import annotations

import argparse
import logging
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from seatweb.server.embedded import EmbeddedError

from benchmarks import machine, report, signals
from benchmarks.load import BenchmarkError
from benchmarks.measure import Bench, Result, failure
from benchmarks.rows import ROWS
from benchmarks.servers import Cores, running_servers

SMALLEST_HISTORY: Final = 20_000  # with fewer bookings, the days would not be full


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmarks and print the table; return the exit code: 1 if a row failed, 2 for wrong usage."""
    options = _options(arguments)
    logging.getLogger("pogo_core").setLevel(logging.ERROR)  # do not list the applied migrations
    signals.take()
    folder = Path(tempfile.mkdtemp(prefix="seatweb-bench-"))
    try:
        return _measure(options, folder)
    except KeyboardInterrupt:
        _say("interrupted")
        return 130
    except (BenchmarkError, EmbeddedError) as error:
        _say(str(error))
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _measure(options: argparse.Namespace, folder: Path) -> int:
    with running_servers(folder, Cores.take()) as servers:
        bench = Bench(
            servers=servers,
            rounds=options.rounds or 3,
            seconds=options.seconds or (0.3 if options.quick else 5.0),
            quick=options.quick,
            history=options.history or (SMALLEST_HISTORY if options.quick else 200_000),
            say=_say,
        )
        description = machine.describe(servers)
        results: list[Result] = []
        for name in options.rows or ROWS:
            signals.check()
            started = time.monotonic()
            results += _row(bench, name)
            _say(f"{name}: {time.monotonic() - started:.0f} s")
        method = f"median of {bench.rounds} rounds of {bench.seconds:g} s, alternating between the limit and Seatweb"
        print(report.markdown(description | {"measured": method}, results))
        if options.json:
            options.json.write_bytes(report.as_json(description | {"measured": method}, results))
    return 1 if any(result.failed for result in results) else 0


def _row(bench: Bench, name: str) -> list[Result]:
    _say(f"{name} …")
    try:
        return ROWS[name](bench)
    except BenchmarkError as error:
        _say("\n".join([f"{name}: {error}", *getattr(error, "__notes__", [])]))
        return [failure(name, str(error))]


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    names = {_hyphenated(name): name for name in ROWS}
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure Seatweb; see the README here.")
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"any of: {', '.join(names)} (all if none is named)")
    parser.add_argument("--quick", action="store_true", help="check that everything runs; the figures mean nothing")
    parser.add_argument("--rounds", type=int, help="rounds for each side, at least 3 (default 3)")
    parser.add_argument("--seconds", type=float, help="length of each round (default 5)")
    parser.add_argument(
        "--history", type=int, help="past bookings for the history row (default 200000; the goal is 10000000)"
    )
    parser.add_argument("--json", type=Path, help="also write all results to this file, including each round")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.rows if _hyphenated(name) not in names]
    if unknown:
        parser.error(f"unknown row {unknown[0]!r}; choose from: {', '.join(names)}")
    options.rows = [names[_hyphenated(name)] for name in options.rows]
    if options.rounds is not None and options.rounds < 3:
        parser.error("--rounds must be at least 3")
    if options.seconds is not None and not 0.1 <= options.seconds <= 60:
        parser.error("--seconds must be between 0.1 and 60")
    if options.history is not None and options.history < SMALLEST_HISTORY:
        parser.error(f"--history must be at least {SMALLEST_HISTORY}")
    return options


def _hyphenated(name: str) -> str:
    return name.replace(" ", "-")


def _say(line: str) -> None:
    print(f"benchmarks: {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
