"""Turns the view of a day, which is the same for everyone, into the page of one visitor."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Literal

from markupsafe import Markup
from msgspec import Struct

from seatweb.accounts.model import Session
from seatweb.booking.day_views import DayViews
from seatweb.booking.errors import SeatNotFound, SectionNotFound
from seatweb.booking.model import Booking, DayView, Status
from seatweb.booking.window import BookingWindow, monday_of
from seatweb.web.map.contexts import DayLink, DayPage, Panel, Tally
from seatweb.web.map.place import Place, Viewer
from seatweb.web.map.sections import Sections

State = Literal["open", "past", "beyond"]


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

    @property
    def state(self) -> State:
        """Whether the day can be booked (`open`), is over, or is too far ahead."""
        day = self.place.day
        return "past" if day < self.today else "beyond" if day > self.last_day else "open"

    @property
    def viewer(self) -> Viewer:
        """The viewer. Names are hidden once the day is over: who had which seat is private then."""
        user_id = self.session.user.id if self.session else None
        names = self.names and user_id is not None and self.state == "open"
        return Viewer(user_id=user_id, names=names, past=self.state == "past")

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
        """The URL of the next day that can be booked; None if there is none."""
        following = max(self.place.day + timedelta(days=1), self.today) if self.place.day < self.last_day else None
        return self.place.href(day=following) if following else None

    @property
    def previous_href(self) -> str | None:
        """The URL of the previous day that can be booked; None if there is none."""
        before = min(self.place.day - timedelta(days=1), self.last_day) if self.place.day > self.today else None
        return self.place.href(day=before) if before else None


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
        view = await self._views.day(place.day, fresh=fresh)
        week = await self._views.week(session.user, place.day, fresh=fresh) if session else {}
        return self.visible(session, place, view, week)

    def peek(self, session: Session | None, place: Place) -> VisibleDay | None:
        """Return what a visitor sees at a place, from this process's caches only; None if they lack any of it.

        Raises:
            SectionNotFound: there is no such section.
        """
        view = self._views.peek_day(place.day)
        week = self._views.peek_week(session.user, place.day) if session else {}
        return None if view is None or week is None else self.visible(session, place, view, week)

    def visible(self, session: Session | None, place: Place, view: DayView, week: dict[date, Booking]) -> VisibleDay:
        """Return what a visitor sees, given the view of the day and their bookings in its week.

        Raises:
            SectionNotFound: there is no such section.
        """
        if place.section is not None and not view.shown(place.section):
            raise SectionNotFound
        return VisibleDay(place, session, view, week, self._window.today(), self._window.last_day, self._names)


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
        tag=visible.view.tag,
        panel=None if visible.place.seat_id is None or beyond else _panel(visible, visible.place.seat_id, problem),
    )


def assemble_page(visible: VisibleDay, *, map_: Markup, tally: Markup, tag: str, panel: Panel | None = None) -> DayPage:
    """Return the page of a day, given the HTML of its map and tally."""
    monday = monday_of(min(visible.place.day, visible.last_day))
    week = visible.week if monday == monday_of(visible.place.day) else {}
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
        week=[_day_link(visible, monday + timedelta(days=n), week) for n in range(7)],
        previous_href=visible.previous_href,
        next_href=visible.next_href,
        mine=visible.week.get(visible.place.day),
        panel=panel,
    )


def _day_link(visible: VisibleDay, day: date, week: dict[date, Booking]) -> DayLink:
    return DayLink(
        day=day,
        href=visible.place.href(day=day),
        current=day == visible.place.day,
        today=day == visible.today,
        bookable=visible.today <= day <= visible.last_day,
        mine=week[day].seat.label if day in week else None,
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
        past=visible.state == "past",
        problem=problem,
    )
