"""What a visitor sees when something goes wrong: always a page of ours, never a traceback."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final
from urllib.parse import quote

import structlog
from litestar.exceptions import HTTPException
from litestar.response import Response

from seatweb.errors import NotAllowed, NotSignedIn, SeatwebError, TooManyAttempts
from seatweb.web.rendering import Renderer
from seatweb.web.requests import SAFE_METHODS, NotConfirmed, PageRequest, wants_partial
from seatweb.web.shell import ErrorPage, Notice

log = structlog.get_logger(__name__)

CONFIRM_PATH: Final = "/account/second-factor"
TITLES: Final = {
    400: "That did not make sense",
    401: "Sign in first",
    403: "This form did not come through",
    404: "Nothing here",
    405: "Not this way",
    409: "That is not possible any more",
    413: "Too much at once",
    415: "This form cannot be read",
    422: "That cannot be used",
    429: "Too many tries",
    500: "Our mistake",
    503: "One moment, please",
}
TEXTS: Final = {
    400: "The request could not be read. Go back, reload the page and try again.",
    404: "There is no page at this address. It may have been mistyped, or the page is gone.",
    405: "This address takes no such request. Go back and use the buttons of the page.",
    413: "What was sent is larger than anything Seatweb takes.",
    500: "Something broke on our side. Nothing of yours was lost; if it goes on, tell us the number below.",
    503: "Too much is going on just now. The page will work again in a moment.",
}


def explain(renderer: Renderer, request: PageRequest, error: Exception) -> Response[str]:
    """Return the answer to a request that ended in an exception; only unknown ones are logged with a traceback."""
    if isinstance(error, NotConfirmed):
        if error.afterwards:
            return renderer.redirect(request, f"{CONFIRM_PATH}?for={error.afterwards}")  # that page says why
        return renderer.redirect(request, CONFIRM_PATH, say="confirm_first")
    if isinstance(error, NotSignedIn):
        return renderer.redirect(request, f"/login?next={quote(_way_back(request))}")
    headers: dict[str, str] = {}
    retry_after = None
    if isinstance(error, SeatwebError):
        status, text = error.status, error.text
        retry_after = error.retry_after
    elif isinstance(error, HTTPException) and error.status_code < 500:
        status = error.status_code
        text = TEXTS.get(status, TEXTS[400])
        headers = {name: value for name, value in (error.headers or {}).items() if name.lower() == "allow"}
    else:
        status, text = 500, TEXTS[500]
        log.error("request failed", exc_info=error)
    if retry_after is not None:
        headers["retry-after"] = str(retry_after)
    if wants_partial(request):
        # What the visitor was looking at stays; only the announcement is swapped.
        swap = {"hx-retarget": "#announcement", "hx-reswap": "outerMorph", "hx-push-url": "false"}
        say = Notice(kind="alert", text=text)
        return renderer.page(request, "announcement.html", status=status, say=say, headers=headers | swap)
    page = ErrorPage(
        status=status,
        title="Not allowed" if isinstance(error, NotAllowed) else TITLES.get(status) or HTTPStatus(status).phrase,
        text=text,
        request_id=request.scope["state"].get("request_id", ""),
        links=[("/", "Today's map"), ("/my/bookings", "My bookings")],
        retry_after=None if isinstance(error, TooManyAttempts) else retry_after,  # its text says when
    )
    return renderer.page(request, "error.html", page, status=status, headers=headers)


def _way_back(request: PageRequest) -> str:
    """Return the path to come back to after signing in: the page itself, or the one that the form was on."""
    path, query = request.url.path, request.url.query
    if request.method in SAFE_METHODS:
        return path + (f"?{query}" if query else "")
    if path.startswith("/days/"):
        return path.rsplit("/", 1)[0] + (f"?{query}" if query else "")
    return "/my/bookings" if path.startswith("/my/bookings") else "/"
