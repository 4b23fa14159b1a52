"""From section views to the map of a day as one visitor sees it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Final, Literal

from seatweb.bookings import Bookings, nearest_free
from seatweb.errors import SeatNotFound
from seatweb.model import Booking, SeatView, SectionView, Session, Status
from seatweb.web.contexts import DayLink, DayPage, Panel, SeatBox, SectionBox

WORDS: Final = {
    Status.FREE: "free",
    Status.HELD: "being chosen",
    Status.TAKEN: "taken",
    Status.MINE: "yours",
    Status.CLOSED: "closed",
}


class Place:
    """Where on the map a visitor is: the day, the section if one was asked for, the seat if one is chosen."""

    def __init__(self, day: date, section: str | None = None, seat_id: int | None = None) -> None:
        self.day = day
        self.section = section
        self.seat_id = seat_id

    def href(self, *, day: date | None = None, seat_id: int | None = None) -> str:
        """Return the address of a day, or of one of its seats, with the section kept."""
        path = f"/days/{day or self.day}" + (f"/seats/{seat_id}" if seat_id else "")
        return path + (f"?section={self.section}" if self.section else "")


async def day_page(bookings: Bookings, session: Session | None, place: Place, *, problem: str | None = None) -> DayPage:
    """Return the map of a day for one visitor.

    Raises:
        SeatNotFound: there is no such seat.
    """
    day, today, last_day = place.day, bookings.today(), bookings.last_day
    state: Literal["open", "past", "beyond"] = "past" if day < today else "beyond" if day > last_day else "open"
    week_of = min(day, last_day)
    monday = week_of - timedelta(days=week_of.weekday())
    sunday = monday + timedelta(days=6)
    mine = {booking.day: booking for booking in await bookings.between(session.user, monday, sunday)} if session else {}
    views = await bookings.views(day) if state != "beyond" else []
    names_shown = session is not None and state == "open"  # who sat where is nobody's business afterwards
    user_id = session.user.id if session else None
    shown = [_section_box(view, place, user_id, names_shown=names_shown) for view in views if _shown(view, place)]
    return DayPage(
        day=day,
        today=today,
        last_day=last_day,
        state=state,
        sections=shown,
        section=place.section,
        section_names=[view.section.name for view in views],
        free_count=sum(section.free_count for section in shown),
        week=[_day_link(monday + timedelta(days=n), place, mine, today, last_day) for n in range(7)],
        previous_href=place.href(day=min(day - timedelta(days=1), last_day)) if day > today else None,
        next_href=place.href(day=max(day + timedelta(days=1), today)) if day < last_day else None,
        mine=mine.get(day),
        panel=_panel(views, place, session, mine.get(day), state, names_shown=names_shown, problem=problem)
        if place.seat_id is not None and views
        else None,
    )


def _shown(view: SectionView, place: Place) -> bool:
    return place.section is None or view.section.name == place.section


def _section_box(view: SectionView, place: Place, user_id: int | None, *, names_shown: bool) -> SectionBox:
    return SectionBox(
        name=view.section.name,
        generation=view.generation,
        rows=max((seat.seat.row for seat in view.seats), default=0),
        columns=max((seat.seat.column for seat in view.seats), default=0),
        seats=[_seat_box(seat, place, user_id, names_shown=names_shown) for seat in view.seats],
        free_count=view.free_count,
    )


def _seat_box(view: SeatView, place: Place, user_id: int | None, *, names_shown: bool) -> SeatBox:
    seat, status = view.seat, view.status_for(user_id)
    return SeatBox(
        id=seat.id,
        label=seat.label,
        number=seat.number,
        row=seat.row,
        column=seat.column,
        status=status,
        href=place.href(seat_id=seat.id),
        initials=view.sitter.initials if view.sitter and (names_shown or status is Status.MINE) else None,
        accessible_name=f"Seat {seat.label}, {WORDS[status]}",
        chosen=seat.id == place.seat_id,
    )


def _day_link(day: date, place: Place, mine: dict[date, Booking], today: date, last_day: date) -> DayLink:
    return DayLink(
        day=day,
        href=place.href(day=day),
        current=day == place.day,
        today=day == today,
        bookable=today <= day <= last_day,
        mine=mine[day].seat.label if day in mine else None,
    )


def _panel(
    views: Sequence[SectionView],
    place: Place,
    session: Session | None,
    mine: Booking | None,
    state: Literal["open", "past", "beyond"],
    *,
    names_shown: bool,
    problem: str | None,
) -> Panel:
    chosen = next((seat for view in views for seat in view.seats if seat.seat.id == place.seat_id), None)
    if chosen is None:
        raise SeatNotFound
    status = chosen.status_for(session.user.id if session else None)
    action: Literal["book", "move", "cancel", "sign_in", "none"] = "none"
    if state == "open" and status is Status.MINE:
        action = "cancel"
    elif state == "open" and status is Status.FREE:
        action = "sign_in" if session is None else "move" if mine else "book"
    refused = state == "open" and status in {Status.TAKEN, Status.CLOSED}
    return Panel(
        seat=chosen.seat,
        day=place.day,
        status=status,
        action=action,
        sitter=chosen.sitter.username if chosen.sitter and names_shown else None,
        mine=mine,
        nearest=nearest_free(views, chosen.seat) if refused else None,
        close_href=place.href(),
        problem=problem,
    )
