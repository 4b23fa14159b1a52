"""Day views: read from PostgreSQL and cached briefly in memory, for all viewers.

A cached value is at most a quarter of a second old, and never older than a change made by this process. For a user who
has just made a change in another process, ask for a fresh view.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from datetime import date
from typing import Final, TypeAlias

from seatweb.accounts.model import User
from seatweb.booking import queries
from seatweb.booking.changes import Changes
from seatweb.booking.hold_store import HoldStore
from seatweb.booking.model import DayView, Hold, OwnBooking, SeatView, Section, SectionView, Week
from seatweb.booking.queries import SectionSeats
from seatweb.booking.section_cache import SectionCache
from seatweb.booking.window import DAYS_AHEAD, BookingWindow, week_of
from seatweb.storage.batching import Batcher
from seatweb.storage.caching import BoundedDict, TimedCache
from seatweb.storage.database import Database

MEMORY_SECONDS: Final = 0.25
RENEWED_AFTER_SECONDS: Final = 0.15
SECTION_VIEWS_KEPT: Final = 4096  # of all sections and days, in each process
DAYS_KEPT: Final = DAYS_AHEAD + 13  # the days that can be booked, and the rest of the first and the last week

NO_SEATS: Final = SectionSeats(generation=0, seats=())  # of a section that has none, at whatever generation

Generations: TypeAlias = list[tuple[Section, int]]


class DayViews:
    """Reads and caches day views, which are the same for every viewer."""

    def __init__(
        self, database: Database, cache: SectionCache, hold_store: HoldStore, changes: Changes, window: BookingWindow
    ) -> None:
        self._database = database
        self._cache = cache
        self._hold_store = hold_store
        self._window = window
        self._sections: BoundedDict[tuple[int, date], SectionView] = BoundedDict(SECTION_VIEWS_KEPT)
        self._latest: BoundedDict[date, DayView] = BoundedDict(DAYS_KEPT)
        self._weeks: BoundedDict[date | None, Week] = BoundedDict(DAYS_KEPT)
        self._versions = itertools.count()
        self._putting: set[asyncio.Task[None]] = set()
        # The days of a week are read together: one query for their generations, and one for seats that have changed.
        self._generations: Batcher[date, Generations] = Batcher(self._read_generations)
        self._seats: Batcher[tuple[int, date], SectionSeats] = Batcher(self._read_seats)
        self._days = TimedCache(
            self._read_day, seconds=MEMORY_SECONDS, renewed_after=RENEWED_AFTER_SECONDS, entries=DAYS_KEPT
        )
        changes.listen(self._day_changed)

    async def day(self, day: date, *, fresh: bool = False) -> DayView:
        """Return the view of the day; with `fresh`, read after this call, so that it shows every change made before."""
        if self._is_cached(day):
            return await self._days.get(day, fresh=fresh)
        return await self._read_day(day)

    def peek_day(self, day: date) -> DayView | None:
        """Return the view of the day if it is cached in memory."""
        return self._days.peek(day)

    async def bookable_day(self, day: date) -> DayView:
        """Return a fresh view of a day that can be booked.

        Raises:
            OutsideBookingWindow: it cannot be booked.
        """
        self._window.check(day)
        return await self.day(day, fresh=True)

    async def week(self, day: date, *, fresh: bool = False) -> Week:
        """Return the views of the week that contains the day, except for days before this week or after the last one.

        Those that are not cached are read together, in one query if they have not changed.
        """
        days = [other for other in week_of(day) if self._is_cached(other)]
        views = dict(zip(days, [None] * len(days) if fresh else self._days.peek_all(days), strict=True))
        missing = [other for other, view in views.items() if view is None]
        views |= zip(
            missing, await asyncio.gather(*(self._days.get(other, fresh=fresh) for other in missing)), strict=True
        )
        return self._as_week({other: view for other, view in views.items() if view})

    def peek_week(self, day: date) -> Week | None:
        """Return what `week` returns if all of it is cached in memory."""
        days = week_of(day)
        found = self._days.peek_all(days)  # all of them, so that they stay cached
        if None in found and any(self._is_cached(other) for other, view in zip(days, found, strict=True) if not view):
            return None
        return self._as_week({other: view for other, view in zip(days, found, strict=True) if view})

    async def bookings(self, user: User, day: date, week: Week) -> dict[date, OwnBooking]:
        """Return the user's bookings in the week that contains the day, given its day views."""
        found = own_bookings(user, week)
        past = [other for other in week_of(day) if other < self._first_cached]
        if past:
            rows = await self._database.run(queries.list_confirmed_bookings, user.id, past[0], past[-1])
            found |= {row.day: OwnBooking(row.id, row.day, row.seat) for row in rows}
        return found

    def _as_week(self, days: dict[date, DayView]) -> Week:
        first = next(iter(days), None)
        known = self._weeks.get(first)
        if known is None or list(known.days.values()) != list(days.values()):
            known = self._weeks[first] = Week(days, next(self._versions))
        return known

    @property
    def _first_cached(self) -> date:
        return week_of(self._window.today())[0]

    def _is_cached(self, day: date) -> bool:
        # Other days are rarely viewed, and there are too many of them to cache.
        return self._first_cached <= day <= week_of(self._window.last_day)[-1]

    def _day_changed(self, day: date | None) -> None:
        if day:
            self._days.forget(day)
        else:
            self._days.forget_all()

    async def _read_generations(self, days: Sequence[date]) -> list[Generations]:
        found = await self._database.run(queries.read_generations, days)
        return [found[day] for day in days]

    async def _read_seats(self, wanted: Sequence[tuple[int, date]]) -> list[SectionSeats]:
        found = await self._database.run(queries.read_seats, set(wanted))
        return [found.get(key, NO_SEATS) for key in wanted]

    async def _read_day(self, day: date) -> DayView:
        # The generations must come first: see section_cache.py.
        if self._window.includes(day):
            generations, holds = await asyncio.gather(self._generations.get(day), self._hold_store.active(day))
        else:
            generations, holds = await self._generations.get(day), {}
        views = {
            section.id: view
            for section, generation in generations
            if (view := self._sections.get((section.id, day))) and view.generation == generation
        }
        unknown = [pair for pair in generations if pair[0].id not in views]
        if unknown:
            views |= await self._read_sections(day, unknown, cached=self._is_cached(day))
        sections = tuple(views[section.id] for section, _ in generations)
        known = self._latest.get(day)
        if known and known.sections == sections and _are_same(known.holds, holds):
            return known  # with all that was derived from it
        new = DayView(day=day, sections=sections, holds=holds)
        if self._is_cached(day):
            self._latest[day] = new
        return new

    async def _read_sections(
        self, day: date, wanted: list[tuple[Section, int]], *, cached: bool
    ) -> dict[int, SectionView]:
        """Return the views of sections at these generations or newer, from Redis (if `cached`) or from the database."""
        hits = await self._cache.get(day, wanted) if cached else {}
        found = {
            section.id: SectionSeats(generation=generation, seats=hits[section.id])
            for section, generation in wanted
            if section.id in hits
        }
        missing = [section.id for section, _ in wanted if section.id not in found]
        if missing:
            read = await asyncio.gather(*(self._seats.get((section_id, day)) for section_id in missing))
            found |= dict(zip(missing, read, strict=True))
            if cached:
                self._put(day, {(id_, found[id_].generation): found[id_].seats for id_ in missing})
        views = {}
        for section, generation in wanted:
            new = found[section.id]
            views[section.id] = SectionView(
                section=section, day=day, generation=new.generation or generation, seats=new.seats
            )
            if cached:
                self._sections[section.id, day] = views[section.id]
        return views

    def _put(self, day: date, views: dict[tuple[int, int], tuple[SeatView, ...]]) -> None:
        # Nobody who asked for a view waits until it is stored for others.
        task = asyncio.create_task(self._cache.put(day, views))
        self._putting.add(task)
        task.add_done_callback(self._putting.discard)


def _are_same(known: dict[int, Hold], holds: dict[int, Hold]) -> bool:
    # Not `==`: each reading estimates anew when a hold ends.
    return known.keys() == holds.keys() and all(
        hold.user_id == holds[id_].user_id and hold.began_at == holds[id_].began_at for id_, hold in known.items()
    )


def own_bookings(user: User, week: Week) -> dict[date, OwnBooking]:
    """Return the user's bookings on these days."""
    return {day: booking for day, view in week.days.items() if (booking := view.booking_of(user.id))}
