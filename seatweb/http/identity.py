"""Who a request is from, as its cookies say."""

from __future__ import annotations

import time
from typing import Any, Final

from litestar.connection import ASGIConnection
from msgspec import Struct

from seatweb.http.cookies import Cookies, with_own_cookies
from seatweb.http.csrf import bound, is_secret
from seatweb.http.tokens import RENEWAL_AUDIENCE, Claims, Tokens
from seatweb.storage.caching import BoundedDict

LONGEST_KEPT: Final = 1536  # bytes of a Cookie header; ours have half of it
IDENTITIES_KEPT: Final = 10_000


class Identity(Struct, frozen=True):
    """What a browser's cookies say: who it is, and its secret for the tokens of forms."""

    claims: Claims | None
    csrf_secret: str
    """Bound to the session, if there is one."""
    ends_at: float
    """When its token is over (seconds since 1970)."""


class Identities:
    """Reads who requests are from."""

    def __init__(self, tokens: Tokens, cookies: Cookies) -> None:
        self._tokens = tokens
        self._cookies = cookies
        self._known: BoundedDict[bytes, Identity] = BoundedDict(IDENTITIES_KEPT)

    def claims(self, connection: ASGIConnection) -> Claims | None:  # type: ignore[type-arg]
        """Return what the request's session cookie says."""
        token = connection.cookies.get(self._cookies.session_cookie)
        return self._tokens.read(token) if token else None

    def renewal_claims(self, connection: ASGIConnection) -> Claims | None:  # type: ignore[type-arg]
        """Return what the cookie says that outlasts the session cookie: it gets a new one while the session counts."""
        token = connection.cookies.get(self._cookies.renewal_cookie)
        return self._tokens.read(token, RENEWAL_AUDIENCE) if token else None

    def of_header(self, header: bytes) -> Identity | None:
        """Return what our cookies in a Cookie header say, unless a cookie has to be set in the answer.

        Reading cookies takes longer than all else that a remembered page needs, so what was read is kept.
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
        # A token may count only in a moment (the clock of who signed it may be ahead), or may have to be renewed.
        if not found and (token or self._cookies.renewal_cookie in sent):
            return None
        claims, ends_at = found or (None, float("inf"))
        return Identity(claims, bound(secret, claims.session_id if claims else None), ends_at)
