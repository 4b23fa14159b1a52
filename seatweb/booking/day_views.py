"""Day views and users' weeks: read from PostgreSQL and cached briefly in memory.

A cached value is at most a quarter of a second old, and never older than a change made by this process. For a user who
has just made a change in another process, ask for a fresh view.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import Final

from seatweb.accounts.model import User
from seatweb.booking import queries
from seatweb.booking.changes import Changes
from seatweb.booking.hold_store import HoldStore
from seatweb.booking.model import Booking, DayView, Section, SectionView
from seatweb.booking.queries import SectionSeats
from seatweb.booking.section_cache import SectionCache
from seatweb.booking.window import DAYS_AHEAD, BookingWindow, monday_of
from seatweb.storage.caching import BoundedDict, TimedCache
from seatweb.storage.database import Database

MEMORY_SECONDS: Final = 0.25
SECTION_VIEWS_KEPT: Final = 512  # of all sections and days, in each process
WEEKS_KEPT: Final = 10_000


class DayViews:
    """Reads and caches day views, which are the same for every viewer, and users' weeks."""

    def __init__(
        self, database: Database, cache: SectionCache, hold_store: HoldStore, changes: Changes, window: BookingWindow
    ) -> None:
        self._database = database
        self._cache = cache
        self._hold_store = hold_store
        self._window = window
        self._sections: BoundedDict[tuple[int, date], SectionView] = BoundedDict(SECTION_VIEWS_KEPT)
        self._days = TimedCache(self._read_day, seconds=MEMORY_SECONDS, entries=2 * DAYS_AHEAD)
        self._weeks = TimedCache(self._read_week, seconds=MEMORY_SECONDS, entries=WEEKS_KEPT)
        changes.listen(self._day_changed)

    async def day(self, day: date, *, fresh: bool = False) -> DayView:
        """Return the view of the day; with `fresh`, read after this call, so that it shows every change made before."""
        if self._window.includes(day):  # other days are rarely viewed, and there are too many of them to cache
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

    async def week(self, user: User, day: date, *, fresh: bool = False) -> dict[date, Booking]:
        """Return the user's confirmed bookings in the week that contains the day, by day."""
        return await self._weeks.get((user.id, monday_of(day)), fresh=fresh)

    def peek_week(self, user: User, day: date) -> dict[date, Booking] | None:
        """Return the user's bookings in the week that contains the day if they are cached in memory."""
        return self._weeks.peek((user.id, monday_of(day)))

    def forget_week(self, user: User, day: date) -> None:
        """Drop the user's cached week, because they booked, moved or cancelled."""
        self._weeks.forget((user.id, monday_of(day)))

    def _day_changed(self, day: date | None) -> None:
        for stale in [day] if day else self._window.days:
            self._days.forget(stale)

    async def _read_day(self, day: date) -> DayView:
        generations = await self._database.run(queries.read_generations, day)  # must come first: see section_cache.py
        bookable = self._window.includes(day)
        holds = await self._hold_store.active(day) if bookable else {}
        views = {
            section.id: view
            for section, generation in generations
            if (view := self._sections.get((section.id, day))) and view.generation == generation
        }
        unknown = [pair for pair in generations if pair[0].id not in views]
        if unknown:
            views |= await self._read_sections(day, unknown, cached=bookable)
        return DayView(day=day, sections=tuple(views[section.id] for section, _ in generations), holds=holds)

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
            read = await self._database.run(queries.read_seats, missing, day)
            found |= read
            if cached:
                await self._cache.put(day, {(id_, new.generation): new.seats for id_, new in read.items()})
        views = {}
        for section, generation in wanted:
            new = found.get(section.id) or SectionSeats(generation=generation, seats=())
            views[section.id] = SectionView(section=section, day=day, generation=new.generation, seats=new.seats)
            if cached:
                self._sections[section.id, day] = views[section.id]
        return views

    async def _read_week(self, key: tuple[int, date]) -> dict[date, Booking]:
        user_id, monday = key
        sunday = monday + min(timedelta(days=6), date.max - monday)  # the week of date.max has five days only
        found = await self._database.run(queries.list_confirmed_bookings, user_id, monday, sunday)
        return {booking.day: booking for booking in found}
