"""Turns the view of a day, which is the same for everyone, into the page of one visitor."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Final, Literal

from markupsafe import Markup
from msgspec import Struct

from seatweb.accounts.model import Session
from seatweb.booking.day_views import DayViews
from seatweb.booking.errors import SeatNotFound, SectionNotFound
from seatweb.booking.model import Booking, DayView, FreeSeats, Status
from seatweb.booking.month import Days, FreeCounts
from seatweb.booking.window import BookingWindow, first_bookable_on, monday_of
from seatweb.web.map.contexts import DayLink, DayPage, Panel, Tally
from seatweb.web.map.place import Place, Viewer
from seatweb.web.map.sections import Sections

State = Literal["open", "past", "beyond"]
WEEK: Final = timedelta(days=7)


class VisibleDay(Struct, frozen=True):
    """Everything that the page of a day shows: the view of the day, and the viewer's own bookings in that week."""

    place: Place
    session: Session | None
    view: DayView
    week: dict[date, Booking]
    today: date
    last_day: date
    names: bool
    """Whether this site shows signed-in users who has which seat."""
    counts: dict[date, FreeSeats]
    """The free seats of the other days of the week."""

    @property
    def state(self) -> State:
        """Whether the day can be booked (`open`), is over, or is too far ahead."""
        day = self.place.day
        return "past" if day < self.today else "beyond" if day > self.last_day else "open"

    @property
    def viewer(self) -> Viewer:
        """The viewer. Names are hidden once the day is over: who had which seat is private then."""
        user_id = self.session.user.id if self.session else None
        return Viewer(user_id=user_id, names=self.names and user_id is not None and self.state == "open")

    @property
    def tally(self) -> Tally:
        """How many seats are free."""
        view, section = self.view, self.place.section
        return Tally(
            state=self.state,
            free_count=sum(view.free_count(part, self.viewer.user_id) for part in view.shown(section)),
            section=section,
            last_day=self.last_day,
            next_href=self.next_href,
        )

    @property
    def next_href(self) -> str | None:
        """The URL of the next day; None if it cannot be booked yet."""
        return self.place.href(day=self.place.day + timedelta(days=1)) if self.place.day < self.last_day else None

    @property
    def days(self) -> list[date]:
        """The seven days of the week, Monday first; of the last week that can be booked, if the day is after it."""
        monday = monday_of(min(self.place.day, self.last_day))
        return [monday + timedelta(days=n) for n in range(7)]

    @property
    def next_week_href(self) -> str | None:
        """The URL of the same weekday a week later, or of the last day before it that can be booked; None if none."""
        if self.days[-1] >= self.last_day:
            return None
        return self.place.href(day=min(self.place.day + WEEK, self.last_day))

    @property
    def previous_week_href(self) -> str | None:
        """The URL of the same weekday a week earlier; None before the first week of the calendar."""
        if self.place.day - date.min < WEEK:
            return None
        return self.place.href(day=min(self.place.day - WEEK, self.last_day))

    def free_seats(self, day: date) -> FreeSeats | None:
        """Return the free seats on a day of the week; None if it cannot be booked."""
        if not self.today <= day <= self.last_day:
            return None
        if day == self.place.day:
            return self.view.free_seats(self.place.section, self.viewer.user_id)
        return self.counts.get(day)


class MapReader:
    """Reads what visitors see; `names` says whether this site shows signed-in users who has which seat."""

    def __init__(self, views: DayViews, free_counts: FreeCounts, window: BookingWindow, *, names: bool) -> None:
        self._views = views
        self._free_counts = free_counts
        self._window = window
        self._names = names

    async def read(self, session: Session | None, place: Place, *, fresh: bool = False) -> VisibleDay:
        """Return what a visitor sees at a place; `fresh` if they may have just changed something in another process.

        Raises:
            SectionNotFound: there is no such section.
        """
        view = await self._views.day(place.day, fresh=fresh)
        week = await self._views.week(session.user, place.day, fresh=fresh) if session else {}
        counts = await self._free_counts.get(self._week(place), fresh=fresh)
        return self.visible(session, place, view, week, counts)

    def peek(self, session: Session | None, place: Place) -> VisibleDay | None:
        """Return what a visitor sees at a place, from this process's caches only; None if they lack any of it.

        Raises:
            SectionNotFound: there is no such section.
        """
        view = self._views.peek_day(place.day)
        week = self._views.peek_week(session.user, place.day) if session else {}
        counts = self._free_counts.peek(self._week(place))
        if view is None or week is None or counts is None:
            return None
        return self.visible(session, place, view, week, counts)

    def visible(
        self,
        session: Session | None,
        place: Place,
        view: DayView,
        week: dict[date, Booking],
        counts: dict[date, FreeSeats],
    ) -> VisibleDay:
        """Return what a visitor sees, given the view of the day, their bookings in its week, and its free seats.

        Raises:
            SectionNotFound: there is no such section.
        """
        if place.section is not None and not view.shown(place.section):
            raise SectionNotFound
        return VisibleDay(place, session, view, week, self._window.today(), self._window.last_day, self._names, counts)

    def _week(self, place: Place) -> Days:
        monday = monday_of(min(place.day, self._window.last_day))
        return Days(monday, monday + timedelta(days=6), place.section)


def day_page(sections: Sections, visible: VisibleDay, *, problem: str | None = None) -> DayPage:
    """Return the page of a day for one visitor.

    Raises:
        SeatNotFound: there is no such seat.
    """
    beyond = visible.state == "beyond"
    return assemble_page(
        visible,
        map_=Markup("") if beyond else sections.map(visible.view, visible.place, visible.viewer),
        tally=sections.tally(visible.tally),
        free=[sections.day_count(day, visible.free_seats(day)) for day in visible.days],
        tag=visible.view.tag,
        panel=None if visible.place.seat_id is None or beyond else _panel(visible, visible.place.seat_id, problem),
    )


def assemble_page(
    visible: VisibleDay, *, map_: Markup, tally: Markup, free: list[Markup], tag: str, panel: Panel | None = None
) -> DayPage:
    """Return the page of a day, given the HTML of its map, of its tally, and of the week's counts of free seats."""
    week = visible.week if visible.place.day <= visible.days[-1] else {}
    return DayPage(
        day=visible.place.day,
        today=visible.today,
        last_day=visible.last_day,
        state=visible.state,
        map=map_,
        tag=tag,
        tally=tally,
        section=visible.place.section,
        section_names=[part.section.name for part in visible.view.sections],
        week=[_day_link(visible, day, week.get(day), count) for day, count in zip(visible.days, free, strict=True)],
        previous_week_href=visible.previous_week_href,
        next_week_href=visible.next_week_href,
        today_href=visible.place.href(day=visible.today),
        calendar_href=visible.place.calendar_href(min(visible.place.day, visible.last_day)),
        mine=visible.week.get(visible.place.day),
        panel=panel,
    )


def _day_link(visible: VisibleDay, day: date, booking: Booking | None, free: Markup) -> DayLink:
    return DayLink(
        day=day,
        href=visible.place.href(day=day),
        current=day == visible.place.day,
        today=day == visible.today,
        state="past" if day < visible.today else "beyond" if day > visible.last_day else "open",
        opens=first_bookable_on(day) if day > visible.last_day else None,
        mine=booking.seat.label if booking else None,
        free=free,
    )


def _panel(visible: VisibleDay, seat_id: int, problem: str | None) -> Panel:
    view, user_id, mine = visible.view, visible.viewer.user_id, visible.week.get(visible.place.day)
    chosen = view.seats.get(seat_id)
    if chosen is None:
        raise SeatNotFound
    status = view.status_of(chosen, user_id)
    action: Literal["book", "move", "cancel", "sign_in", "none"] = "none"
    if visible.state == "open" and status is Status.MINE:
        action = "cancel"
    elif visible.state == "open" and status is Status.FREE:
        action = "sign_in" if user_id is None else "move" if mine else "book"
    refused = visible.state == "open" and status in {Status.TAKEN, Status.HELD, Status.CLOSED}
    return Panel(
        seat=chosen.seat,
        day=visible.place.day,
        status=status,
        action=action,
        sitter=chosen.sitter.username if chosen.sitter and visible.viewer.names else None,
        seconds_left=view.holds[seat_id].seconds_left if status is Status.HELD else None,
        mine=mine,
        nearest=view.nearest_free(chosen.seat, user_id) if refused else None,
        close_href=visible.place.href(),
        problem=problem,
    )
