"""CSRF protection for forms: OWASP's signed double-submit cookie, plus the `Origin` and `Sec-Fetch-Site` headers."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Collection
from typing import Final
from urllib.parse import urlsplit
from uuid import UUID

from litestar.connection import ASGIConnection
from litestar.datastructures import Cookie

from seatweb.errors import Forbidden
from seatweb.http.cookies import Cookies

CSRF_FIELD: Final = "_csrf_token"
COOKIE_SECONDS: Final = 400 * 24 * 3600  # the longest lifetime that browsers allow (RFC 6265bis)


class Csrf:
    """Creates and checks CSRF tokens, with one key derived from each signing secret."""

    def __init__(self, signing_secrets: list[str], cookies: Cookies, public_url: str | None) -> None:
        self._keys = [hmac.digest(secret.encode(), b"seatweb csrf", "sha256") for secret in signing_secrets]
        self._cookies = cookies
        self._public_host = urlsplit(public_url).netloc if public_url else None

    def secret(
        self,
        connection: ASGIConnection,  # type: ignore[type-arg]
        session_id: UUID | None,
    ) -> tuple[str, Cookie | None]:
        """Return the browser's secret, bound to the session, and the cookie to set if the browser had none."""
        known = connection.cookies.get(self._cookies.csrf_cookie, "")
        if is_secret(known):
            return bound(known, session_id), None
        new = secrets.token_hex(32)
        return bound(new, session_id), self._cookies.make(self._cookies.csrf_cookie, new, COOKIE_SECONDS)

    def token(self, secret: str) -> str:
        """Return a new token for a form; each call returns a different one, as a defence against BREACH."""
        nonce = secrets.token_hex(16)
        return nonce + _signature(self._keys[0], nonce, secret)

    def check(
        self,
        connection: ASGIConnection,  # type: ignore[type-arg]
        token: str,
        sessions: Collection[UUID | None],
    ) -> None:
        """Check that the form came from one of our pages in this browser and was made for one of the sessions.

        Raises:
            Forbidden: it did not.
        """
        headers = connection.headers
        if headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
            raise Forbidden
        origin = headers.get("origin")
        if origin is not None and origin.partition("://")[2] not in {headers.get("host"), self._public_host}:
            raise Forbidden
        secret = connection.cookies.get(self._cookies.csrf_cookie, "")
        if not is_secret(secret) or not _is_hex(token, 96):
            raise Forbidden
        signatures = [_signature(key, token[:32], bound(secret, id_)) for key in self._keys for id_ in sessions]
        if not any(hmac.compare_digest(token[32:], signature) for signature in signatures):
            raise Forbidden


def is_secret(value: str) -> bool:
    """Return whether the value has the format of a browser's secret."""
    return _is_hex(value, 64)


def bound(secret: str, session_id: UUID | None) -> str:
    """Return the secret bound to the session, as its forms use it."""
    return f"{secret}:{session_id}" if session_id else secret


def _signature(key: bytes, nonce: str, secret: str) -> str:
    return hmac.digest(key, f"{nonce}:{secret}".encode(), "sha256").hex()


def _is_hex(value: str, length: int) -> bool:
    return len(value) == length and all(character in "0123456789abcdef" for character in value)
