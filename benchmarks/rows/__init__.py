"""The benchmarks: one function for each row of the table, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from benchmarks.measure import Bench, Result
from benchmarks.rows import bookings, crowd, history, live, pages, sign_ins, start

ROWS: Final[dict[str, Callable[[Bench], list[Result]]]] = {
    "many people": crowd.crowd,
    "section view": pages.section_view,
    "day page": pages.day_page,
    "booking": bookings.booking,
    "booking by form": bookings.booking_by_form,
    "calendar": crowd.calendar,
    "two workers": crowd.two_workers,
    "flash sale": bookings.flash_sale,
    "1,000 seats": pages.thousand_seats,
    "history": history.history,
    "live": live.live,
    "sign-ins": sign_ins.sign_ins,
    "start": start.start,
    "first load": start.first_load,
}
