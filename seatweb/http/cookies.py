"""Seatweb's cookies: their names, how they are set, and a filter that removes all others from requests."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final, Literal

from litestar.connection import ASGIConnection
from litestar.datastructures import Cookie
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from seatweb.http.tokens import RENEWAL_AUDIENCE, NamedSession, Tokens

CHANGED_SECONDS: Final = 2  # longer than any process caches a view
NOTICE_SECONDS: Final = 60
OWN: Final = re.compile(rb"(?:^|;)[ \t]*((?:__(?:Host|Secure)-)?seatweb_[a-z0-9_]+=[A-Za-z0-9._-]*)[ \t]*(?=;|$)")


class Cookies:
    """Creates the cookies; with `secure`, browsers send them over HTTPS only.

    Browsers send a host's cookies to all of its ports, so sites on different ports must name them by `port`. They send
    them only to the paths under `base`; the prefix `__Host-` would require `/`.
    """

    def __init__(self, tokens: Tokens, *, secure: bool, port: int | None = None, base: str = "") -> None:
        self._tokens = tokens
        self._secure = secure
        self._port = port
        self._path = base or "/"
        self._prefix = "" if not secure else "__Secure-" if base else "__Host-"
        self.session_cookie: Final = self._name("seatweb_session")
        self.renewal_cookie: Final = self._name("seatweb_renewal")
        self.csrf_cookie: Final = self._name("seatweb_csrf")
        self.notice_cookie: Final = self._name("seatweb_notice")
        self.changed_cookie: Final = self._name("seatweb_changed")

    # The session

    def of_session(self, session: NamedSession) -> list[Cookie]:
        """Return the two cookies of a session, one with the access token and one with the renewal token."""
        seconds = int((session.expires_at - datetime.now(UTC)).total_seconds())
        renewal = self._tokens.issue(session, RENEWAL_AUDIENCE)
        return [self.access(session), self.make(self.renewal_cookie, renewal, seconds)]

    def access(self, session: NamedSession) -> Cookie:
        """Return the short-lived cookie with the access token, which every request is checked by."""
        seconds = min(session.expires_at - datetime.now(UTC), self._tokens.access).total_seconds()
        return self.make(self.session_cookie, self._tokens.issue(session), int(seconds))

    def of_sign_out(self) -> list[Cookie]:
        """Return the cookies that remove the session from the browser."""
        return [self.make(name, "", 0) for name in (self.session_cookie, self.renewal_cookie)]

    # Steps of a flow, such as the second step of signing in

    def of_step(self, audience: str, content: dict[str, str], seconds: int) -> Cookie:
        """Return the signed cookie with the state of a flow that the browser is in; it lasts `seconds`."""
        token = self._tokens.sign_step(audience, content, seconds)
        return self.make(self._step_name(audience), token, seconds, "strict")

    def of_no_step(self, audience: str) -> Cookie:
        """Return the cookie that deletes the step's cookie."""
        return self.make(self._step_name(audience), "", 0, "strict")

    def read_step(self, connection: ASGIConnection, audience: str) -> dict[str, str]:  # type: ignore[type-arg]
        """Return the content of the step's cookie; empty if it is missing, invalid or expired."""
        token = connection.cookies.get(self._step_name(audience))
        return self._tokens.read_step(token, audience) if token else {}

    def _step_name(self, audience: str) -> str:
        return self._name(audience.replace(":", "_").replace("-", "_"))

    def _name(self, name: str) -> str:
        return self._prefix + name + (f"_{self._port}" if self._port else "")

    # Messages from one page to the next

    def of_notice(self, value: str) -> Cookie:
        """Return the cookie that carries a notice's name, never its text, to the next page; empty deletes it."""
        return self.make(self.notice_cookie, value, NOTICE_SECONDS if value else 0)

    def of_change(self) -> Cookie:
        """Return the cookie that marks a browser that just changed something: cached views are too old for it."""
        return self.make(self.changed_cookie, "1", CHANGED_SECONDS)

    def make(self, key: str, value: str, seconds: int, samesite: Literal["lax", "strict"] = "lax") -> Cookie:
        """Return a cookie that lasts `seconds` and that scripts cannot read; 0 seconds deletes it."""
        return Cookie(
            key=key,
            value=value,
            max_age=seconds,
            path=self._path,
            httponly=True,
            secure=self._secure,
            samesite=samesite,
        )


def set_cookie(connection: ASGIConnection, cookie: Cookie) -> None:  # type: ignore[type-arg]
    """Set this cookie in the response to the request, whichever handler creates the response."""
    connection.scope["state"].setdefault("cookies", []).append(cookie)


async def send_cookies(message: Message, scope: Scope) -> None:
    """Add the cookies from `set_cookie` to the response, except those that the response itself sets."""
    cookies: list[Cookie] = scope["state"].pop("cookies", []) if message["type"] == "http.response.start" else []
    for cookie in cookies:
        name = f"{cookie.key}=".encode()
        headers = [*message["headers"]]  # type: ignore[typeddict-item]
        if not any(key.lower() == b"set-cookie" and value.startswith(name) for key, value in headers):
            message["headers"] = [*headers, (b"set-cookie", cookie.to_header(header="").encode())]  # type: ignore[typeddict-unknown-key]


class OwnCookies:
    """Middleware that removes other programs' cookies from a request before the framework parses them."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        if scope["type"] == ScopeType.HTTP:
            scope["headers"] = with_own_cookies(scope["headers"])
        await self._app(scope, receive, send)


def with_own_cookies(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return a request's headers with only Seatweb's cookies, in one `Cookie` header.

    Other programs on the same host set cookies too. Python's library needs quadratic time to unquote a value
    (CVE-2024-7592); Seatweb's values have no quotes, so such cookies are dropped before they are parsed.
    """
    sent = b";".join([value for name, value in headers if name == b"cookie"])
    own: dict[bytes, bytes] = {}
    for cookie in OWN.findall(sent):  # the first of a name counts: it has the longest path (RFC 6265, section 5.4)
        own.setdefault(cookie.partition(b"=")[0], cookie)
    others = [header for header in headers if header[0] != b"cookie"]
    return [*others, (b"cookie", b"; ".join(own.values()))] if own else others
