"""What the forms of passkeys share: who they are for, and the challenge, which the browser keeps in a signed cookie."""

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


def relying_party(public_url: str | None, host: str, name: str) -> RelyingParty | None:
    """Return who passkeys are for when a browser asks at this host; None where browsers offer none.

    They do at https addresses with a name, and at `localhost`. Without a public address nobody can tell whether a
    name is reached by https, so only `localhost` is left.
    """
    origin = public_url or f"http://{host}"
    try:
        parts = urlsplit(origin)
    except ValueError:
        return None
    hostname = parts.hostname or ""
    if parts.netloc.lower() != host.lower() or is_address(hostname):
        return None
    local = hostname == "localhost" or hostname.endswith(".localhost")
    if not local and not (public_url and parts.scheme == "https"):
        return None
    return RelyingParty(id=hostname, origin=origin.lower(), name=name)


def party_of(request: PageRequest, settings: Settings) -> RelyingParty | None:
    """Return who passkeys are for at the address that was asked; None where browsers offer none."""
    return relying_party(settings.public_url, request.headers.get("host", ""), settings.site_name)


def party_here(request: PageRequest, settings: Settings) -> RelyingParty:
    """Return who passkeys are for at the address that was asked.

    Raises:
        InvalidInput: browsers offer none there.
    """
    party = party_of(request, settings)
    if party is None:
        raise InvalidInput(reason="no_passkeys_here")
    return party


def options(our_cookies: Cookies, made: tuple[str, Challenge]) -> Response[bytes]:
    """Return what the browser needs, and let it keep the challenge."""
    text, challenge = made
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
    """Return the challenge that this browser was given, while it counts."""
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
