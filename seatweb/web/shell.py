"""The context of the layout around every page, and of the error page."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from seatweb.booking.undo import Act


class Notice(Struct, frozen=True):
    """The result of an action: `role="status"` if it succeeded, `role="alert"` if not."""

    kind: Literal["status", "alert"]
    text: str
    undo: Act | None = None
    """What the user did, if they can undo it."""


class Shell(Struct, frozen=True):
    """The context of `templates/base.html`, the layout around every page."""

    site_name: str
    username: str | None
    """The signed-in user's: all that a page cached for many viewers may say about its viewer."""
    path: str
    """The requested path, to mark the current link and to return to after signing in."""
    notice: Notice | None = None
    origin: str = ""
    """For URLs that must be absolute, such as those of social cards."""


class ErrorPage(Struct, frozen=True):
    """`error.html`, for 403, 404, 405, 409, 413, 422, 429, 500 and 503."""

    status: int
    title: str
    text: str
    """What happened, and what to do next."""
    request_id: str
    links: list[tuple[str, str]]
    """The URL and text of links to continue with."""
    visitor_known: bool
    """Whether it was looked up who the visitor is. It was not if no route has the path, or not with this method."""
    retry_after: int | None = None
    """Seconds after which to try again."""
