"""Signed tokens (JWT, RFC 7519) that name a session, or the step of something that a browser is in the middle of."""

from __future__ import annotations

import hashlib
import time
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol
from uuid import UUID

import jwt
from msgspec import Struct

from seatweb.storage.caching import BoundedDict

ALGORITHM: Final = "HS256"
ISSUER: Final = "seatweb"
PAGES_AUDIENCE: Final = "seatweb:pages"
RENEWAL_AUDIENCE: Final = "seatweb:renewal"
API_AUDIENCE: Final = "seatweb:api"
# Of short steps that a browser is in the middle of: a cookie each, named after it.
SECOND_FACTOR_AUDIENCE: Final = "seatweb:second-factor"
PASSKEY_AUDIENCE: Final = "seatweb:passkey"
CONFIRMED_AUDIENCE: Final = "seatweb:confirmed"
TOKENS_KEPT: Final = 10_000


class NamedSession(Protocol):
    """What a token says of a session."""

    @property
    def id(self) -> UUID:
        """The id of the session."""

    @property
    def user_id(self) -> int:
        """The id of its user."""

    @property
    def expires_at(self) -> datetime:
        """When it is over, in UTC."""


class Claims(Struct, frozen=True):
    """What a valid token says."""

    user_id: int
    session_id: UUID


class Tokens:
    """Signs and verifies tokens; those for pages last for `access`.

    The signing secrets form a ring: the first one signs, all verify (a token names its own by `kid`). So a secret can
    be replaced without anyone being signed out.
    """

    def __init__(self, secrets: list[str], access: timedelta = timedelta(minutes=10)) -> None:
        self._secrets = {key_id(secret): secret for secret in secrets}
        self._newest = key_id(secrets[0])
        self.access: Final = access
        self._verified: BoundedDict[tuple[str, str], tuple[Claims, float]] = BoundedDict(TOKENS_KEPT)

    def issue(self, session: NamedSession, audience: str = PAGES_AUDIENCE) -> str:
        """Return the token that names the session; one for pages is none for the API, and the other way round.

        The one for pages lasts minutes; the browser gets the next one for its renewal token, while the session counts.
        """
        now = datetime.now(UTC)
        ends = min(session.expires_at, now + self.access) if audience == PAGES_AUDIENCE else session.expires_at
        whose = {"sub": str(session.user_id), "sid": str(session.id)}
        return self._sign({"iss": ISSUER, "aud": audience, **whose, "iat": now, "exp": ends})

    def read(self, token: str, audience: str = PAGES_AUDIENCE) -> Claims | None:
        """Return what the token says, or None when it is not one of ours or over."""
        return found[0] if (found := self.read_until(token, audience)) else None

    def read_until(self, token: str, audience: str = PAGES_AUDIENCE) -> tuple[Claims, float] | None:
        """Return what the token says and when it is over (seconds since 1970), or None as `read` does."""
        known = self._verified.get((token, audience))
        if known is not None:  # to verify it again would take longer than all else that a page needs
            return known if time.time() < known[1] else None
        try:
            found = self._verify(token, audience, ["sub", "sid", "iat", "exp"])
            claims = Claims(user_id=_number(found["sub"]), session_id=UUID(found["sid"]))
        except (jwt.InvalidTokenError, LookupError, ValueError, TypeError, AttributeError):
            return None
        self._verified[token, audience] = known = (claims, float(found["exp"]))
        return known

    def sign_step(self, audience: str, content: dict[str, str], seconds: int) -> str:
        """Return the token that says in which step of something a browser is, for so long."""
        return self._sign({"iss": ISSUER, "aud": audience, "exp": int(time.time()) + seconds, **content})

    def read_step(self, token: str, audience: str) -> dict[str, str]:
        """Return what the step's token says; nothing where it is not one of ours or over."""
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
            token, secret, [ALGORITHM], audience=audience, issuer=ISSUER, options=options
        )
        return found


def key_id(secret: str) -> str:
    """Return the name of a signing secret, which tells nothing of it (RFC 7515, section 4.1.4)."""
    return hashlib.sha256(b"seatweb kid " + secret.encode()).hexdigest()[:12]


def _number(text: str) -> int:
    """Return the number that is written as we write it; Python's own reading takes more."""
    if not (text.isascii() and text.isdigit()):
        raise ValueError
    return int(text)
