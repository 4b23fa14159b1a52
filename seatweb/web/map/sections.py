"""The HTML of sections: rendered once for everyone, then completed for each viewer."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Final

from jinja2 import Environment
from markupsafe import Markup
from msgspec import Struct

from seatweb.booking.model import DayView, SeatView, SectionView, Status
from seatweb.storage.caching import BoundedDict
from seatweb.web.map.contexts import SeatBox, SectionBox, Tally
from seatweb.web.map.place import Place, Viewer

CUT: Final = "\x1e"  # in the templates, encloses what differs between viewers; no text of ours contains it
COUNT: Final = 1  # the index of the free-seat count among the parts of a section
SECTIONS_KEPT: Final = 512

WORDS: Final = {
    Status.FREE: "free",
    Status.HELD: "on hold",
    Status.TAKEN: "taken",
    Status.MINE: "yours",
    Status.CLOSED: "closed",
}


class _Pieces(Struct, frozen=True):
    """A section as everyone sees it, in parts; `seats` has the index of each seat's part, by seat id."""

    parts: list[str]
    seats: dict[int, int]
    whole: Markup


class Sections:
    """Renders sections, seats and counts, and caches by generation what is the same for everyone."""

    def __init__(self, environment: Environment) -> None:
        environment.globals["cut"] = CUT
        self._section = environment.get_template("map/partials/section.html")
        macros = environment.get_template("components/seat.html").module
        self._seat = macros.seat  # type: ignore[attr-defined]
        self._count = macros.count  # type: ignore[attr-defined]
        self._tally = environment.get_template("map/partials/tally.html")
        self._tallies: BoundedDict[Tally, Markup] = BoundedDict(SECTIONS_KEPT)
        self._personal: BoundedDict[tuple[Place, bool, int | None, int, str], Markup] = BoundedDict(SECTIONS_KEPT)
        self._kept: BoundedDict[tuple[int, date, int, bool, bool], _Pieces] = BoundedDict(SECTIONS_KEPT)

    def map(self, view: DayView, place: Place, viewer: Viewer) -> Markup:
        """Return all sections shown at the place."""
        return _joined(self.section(view, part, place, viewer) for part in view.shown(place.section))

    def section(self, view: DayView, section: SectionView, place: Place, viewer: Viewer) -> Markup:
        """Return a section."""
        pieces = self._pieces(section, place, viewer)
        special = [place.seat_id, view.seat_of.get(viewer.user_id or 0), *view.holds]
        differing = [id_ for id_ in special if id_ in pieces.seats]
        if not differing:
            return pieces.whole
        user_key = viewer.user_id if viewer.user_id in view.seat_of or viewer.user_id in view.held_by else None
        key = (place, viewer.names, user_key, section.section.id, view.tag)
        html = self._personal.get(key)
        if html is None:
            parts = pieces.parts.copy()
            for id_ in differing:
                parts[pieces.seats[id_]] = self.seat(view, id_, place, viewer)
            parts[COUNT] = self.count(view, section, viewer)
            html = self._personal[key] = _joined(parts)
        return html

    def seat(self, view: DayView, seat_id: int, place: Place, viewer: Viewer) -> Markup:
        """Return one seat."""
        seat = view.seats[seat_id]
        html: Markup = self._seat(_seat_box(seat, view.status_of(seat, viewer.user_id), place, viewer))
        return html

    def count(self, view: DayView, section: SectionView, viewer: Viewer) -> Markup:
        """Return the number of free seats in a section."""
        html: Markup = self._count(section.section.name, view.free_count(section, viewer.user_id))
        return html

    def tally(self, tally: Tally) -> Markup:
        """Return the number of free seats in all sections shown."""
        html = self._tallies.get(tally)
        if html is None:
            html = self._tallies[tally] = Markup(self._tally.render(tally=tally))  # noqa: S704 - made by a template
        return html

    def _pieces(self, section: SectionView, place: Place, viewer: Viewer) -> _Pieces:
        key = (section.section.id, section.day, section.generation, place.section is not None, viewer.names)
        pieces = self._kept.get(key)
        if pieces is None:
            pieces = self._kept[key] = self._render(section, Place(place.day, place.section), viewer)
        return pieces

    def _render(self, section: SectionView, place: Place, viewer: Viewer) -> _Pieces:
        everyone = Viewer(user_id=None, names=viewer.names)
        box = SectionBox(
            name=section.section.name,
            generation=section.generation,
            columns=max((seat.seat.column for seat in section.seats), default=0),
            seats=[_seat_box(seat, seat.status_for(None), place, everyone) for seat in section.seats],
            free_count=section.free_count,
        )
        parts = self._section.render(section=box).split(CUT)
        in_order = sorted(section.seats, key=lambda seat: (seat.seat.row, seat.seat.column))
        seats = {seat.seat.id: COUNT + 2 * (1 + n) for n, seat in enumerate(in_order)}
        return _Pieces(parts=parts, seats=seats, whole=_joined(parts))


def _joined(parts: Iterable[str]) -> Markup:
    return Markup("".join(parts))  # noqa: S704 - made by templates


def _seat_box(view: SeatView, status: Status, place: Place, viewer: Viewer) -> SeatBox:
    seat = view.seat
    return SeatBox(
        id=seat.id,
        label=seat.label,
        number=seat.number,
        row=seat.row,
        column=seat.column,
        status=status,
        href=place.href(seat_id=seat.id),
        initials=view.sitter.initials if view.sitter and (viewer.names or status is Status.MINE) else None,
        accessible_name=f"Seat {seat.label}, {WORDS[status]}",
        chosen=seat.id == place.seat_id,
    )
