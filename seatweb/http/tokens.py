"""Sign-in cookies, protection of forms against other sites (CSRF), and the headers of every answer."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal
from urllib.parse import urlsplit
from uuid import UUID

import jwt
from litestar.connection import ASGIConnection
from litestar.datastructures import Cookie
from litestar.types import Message, Scope
from msgspec import Struct

from seatweb.accounts.model import Client, Session
from seatweb.errors import Forbidden
from seatweb.http.client_address import address_of
from seatweb.http.own_cookies import with_own_cookies
from seatweb.settings import Settings, split_ring
from seatweb.storage.caching import Kept

ALGORITHM: Final = "HS256"
ISSUER: Final = "seatweb"
PAGES_AUDIENCE: Final = "seatweb:pages"
RENEWAL_AUDIENCE: Final = "seatweb:renewal"
API_AUDIENCE: Final = "seatweb:api"
# Of short steps that a browser is in the middle of: a cookie each, named after it.
SECOND_FACTOR_AUDIENCE: Final = "seatweb:second-factor"
PASSKEY_AUDIENCE: Final = "seatweb:passkey"
CONFIRMED_AUDIENCE: Final = "seatweb:confirmed"
LONGEST_KEPT: Final = 1536  # bytes of a Cookie header; ours have half of it
TOKENS_KEPT: Final = 10_000
CSRF_FIELD: Final = "_csrf_token"
NOTICE_COOKIE: Final = "seatweb_notice"
CHANGED_COOKIE: Final = "seatweb_changed"
CHANGED_SECONDS: Final = 2  # longer than any process remembers a view
COOKIE_SECONDS: Final = 400 * 24 * 3600  # the longest that browsers keep one (RFC 6265bis)

# No inline script or style, nothing from elsewhere, no text that becomes code: htmx asks same-origin only, and what it
# swaps goes through the one policy of static/js/trusted-types.js (docs/decisions/0013).
CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; "
    "manifest-src 'self'; object-src 'none'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types seatweb"
)
# What is no page (a file, an answer of the API) and is opened by itself all the same, is a page without any rights.
FILE_POLICY: Final = "default-src 'none'; frame-ancestors 'none'; sandbox"
# Powers that no page of ours uses; what is not named here (passkeys, the clipboard) is left to our own pages anyway.
UNUSED_POWERS: Final = (
    "accelerometer", "browsing-topics", "camera", "display-capture", "geolocation", "gyroscope", "hid",
    "idle-detection", "local-fonts", "magnetometer", "microphone", "midi", "payment", "serial", "usb",
)  # fmt: skip
# Of all answers; those that are pages get the rest as well. An answer that names one itself keeps its own.
FILE_HEADERS: Final = {
    "x-content-type-options": "nosniff",
    "cross-origin-resource-policy": "same-origin",
    "content-security-policy": FILE_POLICY,
    "cache-control": "no-store",
}
HEADERS: Final = FILE_HEADERS | {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "referrer-policy": "same-origin",
    "permissions-policy": ", ".join(f"{power}=()" for power in UNUSED_POWERS),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-embedder-policy": "require-corp",
}
HSTS_SECONDS: Final = 2 * 365 * 24 * 3600  # ASVS 3.4.1 wants a year at least; the preload list takes two as well


def strict_transport(settings: Settings) -> dict[str, str]:
    """Return the header that keeps browsers on https (RFC 6797), where people reach the site by it."""
    if not settings.secure_cookies:
        return {}
    subdomains = "; includeSubDomains" if settings.hsts_subdomains else ""
    return {"strict-transport-security": f"max-age={HSTS_SECONDS}{subdomains}"}


class Claims(Struct, frozen=True):
    """What a valid token says."""

    user_id: int
    session_id: UUID


class Identity(Struct, frozen=True):
    """What a browser's cookies say: who it is, and its secret for the tokens of forms."""

    claims: Claims | None
    csrf_secret: str
    """Bound to the session, if there is one."""
    ends_at: float
    """When its token is over (seconds since 1970)."""


class Security:
    """Reads and writes the cookies.

    The signing secrets form a ring: the first one signs, all verify (a token names its own by `kid`), and a CSRF key is
    derived from each. So a secret can be replaced without anyone being signed out.
    """

    def __init__(
        self, secret: str, *, secure: bool, public_url: str | None, access: timedelta = timedelta(minutes=10)
    ) -> None:
        ring = split_ring(secret)
        self._secrets = {key_id(key): key for key in ring}
        self._newest = key_id(ring[0])
        self._csrf_keys = [hmac.digest(key.encode(), b"seatweb csrf", "sha256") for key in ring]
        self._access = access
        self._secure = secure
        self._public_host = urlsplit(public_url).netloc if public_url else None
        self._verified: Kept[tuple[str, str], tuple[Claims, float]] = Kept(TOKENS_KEPT)
        self._identities: Kept[bytes, Identity] = Kept(TOKENS_KEPT)
        prefix = "__Host-" if secure else ""
        self.session_cookie: Final = f"{prefix}seatweb_session"
        self.renewal_cookie: Final = f"{prefix}seatweb_renewal"
        self.csrf_cookie: Final = f"{prefix}seatweb_csrf"
        self.waiting_cookie: Final = prefix + NOTICE_COOKIE
        self.lately_cookie: Final = prefix + CHANGED_COOKIE

    # The session's token (RFC 7519)

    def issue(self, session: Session, audience: str = PAGES_AUDIENCE) -> str:
        """Return the JWT that names the session; one for pages is none for the API, and the other way round.

        The one for pages lasts minutes; the browser gets the next one for its renewal token, while the session counts.
        """
        now = datetime.now(UTC)
        ends = min(session.expires_at, now + self._access) if audience == PAGES_AUDIENCE else session.expires_at
        whose = {"sub": str(session.user.id), "sid": str(session.id)}
        return self._sign({"iss": ISSUER, "aud": audience, **whose, "iat": now, "exp": ends})

    def read(self, token: str, audience: str = PAGES_AUDIENCE) -> Claims | None:
        """Return what the token says, or None when it is not one of ours or over."""
        known = self._verified.get((token, audience))
        if known is not None:  # to verify it again would take longer than all else that a page needs
            return known[0] if time.time() < known[1] else None
        try:
            found = self._verify(token, audience, ["sub", "sid", "iat", "exp"])
            claims = Claims(user_id=_number(found["sub"]), session_id=UUID(found["sid"]))
        except (jwt.InvalidTokenError, LookupError, ValueError, TypeError, AttributeError):
            return None
        self._verified[token, audience] = (claims, float(found["exp"]))
        return claims

    def claims(self, connection: ASGIConnection) -> Claims | None:  # type: ignore[type-arg]
        """Return what the request's session cookie says."""
        token = connection.cookies.get(self.session_cookie)
        return self.read(token) if token else None

    def renewal_claims(self, connection: ASGIConnection) -> Claims | None:  # type: ignore[type-arg]
        """Return what the cookie says that outlasts the session cookie: it gets a new one while the session counts."""
        token = connection.cookies.get(self.renewal_cookie)
        return self.read(token, RENEWAL_AUDIENCE) if token else None

    def identity(self, header: bytes) -> Identity | None:
        """Return what our cookies in a Cookie header say, unless a cookie has to be set in the answer.

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
        scope: Any = {"type": "http", "headers": with_own_cookies([(b"cookie", header)])}
        cookies = ASGIConnection(scope).cookies
        secret, token = cookies.get(self.csrf_cookie, ""), cookies.get(self.session_cookie)
        if not _is_hex(secret, 64) or cookies.keys() & {self.waiting_cookie, self.lately_cookie}:
            return None
        claims = self.read(token) if token else None
        # A token may count only in a moment (the clock of who signed it may be ahead), or may have to be renewed.
        if not claims and (token or self.renewal_cookie in cookies):
            return None
        ends_at = self._verified[token, PAGES_AUDIENCE][1] if token and claims else float("inf")
        return Identity(claims, _bound(secret, claims.session_id if claims else None), ends_at)

    def session_cookies(self, session: Session) -> list[Cookie]:
        """Return the cookies that carry the session; scripts cannot read them."""
        seconds = int((session.expires_at - datetime.now(UTC)).total_seconds())
        renewal = self.issue(session, RENEWAL_AUDIENCE)
        return [self.access_cookie(session), self._cookie(self.renewal_cookie, renewal, seconds)]

    def access_cookie(self, session: Session) -> Cookie:
        """Return the cookie that is looked at with each request, for some minutes."""
        seconds = min(session.expires_at - datetime.now(UTC), self._access).total_seconds()
        return self._cookie(self.session_cookie, self.issue(session), int(seconds))

    def sign_out_cookies(self) -> list[Cookie]:
        """Return the cookies that remove the session from the browser."""
        return [self._cookie(name, "", 0) for name in (self.session_cookie, self.renewal_cookie)]

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
        return jwt.encode(claims, self._secrets[self._newest], ALGORITHM, headers={"kid": self._newest})

    def _verify(self, token: str, audience: str, required: list[str]) -> dict[str, Any]:
        options: Any = {"require": ["iss", "aud", *required], "strict_aud": True}
        secret = self._secrets[jwt.get_unverified_header(token)["kid"]]
        found: dict[str, Any] = jwt.decode(
            token, secret, [ALGORITHM], audience=audience, issuer=ISSUER, options=options
        )
        return found

    # Forms: a signed double submit (OWASP), and the browser's own word on where the request came from

    def csrf_secret(
        self,
        connection: ASGIConnection,  # type: ignore[type-arg]
        session_id: UUID | None,
    ) -> tuple[str, Cookie | None]:
        """Return the browser's CSRF secret, bound to the session, and the cookie to set when it had none."""
        known = connection.cookies.get(self.csrf_cookie, "")
        if _is_hex(known, 64):
            return _bound(known, session_id), None
        new = secrets.token_hex(32)
        return _bound(new, session_id), self._cookie(self.csrf_cookie, new, COOKIE_SECONDS)

    def csrf_token(self, secret: str) -> str:
        """Return a token for a form; every call gives another one, so that compression tells nothing of it."""
        nonce = secrets.token_hex(16)
        return nonce + _signature(self._csrf_keys[0], nonce, secret)

    def check_csrf(
        self,
        connection: ASGIConnection,  # type: ignore[type-arg]
        token: str,
        sessions: Collection[UUID | None],
    ) -> None:
        """Return when the form came from one of our pages in this browser, made for one of the sessions.

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
        signatures = [_signature(key, token[:32], _bound(secret, id_)) for key in self._csrf_keys for id_ in sessions]
        if not any(hmac.compare_digest(token[32:], signature) for signature in signatures):
            raise Forbidden

    # Short notes between two pages

    def notice_cookie(self, value: str) -> Cookie:
        """Return the cookie that carries the name of a notice to the next page (never its text)."""
        return self._cookie(self.waiting_cookie, value, 60 if value else 0)

    def changed_cookie(self) -> Cookie:
        """Return the cookie of a browser that changed something just now: what processes remember is too old for it."""
        return self._cookie(self.lately_cookie, "1", CHANGED_SECONDS)

    def _cookie(self, key: str, value: str, seconds: int, samesite: Literal["lax", "strict"] = "lax") -> Cookie:
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


def client_of(connection: ASGIConnection) -> Client:  # type: ignore[type-arg]
    """Return where a request came from."""
    return Client(address=address_of(connection)[:64], device=connection.headers.get("user-agent", "")[:300])


def key_id(secret: str) -> str:
    """Return the name of a signing secret, which tells nothing of it (RFC 7515, section 4.1.4)."""
    return hashlib.sha256(b"seatweb kid " + secret.encode()).hexdigest()[:12]


def _number(text: str) -> int:
    """Return the number that is written as we write it; Python's own reading takes more."""
    if not (text.isascii() and text.isdigit()):
        raise ValueError
    return int(text)


def _bound(secret: str, session_id: UUID | None) -> str:
    return f"{secret}:{session_id}" if session_id else secret


def _signature(key: bytes, nonce: str, secret: str) -> str:
    return hmac.digest(key, f"{nonce}:{secret}".encode(), "sha256").hex()


def own_path(value: str) -> str:
    """Return the address if it is a path of ours, else `/`: where to go after signing in."""
    if len(value) > 500 or not value.startswith("/") or value.startswith("//"):
        return "/"
    if not value.isprintable() or "\\" in value:
        return "/"
    parts = urlsplit(value)
    return "/" if parts.scheme or parts.netloc else value


def _is_hex(value: str, length: int) -> bool:
    return len(value) == length and all(character in "0123456789abcdef" for character in value)
