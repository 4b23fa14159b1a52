"""The HTML of sections: rendered once for everyone, then completed for each viewer."""

from __future__ import annotations

from datetime import date
from typing import Final

from jinja2 import Environment
from markupsafe import Markup
from msgspec import Struct
from msgspec.structs import replace

from seatweb.booking.model import DayView, SeatView, SectionView, Status
from seatweb.storage.caching import BoundedDict
from seatweb.web.map.contexts import SeatBox, SectionBox, Tally
from seatweb.web.map.place import Place, Viewer
from seatweb.web.pieces import Piece, Pieces, plain

CUT: Final = "\x1e"  # in the templates, encloses what differs between viewers; no text of ours contains it
COUNT: Final = 1  # the index of the free-seat count among the parts of a section
SECTIONS_KEPT: Final = 1024
SEATS_KEPT: Final = 4096

WORDS: Final = {
    Status.FREE: "free",
    Status.HELD: "on hold",
    Status.TAKEN: "taken",
    Status.MINE: "yours",
    Status.CLOSED: "closed",
}


class _Shared(Struct, frozen=True):
    """A section as it looks to everyone who has no seat in it, in parts."""

    parts: list[str]
    seats: dict[int, int]
    """The index of each seat's part, by seat id."""
    whole: Piece
    around: dict[int, tuple[Piece, Piece]]
    """What precedes and follows a seat, by seat id, for the seats that have been asked for."""


class Sections:
    """Renders sections, seats and counts, and caches by generation what many viewers share."""

    def __init__(self, environment: Environment) -> None:
        environment.globals["cut"] = CUT
        self._section = environment.get_template("map/partials/section.html")
        macros = environment.get_template("components/seat.html").module
        self._seat = macros.seat  # type: ignore[attr-defined]
        self._count = macros.count  # type: ignore[attr-defined]
        self._tally = environment.get_template("map/partials/tally.html")
        self._tallies: BoundedDict[Tally, Piece] = BoundedDict(SECTIONS_KEPT)
        self._own_seats: BoundedDict[SeatBox, Piece] = BoundedDict(SEATS_KEPT)
        self._kept: BoundedDict[tuple[int, date, int, tuple[int, ...], bool, Viewer], _Shared] = BoundedDict(
            SECTIONS_KEPT
        )

    def map(self, view: DayView, place: Place, viewer: Viewer) -> Pieces:
        """Return all sections shown at the place."""
        return [piece for part in view.shown(place.section) for piece in self.section(view, part, place, viewer)]

    def section(self, view: DayView, section: SectionView, place: Place, viewer: Viewer) -> Pieces:
        """Return a section."""
        shared = self._shared(view, section, place, viewer)
        booked, held = view.seat_of.get(viewer.user_id or 0), view.held_by.get(viewer.user_id or 0)
        own = [id_ for id_ in {booked, held, place.seat_id} if id_ is not None and id_ in shared.seats]
        if not own:
            return [shared.whole]
        if own == [booked] and booked != place.seat_id:
            before, after = self._around(shared, own[0])
            return [before, self._own_seat(view, own[0], place, viewer), after]
        parts = shared.parts.copy()
        for id_ in own:
            parts[shared.seats[id_]] = self.seat(view, id_, place, viewer)
        parts[COUNT] = self.count(view, section, viewer)
        return [Piece("".join(parts))]

    def seat(self, view: DayView, seat_id: int, place: Place, viewer: Viewer) -> Markup:
        """Return one seat."""
        html: Markup = self._seat(_box(view, view.seats[seat_id], place, viewer))
        return html

    def count(self, view: DayView, section: SectionView, viewer: Viewer) -> Markup:
        """Return the number of free seats in a section."""
        html: Markup = self._count(section.section.name, view.free_count(section, viewer.user_id))
        return html

    def tally(self, tally: Tally) -> Piece:
        """Return the number of free seats in all sections shown."""
        html = self._tallies.get(tally)
        if html is None:
            html = self._tallies[tally] = Piece(self._tally.render(tally=tally))
        return html

    def _shared(self, view: DayView, section: SectionView, place: Place, viewer: Viewer) -> _Shared:
        held = tuple(sorted(view.held_in(section))) if view.holds else ()
        everyone = replace(viewer, user_id=None)
        key = (section.section.id, section.day, section.generation, held, place.section is not None, everyone)
        shared = self._kept.get(key)
        if shared is None:
            shared = self._kept[key] = self._render(view, section, Place(place.day, place.section), everyone)
        return shared

    def _render(self, view: DayView, section: SectionView, place: Place, everyone: Viewer) -> _Shared:
        box = SectionBox(
            name=section.section.name,
            generation=section.generation,
            columns=max((seat.seat.column for seat in section.seats), default=0),
            seats=[_box(view, seat, place, everyone) for seat in section.seats],
            free_count=view.free_count(section, None),
        )
        parts = self._section.render(section=box).split(CUT)
        in_order = sorted(section.seats, key=lambda seat: (seat.seat.row, seat.seat.column))
        seats = {seat.seat.id: COUNT + 2 * (1 + n) for n, seat in enumerate(in_order)}
        return _Shared(parts=parts, seats=seats, whole=Piece("".join(parts)), around={})

    def _around(self, shared: _Shared, seat_id: int) -> tuple[Piece, Piece]:
        around = shared.around.get(seat_id)
        if around is None:
            at = shared.seats[seat_id]
            around = Piece("".join(shared.parts[:at])), Piece("".join(shared.parts[at + 1 :]))
            shared.around[seat_id] = around
        return around

    def _own_seat(self, view: DayView, seat_id: int, place: Place, viewer: Viewer) -> Piece:
        box = _box(view, view.seats[seat_id], place, viewer)
        html = self._own_seats.get(box)
        if html is None:
            html = self._own_seats[box] = Piece(self._seat(box))
        return html


def as_markup(pieces: Pieces) -> Markup:
    """Return pieces of HTML as a template needs them."""
    return Markup(plain(pieces).decode())  # noqa: S704 - made by templates


def _box(view: DayView, seat_view: SeatView, place: Place, viewer: Viewer) -> SeatBox:
    seat, sitter, status = seat_view.seat, seat_view.sitter, view.status_of(seat_view, viewer.user_id)
    over = viewer.past and status is Status.FREE
    name = sitter.username if sitter and viewer.names and status is Status.TAKEN else None
    return SeatBox(
        id=seat.id,
        label=seat.label,
        number=seat.number,
        row=seat.row,
        column=seat.column,
        status=status,
        href=place.href(seat_id=seat.id),
        initials=sitter.initials if sitter and name else None,
        sitter=name,
        accessible_name=f"Seat {seat.label}, {'not booked' if over else WORDS[status]}{f' by {name}' if name else ''}",
        chosen=seat.id == place.seat_id,
    )
