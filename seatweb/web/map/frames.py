"""Assembles the whole page of a day from pieces that are rendered, and compressed, once.

What differs between viewers is a gap: the username, the forms' CSRF tokens, the week with the viewer's own bookings,
and the seats. So one more viewer costs a few microseconds, not another rendering (docs/decisions/0007).
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby
from typing import Final, cast

from litestar.types import Scope
from markupsafe import Markup, escape
from msgspec.structs import replace

from seatweb.http.csrf import Csrf
from seatweb.storage.caching import BoundedDict
from seatweb.web.map.day_page import VisibleDay, assemble_page
from seatweb.web.map.sections import Sections
from seatweb.web.map.week_strip import WeekStrip
from seatweb.web.pieces import Joined, Piece, Pieces
from seatweb.web.rendering import Renderer, csrf_field
from seatweb.web.shell import Shell

GAP: Final = "\x1f"  # encloses the name of a gap in the rendered page; no text of ours contains it
FRAMES_KEPT: Final = 512
PAGES_KEPT: Final = 128  # each takes about 50 kB


class DayPages:
    """Assembles the pages of days without an open panel."""

    def __init__(self, renderer: Renderer, csrf: Csrf, sections: Sections, week_strip: WeekStrip) -> None:
        self._renderer = renderer
        self._csrf = csrf
        self._sections = sections
        self._frames: BoundedDict[tuple[object, ...], list[Piece | str]] = BoundedDict(FRAMES_KEPT)
        self._pages: BoundedDict[tuple[object, ...], list[Piece | bytes | str]] = BoundedDict(PAGES_KEPT)
        self._week_strip = week_strip

    def render(self, visible: VisibleDay, path: str, csrf_secret: str, scope: Scope) -> Pieces:
        """Return the page for `path`, which is `/` or the place's own."""
        viewers = {
            "user": escape(visible.session.user.username if visible.session else "").encode(),
            "csrf": str(csrf_field(self._csrf, csrf_secret)).encode(),
            "origin": escape(self._renderer.origin(scope)).encode(),
        }
        return [viewers[part] if isinstance(part, str) else part for part in self._page(visible, path)]

    def _page(self, visible: VisibleDay, path: str) -> list[Piece | bytes | str]:
        """Return the page with only the names of the gaps that differ between all viewers."""
        if visible.week is None or not visible.is_everyones:
            return self._filled(visible, path)
        key = (path, visible.today, visible.week.version, visible.session is not None)
        page = self._pages.get(key)
        if page is None:
            page = self._pages[key] = _joined(self._filled(visible, path))
        return page

    def _filled(self, visible: VisibleDay, path: str) -> list[Piece | bytes | str]:
        gaps: dict[str, Callable[[], Pieces]] = {
            "map": lambda: self._sections.map(visible.view, visible.place, visible.viewer),
            "week": lambda: self._week_strip.week(visible.links),
            "ticket": lambda: [self._week_strip.ticket(ticket)] if (ticket := visible.ticket) else [],
            "tally": lambda: [self._sections.tally(visible.tally)],
            "tag": lambda: [Piece(visible.view.tag)],
        }
        page: list[Piece | bytes | str] = []
        for part in self._frame(visible, path):
            page += gaps[part]() if isinstance(part, str) and part in gaps else (part,)
        return page

    def _frame(self, visible: VisibleDay, path: str) -> list[Piece | str]:
        """Return the page with the names of its gaps in between."""
        names = tuple([part.section.name for part in visible.view.sections])
        has_seat = visible.mine is not None
        key = (path, visible.today, visible.session is not None, has_seat, visible.place.day, names)
        frame = self._frames.get(key)
        if frame is None:
            frame = self._frames[key] = self._render(visible, path)
        return frame

    def _render(self, visible: VisibleDay, path: str) -> list[Piece | str]:
        # The frame is shared between viewers, so everything that is the viewer's own is left out.
        page = assemble_page(
            replace(visible, session=None, own={}),
            map_=_gap("map") if visible.view.sections else Markup(""),
            tally=_gap("tally"),
            tag=_gap("tag"),
            week=_gap("week"),
            ticket=_gap("ticket") if visible.mine else None,
        )
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
        return [part if index % 2 else Piece(part) for index, part in enumerate(text.split(GAP))]


def _joined(page: list[Piece | bytes | str]) -> list[Piece | bytes | str]:
    """Return the page with neighbouring pieces joined."""
    result: list[Piece | bytes | str] = []
    for is_piece, run in groupby(page, key=lambda part: isinstance(part, Piece)):
        parts = list(run)
        result += [Joined(cast("list[Piece]", parts))] if is_piece else parts
    return result


def _gap(name: str) -> Markup:
    return Markup(f"{GAP}{name}{GAP}")  # noqa: S704 - constant names only
