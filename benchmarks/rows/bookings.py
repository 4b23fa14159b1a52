"""Benchmarks of booking: a steady rate, and a rush."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from datetime import date
from typing import Final

from benchmarks import data, people, pgbench
from benchmarks.data import Slots
from benchmarks.load import BenchmarkError, Exchange, Outcome, load, request, run
from benchmarks.measure import Bench, Result, median, milliseconds, per_second
from benchmarks.people import Person
from benchmarks.servers import App, execute

CONNECTIONS: Final = 10  # pgbench is fastest with 10
HALL: Final = 4000  # seats, and users
SMALL_HALL: Final = 1000
WARM_BOOKINGS: Final = 500
SECONDS_AT_MOST: Final = 120.0
BOOKED: Final = {b"201": b'"confirmed"'}
CONFIRMED: Final = "select count(*) from bookings where status = 'confirmed'"

CROWD: Final = 2000
TRIES: Final = 5
RETRY_AFTER: Final = 2.0  # seconds, as in the app's 503 responses
AT_A_TIME: Final = 200
SALE_SEATS: Final = 80


def _by_program(user: Person, seat_id: int, day: date, _section: str) -> Exchange:
    return Exchange(user.book(seat_id, day), BOOKED)


def _by_browser(user: Person, seat_id: int, day: date, section: str) -> Exchange:
    return Exchange(user.book_by_form(seat_id, day, section), {b"200": b"content-encoding: "})


def booking(bench: Bench) -> list[Result]:
    """Measure successful `POST /bookings` requests against pgbench with the same statements."""
    return [_booking(bench, "booking", "POST /bookings, bearer token, no key", _by_program, 0.5)]


def booking_by_form(bench: Bench) -> list[Result]:
    """Measure bookings through the page's form, whose answer shows the section of 100 seats, against the same."""
    requests = "POST /days/{day}/seats/{id}/book, cookie, CSRF token, HX-Request, compressed"
    return [_booking(bench, "booking by form", requests, _by_browser, 0.35)]


def _booking(
    bench: Bench, name: str, sent: str, exchange: Callable[[Person, int, date, str], Exchange], goal: float
) -> Result:
    with bench.servers.database() as url:
        seats = SMALL_HALL if bench.quick else HALL
        people.register(url, seats)
        slots = data.add_hall(url, seats)
        users = people.sign_in(url, seats)
        data.settle(url)

        def with_pgbench(count: int) -> float:
            first = users[0]
            return pgbench.book(
                bench.servers,
                url,
                slots,
                count,
                connections=CONNECTIONS,
                first_user=first.id,
                session_id=first.session_id,
            )

        with bench.servers.seatweb(url) as site:
            book_slots(site, users, slots, WARM_BOOKINGS, exchange=exchange)
            speed = with_pgbench(WARM_BOOKINGS)
            share = slots.left // (2 * bench.rounds)
            count = min(share, int(speed * bench.seconds)) // CONNECTIONS * CONNECTIONS
            limits, ours = bench.interleaved(
                lambda: with_pgbench(count), lambda: book_slots(site, users, slots, count, exchange=exchange, check=url)
            )
    rate, limit = median(outcome.rate for outcome in ours), median(limits)
    return Result(
        name=name,
        sent=f"{count:,} {sent}; {CONNECTIONS} connections",
        ours=f"{per_second(rate)} (p99 {milliseconds(ours[-1].percentile(99))})",
        against=f"pgbench: {per_second(limit)}",
        figure=rate / limit,
        goal=goal,
        rounds={"ours": [outcome.rate for outcome in ours], "limit": limits},
    )


def book_slots(
    site: App,
    users: list[Person],
    slots: Slots,
    count: int,
    *,
    connections: int = CONNECTIONS,
    exchange: Callable[[Person, int, date, str], Exchange] = _by_program,
    check: str | None = None,
) -> Outcome:
    """Book the slots; given the database's URL, check that it has that many more bookings.

    Raises:
        BenchmarkError: not all slots were booked.
    """
    before = execute(check, CONFIRMED)[0][0] if check else 0
    requests = [exchange(users[user], seat, day, slots.section_of(seat)) for user, seat, day in slots.take(count)]
    [outcome] = run(load(site.address, requests, connections=connections, seconds=SECONDS_AT_MOST))
    after = execute(check, CONFIRMED)[0][0] if check else count
    if outcome.count != count or after - before != count:
        raise BenchmarkError(f"{outcome.count} of {count} requests were answered, {after - before} seats were booked")
    return outcome


def flash_sale(bench: Bench) -> list[Result]:
    """Measure how long 2,000 users take to book 80 seats, against an app that only runs the booking statement."""
    days = iter(range(1, data.DAYS))
    with bench.servers.database() as url:
        people.register(url, CROWD)
        users = people.sign_in(url, CROWD)
        seats = [row["id"] for row in execute(url, "select id from seats order by id")]
        data.settle(url)
        with (
            bench.servers.seatweb(url) as site,
            bench.servers.bare("booking_app", ready="/", DATABASE_URL=url) as bare,
        ):

            def sale(app: App, *, is_seatweb: bool) -> float:
                day = people.day_ahead(next(days))
                requests = _for_seatweb(users, seats, day) if is_seatweb else _for_bare_app(users, seats, day)
                return _sell_out(url, app, day, list(requests))

            # Not measured: as before a real sale, everyone has opened the map, so their sessions are cached.
            sale(bare, is_seatweb=False)
            sale(site, is_seatweb=True)
            limits, ours = bench.interleaved(lambda: sale(bare, is_seatweb=False), lambda: sale(site, is_seatweb=True))
    return [
        Result(
            name="flash sale",
            sent=f"{CROWD:,} POST /bookings for {SALE_SEATS} seats, bearer token; {AT_A_TIME} connections",
            ours=f"{median(ours):.3f} s, {SALE_SEATS} booked, 0 double",
            against=f"bare app: {median(limits):.3f} s",
            figure=median(ours) / median(limits),
            goal=1.3,
            better="less",
            rounds={"ours": ours, "limit": limits},
        )
    ]


def _for_seatweb(users: list[Person], seats: list[int], day: date) -> Iterator[Exchange]:
    for n, user in enumerate(users):
        # 409: the seat is taken or held, or the user has a booking; 503: retry later.
        yield Exchange(user.book(seats[n % len(seats)], day), BOOKED | {b"409": b'"code":"', b"503": b'"overloaded"'})


def _for_bare_app(users: list[Person], seats: list[int], day: date) -> Iterator[Exchange]:
    for n, user in enumerate(users):
        body = {"seat_id": seats[n % len(seats)], "day": str(day), "user_id": user.id, "session_id": user.session_id}
        headers = {"Authorization": f"Bearer {user.token}"}  # so that both apps parse the same headers
        message = request("POST", "/bookings", headers, json.dumps(body).encode())
        yield Exchange(message, {b"201": b'"seat_id"', b"409": b'"seat_taken"'})


def _sell_out(url: str, app: App, day: date, requests: list[Exchange]) -> float:
    """Send all requests, and return the seconds until the last definite answer; after a 503, retry as it says.

    Raises:
        BenchmarkError: not every seat was booked exactly once.
    """
    started, won = time.perf_counter(), 0
    for _ in range(TRIES):
        [outcome] = run(load(app.address, requests, connections=AT_A_TIME, seconds=SECONDS_AT_MOST))
        won += outcome.statuses[201]
        if not outcome.statuses[503]:
            break
        time.sleep(RETRY_AFTER)
    [(booked, distinct)] = execute(
        url, "select count(*), count(distinct seat_id) from bookings where day = $1 and status = 'confirmed'", day
    )
    if outcome.count != len(requests) or not booked == distinct == won == SALE_SEATS:
        raise BenchmarkError(f"{outcome.count} answers, {won} won, {booked} booked, {distinct} distinct seats")
    return outcome.last_at - started
