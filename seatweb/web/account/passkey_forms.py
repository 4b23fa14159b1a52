"""What the forms of passkeys share: who they are for, and the challenge, which the browser keeps in a signed cookie."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from litestar.response import Response
from webauthn.helpers import base64url_to_bytes, bytes_to_base64url

from seatweb.accounts.passkeys import CHALLENGE_SECONDS, PURPOSES, Challenge, RelyingParty
from seatweb.errors import InvalidInput
from seatweb.http.tokens import PASSKEY_AUDIENCE, Security
from seatweb.web.requests import PageRequest


def party_of(request: PageRequest) -> RelyingParty | None:
    """Return who passkeys are for at the address that was asked; None where browsers offer none."""
    relying_party: Callable[[str], RelyingParty | None] = request.app.state.relying_party
    return relying_party(request.headers.get("host", ""))


def party_here(request: PageRequest) -> RelyingParty:
    """Return who passkeys are for at the address that was asked.

    Raises:
        InvalidInput: browsers offer none there.
    """
    party = party_of(request)
    if party is None:
        raise InvalidInput("Passkeys do not work at this address.")
    return party


def options(security: Security, made: tuple[str, Challenge]) -> Response[bytes]:
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
        cookies=[security.step_cookie(PASSKEY_AUDIENCE, content, CHALLENGE_SECONDS)],
    )


def read_challenge(request: PageRequest, security: Security) -> Challenge | None:
    """Return the challenge that this browser was given, while it counts."""
    content = security.read_step(request, PASSKEY_AUDIENCE)
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
