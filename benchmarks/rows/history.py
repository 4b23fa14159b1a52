"""Benchmark of a long booking history: does it slow anything down?"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

from benchmarks import data, people
from benchmarks.data import Slots
from benchmarks.load import Exchange, load, run
from benchmarks.measure import Bench, Result, median, milliseconds
from benchmarks.people import Person
from benchmarks.rows.bookings import book_slots

BOOKINGS_PER_USER: Final = 10  # in the past
VIEWERS: Final = 16
WARM_SECONDS: Final = 0.5
WARM_BOOKINGS: Final = 200
BOOKINGS_PER_SECOND: Final = 300  # over one connection, since latency is measured


@dataclass(frozen=True, slots=True)
class Latencies:
    """Median latencies in seconds."""

    view: float
    book: float


def history(bench: Bench) -> list[Result]:
    """Measure the median latency of a view and of a booking, with a long history and without."""
    count = bench.history
    with ExitStack() as stack:
        sides = []
        for bookings in (0, count):
            url = stack.enter_context(bench.servers.database())
            people.register(url, count // BOOKINGS_PER_USER if bookings else data.hall_for(count))
            slots = data.add_hall(url, data.hall_for(count))
            if bookings:
                data.add_history(url, bookings, bench.say)
            users = people.sign_in(url, len(slots.seats))
            data.settle(url)
            sides.append(_side(bench, url, users, slots))
        without, with_history = sides
        limits, ours = bench.interleaved(without, with_history)
    sent = f"history of {count:,} bookings, {count // BOOKINGS_PER_USER:,} users; one connection"
    return [
        _result("view", f"GET /days/{{day}}/sections/A; {sent}", [o.view for o in ours], [o.view for o in limits]),
        _result("booking", f"POST /bookings; {sent}", [o.book for o in ours], [o.book for o in limits]),
    ]


def _side(bench: Bench, url: str, users: list[Person], slots: Slots) -> Callable[[], Latencies]:
    """Return a function that measures one round on a database; each round starts with a new app and an empty Redis."""
    path = f"/days/{people.day_ahead(1)}/sections/A"
    views = [
        Exchange(user.get(path, **{"HX-Request": "true"}), {b"200": b'id="section-A"'}) for user in users[:VIEWERS]
    ]
    bookings = int(BOOKINGS_PER_SECOND * bench.seconds)

    def measure() -> Latencies:
        bench.servers.forget_views()
        with bench.servers.seatweb(url) as site:
            run(load(site.address, itertools.cycle(views), connections=1, seconds=WARM_SECONDS))
            [seen] = run(load(site.address, itertools.cycle(views), connections=1, seconds=bench.seconds))
            book_slots(site, users, slots, WARM_BOOKINGS, connections=1)
            booked = book_slots(site, users, slots, bookings, connections=1, check=url)
        return Latencies(view=seen.percentile(50), book=booked.percentile(50))

    return measure


def _result(what: str, sent: str, ours: list[float], limits: list[float]) -> Result:
    return Result(
        name=f"history: {what}",
        sent=sent,
        ours=f"p50 {milliseconds(median(ours))}",
        against=f"empty: {milliseconds(median(limits))}",
        figure=median(ours) / median(limits),
        goal=1.1,
        better="less",
        rounds={"ours": ours, "limit": limits},
    )
