"""What surrounds every page: who is signed in, a notice, an error."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct


class Notice(Struct, frozen=True):
    """What an action did: `role="status"` when it worked, `role="alert"` when it did not."""

    kind: Literal["status", "alert"]
    text: str


class Shell(Struct, frozen=True):
    """What surrounds every page: `templates/base.html`."""

    site_name: str
    username: str | None
    """Of whoever is signed in. A page that is kept for many knows no more of its viewer than this."""
    path: str
    """Where the visitor is, to mark the current link and to come back after signing in."""
    notice: Notice | None = None


class ErrorPage(Struct, frozen=True):
    """`error.html`, for 403, 404, 405, 409, 413, 422, 429, 500 and 503."""

    status: int
    title: str
    text: str
    """What happened and what can be done."""
    request_id: str
    links: list[tuple[str, str]]
    """(address, words) that help the visitor on."""
    retry_after: int | None = None
    """Seconds after which trying again makes sense."""
