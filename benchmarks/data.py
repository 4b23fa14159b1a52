"""Create sections, seats and bookings in bulk, and choose which user books which seat on which day."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

import asyncpg

from benchmarks.people import day_ahead, today
from benchmarks.servers import execute

SECTION_SEATS: Final = 100
DAYS: Final = 89  # days from tomorrow on; they can be booked even if midnight passes during the run
CROWD: Final = 500  # users who book one after another
STRIDE: Final = 7919  # a prime, so that consecutive bookings are in different sections
CHUNK: Final = 1_000_000

ADD_SECTION: Final = """
    with added as (insert into sections (name) values ($1) returning id)
    insert into seats (section_id, number, grid_row, grid_column)
    select added.id, to_char(place, case when $2 > 99 then 'FM0000' else 'FM00' end),
        (place - 1) / $3::int + 1, (place - 1) % $3::int + 1
    from added cross join generate_series(1, $2::int) as place
    order by place
"""
# Books every second seat, each for the next user, as if they had booked one after another.
FILL_HALF: Final = """
    with chosen as (
        select seats.id as seat_id, seats.section_id, row_number() over (order by seats.id) as n
        from seats where seats.id % 2 = 1
    ),
    booked as (
        insert into bookings (day, seat_id, user_id)
        select $1::date, chosen.seat_id, users.id
        from chosen inner join (select id, row_number() over (order by id) as n from users) as users using (n)
    )
    insert into generations (section_id, day, generation)
    select section_id, $1::date, count(*) from chosen group by section_id
"""
# Books 72 of 80 seats on each of 14 days for every second user, so that half of 2,000 users have one booking; then one
# seat on each of ten days for one user each, who can move between it and another one.
CROWDED_DAYS: Final = """
    with chosen as (
        select seats.id, row_number() over (order by seats.id) - 1 as place from seats
    ),
    booked as (
        insert into bookings (day, seat_id, user_id)
        select $1::date + (n % 14)::int, chosen.id, ($2::bigint[])[1 + 2 * n]
        from generate_series(0, least(14 * 72, cardinality($2::bigint[]) / 2) - 1) as n
        inner join chosen on chosen.place = n / 14
    )
    insert into bookings (day, seat_id, user_id)
    select $1::date + n, (select id from chosen where place = 78), ($3::bigint[])[1 + n]
    from generate_series(0, 9) as n
"""


@dataclass(frozen=True, slots=True)
class Slot:
    """A possible booking; the numbers of the user and the seat count from 0."""

    user: int
    seat: int
    day: int


def slot(n: int, seats: int) -> Slot:
    """Return slot n; among those below `seats` times DAYS, no user and no seat has two on a day.

    Consecutive slots differ in user, day and section.
    """
    crowd, rest = divmod(n, CROWD * DAYS)
    turn, place = divmod(rest, CROWD)
    user, day = crowd * CROWD + place, (turn + place) % DAYS
    return Slot(user=user, seat=(user * STRIDE + day) % seats, day=day)


@dataclass(slots=True)
class Slots:
    """A database's slots; each is given out once."""

    seats: list[int]  # the ids
    used: int = 0

    @property
    def left(self) -> int:
        """Number of slots left."""
        return len(self.seats) * DAYS - self.used

    def section_of(self, seat_id: int) -> str:
        """Return the name of the seat's section in the hall."""
        return f"H{(seat_id - self.seats[0]) // SECTION_SEATS + 1:02}"

    def take(self, count: int) -> Iterator[tuple[int, int, date]]:
        """Yield the next `count` slots: the user's number, the seat's id, and the day."""
        first, self.used = self.used, self.used + count
        for n in range(first, self.used):
            found = slot(n, len(self.seats))
            yield found.user, self.seats[found.seat], day_ahead(found.day + 1)


def add_section(database_url: str, name: str, seats: int, columns: int) -> None:
    """Create a section with this many seats and columns."""
    execute(database_url, ADD_SECTION, name, seats, columns)


def add_hall(database_url: str, seats: int) -> Slots:
    """Create sections of 100 seats, with `seats` in all (a multiple of CROWD), and return their slots."""
    for number in range(seats // SECTION_SEATS):
        add_section(database_url, f"H{number + 1:02}", SECTION_SEATS, 10)
    return Slots(hall_seats(database_url))


def hall_seats(database_url: str) -> list[int]:
    """Return the ids of the seats of the hall's sections."""
    hall = "select seats.id from seats inner join sections on sections.id = section_id where name ~ '^H' order by 1"
    return [row["id"] for row in execute(database_url, hall)]


def fill_half(database_url: str, day: date) -> None:
    """Book every second seat of all sections on the day for the first users."""
    execute(database_url, FILL_HALF, day)


def fill_days(database_url: str, first_day: date, users: list[int], movers: list[int]) -> None:
    """Book the 14 days from `first_day` on: one booking for every second user, and one for each of the ten movers."""
    execute(database_url, CROWDED_DAYS, first_day, users, movers)


def settle(database_url: str) -> None:
    """Do the server's pending work before the measurement: statistics, hint bits, dirty pages."""
    execute(database_url, "vacuum analyze")
    execute(database_url, "checkpoint")


# Past bookings. On each day 70 % of the seats are taken, half of them by regulars, who are a tenth of the users; one
# booking in eleven was cancelled. The numbers are chosen so that no user and no seat has two bookings on a day.

HISTORY: Final = """
    with generated as (
        select
            i,
            $1::date - 1 - (i / $2)::int as day,
            case when i % 2 = 0
                then ((i % $2) / 2 * 104729 + i / $2 * 31) % ($4 / 10)
                else $4 / 10 + ((i % $2) / 2 * 104729 + i / $2 * 31) % ($4 - $4 / 10)
            end + 1 as user_id,
            i % 11 = 5 as cancelled
        from generate_series($5::bigint, $6::bigint - 1) as i
    ),
    booked as (
        insert into bookings (day, seat_id, user_id, status, created_at, cancelled_at)
        select day, ($3::bigint[])[1 + (i % $2 * 7919 + i / $2) % cardinality($3::bigint[])], user_id,
            case when cancelled then 'cancelled' else 'confirmed' end, day - interval '1 day',
            case when cancelled then day - interval '1 hour' end
        from generated
        returning id, day, seat_id, user_id, created_at
    )
    insert into audit (at, action, user_id, booking_id, seat_id, day)
    select created_at, 'book', user_id, id, seat_id, day from booked
"""
PAST_GENERATIONS: Final = """
    insert into generations (section_id, day, generation)
    select sections.id, $1::date - 1 - n, $2 from sections cross join generate_series(0, $3::int - 1) as n
    where sections.name ~ '^H'
"""


def hall_for(bookings: int) -> int:
    """Return the number of seats of a site with this many bookings: 4,000 for ten million, about ten years' worth."""
    return max(CROWD, min(8 * CROWD, bookings // 2500 // CROWD * CROWD))


def add_history(database_url: str, bookings: int, say: Callable[[str], None]) -> None:
    """Fill the days before today with this many bookings of the existing users."""
    seats = hall_seats(database_url)
    users = execute(database_url, "select count(*) from users")[0][0]
    a_day = len(seats) * 7 // 10

    async def fill() -> None:
        connection: asyncpg.Connection[Any] = await asyncpg.connect(database_url)
        try:
            # The data is valid by construction and can be recreated, so skip the safety checks.
            await connection.execute("set synchronous_commit = off")
            if await connection.fetchval("select rolsuper from pg_roles where rolname = current_user"):
                await connection.execute("set session_replication_role = replica")  # skip foreign key checks
            for first in range(0, bookings, CHUNK):
                last = min(first + CHUNK, bookings)
                await connection.execute(HISTORY, today(), a_day, seats, users, first, last, timeout=3600)
                say(f"history: {last:,} of {bookings:,} bookings")
            await connection.execute(PAST_GENERATIONS, today(), SECTION_SEATS, bookings // a_day + 1)
        finally:
            await connection.close()

    asyncio.run(fill())
