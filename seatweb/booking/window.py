"""The booking window: which days can be booked."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from functools import lru_cache
from typing import Final

from seatweb.booking.errors import OutsideBookingWindow

DAYS_AHEAD: Final = 90


class BookingWindow:
    """Today and the 90 days after it; `today` returns the current day in the site's time zone."""

    def __init__(self, today: Callable[[], date]) -> None:
        self.today = today

    @property
    def last_day(self) -> date:
        """The last day that can be booked."""
        return last_bookable_on(self.today())

    @property
    def days(self) -> list[date]:
        """Every day that can be booked, in order."""
        return [self.today() + timedelta(days=n) for n in range(DAYS_AHEAD + 1)]

    def includes(self, day: date) -> bool:
        """Return whether the day is neither past nor too far ahead."""
        return self.today() <= day <= self.last_day

    def check(self, day: date) -> None:
        """Check that the day can be booked.

        Raises:
            OutsideBookingWindow: the day is past or too far ahead.
        """
        if day < self.today():
            raise OutsideBookingWindow(reason="past")
        if day > self.last_day:
            raise OutsideBookingWindow(reason="too_far", days=DAYS_AHEAD)


def last_bookable_on(today: date) -> date:
    """Return the last day that can be booked today."""
    return today + timedelta(days=DAYS_AHEAD)


def first_bookable_on(day: date) -> date:
    """Return the day on which a day too far ahead can first be booked."""
    return day - timedelta(days=DAYS_AHEAD)


def monday_of(day: date) -> date:
    """Return the Monday of the week that contains the day."""
    return day - timedelta(days=day.weekday())


@lru_cache(maxsize=256)
def week_of(day: date) -> tuple[date, ...]:
    """Return the days of the week that contains the day, Monday first; the last week of all dates is short."""
    monday = monday_of(day)
    return tuple(monday + timedelta(days=n) for n in range(min(6, (date.max - monday).days) + 1))
