"""Read from a request's cookies who sent it."""

from __future__ import annotations

import time
from typing import Any, Final

from litestar.connection import ASGIConnection
from msgspec import Struct

from seatweb.http.cookies import Cookies, with_own_cookies
from seatweb.http.csrf import bound, is_secret
from seatweb.http.tokens import RENEWAL_AUDIENCE, Claims, Tokens
from seatweb.storage.caching import BoundedDict

LONGEST_KEPT: Final = 1536  # bytes of a Cookie header, twice what ours need; longer ones are not cached
IDENTITIES_KEPT: Final = 10_000


class Identity(Struct, frozen=True, gc=False):
    """The content of a browser's cookies: who is signed in, and the secret for its CSRF tokens."""

    claims: Claims | None
    csrf_secret: str
    """Bound to the session, if there is one."""
    ends_at: float
    """When its access token expires (seconds since 1970)."""


class Identities:
    """Reads identities from cookies, with a cache."""

    def __init__(self, tokens: Tokens, cookies: Cookies) -> None:
        self._tokens = tokens
        self._cookies = cookies
        self._known: BoundedDict[bytes, Identity] = BoundedDict(IDENTITIES_KEPT)

    def claims(self, connection: ASGIConnection) -> Claims | None:  # type: ignore[type-arg]
        """Return the claims in the request's session cookie; None without a valid one."""
        token = connection.cookies.get(self._cookies.session_cookie)
        return self._tokens.read(token) if token else None

    def renewal_claims(self, connection: ASGIConnection) -> Claims | None:  # type: ignore[type-arg]
        """Return the claims in the renewal cookie, which is exchanged for a new session cookie; None if invalid."""
        token = connection.cookies.get(self._cookies.renewal_cookie)
        return self._tokens.read(token, RENEWAL_AUDIENCE) if token else None

    def of_header(self, header: bytes) -> Identity | None:
        """Return the identity in a Cookie header; None if the response has to set a cookie.

        Identities are cached: for a cached page, parsing cookies would take longer than everything else.
        """
        known = self._known.get(header)
        if known is None:
            known = self._read(header) if len(header) <= LONGEST_KEPT else None
            if known is None:
                return None
            self._known[header] = known
        return known if time.time() < known.ends_at else None

    def _read(self, header: bytes) -> Identity | None:
        scope: Any = {"type": "http", "headers": with_own_cookies([(b"cookie", header)])}
        sent = ASGIConnection(scope).cookies
        secret, token = sent.get(self._cookies.csrf_cookie, ""), sent.get(self._cookies.session_cookie)
        if not is_secret(secret) or sent.keys() & {self._cookies.notice_cookie, self._cookies.changed_cookie}:
            return None
        found = self._tokens.read_until(token) if token else None
        # Do not cache an invalid token: it may need renewal, or become valid soon if its signer's clock is ahead.
        if not found and (token or self._cookies.renewal_cookie in sent):
            return None
        claims, ends_at = found or (None, float("inf"))
        return Identity(claims, bound(secret, claims.session_id if claims else None), ends_at)
