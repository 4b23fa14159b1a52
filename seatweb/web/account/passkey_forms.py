"""What all passkey forms share: the relying party, and the challenge, which the browser keeps in a signed cookie."""

from __future__ import annotations

from urllib.parse import urlsplit
from uuid import UUID

from litestar.response import Response
from webauthn.helpers import base64url_to_bytes, bytes_to_base64url

from seatweb.accounts.passkeys import CHALLENGE_SECONDS, PURPOSES, Challenge, RelyingParty
from seatweb.errors import InvalidInput
from seatweb.http.cookies import Cookies
from seatweb.http.hosts import is_address
from seatweb.http.tokens import PASSKEY_AUDIENCE
from seatweb.settings import Settings
from seatweb.web.requests import PageRequest


def relying_party(public_origin: str | None, host: str, name: str) -> RelyingParty | None:
    """Return the relying party of passkeys at this host; None if browsers offer no passkeys there.

    Browsers offer them for host names over HTTPS, and for `localhost`. Without a public URL, Seatweb cannot tell
    whether the browser uses HTTPS, so only `localhost` remains.
    """
    origin = public_origin or f"http://{host}"
    try:
        parts = urlsplit(origin)
    except ValueError:
        return None
    hostname = parts.hostname or ""
    if parts.netloc.lower() != host.lower() or is_address(hostname):
        return None
    local = hostname == "localhost" or hostname.endswith(".localhost")
    if not local and not (public_origin and parts.scheme == "https"):
        return None
    return RelyingParty(id=hostname, origin=origin.lower(), name=name)


def party_of(request: PageRequest, settings: Settings) -> RelyingParty | None:
    """Return the relying party at the host of the request; None if browsers offer no passkeys there."""
    return relying_party(settings.origin, request.headers.get("host", ""), settings.site_name)


def party_here(request: PageRequest, settings: Settings) -> RelyingParty:
    """Return the relying party at the host of the request.

    Raises:
        InvalidInput: browsers offer no passkeys there.
    """
    party = party_of(request, settings)
    if party is None:
        raise InvalidInput(reason="no_passkeys_here")
    return party


def send_options(our_cookies: Cookies, options: tuple[str, Challenge]) -> Response[bytes]:
    """Return a response with the WebAuthn options, and a cookie with their challenge."""
    text, challenge = options
    content = {
        "purpose": challenge.purpose,
        "challenge": bytes_to_base64url(challenge.challenge),
        "user": "" if challenge.user_id is None else str(challenge.user_id),
        "handle": challenge.user_handle.hex if challenge.user_handle else "",
    }
    return Response(
        text.encode(),
        media_type="application/json",
        headers={"cache-control": "no-store"},
        cookies=[our_cookies.of_step(PASSKEY_AUDIENCE, content, CHALLENGE_SECONDS)],
    )


def read_challenge(request: PageRequest, our_cookies: Cookies) -> Challenge | None:
    """Return the challenge that this browser was given; None without one, or if it has expired."""
    content = our_cookies.read_step(request, PASSKEY_AUDIENCE)
    purpose = PURPOSES.get(content.get("purpose", ""))
    if purpose is None:
        return None
    user, handle = content["user"], content["handle"]
    return Challenge(
        purpose=purpose,
        challenge=base64url_to_bytes(content["challenge"]),
        user_id=int(user) if user else None,
        user_handle=UUID(handle) if handle else None,
    )
