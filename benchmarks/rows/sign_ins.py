"""Benchmarks of signing in: overhead beyond argon2, and impact on other requests."""

from __future__ import annotations

import asyncio
import itertools
import sys
from typing import Final

from seatweb.accounts.fair_queue import Requester
from seatweb.accounts.passwords import Passwords

from benchmarks import data, people
from benchmarks.load import BenchmarkError, Exchange, Outcome, load, run
from benchmarks.measure import Bench, Result, median, milliseconds, per_second
from benchmarks.servers import Servers

USERS: Final = 64
VIEWERS: Final = 16
CONNECTIONS: Final = 8
PASSWORD: Final = "correct horse battery staple"  # noqa: S105 - of short-lived test users
VIEWS_PER_SECOND: Final = 50
WARM_SECONDS: Final = 1.0
EXTRA_SECONDS: Final = 30


def sign_ins(bench: Bench) -> list[Result]:
    """Measure POST /login against argon2 alone, and GET /days/{day} with and without concurrent sign-ins."""
    day = people.day_ahead(1)
    with bench.servers.database() as url:
        people.register(url, USERS, asyncio.run(_hash()))
        users = people.sign_in(url, VIEWERS)
        data.settle(url)
        logins = [_login(f"person.{n + 1}") for n in range(USERS)]
        views = [Exchange(user.get(f"/days/{day}"), {b"200": user.username.encode()}) for user in users]
        with bench.servers.seatweb(url) as site:

            def sign_in(seconds: float) -> Outcome:
                [outcome] = run(load(site.address, itertools.cycle(logins), connections=CONNECTIONS, seconds=seconds))
                return outcome

            def view(*, during_sign_ins: bool) -> float:
                pause = 1 / VIEWS_PER_SECOND
                loads = [load(site.address, itertools.cycle(views), connections=1, seconds=bench.seconds, pause=pause)]
                if during_sign_ins:
                    signing = itertools.cycle(logins)
                    loads.append(load(site.address, signing, connections=CONNECTIONS, seconds=bench.seconds))
                return run(*loads)[0].percentile(50)

            sign_in(WARM_SECONDS)
            view(during_sign_ins=False)
            limits, ours = bench.interleaved(
                lambda: _alone(bench.servers, bench.seconds), lambda: sign_in(bench.seconds).rate
            )
            without, during = bench.interleaved(lambda: view(during_sign_ins=False), lambda: view(during_sign_ins=True))
    return [
        Result(
            name="sign-ins",
            sent=f"POST /login, {USERS} users; {CONNECTIONS} connections",
            ours=per_second(median(ours)),
            against=f"argon2 alone: {per_second(median(limits))}",
            figure=median(ours) / median(limits),
            goal=0.9,
            rounds={"ours": ours, "limit": limits},
        ),
        Result(
            name="sign-ins: other requests",
            sent=f"GET /days/{{day}}, at most {VIEWS_PER_SECOND} per second, with {CONNECTIONS} connections signing in",
            ours=f"p50 {milliseconds(median(during))}",
            against=f"without: {milliseconds(median(without))}",
            figure=median(during) / median(without),
            goal=2.0,
            better="less",
            rounds={"ours": during, "limit": without},
        ),
    ]


async def _hash() -> str:
    return await Passwords().hash(PASSWORD, Requester("192.0.2.1", "person"))


def _login(username: str) -> Exchange:
    return Exchange(people.sign_in_form(username, PASSWORD), {b"303": people.OUR_COOKIES.session_cookie.encode()})


def _alone(servers: Servers, seconds: float) -> float:
    """Return the passwords per second that a process verifies on the app's core, with as many threads as the app.

    Raises:
        BenchmarkError: the process failed.
    """
    command = [sys.executable, "-m", "benchmarks.argon2_alone", str(seconds), str(CONNECTIONS)]
    with servers.on_app_core(command) as process:
        output, errors = process.communicate(timeout=seconds + EXTRA_SECONDS)
    if process.returncode:
        raise BenchmarkError(f"argon2 alone failed: {errors.strip()[-300:]}")
    return float(output)
