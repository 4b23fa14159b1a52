"""CSRF protection for forms: OWASP's signed double-submit cookie, plus the `Origin` and `Sec-Fetch-Site` headers."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Collection
from typing import Final
from urllib.parse import urlsplit
from uuid import UUID

import structlog
from litestar.connection import ASGIConnection
from litestar.datastructures import Cookie

from seatweb.errors import Forbidden
from seatweb.http.cookies import Cookies

CSRF_FIELD: Final = "_csrf_token"
CAUSES: Final = {
    "other_host": (
        "form refused: it was sent from another host than the one in the Host header; if both are this site, "
        "have the proxy forward Host, or set SEATWEB_PUBLIC_URL"
    ),
    "not_https": (
        "form refused: the page was opened over plain HTTP, but SEATWEB_PUBLIC_URL begins with https, so browsers "
        "do not store the cookies; redirect HTTP to HTTPS, or change SEATWEB_PUBLIC_URL"
    ),
}
COOKIE_SECONDS: Final = 400 * 24 * 3600  # the longest lifetime that browsers allow (RFC 6265bis)

log = structlog.get_logger("seatweb.requests")


class Csrf:
    """Creates and checks CSRF tokens, with one key derived from each signing secret."""

    def __init__(self, signing_secrets: list[str], cookies: Cookies, public_url: str | None) -> None:
        self._keys = [hmac.digest(secret.encode(), b"seatweb csrf", "sha256") for secret in signing_secrets]
        self._cookies = cookies
        self._public_url = public_url or ""
        self._public_host = urlsplit(public_url).netloc if public_url else None
        self._warned: set[str] = set()

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
            Forbidden: it did not; the reason says if the address or the cookie is the cause, not the form's age.
        """
        headers = connection.headers
        if headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
            raise Forbidden(reason="other_site")
        origin, host = headers.get("origin"), headers.get("host", "")
        scheme, _, sender = (origin or "").partition("://")
        if origin is not None and sender not in {host, self._public_host}:
            self._warn("other_host", origin=origin[:200], host=host)
            raise Forbidden(reason="other_host", sender=sender[:200] or "another site", host=host or "no host")
        secret = connection.cookies.get(self._cookies.csrf_cookie, "")
        if not is_secret(secret) and scheme == "http" and self._public_url.startswith("https:"):
            self._warn("not_https", origin=origin, public_url=self._public_url)
            raise Forbidden(reason="not_https", url=self._public_url)
        if not is_secret(secret):
            raise Forbidden(reason="no_cookie")
        if not _is_hex(token, 96):
            raise Forbidden
        signatures = [_signature(key, token[:32], bound(secret, id_)) for key in self._keys for id_ in sessions]
        if not any(hmac.compare_digest(token[32:], signature) for signature in signatures):
            raise Forbidden

    def _warn(self, cause: str, **details: str | None) -> None:
        """Tell the operator once why forms are refused, if the configuration may be the cause."""
        if cause not in self._warned:
            self._warned.add(cause)
            log.warning(CAUSES[cause], **details)


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
