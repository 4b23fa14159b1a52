"""Assembles the whole page of a day from parts that are rendered once.

The page around the map is the same for everyone who has no booking in that week, except for the username, the number of
free seats and the forms' CSRF tokens. So it is rendered once with gaps, which are filled for each viewer. A page then
takes microseconds instead of half a millisecond (docs/decisions/0007).
"""

from __future__ import annotations

from datetime import date
from typing import Final

from litestar.types import Scope
from markupsafe import Markup, escape
from msgspec import Struct
from msgspec.structs import replace

from seatweb.http.csrf import Csrf
from seatweb.storage.caching import BoundedDict
from seatweb.web.map.day_page import VisibleDay, assemble_page
from seatweb.web.map.sections import Sections
from seatweb.web.rendering import Renderer, csrf_field
from seatweb.web.shell import Shell

GAP: Final = "\x1f"  # encloses the name of a gap in the rendered page; no text of ours contains it
FRAMES_KEPT: Final = 256

WeekBookings = tuple[tuple[date, int, str], ...]
"""The day, seat id and seat label of the viewer's bookings in the week."""


class _Frame(Struct, frozen=True):
    """A page with gaps: `texts` has text and gaps in turn; `gaps` has the index and name of each open gap."""

    texts: list[bytes]
    gaps: list[tuple[int, str]]

    def filled(self, values: dict[str, str]) -> _Frame:
        """Return the page with these gaps filled."""
        texts = self.texts.copy()
        for index, name in self.gaps:
            if name in values:
                texts[index] = values[name].encode()
        return _Frame(texts, [gap for gap in self.gaps if gap[1] not in values])


class DayPages:
    """Assembles the pages of days without an open panel."""

    def __init__(self, renderer: Renderer, csrf: Csrf, sections: Sections) -> None:
        self._renderer = renderer
        self._csrf = csrf
        self._sections = sections
        self._frames: BoundedDict[tuple[object, ...], _Frame] = BoundedDict(FRAMES_KEPT)
        self._pages: BoundedDict[tuple[object, ...], _Frame] = BoundedDict(FRAMES_KEPT)

    def render(self, visible: VisibleDay, path: str, csrf_secret: str, scope: Scope) -> bytes:
        """Return the page for `path`, which is `/` or the place's own, in UTF-8."""
        username = visible.session.user.username if visible.session else ""
        page = self._page(visible, path)
        parts = page.texts.copy()
        values = {
            "csrf": csrf_field(self._csrf, csrf_secret).encode(),
            "user": escape(username).encode(),
            "origin": escape(self._renderer.origin(scope)).encode(),
        }
        for index, name in page.gaps:
            parts[index] = values[name]
        return b"".join(parts)

    def _page(self, visible: VisibleDay, path: str) -> _Frame:
        """Return the page with the other gaps open; viewers for whom the rest is equal share it."""
        view, user_id = visible.view, visible.viewer.user_id
        user_key = user_id if user_id in view.seat_of or user_id in view.held_by else None
        bookings = tuple((day, booking.seat.id, booking.seat.label) for day, booking in visible.week.items())
        key = (path, visible.today, visible.session is not None, bookings, user_key, view.day, view.tag)
        page = self._pages.get(key)
        if page is None:
            page = self._pages[key] = self._frame(visible, path, bookings).filled(
                {
                    "map": self._sections.map(view, visible.place, visible.viewer),
                    "tally": self._sections.tally(visible.tally),
                    "tag": view.tag,
                }
            )
        return page

    def _frame(self, visible: VisibleDay, path: str, bookings: WeekBookings) -> _Frame:
        names = tuple(part.section.name for part in visible.view.sections)
        key = (path, visible.today, visible.session is not None, bookings, names)
        frame = self._frames.get(key)
        if frame is None:
            frame = self._frames[key] = self._render(visible, path)
        return frame

    def _render(self, visible: VisibleDay, path: str) -> _Frame:
        # The frame is shared between viewers: the session is left out, and the username is a gap.
        page = assemble_page(replace(visible, session=None), map_=_gap("map"), tally=_gap("tally"), tag=_gap("tag"))
        text = self._renderer.environment.get_template("map/day.html").render(
            page=page,
            shell=Shell(
                site_name=self._renderer.site_name,
                username=_gap("user") if visible.session else None,
                path=path,
                origin=_gap("origin"),
            ),
            csrf_field=lambda: _gap("csrf"),
        )
        parts = text.split(GAP)
        return _Frame(
            texts=[part.encode() for part in parts], gaps=[(index, parts[index]) for index in range(1, len(parts), 2)]
        )


def _gap(name: str) -> Markup:
    return Markup(f"{GAP}{name}{GAP}")  # noqa: S704 - constant names only
