"""Signed tokens (JWT, RFC 7519) for sessions, and for the steps of flows such as signing in with a second factor."""

from __future__ import annotations

import hashlib
import time
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol
from uuid import UUID

import jwt
from msgspec import Struct

from seatweb.storage.caching import BoundedDict
from seatweb.storage.ids import parse_id

ALGORITHM: Final = "HS256"
ISSUER: Final = "seatweb"
PAGES_AUDIENCE: Final = "seatweb:pages"
RENEWAL_AUDIENCE: Final = "seatweb:renewal"
API_AUDIENCE: Final = "seatweb:api"
# Steps of flows; each has its own cookie, named after the audience.
SECOND_FACTOR_AUDIENCE: Final = "seatweb:second-factor"
PASSKEY_AUDIENCE: Final = "seatweb:passkey"
CONFIRMED_AUDIENCE: Final = "seatweb:confirmed"
TOKENS_KEPT: Final = 10_000
LEEWAY_SECONDS: Final = 30  # how far ahead the clock of the replica that signed a token may be


class NamedSession(Protocol):
    """A session that a token can be issued for."""

    @property
    def id(self) -> UUID:
        """The session's id."""

    @property
    def user_id(self) -> int:
        """Its user's id."""

    @property
    def expires_at(self) -> datetime:
        """When it expires, in UTC."""


class Claims(Struct, frozen=True, gc=False):
    """The content of a valid session token."""

    user_id: int
    session_id: UUID


class Tokens:
    """Signs and verifies tokens; access tokens for pages last for `access`.

    The first signing secret signs, and all of them verify (a token names its secret by `kid`), so that a secret can be
    rotated without signing anyone out.
    """

    def __init__(self, secrets: list[str], access: timedelta = timedelta(minutes=10)) -> None:
        self._secrets = {key_id(secret): secret for secret in secrets}
        self._newest = key_id(secrets[0])
        self.access: Final = access
        self._verified: BoundedDict[tuple[str, str], tuple[Claims, float]] = BoundedDict(TOKENS_KEPT)

    def issue(self, session: NamedSession, audience: str = PAGES_AUDIENCE) -> str:
        """Return a token for the session; it is valid only for this audience.

        A pages token lasts minutes; the browser exchanges its renewal token for the next one, while the session is
        live.
        """
        now = datetime.now(UTC)
        ends = min(session.expires_at, now + self.access) if audience == PAGES_AUDIENCE else session.expires_at
        whose = {"sub": str(session.user_id), "sid": str(session.id)}
        return self._sign({"iss": ISSUER, "aud": audience, **whose, "iat": now, "exp": ends})

    def read(self, token: str, audience: str = PAGES_AUDIENCE) -> Claims | None:
        """Return the token's claims; None if it is invalid or expired."""
        return found[0] if (found := self.read_until(token, audience)) else None

    def read_until(self, token: str, audience: str = PAGES_AUDIENCE) -> tuple[Claims, float] | None:
        """Return the token's claims and when it expires (seconds since 1970); None if it is invalid or expired."""
        known = self._verified.get((token, audience))
        if known is not None:  # verifying it again would take longer than everything else on a page
            return known if time.time() < known[1] else None
        try:
            found = self._verify(token, audience, ["sub", "sid", "iat", "exp"])
            user_id, session_id = parse_id(found["sub"]), UUID(found["sid"])
        except (jwt.InvalidTokenError, LookupError, ValueError, TypeError, AttributeError):
            return None
        if user_id is None:
            return None
        self._verified[token, audience] = known = (Claims(user_id, session_id), float(found["exp"]))
        return known

    def has_expired(self, token: str, audience: str) -> bool:
        """Return whether the token was once valid for this audience; False for one that we did not sign."""
        try:
            self._verify(token, audience, ["sub", "sid", "iat", "exp"])
        except jwt.ExpiredSignatureError:
            return True
        except (jwt.InvalidTokenError, LookupError, ValueError, TypeError, AttributeError):
            pass
        return False

    def sign_step(self, audience: str, content: dict[str, str], seconds: int) -> str:
        """Return a token with the state of a flow; it lasts `seconds`."""
        return self._sign({"iss": ISSUER, "aud": audience, "exp": int(time.time()) + seconds, **content})

    def read_step(self, token: str, audience: str) -> dict[str, str]:
        """Return the content of a step's token; empty if it is invalid or expired."""
        try:
            found = self._verify(token, audience, ["exp"])
        except (jwt.InvalidTokenError, LookupError, ValueError, TypeError, AttributeError):
            return {}
        return {name: value for name, value in found.items() if isinstance(value, str)}

    def _sign(self, claims: dict[str, Any]) -> str:
        return jwt.encode(claims, self._secrets[self._newest], ALGORITHM, headers={"kid": self._newest})

    def _verify(self, token: str, audience: str, required: list[str]) -> dict[str, Any]:
        options: Any = {"require": ["iss", "aud", *required], "strict_aud": True}
        secret = self._secrets[jwt.get_unverified_header(token)["kid"]]
        found: dict[str, Any] = jwt.decode(
            token, secret, [ALGORITHM], audience=audience, issuer=ISSUER, options=options, leeway=LEEWAY_SECONDS
        )
        # Clocks may differ when a token begins, but that is no reason to let it last longer.
        if float(found["exp"]) <= time.time():
            raise jwt.ExpiredSignatureError
        return found


def key_id(secret: str) -> str:
    """Return the key id of a signing secret, which reveals nothing about it (RFC 7515, section 4.1.4)."""
    return hashlib.sha256(b"seatweb kid " + secret.encode()).hexdigest()[:12]
