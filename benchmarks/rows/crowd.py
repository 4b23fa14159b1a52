"""Benchmarks of views as in real use: thousands of different people, while bookings change the map."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from typing import Final

import httpx
from bs4 import BeautifulSoup

from benchmarks import bare, data, people
from benchmarks.load import Address, BenchmarkError, Exchange, Outcome, load, run
from benchmarks.measure import Bench, Result, median, milliseconds, per_second
from benchmarks.people import Person
from benchmarks.servers import App, Servers, execute

CROWD: Final = 2000
DAYS: Final = 10
VIEWS_OF_A_PERSON: Final = 5
CONNECTIONS: Final = 16
CHANGE_SECONDS: Final = 0.1
PATIENT: Final = 4000  # views, to fill the caches
SHARE_OF_PEAK: Final = 0.7
ACCEPTED: Final = {"Accept-Encoding": "gzip, deflate, br, zstd"}  # what browsers send
COMPRESSED: Final = {b"200": b"content-encoding: "}
HTMX: Final = {"HX-Request": "true"}
NO_LIMIT: Final = {"SEATWEB_LIMIT_BOOKINGS": "off"}
SENT: Final = f"{CROWD:,} users in turn, half of them with a booking, {DAYS} days, a change every 100 ms"


def crowd(bench: Bench) -> list[Result]:
    """Measure the section view and the day page against the hello app, and both at 70 % of their peak."""
    with crowded(bench.servers) as (url, viewers, movers, first), bench.servers.bare("hello_app", ready="/") as hello:
        changes = _changes(url, movers)
        section = _views(viewers, first, "/sections/A", **HTMX)
        compressed, plain = _views(viewers, first, "", **ACCEPTED), _views(viewers, first, "")
        with bench.servers.seatweb(url, **NO_LIMIT) as site:
            _check(site, viewers, first)
            rows = [
                ("section view, many people", section, 0.60),
                ("day page, many people, compressed", compressed, 0.40),
                ("day page, many people", plain, 0.50),
            ]
            results = []
            for name, views, goal in rows:
                _warm(site, views)
                result, peak = _against_hello(bench, name, hello, site, views, changes, goal)
                results.append(result)
                if views is not plain:
                    results.append(_at_seventy_percent(bench, name, site, views, changes, peak))
            return results


def calendar(bench: Bench) -> list[Result]:
    """Measure a month with free counts against the page of a day as its viewer gets it after a change: read anew."""
    with crowded(bench.servers) as (url, viewers, movers, first), bench.servers.seatweb(url, **NO_LIMIT) as site:
        changes = _changes(url, movers)
        changed = f"; {people.OUR_COOKIES.changed_cookie}=1"
        months = [
            Exchange(viewer.get(f"/calendar/{first:%Y-%m}?day={first}", **ACCEPTED), COMPRESSED) for viewer in viewers
        ]
        days = [
            Exchange(viewer.get(f"/days/{first}", **ACCEPTED, Cookie=viewer.cookie + changed), COMPRESSED)
            for viewer in viewers
        ]

        def middle(views: list[Exchange]) -> float:
            turn = itertools.cycle(views)
            loads = [load(site.address, turn, connections=1, seconds=bench.seconds)]
            return run(*loads, _changing(site.address, changes, bench.seconds))[0].percentile(50)

        for views in (months, days):
            run(load(site.address, itertools.islice(views, len(viewers)), connections=CONNECTIONS, seconds=60))
        limits, ours = bench.interleaved(lambda: middle(days), lambda: middle(months))
    return [
        Result(
            name="calendar, p50",
            sent=f"GET /calendar/{{month}}, compressed; {CROWD:,} users in turn, a change every 100 ms; 1 connection",
            ours=milliseconds(median(ours)),
            against=f"GET /days/{{day}}, read anew: {milliseconds(median(limits))}",
            figure=median(ours) / median(limits),
            goal=2,
            better="less",
            rounds={"ours": ours, "limit": limits},
        )
    ]


def two_workers(bench: Bench) -> list[Result]:
    """Measure two workers against one, on all cores, which they share with the load generator and the servers."""
    with crowded(bench.servers) as (url, viewers, movers, first):
        changes, views = _changes(url, movers), _views(viewers, first, "", **ACCEPTED)

        def rate(workers: int) -> float:
            with bench.servers.seatweb_on_all_cores(url, SEATWEB_WORKERS=str(workers), **NO_LIMIT) as site:
                _warm(site, views)
                return _rate(bench, site, views, changes).rate

        limits, ours = bench.interleaved(lambda: rate(1), lambda: rate(2))
    return [
        Result(
            name="two workers",
            sent=f"GET /days/{{day}}, compressed; {SENT}; {CONNECTIONS} connections",
            ours=per_second(median(ours)),
            against=f"one worker: {per_second(median(limits))}",
            figure=median(ours) / median(limits),
            goal=1.8,
            rounds={"ours": ours, "limit": limits},
        )
    ]


@contextmanager
def crowded(servers: Servers) -> Iterator[tuple[str, list[Person], list[Person], date]]:
    """Yield a database, its viewers, those who move between two seats, and the first of the days that are viewed."""
    first = people.day_ahead(1)
    with servers.database() as url:
        people.register(url, CROWD + DAYS)
        everyone = people.sign_in(url, CROWD + DAYS)
        viewers, movers = everyone[:CROWD], everyone[CROWD:]
        data.fill_days(url, first, [viewer.id for viewer in viewers], [mover.id for mover in movers])
        data.settle(url)
        yield url, viewers, movers, first


def _changes(url: str, movers: list[Person]) -> list[Exchange]:
    """Return moves that can be repeated in this order for ever; each changes one day."""
    return [
        Exchange(mover.move(booking_id, seat_id), {b"200": b'"confirmed"'})
        for mover, booking_id, seat_id in booked_seats(url, movers)
    ]


def booked_seats(url: str, movers: list[Person]) -> list[tuple[Person, int, int]]:
    """Return the movers, their bookings, and the seats to which they can move in this order, again and again."""
    seats = [row["id"] for row in execute(url, "select id from seats order by id")][78:80]
    booked = {row["user_id"]: row["id"] for row in execute(url, "select id, user_id from bookings")}
    return [(mover, booked[mover.id], seat) for seat in reversed(seats) for mover in movers]


def _views(viewers: list[Person], first: date, rest: str, **headers: str) -> list[Exchange]:
    chance = random.Random(1)  # noqa: S311 - the same views in every run
    views = []
    for viewer in viewers * VIEWS_OF_A_PERSON:
        path = f"/days/{first + timedelta(days=chance.randrange(DAYS))}{rest}"
        shown = {b"200": b'id="section-A"' if rest else viewer.username.encode()}
        views.append(Exchange(viewer.get(path, **headers), COMPRESSED if "Accept-Encoding" in headers else shown))
    return views


def _check(site: App, viewers: list[Person], first: date) -> None:
    """Check that viewers with a booking see it, compressed and not, in the map and in the week.

    Raises:
        BenchmarkError: they do not.
    """
    with httpx.Client(base_url=f"http://{site.address.host}:{site.address.port}") as browser:
        for number, viewer in enumerate(viewers[:56]):
            own = number % 2 == 0
            day = first + timedelta(days=number // 2 % 14)
            for headers in ({}, ACCEPTED):
                page = BeautifulSoup(
                    browser.get(f"/days/{day}", headers={"Cookie": viewer.cookie, **headers}).text, "html.parser"
                )
                mine, taken = (len(page.select(f"a.seat[data-status={status}]")) for status in ("mine", "taken"))
                labels = page.select(".weekday[aria-current] .weekday-mine")
                if mine != own or mine + taken < 71 or len(labels) != own:
                    raise BenchmarkError(f"{day}: {mine} seats of {viewer.username}'s own and {taken} of others")


def _against_hello(
    bench: Bench, name: str, hello: App, site: App, views: list[Exchange], changes: list[Exchange], goal: float
) -> tuple[Result, float]:
    greetings = [Exchange(_at_root(view.request), {b"200": bare.HELLO.encode()}) for view in views]
    run(load(hello.address, itertools.islice(greetings, PATIENT), connections=CONNECTIONS, seconds=60))
    limits, ours = bench.interleaved(
        lambda: _rate(bench, hello, greetings, None), lambda: _rate(bench, site, views, changes)
    )
    rate, limit = median(outcome.rate for outcome in ours), median(outcome.rate for outcome in limits)
    last = ours[-1]
    result = Result(
        name=name,
        sent=f"{SENT}; {CONNECTIONS} connections",
        ours=f"{per_second(rate)} (p99 {milliseconds(last.percentile(99))}, {last.received // last.count:,} bytes)",
        against=f"Litestar hello: {per_second(limit)}",
        figure=rate / limit,
        goal=goal,
        rounds={"ours": [outcome.rate for outcome in ours], "limit": [outcome.rate for outcome in limits]},
    )
    return result, rate


def _at_seventy_percent(
    bench: Bench, name: str, site: App, views: list[Exchange], changes: list[Exchange], peak: float
) -> Result:
    rate = SHARE_OF_PEAK * peak
    outcomes = [_rate(bench, site, views, changes, rate=rate) for _ in range(bench.rounds)]
    middle, late = (median(outcome.percentile(percent) for outcome in outcomes) for percent in (50, 99))
    return Result(
        name=f"{name}: p99 at 70 %",
        sent=f"the same at {per_second(rate)}, each request at a fixed time",
        ours=f"p99 {milliseconds(late)}",
        against=f"p50 {milliseconds(middle)}",
        figure=late / middle,
        goal=5,
        better="less",
        rounds={"ours": [outcome.percentile(99) for outcome in outcomes]},
    )


def _rate(
    bench: Bench, app: App, views: list[Exchange], changes: list[Exchange] | None, *, rate: float | None = None
) -> Outcome:
    # From a place by chance on, so that each round has other people first.
    start = random.randrange(len(views))  # noqa: S311
    turn = itertools.islice(itertools.cycle(views), start, None)
    loads = [load(app.address, turn, connections=CONNECTIONS, seconds=bench.seconds, rate=rate)]
    if changes:
        loads.append(_changing(app.address, changes, bench.seconds))
    return run(*loads)[0]


async def _changing(address: Address, changes: list[Exchange], seconds: float) -> Outcome:
    return await load(address, itertools.cycle(changes), connections=1, seconds=seconds, pause=CHANGE_SECONDS)


def _warm(site: App, views: list[Exchange]) -> None:
    run(load(site.address, itertools.islice(views, PATIENT), connections=CONNECTIONS, seconds=60))


def _at_root(request: bytes) -> bytes:
    """Return the same request for `/`, so that both servers parse the same headers."""
    method, _, rest = request.partition(b" ")
    return method + b" / " + rest.partition(b" ")[2]
