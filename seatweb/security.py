"""Sign-in cookies, protection of forms against other sites (CSRF), and the headers of every answer."""

from __future__ import annotations

import hmac
import secrets
import time
from datetime import UTC, datetime
from typing import Any, Final, Literal
from urllib.parse import urlsplit
from uuid import UUID

import jwt
from litestar.connection import ASGIConnection
from litestar.datastructures import Cookie
from msgspec import Struct

from seatweb.errors import Forbidden
from seatweb.memory import Kept
from seatweb.model import Session

ALGORITHM: Final = "HS256"
ISSUER: Final = "seatweb"
PAGES_AUDIENCE: Final = "seatweb:pages"
API_AUDIENCE: Final = "seatweb:api"
# Of short steps that a browser is in the middle of: a cookie each, named after it.
SECOND_FACTOR_AUDIENCE: Final = "seatweb:second-factor"
PASSKEY_AUDIENCE: Final = "seatweb:passkey"
CONFIRMED_AUDIENCE: Final = "seatweb:confirmed"
LONGEST_KEPT: Final = 1024  # bytes of a Cookie header; ours have half of it
TOKENS_KEPT: Final = 10_000
CSRF_FIELD: Final = "_csrf_token"
NOTICE_COOKIE: Final = "seatweb_notice"
CHANGED_COOKIE: Final = "seatweb_changed"
CHANGED_SECONDS: Final = 2  # longer than any process remembers a view
COOKIE_SECONDS: Final = 400 * 24 * 3600  # the longest that browsers keep one (RFC 6265bis)

# No inline script or style and nothing from elsewhere; htmx asks same-origin only.
CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; "
    "manifest-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
# Of all answers; those that are pages or data get the rest as well.
FILE_HEADERS: Final = {
    "x-content-type-options": "nosniff",
    "cross-origin-resource-policy": "same-origin",
}
HEADERS: Final = FILE_HEADERS | {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "referrer-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=(), payment=()",
    "cross-origin-opener-policy": "same-origin",
}


class Claims(Struct, frozen=True):
    """What a valid token says."""

    user_id: int
    session_id: UUID


class Identity(Struct, frozen=True):
    """What a browser's cookies say: who it is, and its secret for the tokens of forms."""

    claims: Claims | None
    csrf_secret: str
    ends_at: float
    """When its token is over (seconds since 1970)."""


class Security:
    """Reads and writes the cookies; one signing secret, from which the CSRF key is derived."""

    def __init__(self, secret: str, *, secure: bool, public_url: str | None) -> None:
        self._secret = secret
        self._csrf_key = hmac.digest(secret.encode(), b"seatweb csrf", "sha256")
        self._secure = secure
        self._public_host = urlsplit(public_url).netloc if public_url else None
        self._verified: Kept[tuple[str, str], tuple[Claims, float]] = Kept(TOKENS_KEPT)
        self._identities: Kept[bytes, Identity] = Kept(TOKENS_KEPT)
        prefix = "__Host-" if secure else ""
        self.session_cookie: Final = f"{prefix}seatweb_session"
        self.csrf_cookie: Final = f"{prefix}seatweb_csrf"

    # The session's token (RFC 7519)

    def issue(self, session: Session, audience: str = PAGES_AUDIENCE) -> str:
        """Return the JWT that names the session; one for pages is none for the API, and the other way round."""
        return jwt.encode(
            {
                "iss": ISSUER,
                "aud": audience,
                "sub": str(session.user.id),
                "sid": str(session.id),
                "iat": datetime.now(UTC),
                "exp": session.expires_at,
            },
            self._secret,
            ALGORITHM,
        )

    def read(self, token: str, audience: str = PAGES_AUDIENCE) -> Claims | None:
        """Return what the token says, or None when it is not one of ours or over."""
        known = self._verified.get((token, audience))
        if known is not None:  # to verify it again would take longer than all else that a page needs
            return known[0] if time.time() < known[1] else None
        try:
            found = jwt.decode(
                token,
                self._secret,
                [ALGORITHM],
                audience=audience,
                issuer=ISSUER,
                options={"require": ["iss", "aud", "sub", "sid", "iat", "exp"], "strict_aud": True},
            )
            claims = Claims(user_id=int(found["sub"]), session_id=UUID(found["sid"]))
        except (jwt.InvalidTokenError, ValueError, TypeError, AttributeError):
            return None
        self._verified[token, audience] = (claims, float(found["exp"]))
        return claims

    def claims(self, connection: ASGIConnection) -> Claims | None:  # type: ignore[type-arg]
        """Return what the request's session cookie says."""
        token = connection.cookies.get(self.session_cookie)
        return self.read(token) if token else None

    def identity(self, header: bytes) -> Identity | None:
        """Return what a Cookie header says if it says nothing else, and no cookie has to be set in the answer.

        Reading cookies takes longer than all else that a remembered page needs, so what was read is kept.
        """
        known = self._identities.get(header)
        if known is None:
            known = self._read_identity(header) if len(header) <= LONGEST_KEPT else None
            if known is None:
                return None
            self._identities[header] = known
        return known if time.time() < known.ends_at else None

    def _read_identity(self, header: bytes) -> Identity | None:
        scope: Any = {"type": "http", "headers": [(b"cookie", header)]}
        cookies = ASGIConnection(scope).cookies
        secret, token = cookies.get(self.csrf_cookie, ""), cookies.get(self.session_cookie)
        if not _is_hex(secret, 64) or cookies.keys() & {NOTICE_COOKIE, CHANGED_COOKIE}:
            return None
        claims = self.read(token) if token else None
        if token and not claims:  # not yet, maybe: the clock of who signed it may be ahead
            return None
        ends_at = self._verified[token, PAGES_AUDIENCE][1] if token and claims else float("inf")
        return Identity(claims, secret, ends_at)

    def sign_in_cookie(self, session: Session) -> Cookie:
        """Return the cookie that carries the session; scripts cannot read it."""
        seconds = int((session.expires_at - datetime.now(UTC)).total_seconds())
        return self._cookie(self.session_cookie, self.issue(session), seconds)

    def sign_out_cookie(self) -> Cookie:
        """Return the cookie that removes the session from the browser."""
        return self._cookie(self.session_cookie, "", 0)

    # What a browser is in the middle of

    def step_cookie(self, audience: str, content: dict[str, str], seconds: int) -> Cookie:
        """Return the signed cookie that says in which step of something this browser is, for so long."""
        claims = {"iss": ISSUER, "aud": audience, "exp": int(time.time()) + seconds, **content}
        return self._cookie(self._step_name(audience), self._sign(claims), seconds, "strict")

    def no_step_cookie(self, audience: str) -> Cookie:
        """Return the cookie that ends the step."""
        return self._cookie(self._step_name(audience), "", 0, "strict")

    def read_step(self, connection: ASGIConnection, audience: str) -> dict[str, str]:  # type: ignore[type-arg]
        """Return what the step's cookie says; nothing where there is none, or it is not one of ours or over."""
        try:
            found = self._verify(connection.cookies.get(self._step_name(audience), ""), audience, ["exp"])
        except (jwt.InvalidTokenError, LookupError, ValueError, TypeError, AttributeError):
            return {}
        return {name: value for name, value in found.items() if isinstance(value, str)}

    def _step_name(self, audience: str) -> str:
        return ("__Host-" if self._secure else "") + audience.replace(":", "_").replace("-", "_")

    def _sign(self, claims: dict[str, Any]) -> str:
        return jwt.encode(claims, self._secret, ALGORITHM)

    def _verify(self, token: str, audience: str, required: list[str]) -> dict[str, Any]:
        options: Any = {"require": ["iss", "aud", *required], "strict_aud": True}
        found: dict[str, Any] = jwt.decode(
            token, self._secret, [ALGORITHM], audience=audience, issuer=ISSUER, options=options
        )
        return found

    # Forms: a signed double submit (OWASP), and the browser's own word on where the request came from

    def csrf_secret(self, connection: ASGIConnection) -> tuple[str, Cookie | None]:  # type: ignore[type-arg]
        """Return the browser's CSRF secret, and the cookie to set when it had none."""
        known = connection.cookies.get(self.csrf_cookie, "")
        if _is_hex(known, 64):
            return known, None
        new = secrets.token_hex(32)
        return new, self._cookie(self.csrf_cookie, new, COOKIE_SECONDS)

    def csrf_token(self, secret: str) -> str:
        """Return a token for a form; every call gives another one, so that compression tells nothing of it."""
        nonce = secrets.token_hex(16)
        return nonce + self._csrf_signature(nonce, secret)

    def check_csrf(self, connection: ASGIConnection, token: str) -> None:  # type: ignore[type-arg]
        """Return when the form came from one of our pages in this browser.

        Raises:
            Forbidden: it did not.
        """
        headers = connection.headers
        if headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
            raise Forbidden
        origin = headers.get("origin")
        if origin is not None and origin.partition("://")[2] not in {headers.get("host"), self._public_host}:
            raise Forbidden
        secret = connection.cookies.get(self.csrf_cookie, "")
        if not _is_hex(secret, 64) or not _is_hex(token, 96):
            raise Forbidden
        if not hmac.compare_digest(token[32:], self._csrf_signature(token[:32], secret)):
            raise Forbidden

    def _csrf_signature(self, nonce: str, secret: str) -> str:
        return hmac.digest(self._csrf_key, f"{nonce}:{secret}".encode(), "sha256").hex()

    # Short notes between two pages

    def notice_cookie(self, value: str) -> Cookie:
        """Return the cookie that carries the name of a notice to the next page (never its text)."""
        return self._cookie(NOTICE_COOKIE, value, 60 if value else 0)

    def changed_cookie(self) -> Cookie:
        """Return the cookie of a browser that changed something just now: what processes remember is too old for it."""
        return self._cookie(CHANGED_COOKIE, "1", CHANGED_SECONDS)

    def _cookie(self, key: str, value: str, seconds: int, samesite: Literal["lax", "strict"] = "lax") -> Cookie:
        return Cookie(
            key=key, value=value, max_age=seconds, path="/", httponly=True, secure=self._secure, samesite=samesite
        )


def own_path(value: str) -> str:
    """Return the address if it is a path of ours, else `/`: where to go after signing in."""
    if not value.startswith("/") or value.startswith(("//", "/\\")) or not value.isprintable() or "\\" in value:
        return "/"
    parts = urlsplit(value)
    return "/" if parts.scheme or parts.netloc or len(value) > 500 else value


def _is_hex(value: str, length: int) -> bool:
    return len(value) == length and all(character in "0123456789abcdef" for character in value)
