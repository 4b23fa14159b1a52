"""Turns the view of a day, which is the same for everyone, into the page of one visitor."""

from __future__ import annotations

from datetime import date, timedelta
from functools import cached_property
from typing import Final, Literal

from markupsafe import Markup
from msgspec import Struct

from seatweb.accounts.model import Session
from seatweb.booking.day_views import DayViews, own_bookings
from seatweb.booking.errors import SeatNotFound, SectionNotFound
from seatweb.booking.model import DayView, FreeSeats, OwnBooking, Status, Week
from seatweb.booking.window import BookingWindow, first_bookable_on, last_bookable_on, week_of
from seatweb.web.map.contexts import DayLink, DayPage, Panel, Tally, Ticket
from seatweb.web.map.place import Place, Viewer
from seatweb.web.map.sections import Sections, as_markup
from seatweb.web.map.week_strip import WeekStrip

State = Literal["open", "past", "beyond"]
WEEK: Final = timedelta(days=7)


class VisibleDay(Struct, frozen=True, dict=True):
    """Everything that the page of a day shows: the view of the day, and the viewer's own bookings in that week."""

    place: Place
    session: Session | None
    view: DayView
    week: Week | None
    """The views of the days of the week, as far as they can be booked; None where only the day itself is shown."""
    own: dict[date, OwnBooking]
    today: date
    last_day: date
    names: bool
    """Whether this site shows signed-in users who has which seat."""

    @cached_property
    def state(self) -> State:
        """Whether the day can be booked (`open`), is over, or is too far ahead."""
        day = self.place.day
        return "past" if day < self.today else "beyond" if day > self.last_day else "open"

    @cached_property
    def viewer(self) -> Viewer:
        """The viewer. Names are hidden once the day is over: who had which seat is private then."""
        user_id = self.session.user.id if self.session else None
        names = self.names and user_id is not None and self.state == "open"
        return Viewer(user_id=user_id, names=names, past=self.state == "past")

    @property
    def is_everyones(self) -> bool:
        """Whether the day and its week look the same to everyone: the viewer has no seat in it, nor holds one."""
        views = self.week.days.values() if self.week else (self.view,)
        return not self.own and all(self.viewer.user_id not in view.held_by for view in views if view.holds)

    @property
    def mine(self) -> OwnBooking | None:
        """The viewer's booking on the day."""
        return self.own.get(self.place.day)

    @property
    def ticket(self) -> Ticket | None:
        """The viewer's seat on the day."""
        if self.mine is None:
            return None
        seat = self.mine.seat
        return Ticket(seat.id, seat.label, self.place.href(seat_id=seat.id), past=self.state == "past")

    @property
    def links(self) -> tuple[DayLink, ...]:
        """The days of the week strip; the last week that can be booked, if the day is too far ahead."""
        return tuple(
            [
                DayLink(
                    day=day,
                    href=self.place.href(day=day),
                    current=day == self.place.day,
                    today=day == self.today,
                    state="past" if day < self.today else "beyond" if day > self.last_day else "open",
                    opens=first_bookable_on(day) if day > self.last_day else None,
                    mine=self.own[day].seat.label if day in self.own else None,
                    free=self.free_seats(day),
                )
                for day in self.days
            ]
        )

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
    def days(self) -> tuple[date, ...]:
        """The seven days of the week, Monday first; of the last week that can be booked, if the day is after it."""
        return week_of(min(self.place.day, self.last_day))

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
        view = self.view if day == self.view.day else self.week.days.get(day) if self.week else None
        return view.free_seats(self.place.section, self.viewer.user_id) if view else None


class MapReader:
    """Reads what visitors see; `names` says whether this site shows signed-in users who has which seat."""

    def __init__(self, views: DayViews, window: BookingWindow, *, names: bool) -> None:
        self._views = views
        self._window = window
        self._names = names

    async def read(self, session: Session | None, place: Place, *, fresh: bool = False) -> VisibleDay:
        """Return what a visitor sees at a place; `fresh` if they may have just changed something in another process.

        Raises:
            SectionNotFound: there is no such section.
        """
        days = min(place.day, self._window.last_day)
        week = await self._views.week(days, fresh=fresh)
        view = week.days.get(place.day) or await self._views.day(place.day)
        own = await self._views.bookings(session.user, days, week) if session else {}
        return self.visible(session, place, view, week, own)

    def peek(self, session: Session | None, place: Place) -> VisibleDay | None:
        """Return what a visitor sees at a place, from this process's caches only; None if they lack any of it.

        Raises:
            SectionNotFound: there is no such section.
        """
        week = self._views.peek_week(place.day)
        if week is None or place.day not in week.days:
            return None
        return self.visible(
            session, place, week.days[place.day], week, own_bookings(session.user, week) if session else {}
        )

    async def read_section(self, session: Session | None, place: Place) -> VisibleDay:
        """Return what a visitor sees of the sections at a place, without their week.

        Raises:
            SectionNotFound: there is no such section.
        """
        return self.visible(session, place, await self._views.day(place.day))

    def peek_section(self, session: Session | None, place: Place) -> VisibleDay | None:
        """Return what `read_section` returns, from this process's caches only; None if they lack the day.

        Raises:
            SectionNotFound: there is no such section.
        """
        view = self._views.peek_day(place.day)
        return self.visible(session, place, view) if view else None

    def visible(
        self,
        session: Session | None,
        place: Place,
        view: DayView,
        week: Week | None = None,
        own: dict[date, OwnBooking] | None = None,
    ) -> VisibleDay:
        """Return what a visitor sees, given the views of the day and its week, and their bookings in it.

        Raises:
            SectionNotFound: there is no such section.
        """
        if place.section is not None and not view.shown(place.section):
            raise SectionNotFound
        today = self._window.today()
        return VisibleDay(place, session, view, week, own or {}, today, last_bookable_on(today), self._names)


def day_page(sections: Sections, week_strip: WeekStrip, visible: VisibleDay, *, problem: str | None = None) -> DayPage:
    """Return the page of a day for one visitor.

    Raises:
        SeatNotFound: there is no such seat.
    """
    beyond = visible.state == "beyond"
    return assemble_page(
        visible,
        map_=Markup("") if beyond else as_markup(sections.map(visible.view, visible.place, visible.viewer)),
        tally=as_markup([sections.tally(visible.tally)]),
        tag=visible.view.tag,
        week=as_markup(week_strip.week(visible.links)),
        ticket=as_markup([week_strip.ticket(ticket)]) if (ticket := visible.ticket) else None,
        panel=None if visible.place.seat_id is None or beyond else _panel(visible, visible.place.seat_id, problem),
    )


def assemble_page(
    visible: VisibleDay,
    *,
    map_: Markup,
    tally: Markup,
    tag: str,
    week: Markup,
    ticket: Markup | None,
    panel: Panel | None = None,
) -> DayPage:
    """Return the page of a day, given the HTML of its parts."""
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
        week=week,
        previous_week_href=visible.previous_week_href,
        next_week_href=visible.next_week_href,
        today_href=visible.place.href(day=visible.today),
        calendar_href=visible.place.calendar_href(min(visible.place.day, visible.last_day)),
        mine=visible.mine,
        ticket=ticket,
        panel=panel,
    )


def _panel(visible: VisibleDay, seat_id: int, problem: str | None) -> Panel:
    view, user_id, mine = visible.view, visible.viewer.user_id, visible.mine
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
        past=visible.state == "past",
        problem=problem,
    )
