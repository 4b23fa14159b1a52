"""Our cookies: which there are, how they are set, and that no others are read."""

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

CHANGED_SECONDS: Final = 2  # longer than any process remembers a view
NOTICE_SECONDS: Final = 60
OWN: Final = re.compile(rb"(?:^|;)[ \t]*((?:__Host-)?seatweb_[a-z_]+=[A-Za-z0-9._-]*)[ \t]*(?=;|$)")


class Cookies:
    """Makes the cookies; with `secure`, browsers send them over https only."""

    def __init__(self, tokens: Tokens, *, secure: bool) -> None:
        self._tokens = tokens
        self._secure = secure
        self._prefix = "__Host-" if secure else ""
        self.session_cookie: Final = f"{self._prefix}seatweb_session"
        self.renewal_cookie: Final = f"{self._prefix}seatweb_renewal"
        self.csrf_cookie: Final = f"{self._prefix}seatweb_csrf"
        self.notice_cookie: Final = f"{self._prefix}seatweb_notice"
        self.changed_cookie: Final = f"{self._prefix}seatweb_changed"

    # The session

    def of_session(self, session: NamedSession) -> list[Cookie]:
        """Return the cookies that carry the session; scripts cannot read them."""
        seconds = int((session.expires_at - datetime.now(UTC)).total_seconds())
        renewal = self._tokens.issue(session, RENEWAL_AUDIENCE)
        return [self.access(session), self.make(self.renewal_cookie, renewal, seconds)]

    def access(self, session: NamedSession) -> Cookie:
        """Return the cookie that is looked at with each request, for some minutes."""
        seconds = min(session.expires_at - datetime.now(UTC), self._tokens.access).total_seconds()
        return self.make(self.session_cookie, self._tokens.issue(session), int(seconds))

    def of_sign_out(self) -> list[Cookie]:
        """Return the cookies that remove the session from the browser."""
        return [self.make(name, "", 0) for name in (self.session_cookie, self.renewal_cookie)]

    # What a browser is in the middle of

    def of_step(self, audience: str, content: dict[str, str], seconds: int) -> Cookie:
        """Return the signed cookie that says in which step of something this browser is, for so long."""
        token = self._tokens.sign_step(audience, content, seconds)
        return self.make(self._step_name(audience), token, seconds, "strict")

    def of_no_step(self, audience: str) -> Cookie:
        """Return the cookie that ends the step."""
        return self.make(self._step_name(audience), "", 0, "strict")

    def read_step(self, connection: ASGIConnection, audience: str) -> dict[str, str]:  # type: ignore[type-arg]
        """Return what the step's cookie says; nothing where there is none, or it is not one of ours or over."""
        token = connection.cookies.get(self._step_name(audience))
        return self._tokens.read_step(token, audience) if token else {}

    def _step_name(self, audience: str) -> str:
        return self._prefix + audience.replace(":", "_").replace("-", "_")

    # Short notes between two pages

    def of_notice(self, value: str) -> Cookie:
        """Return the cookie that carries the name of a notice to the next page (never its text)."""
        return self.make(self.notice_cookie, value, NOTICE_SECONDS if value else 0)

    def of_change(self) -> Cookie:
        """Return the cookie of a browser that changed something just now: what processes remember is too old for it."""
        return self.make(self.changed_cookie, "1", CHANGED_SECONDS)

    def make(self, key: str, value: str, seconds: int, samesite: Literal["lax", "strict"] = "lax") -> Cookie:
        """Return a cookie that browsers keep for so long, and no script can read."""
        return Cookie(
            key=key, value=value, max_age=seconds, path="/", httponly=True, secure=self._secure, samesite=samesite
        )


def set_cookie(connection: ASGIConnection, cookie: Cookie) -> None:  # type: ignore[type-arg]
    """Let the answer set this cookie, whoever makes it."""
    connection.scope["state"].setdefault("cookies", []).append(cookie)


async def send_cookies(message: Message, scope: Scope) -> None:
    """Add to the answer's head what `set_cookie` was given, unless the answer itself sets a cookie of that name."""
    cookies: list[Cookie] = scope["state"].pop("cookies", []) if message["type"] == "http.response.start" else []
    for cookie in cookies:
        name = f"{cookie.key}=".encode()
        headers = [*message["headers"]]  # type: ignore[typeddict-item]
        if not any(key.lower() == b"set-cookie" and value.startswith(name) for key, value in headers):
            message["headers"] = [*headers, (b"set-cookie", cookie.to_header(header="").encode())]  # type: ignore[typeddict-unknown-key]


class OwnCookies:
    """Takes the cookies that are not ours out of a request, before the framework parses any."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        if scope["type"] == ScopeType.HTTP:
            scope["headers"] = with_own_cookies(scope["headers"])
        await self._app(scope, receive, send)


def with_own_cookies(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return a request's headers with no cookies but ours, in one `Cookie` header.

    Other programs on the same host set cookies too, which nothing here reads. To remove quotes and escapes from a
    value takes Python's library time that grows with the square of its length (CVE-2024-7592); ours have neither.
    """
    sent = b";".join([value for name, value in headers if name == b"cookie"])
    own = OWN.findall(sent)
    others = [header for header in headers if header[0] != b"cookie"]
    return [*others, (b"cookie", b"; ".join(own))] if own else others
