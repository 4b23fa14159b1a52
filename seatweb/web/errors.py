"""Error responses for people: always one of our pages, never a traceback."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final
from urllib.parse import quote

import structlog
from litestar.exceptions import HTTPException
from litestar.response import Response

from seatweb.errors import Forbidden, Message, NotAllowed, NotSignedIn, SeatwebError, TooManyAttempts
from seatweb.i18n.catalogue import text_of
from seatweb.web.rendering import Renderer
from seatweb.web.requests import SAFE_METHODS, NotConfirmed, PageRequest, wants_partial
from seatweb.web.shell import ErrorPage, Notice

log = structlog.get_logger(__name__)

# The pages with forms: each form is on the first page that its path begins with.
FORM_PAGES: Final = (
    *("/my/bookings", "/account/second-factor", "/account/password", "/account/delete", "/account", "/admin/people"),
    *("/login/reset", "/login/second", "/login", "/register"),
)
CONFIRM_PATH: Final = "/account/second-factor"
TITLES: Final = {
    status: Message(f"error_title.{status}") for status in (400, 401, 403, 404, 405, 409, 413, 415, 422, 429, 500, 503)
}
TEXTS: Final = {status: Message(f"error_page.{status}") for status in (400, 404, 405, 413, 500, 503)}


def error_response(renderer: Renderer, request: PageRequest, error: Exception) -> Response[str]:
    """Return the response to a request that raised an exception; unexpected ones are logged with a traceback."""
    if isinstance(error, NotConfirmed):
        if error.afterwards:
            return renderer.redirect(request, f"{CONFIRM_PATH}?for={error.afterwards}")  # that page explains why
        return renderer.redirect(request, CONFIRM_PATH, notice="confirm_first")
    if isinstance(error, NotSignedIn):
        return renderer.redirect(request, f"/login?next={quote(_return_path(request))}")
    headers: dict[str, str] = {}
    retry_after = None
    if isinstance(error, SeatwebError):
        status, text = error.status, text_of(error)
        retry_after = error.retry_after
    elif isinstance(error, HTTPException) and error.status_code < 500:
        status = error.status_code
        text = text_of(TEXTS.get(status, TEXTS[400]))
        headers = {name: value for name, value in (error.headers or {}).items() if name.lower() == "allow"}
    else:
        status, text = 500, text_of(TEXTS[500])
        log.error("request failed", exc_info=error)
    if retry_after is not None:
        headers["retry-after"] = str(retry_after)
    if wants_partial(request):
        # Swap only the announcement, so that the visitor keeps the page.
        swap = {"hx-retarget": "#announcement", "hx-reswap": "outerMorph", "hx-push-url": "false"}
        notice = Notice(kind="alert", text=text)
        return renderer.page(request, "announcement.html", status=status, notice=notice, headers=headers | swap)
    page = ErrorPage(
        status=status,
        title=_title(error, status),
        text=text,
        request_id=request.scope["state"].get("request_id", ""),
        links=[
            (_return_path(request), text_of(Message("error_page.back")))
            if isinstance(error, Forbidden)
            else ("/", text_of(Message("error_page.today"))),
            ("/my/bookings", text_of(Message("error_page.my_bookings"))),
        ],
        visitor_known=hasattr(request.state, "session"),
        retry_after=None if isinstance(error, TooManyAttempts) else retry_after,  # its text already says when
    )
    return renderer.page(request, "error.html", page, status=status, headers=headers)


def _title(error: Exception, status: int) -> str:
    if isinstance(error, Forbidden) and error.reason not in {"", "no_cookie"}:
        return text_of(Message("error_title.refused_form"))
    if isinstance(error, NotAllowed):
        return text_of(Message("error_title.not_allowed"))
    return text_of(TITLES[status]) if status in TITLES else HTTPStatus(status).phrase


def _return_path(request: PageRequest) -> str:
    """Return the path to go to after signing in, or to start again: the requested page, or the page of the form."""
    path, query = request.url.path, request.url.query
    if request.method in SAFE_METHODS:
        return path + (f"?{query}" if query else "")
    if path.startswith("/days/") and path.endswith("/any"):
        section = getattr(request.state, "form", {}).get("section")
        return path + (f"?section={section}" if section else "")
    if path.startswith("/days/"):
        return path.rsplit("/", 1)[0] + (f"?{query}" if query else "")
    return next((page for page in FORM_PAGES if path.startswith(page)), "/")
