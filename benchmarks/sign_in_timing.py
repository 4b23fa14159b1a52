"""Does a failed sign-in's time reveal whether the account exists? `python -m benchmarks.sign_in_timing` measures it.

It tries each username once, in random order, over one connection; half of them exist.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterable, Sequence
from itertools import chain, count
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
from argon2 import PasswordHasher
from seatweb.accounts.fair_queue import Requester
from seatweb.accounts.passwords import Passwords
from seatweb.server.embedded import EmbeddedError

from benchmarks import data, machine, people, signals
from benchmarks.auc import Estimate, estimate_auc
from benchmarks.load import Address, BenchmarkError, Exchange, load, request, run
from benchmarks.servers import Cores, execute, running_servers

GOAL: Final = 0.55
PAGE, API = "POST /login", "POST /auth/login"
UNKNOWN: Final = "unknown"
KNOWN: Final = ("known", "known, in capitals", "known, disabled", "known, second factor", "known, outdated hash")
EACH_IN_A_BLOCK: Final = 2
WARM_UP: Final = 20
SECONDS_EACH: Final = 1.0  # at most, on average
# Each username is tried once, so no account reaches its limit, which stays on so that its cost is measured.
SETTINGS: Final = {"SEATWEB_LIMIT_SIGN_IN_FAILURES_PER_ADDRESS": "off", "SEATWEB_LIMIT_REQUESTS": "off"}
REGISTER: Final = """
    with registered as (
        insert into users (username, username_key, password_hash, disabled_at)
        select name, name, password_hash, case when kind like '%disabled' then now() end
        from unnest($1::text[], $2::text[], $3::text[]) as given (name, kind, password_hash)
        returning id, username
    )
    insert into totp_secrets (user_id, secret, confirmed_at)
    select id, 'JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP', now()
    from registered inner join unnest($1::text[], $2::text[]) as given (name, kind) on name = username
    where kind like '%second factor'
"""


class Attempt(NamedTuple):
    """One sign-in with a wrong password."""

    username: str
    kind: str
    route: str
    block: int  # number of its group of consecutive attempts

    def exchange(self) -> Exchange:
        """Return the request, and the only acceptable answer."""
        typed = self.username.upper() if self.kind == "known, in capitals" else self.username
        if self.route == PAGE:
            return Exchange(people.sign_in_form(typed, "wrong"), {b"422": b"Wrong username or password"})
        body = msgspec.json.encode({"username": typed, "password": "wrong"})
        return Exchange(request("POST", "/auth/login", {}, body), {b"401": b"bad_credentials"})


def plan(blocks: int, known: Sequence[str], each: int, seed: int) -> list[Attempt]:
    """Return attempts in blocks; each has, for both routes, `each` of every known kind and as many unknown ones."""
    order = random.Random(seed)  # noqa: S311 - no secret
    kinds = [*(kind for kind in known for _ in range(each)), *[UNKNOWN] * (len(known) * each)]
    names = [f"person.{number:06}" for number in range(blocks * 2 * len(kinds))]
    order.shuffle(names)
    attempts = []
    for block in range(blocks):
        chosen = [(kind, route) for kind in kinds for route in (PAGE, API)]
        order.shuffle(chosen)
        attempts += [Attempt(names.pop(), kind, route, block) for kind, route in chosen]
    return attempts


def register(database_url: str, attempts: Iterable[Attempt]) -> None:
    """Create the known users, with the kind of account that each attempt needs."""
    current = asyncio.run(Passwords().hash("right", Requester("192.0.2.1", "person")))
    outdated = PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1).hash("right")
    known = [attempt for attempt in attempts if attempt.kind != UNKNOWN]
    hashes = [outdated if attempt.kind.endswith("outdated hash") else current for attempt in known]
    execute(database_url, REGISTER, [one.username for one in known], [one.kind for one in known], hashes)
    data.settle(database_url)


async def measure(address: Address, attempts: Sequence[Attempt]) -> list[float]:
    """Return how long each attempt took, in seconds."""
    warm_up = [Attempt(f"nobody.{number:06}", UNKNOWN, (PAGE, API)[number % 2], 0) for number in range(WARM_UP)]
    exchanges = [attempt.exchange() for attempt in [*warm_up, *attempts]]
    outcome = await load(address, exchanges, connections=1, seconds=SECONDS_EACH * len(exchanges))
    return outcome.latencies[WARM_UP:]


class Row(NamedTuple):
    """How well known usernames can be told from unknown ones by their times."""

    what: str
    known: list[float]
    unknown: list[float]
    estimate: Estimate


def compare(
    what: str,
    attempts: Sequence[Attempt],
    seconds: Sequence[float],
    *,
    kinds: Iterable[str] = KNOWN,
    routes: Iterable[str] = (PAGE, API),
    within_blocks: bool = False,
) -> Row:
    """Return how well these kinds can be told from unknown names; compare within each route, or each of its blocks."""
    kinds, routes = set(kinds), set(routes)
    strata: dict[object, tuple[list[float], list[float]]] = {}
    for attempt, taken in zip(attempts, seconds, strict=True):
        if attempt.route in routes and attempt.kind in kinds | {UNKNOWN}:
            stratum = (attempt.route, attempt.block if within_blocks else 0)
            known, unknown = strata.setdefault(stratum, ([], []))
            (unknown if attempt.kind == UNKNOWN else known).append(taken)
    every_known, every_unknown = ([*chain.from_iterable(times)] for times in zip(*strata.values(), strict=True))
    return Row(what, every_known, every_unknown, estimate_auc(strata.values()))


def longer(attempts: Iterable[Attempt], seconds: Iterable[float], by: float) -> list[float]:
    """Return the times with `by` seconds added to known names, to see whether that difference would be detected."""
    return [taken + by * (attempt.kind != UNKNOWN) for attempt, taken in zip(attempts, seconds, strict=True)]


def smallest_detectable(attempts: Sequence[Attempt], seconds: Sequence[float]) -> float:
    """Return the smallest difference that would have missed the goal, in milliseconds, to 0.1."""
    for tenths in count():
        times = longer(attempts, seconds, tenths / 10_000)
        if compare("", attempts, times, within_blocks=True).estimate.either_way > GOAL:
            break
    return tenths / 10


def table(attempts: Sequence[Attempt], seconds: Sequence[float]) -> list[Row]:
    """Return the rows: each route, each kind on both routes, and all of them compared only within blocks."""
    return [
        *(compare(route, attempts, seconds, routes=[route]) for route in (PAGE, API)),
        *(compare(kind, attempts, seconds, kinds=[kind]) for kind in KNOWN),
        compare("all, within blocks", attempts, seconds, within_blocks=True),
    ]


def markdown(rows: Iterable[Row]) -> str:
    """Return the table as markdown."""
    lines = ["| sign-ins | known: median | unknown: median | AUC | 95 % | goal | met |", "|---" * 7 + "|"]
    for row in rows:
        known, unknown = (f"{len(each)}: {1000 * statistics.median(each):.2f} ms" for each in (row.known, row.unknown))
        low, high = row.estimate.interval
        met = "yes" if row.estimate.either_way <= GOAL else "NO"
        cells = (
            row.what,
            known,
            unknown,
            f"{row.estimate.either_way:.3f}",
            f"{low:.3f} to {high:.3f}",
            f"≤ {GOAL}",
            met,
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print the table; return the exit code: 1 if a goal is missed or the measurement failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sign_in_timing", description=__doc__)
    parser.add_argument("--sign-ins", type=int, default=2000, help="sign-ins per route (default 2000, four minutes)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the random order (default 1)")
    options = parser.parse_args(arguments)
    if options.sign_ins < 1:
        parser.error("--sign-ins must be at least 1")
    logging.getLogger("pogo_core").setLevel(logging.ERROR)  # do not list the applied migrations
    signals.take()
    folder = Path(tempfile.mkdtemp(prefix="seatweb-bench-"))
    try:
        blocks = -(-options.sign_ins // (2 * EACH_IN_A_BLOCK * len(KNOWN)))
        return _measure(plan(blocks, KNOWN, EACH_IN_A_BLOCK, options.seed), folder, options.seed)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except (BenchmarkError, EmbeddedError) as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _measure(attempts: Sequence[Attempt], folder: Path, seed: int) -> int:
    with running_servers(folder, Cores.take()) as servers, servers.database() as url:
        description = machine.describe(servers)
        register(url, attempts)
        with servers.seatweb(url, **SETTINGS) as site:
            [seconds] = run(measure(site.address, attempts))
    rows = table(attempts, seconds)
    for name, value in description.items():
        print(f"- {name}: {value}")
    print(f"- measured: one sign-in after another, in random order (seed {seed}), each username once\n")
    print(markdown(rows))
    print(
        f"\nIf known names took {smallest_detectable(attempts, seconds)} ms longer, the last row would miss the goal."
    )
    return 1 if any(row.estimate.either_way > GOAL for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
