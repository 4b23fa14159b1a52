"""The calendar: the free seats of each day of a month, and the viewer's own bookings."""

from __future__ import annotations

import calendar
import re
from datetime import date, timedelta
from typing import Final

from litestar import Controller, get
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.response import Response

from seatweb.booking.bookings import Bookings
from seatweb.booking.model import Booking, FreeSeats
from seatweb.booking.month import Days, FreeCounts
from seatweb.booking.window import BookingWindow, first_bookable_on
from seatweb.web.map.contexts import CalendarDay, CalendarPage
from seatweb.web.map.place import Place
from seatweb.web.rendering import Renderer
from seatweb.web.requests import (
    FOR_EVERYONE,
    PageNotFound,
    PageRequest,
    changed_recently,
    query_value,
    read_day,
    session_of,
    wants_partial,
)

MONTH: Final = re.compile(r"[0-9]{4}-[0-9]{2}", re.ASCII)


class CalendarController(Controller):
    """Shows a month: as a page, or as the partial that the map opens."""

    @get("/calendar/{month_text:str}", opt=FOR_EVERYONE)
    async def show(
        self,
        request: PageRequest,
        free_counts: NamedDependency[FreeCounts],
        bookings: NamedDependency[Bookings],
        window: NamedDependency[BookingWindow],
        renderer: NamedDependency[Renderer],
        month_text: FromPath[str],
    ) -> Response[str]:
        """Show a month."""
        month, session = read_month(month_text), session_of(request)
        last = end_of(month)
        day = query_value(request, "day")
        place = Place(read_day(day) if day else window.today(), query_value(request, "section"))
        counts = await free_counts.get(Days(month, last, place.section), fresh=changed_recently(request))
        mine = await bookings.between(session.user, month, last) if session else []
        template = "map/partials/calendar.html" if wants_partial(request) else "map/calendar.html"
        return renderer.page(request, template, calendar_page(place, window, month, counts, mine))


def calendar_page(
    place: Place, window: BookingWindow, month: date, counts: dict[date, FreeSeats], mine: list[Booking]
) -> CalendarPage:
    """Return the calendar of a month, opened from a place on the map."""
    last_month = window.last_day.replace(day=1)
    before = None if month == date.min else min((month - timedelta(days=1)).replace(day=1), last_month)
    labels = {booking.day: booking.seat.label for booking in mine}
    weeks = calendar.Calendar().monthdayscalendar(month.year, month.month)  # 0: a day of another month
    return CalendarPage(
        month=month,
        day=place.day,
        today=window.today(),
        end=end_of(last_month),
        section=place.section,
        weeks=[
            [_calendar_day(place, window, month.replace(day=day), counts, labels) if day else None for day in week]
            for week in weeks
        ],
        previous_href=place.calendar_href(before) if before else None,
        next_href=place.calendar_href(end_of(month) + timedelta(days=1)) if month < last_month else None,
        today_href=place.href(day=window.today()),
        back_href=place.href(),
        query=place.calendar_href().partition("?")[2],
    )


def _calendar_day(
    place: Place, window: BookingWindow, day: date, counts: dict[date, FreeSeats], labels: dict[date, str]
) -> CalendarDay:
    opens = first_bookable_on(day) if day > window.last_day else None
    return CalendarDay(
        day=day,
        href=None if opens else place.href(day=day),
        past=day < window.today(),
        opens=opens,
        seats=counts.get(day) if window.includes(day) else None,
        mine=labels.get(day),
    )


def read_month(text: str) -> date:
    """Return the first day of the month in a URL, such as `2026-11`.

    Raises:
        PageNotFound: there is no such month.
    """
    if not MONTH.fullmatch(text):
        raise PageNotFound(reason="day")
    return read_day(f"{text}-01")


def end_of(month: date) -> date:
    """Return the last day of the month."""
    return month.replace(day=calendar.monthrange(month.year, month.month)[1])
