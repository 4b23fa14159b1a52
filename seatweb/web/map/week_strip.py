"""The HTML of the week strip and of the viewer's own seat."""

from __future__ import annotations

from datetime import date
from itertools import groupby
from typing import Final

from jinja2 import Environment
from markupsafe import Markup, escape
from msgspec.structs import replace

from seatweb.booking.model import FreeSeats
from seatweb.storage.caching import BoundedDict
from seatweb.web.map.contexts import DayLink, Ticket
from seatweb.web.pieces import Piece, Pieces

LABEL: Final = "\x1d"  # stands for the label of the viewer's seat; no text of ours contains it
LINKS_KEPT: Final = 4096
WEEKS_KEPT: Final = 2048


class WeekStrip:
    """Renders the week strip: each day once for everyone, then completed with the label of the viewer's seat."""

    def __init__(self, environment: Environment) -> None:
        macros = environment.get_template("components/week.html").module
        self._weekday = macros.weekday  # type: ignore[attr-defined]
        self._count = environment.get_template("components/dates.html").module.day_count  # type: ignore[attr-defined]
        self._ticket = macros.ticket  # type: ignore[attr-defined]
        self._links: BoundedDict[DayLink, str] = BoundedDict(LINKS_KEPT)
        self._shared_links: BoundedDict[tuple[DayLink, ...], Piece] = BoundedDict(WEEKS_KEPT)
        self._tickets: BoundedDict[Ticket, Piece] = BoundedDict(WEEKS_KEPT)

    def week(self, links: tuple[DayLink, ...]) -> Pieces:
        """Return the days of the week; those on which the viewer has no seat are shared by everyone."""
        pieces: Pieces = []
        for own, group in groupby(links, key=_is_own):
            if own:
                pieces += [self._link(link).encode() for link in group]
            else:
                pieces.append(self._shared(tuple(group)))
        return pieces

    def _shared(self, links: tuple[DayLink, ...]) -> Piece:
        piece = self._shared_links.get(links)
        if piece is None:
            piece = self._shared_links[links] = Piece("".join([self._link(link) for link in links]))
        return piece

    def ticket(self, ticket: Ticket) -> Piece:
        """Return the viewer's seat on the day that is shown."""
        html = self._tickets.get(ticket)
        if html is None:
            html = self._tickets[ticket] = Piece(self._ticket(ticket))
        return html

    def count(self, day: date, seats: FreeSeats) -> Markup:
        """Return the number of free seats of a day of the week."""
        html: Markup = self._count(day, seats)
        return html

    def _link(self, link: DayLink) -> str:
        everyones = replace(link, mine=LABEL) if link.mine else link
        html = self._links.get(everyones)
        if html is None:
            html = self._links[everyones] = str(self._weekday(everyones))
        return html.replace(LABEL, str(escape(link.mine))) if link.mine else html


def _is_own(link: DayLink) -> bool:
    return link.mine is not None
