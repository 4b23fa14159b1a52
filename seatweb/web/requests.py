"""Identifies the visitor of each page request, checks that forms are ours, and reads forms and URLs."""

from __future__ import annotations

import re
from datetime import date
from typing import Final, TypeAlias
from urllib.parse import urlsplit

from litestar import Request
from litestar.datastructures import State

from seatweb.accounts.errors import UserNotFound
from seatweb.accounts.model import Session
from seatweb.accounts.second_factor import SecondFactors
from seatweb.accounts.sessions import Sessions
from seatweb.booking.errors import BookingNotFound, SeatNotFound
from seatweb.errors import Forbidden, InvalidInput, NotSignedIn, SeatwebError
from seatweb.http.cookies import Cookies, set_cookie
from seatweb.http.csrf import CSRF_FIELD, Csrf
from seatweb.http.forms import FORM, parse_form
from seatweb.http.identity import Identities
from seatweb.http.tokens import CONFIRMED_AUDIENCE, Claims
from seatweb.storage.ids import parse_id

PageRequest: TypeAlias = Request[None, None, State]

FOR_EVERYONE: Final = {"for_everyone": True}
"""The `opt` of a route that is open to visitors; all other pages are for signed-in users."""
SHOWS_EXPIRED_FORM: Final = {"shows_again": True}
"""The `opt` of a route that shows an expired form again, with what was typed (see `is_expired`)."""
KEPT_FIELDS: Final = frozenset({"username", "next"})
VISITOR_FORMS: Final = ("/login", "/register")
ENROLLING_PATHS: Final = ("/account/second-factor", "/logout")
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)


class PageNotFound(SeatwebError):
    """There is nothing at this URL."""

    code = "not_found"
    status = 404
    reason = "page"


class NotConfirmed(SeatwebError):
    """The user has to confirm their identity before they may do this."""

    code = "forbidden"
    status = 403
    reason = "not_confirmed"

    def __init__(self, afterwards: str = "") -> None:
        """`afterwards` names what they wanted to do; empty if it was to change their second factor."""
        super().__init__()
        self.afterwards = afterwards


class NotAForm(SeatwebError):
    """The body is not a form in the format that our pages send."""

    code = "unsupported_media_type"
    status = 415
    reason = "form"


class PageGuard:
    """Identifies who sent a page request, and checks that a form came from one of our pages."""

    def __init__(
        self, identities: Identities, our_cookies: Cookies, csrf: Csrf, sessions: Sessions, factors: SecondFactors
    ) -> None:
        self._identities = identities
        self._our_cookies = our_cookies
        self._csrf = csrf
        self._sessions = sessions
        self._factors = factors

    async def check(self, request: PageRequest) -> None:
        """Find the visitor's session, and refuse forms that did not come from our pages.

        Raises:
            NotSignedIn: the route is for signed-in users only, and the visitor is not signed in.
            Forbidden: the form came from elsewhere.
            NotAForm, InvalidInput: the form cannot be read.
        """
        request.state.changed_recently = self._our_cookies.changed_cookie in request.cookies
        claims = self._identities.claims(request)
        renewing = claims is None
        if renewing:
            claims = self._identities.renewal_claims(request)
        session = await self._sessions.find(claims.session_id, claims.user_id) if claims else None
        if session and session.enrolling:
            session = await self._enrolling(request, session)
        request.state.session = session
        if session:
            proof = self._our_cookies.read_step(request, CONFIRMED_AUDIENCE)
            request.state.confirmed = proof.get("session") == str(session.id)
            if renewing:
                set_cookie(request, self._our_cookies.access(session))
        if request.method not in SAFE_METHODS:
            await self._check_form(request, session, claims)
        if session is None and not request.route_handler.opt.get("for_everyone"):
            raise NotSignedIn

    async def _enrolling(self, request: PageRequest, session: Session) -> Session | None:
        """Return the enrolling session on pages that add a second factor; None elsewhere, or if the user has one."""
        if not await self._factors.missing(session.user):
            return None
        request.state.enrolling = session
        return session if request.url.path.startswith(ENROLLING_PATHS) else None

    async def _check_form(self, request: PageRequest, session: Session | None, claims: Claims | None) -> None:
        # If the session has ended, forms loaded before are bound to it, and forms loaded since then to no session.
        form_sessions = (claims.session_id, None) if claims and not session else (session.id if session else None,)
        try:
            self._csrf.check(request, (await read_form(request)).get(CSRF_FIELD, ""), form_sessions)
        except Forbidden as error:
            if session is None and not request.url.path.startswith(VISITOR_FORMS):
                raise NotSignedIn from None  # signed out in another tab: do nothing, and ask to sign in again
            if error.reason not in {"", "no_cookie"} or not request.route_handler.opt.get("shows_again"):
                raise
            # The handler shows the form again. What it must not use is taken away, in case that it does not.
            request.state.expired = True
            request.state.form = {name: value for name, value in request.state.form.items() if name in KEPT_FIELDS}


def session_of(request: PageRequest) -> Session | None:
    """Return the visitor's session; None without one, or if the request failed before it was looked up."""
    session: Session | None = getattr(request.state, "session", None)
    return session


def enrolling_of(request: PageRequest) -> Session | None:
    """Return the visitor's enrolling session, which allows only adding a second factor; None without one."""
    session: Session | None = getattr(request.state, "enrolling", None)
    return session


def signed_in(request: PageRequest) -> Session:
    """Return the session of a signed-in user.

    Raises:
        NotSignedIn: the visitor is not.
    """
    session = session_of(request)
    if session is None:
        raise NotSignedIn
    return session


def path_of(request: PageRequest) -> str:
    """Return the requested path with its query."""
    return request.url.path + (f"?{request.url.query}" if request.url.query else "")


def changed_recently(request: PageRequest) -> bool:
    """Return whether this browser changed something a moment ago, so that it must get a fresh view."""
    return bool(getattr(request.state, "changed_recently", False))


def is_confirmed(request: PageRequest) -> bool:
    """Return whether the user has confirmed their identity recently in this session."""
    return bool(getattr(request.state, "confirmed", False))


def is_expired(request: PageRequest) -> bool:
    """Return whether the form has expired, so that the handler must do nothing but show it again."""
    return bool(getattr(request.state, "expired", False))


def wants_partial(request: PageRequest) -> bool:
    """Return whether htmx sent the request, to swap a part of the page."""
    headers = request.headers
    return headers.get("hx-request") == "true" and headers.get("hx-history-restore-request") != "true"


async def read_form(request: PageRequest) -> dict[str, str]:
    """Return the fields of the form; empty if the request has no body.

    The framework's parser is not used: it accepts multipart forms, whose parts can choose a charset (some of Python's
    decoders take quadratic time), and it caches the fields, passwords included.

    Raises:
        NotAForm: the body is not `application/x-www-form-urlencoded`; it is not read.
        InvalidInput: the form is malformed, or has too many fields, a repeated field, or one that is not UTF-8 text.
    """
    cached: dict[str, str] | None = getattr(request.state, "form", None)
    if cached is not None:
        return cached
    headers = request.headers
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != FORM and (
        media_type or "transfer-encoding" in headers or headers.get("content-length", "0") != "0"
    ):
        raise NotAForm
    try:
        pairs = parse_form(await request.body())
    except ValueError as error:
        raise InvalidInput(reason="unreadable_form") from error
    fields: dict[str, str] = {}
    for name, value in pairs:
        if name in fields:
            raise InvalidInput(reason="field_twice", name=repr(name[:40]))
        if not _is_text(value) or not _is_text(name):
            raise InvalidInput(reason="form_not_text")
        fields[name] = value
    request.state.form = fields
    return fields


def query_value(request: PageRequest, name: str) -> str | None:
    """Return a value in the URL's query; None if it is missing or empty.

    Raises:
        InvalidInput: it is repeated, or is not text.
    """
    values = query_values(request, name)
    if len(values) > 1:
        raise InvalidInput(reason="bad_address", name=repr(name))
    return values[0] if values and values[0] else None


def query_values(request: PageRequest, name: str) -> list[str]:
    """Return the values of a name that may be repeated in the URL's query.

    Raises:
        InvalidInput: one is not text.
    """
    values = request.query_params.getall(name, [])
    if not all(_is_text(value) for value in values):
        raise InvalidInput(reason="bad_address", name=repr(name))
    return values


def read_day(text: str) -> date:
    """Return the day in a URL, such as `2026-11-23`.

    Raises:
        PageNotFound: there is no such day.
    """
    try:
        if DAY.fullmatch(text):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise PageNotFound(reason="day")


def read_id(text: str, error: type[SeatNotFound | BookingNotFound | UserNotFound | PageNotFound]) -> int:
    """Return the id in a URL; raise `error` if it is not an id."""
    found = parse_id(text)
    if found is None:
        raise error
    return found


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in value and "\ufffd" not in value  # U+FFFD stands for bytes that are not UTF-8


def own_path(value: str) -> str:
    """Return the path to go to after signing in: the value if it is a path on this site, else `/`."""
    if len(value) > 500 or not value.startswith("/") or value.startswith("//"):
        return "/"
    if not value.isprintable() or "\\" in value:
        return "/"
    parts = urlsplit(value)
    return "/" if parts.scheme or parts.netloc else value
