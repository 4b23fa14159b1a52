"""Benchmarks of views: requests per second."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from typing import Final

import httpx
from bs4 import BeautifulSoup

from benchmarks import bare, data, people
from benchmarks.load import BenchmarkError, Exchange, Outcome, load, run
from benchmarks.measure import Bench, Result, median, per_second
from benchmarks.people import Person
from benchmarks.servers import App, Servers, execute

VIEWERS: Final = 16
SEATS: Final = 80  # after a first run
WARM_SECONDS: Final = 1.0
BIG: Final = "W"  # the section with 1,000 seats
COLD_VIEWS: Final = 20
HTMX: Final[dict[str, str]] = {"HX-Request": "true"}
ACCEPTED: Final = "Accept-Encoding"
CODINGS: Final = ("br", "gzip")


def section_view(bench: Bench) -> list[Result]:
    """Measure GET /days/{day}/sections/A."""
    day = people.day_ahead(1)
    with bench.servers.database() as url, _hello(bench.servers) as hello:
        viewers = _half_taken(url, day)
        with bench.servers.seatweb(url) as site:
            views = _views(site, viewers, f"/days/{day}/sections/A", 20, **HTMX)
            return [_against_hello(bench, "section view", site, hello, views, 0.70, "16 users' cookies, HX-Request")]


def day_page(bench: Bench) -> list[Result]:
    """Measure GET /days/{day}, uncompressed and compressed."""
    day = people.day_ahead(1)
    sent = f"{VIEWERS} users' cookies"
    with bench.servers.database() as url, _hello(bench.servers) as hello:
        viewers = _half_taken(url, day)
        with bench.servers.seatweb(url) as site:
            plain = _views(site, viewers, f"/days/{day}", SEATS)
            results = [_against_hello(bench, "day page", site, hello, plain, 0.45, sent)]
            for coding in CODINGS:
                headers = {ACCEPTED: coding}
                packed = _views(site, viewers, f"/days/{day}", SEATS, **headers)
                name, how = f"day page, {coding}", f"{sent}, {ACCEPTED}: {coding}"
                results.append(_against_hello(bench, name, site, hello, packed, None, how))
            return results


def thousand_seats(bench: Bench) -> list[Result]:
    """Measure a section of 1,000 seats against one of 20: bytes per second, and queries for an uncached view."""
    day = people.day_ahead(1)
    with bench.servers.database() as url:
        data.add_section(url, BIG, 1000, 40)
        viewers = _half_taken(url, day)
        with bench.servers.seatweb(url) as site:
            small = _views(site, viewers, f"/days/{day}/sections/A", 20, **HTMX)
            big = _views(site, viewers, f"/days/{day}/sections/{BIG}", 1000, **HTMX)
            for exchanges in (small, big):
                _warm(site, exchanges)
            limits, ours = bench.interleaved(lambda: _rate(bench, site, small), lambda: _rate(bench, site, big))
        small_bytes = [outcome.received / outcome.seconds for outcome in limits]
        big_bytes = [outcome.received / outcome.seconds for outcome in ours]
        bytes_result = Result(
            name="1,000 seats",
            sent="GET /days/{day}/sections/W (1,000 seats), 16 users' cookies, HX-Request",
            ours=f"{median(big_bytes) / 1e6:,.0f} MB/s ({per_second(median(o.rate for o in ours))})",
            against=f"20 seats: {median(small_bytes) / 1e6:,.0f} MB/s ({per_second(median(o.rate for o in limits))})",
            figure=median(big_bytes) / median(small_bytes),
            goal=1.0,
            rounds={"ours": big_bytes, "limit": small_bytes},
        )
        return [bytes_result, _queries(bench.servers, url, viewers[0])]


def _queries(servers: Servers, url: str, viewer: Person) -> Result:
    """Count the transactions (here one per query) of uncached views, each of a different day."""
    none, small, big = (_transactions(servers, url, viewer, name) for name in (None, "A", BIG))
    small_each, big_each = (small - none) / COLD_VIEWS, (big - none) / COLD_VIEWS
    return Result(
        name="1,000 seats: queries",
        sent=f"{COLD_VIEWS} uncached views, each of a different day",
        ours=f"{big_each:.1f} per view",
        against=f"20 seats: {small_each:.1f}",
        figure=round(big_each - small_each),  # the app also runs periodic queries
        unit=" more",
        goal=0,
        better="less",
    )


def _transactions(servers: Servers, url: str, viewer: Person, section: str | None) -> int:
    """Return PostgreSQL's count of transactions over the app's lifetime: connections report theirs when they close."""
    count = "select xact_commit from pg_stat_database where datname = current_database()"
    before = execute(url, count)[0][0]
    servers.forget_views()
    with servers.seatweb(url) as site:
        days = [people.day_ahead(1 + n) for n in range(COLD_VIEWS)] if section else []
        views = [
            Exchange(viewer.get("/account"), {b"200": viewer.username.encode()})
        ]  # loads the session once, as in every run
        content = {b"200": f'id="section-{section}"'.encode()}
        views += [Exchange(viewer.get(f"/days/{day}/sections/{section}", **HTMX), content) for day in days]
        run(load(site.address, views, connections=1, seconds=60))
    after: int = execute(url, count)[0][0]
    return after - int(before)


@contextmanager
def _hello(servers: Servers) -> Iterator[App]:
    with servers.bare("hello_app", ready="/") as app:
        yield app


def _half_taken(url: str, day: date) -> list[Person]:
    """Book half of the seats on the day; return the viewers, who are among those with a booking."""
    seats = execute(url, "select count(*) from seats")[0][0]
    people.register(url, seats)
    data.fill_half(url, day)
    data.settle(url)
    return people.sign_in(url, VIEWERS)


def _views(site: App, viewers: list[Person], path: str, seats: int, **headers: str) -> list[Exchange]:
    """Return the viewers' requests for a view, after checking that each answer has all seats, half of them taken.

    Raises:
        BenchmarkError: an answer does not.
    """
    for viewer in viewers:
        address = f"http://{site.address.host}:{site.address.port}{path}"
        answer = httpx.get(address, headers={ACCEPTED: "identity", "Cookie": viewer.cookie, **headers})
        shown = [seat["data-status"] for seat in BeautifulSoup(answer.text, "html.parser").select('[id^="seat-"]')]
        taken = sum(status in {"taken", "mine"} for status in shown)
        if answer.status_code != 200 or (len(shown), taken) != (seats, seats // 2):
            raise BenchmarkError(f"{path}: {answer.status_code}, {len(shown)} seats, {taken} of them taken")
    # Text that every answer must contain; compressed answers are checked by their headers only.
    name = path.rpartition("/")[2]
    coding = headers.get(ACCEPTED)
    content = f"content-encoding: {coding}".encode() if coding else b'id="section-%s"' % name.encode()
    whole_page = "sections" not in path and not coding
    return [
        Exchange(viewer.get(path, **headers), {b"200": viewer.username.encode() if whole_page else content})
        for viewer in viewers
    ]


def _against_hello(
    bench: Bench, name: str, site: App, hello: App, views: list[Exchange], goal: float | None, sent: str
) -> Result:
    greetings = [Exchange(_at_root(view.request), {b"200": bare.HELLO.encode()}) for view in views]
    _warm(hello, greetings)
    _warm(site, views)
    limits, ours = bench.interleaved(lambda: _rate(bench, hello, greetings), lambda: _rate(bench, site, views))
    rate, limit = median(outcome.rate for outcome in ours), median(outcome.rate for outcome in limits)
    last = ours[-1]
    return Result(
        name=name,
        sent=f"{sent}; {VIEWERS} connections",
        ours=f"{per_second(rate)} (p99 {1000 * last.percentile(99):.1f} ms, {last.received // last.count:,} bytes)",
        against=f"Litestar hello: {per_second(limit)}",
        figure=rate / limit,
        goal=goal,
        rounds={"ours": [outcome.rate for outcome in ours], "limit": [outcome.rate for outcome in limits]},
    )


def _at_root(request: bytes) -> bytes:
    """Return the same request for `/`, so that both servers parse the same headers."""
    method, _, rest = request.partition(b" ")
    return method + b" / " + rest.partition(b" ")[2]


def _rate(bench: Bench, app: App, exchanges: list[Exchange]) -> Outcome:
    [outcome] = run(load(app.address, itertools.cycle(exchanges), connections=VIEWERS, seconds=bench.seconds))
    return outcome


def _warm(app: App, exchanges: list[Exchange]) -> None:
    run(load(app.address, itertools.cycle(exchanges), connections=VIEWERS, seconds=WARM_SECONDS))
