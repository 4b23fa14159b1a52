"""Rules that can be tested without a server."""

from __future__ import annotations

from datetime import date
from itertools import product

import pytest
from seatweb.booking.model import DayView, Seat, SeatView, Section, SectionView, Sitter, Status
from seatweb.web.notices import parse_notice
from seatweb.web.requests import own_path

DAY = date(2026, 11, 23)


def view(name: str, taken: set[str], closed: set[str] = frozenset()) -> SectionView:  # type: ignore[assignment]
    seats = []
    for row, column in product(range(1, 5), range(1, 6)):
        number = f"{(row - 1) * 5 + column:02}"
        seat = Seat(
            id=(ord(name) - 65) * 20 + int(number),
            section=name,
            number=number,
            row=row,
            column=column,
            closed=number in closed,
        )
        seats.append(SeatView(seat=seat, sitter=Sitter(1, "ada", 7) if number in taken else None))
    return SectionView(section=Section(ord(name), name), day=DAY, generation=1, seats=tuple(seats))


ALL = {f"{n:02}" for n in range(1, 21)}


@pytest.mark.parametrize(
    ("views", "seat", "nearest"),
    [
        ([view("A", {"07"})], "07", "A-06"),  # the same row first, then the lower number
        ([view("A", {"07", "06", "08"})], "07", "A-02"),
        ([view("A", ALL - {"20"}), view("B", set())], "01", "A-20"),  # the same section first, however far
        ([view("A", ALL), view("B", ALL), view("C", {"01"})], "07", "C-02"),
        ([view("A", {"07"}, closed={"06", "08", "02", "12"})], "07", "A-09"),
        ([view("A", ALL)], "07", None),
    ],
)
def test_nearest_free_seat(views: list[SectionView], seat: str, nearest: str | None) -> None:
    chosen = next(one.seat for one in views[0].seats if one.seat.number == seat)
    found = DayView(day=DAY, sections=tuple(views), holds={}).nearest_free(chosen, None)
    assert (found and found.label) == nearest


def test_status_as_a_viewer_sees_it() -> None:
    seat = Seat(1, "A", "01", 1, 1, closed=False)
    assert SeatView(seat, None).status_for(1) is Status.FREE
    assert SeatView(seat, Sitter(1, "ada", 7)).status_for(1) is Status.MINE
    assert SeatView(seat, Sitter(1, "ada", 7)).status_for(2) is Status.TAKEN
    assert SeatView(seat, Sitter(1, "ada", 7)).status_for(None) is Status.TAKEN
    closed = Seat(1, "A", "01", 1, 1, closed=True)
    assert SeatView(closed, None).status_for(1) is Status.CLOSED
    assert SeatView(closed, Sitter(1, "ada", 7)).status_for(1) is Status.MINE


@pytest.mark.parametrize(
    ("username", "initials"),
    [
        ("ada", "AD"),
        ("Grace Hopper", "GH"),
        ("j.r.tolkien", "JR"),
        ("ø", "Ø"),
        ("ßeta", "ßE"),
        ("अनिल कुमार", "अक"),
        ("अनिल", "अन"),
        ("علی\u200cرضا", "عل"),
        ("ශ්\u200dරී ලංකා", "ශල"),
        ("Ẹ̀kọ́ Ayọ̀", "Ẹ̀A"),
        ("王伟", "王伟"),
        ("민", "민"),
        ("-_.", "-_"),
        ("-ab", "AB"),
        ("(Bob) Lee", "BL"),
    ],
)
def test_initials(username: str, initials: str) -> None:
    assert Sitter(1, username, 7).initials == initials


@pytest.mark.parametrize(
    "path", ["/", "/days/2026-11-23", "/days/2026-11-23/seats/7?section=A", "/my/bookings", "/days/x?next=http://e.org"]
)
def test_own_paths_are_kept(path: str) -> None:
    assert own_path(path) == path


@pytest.mark.parametrize(
    "path",
    [
        "", "days", "//evil.example", "/\\evil.example", "\\\\evil.example",
        "https://evil.example", "javascript:alert(1)",
        "/\t/evil.example", "/\n/evil.example", " /", "///evil.example", "/" + "a" * 600, "http:/evil", "/a\\b", "\0/",
    ],
)  # fmt: skip
def test_other_addresses_are_replaced_by_the_home_page(path: str) -> None:
    assert own_path(path) == "/"


@pytest.mark.parametrize(
    "value", ["", "booked", "booked.<b>", "signed_out.A-07", "unknown.A-07", "booked.A-07 ", "booked.A-07\n", "a" * 500]
)
def test_unknown_notices_are_ignored(value: str) -> None:
    assert parse_notice(value) is None


def test_a_notice_names_the_seat() -> None:
    found = parse_notice("booked.A-07")
    assert found
    assert (found.kind, found.text) == ("status", "A-07 is yours.")
