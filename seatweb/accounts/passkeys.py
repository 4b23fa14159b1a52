"""Add passkeys (WebAuthn) and sign in with them. py_webauthn makes the checks of the protocol."""

from __future__ import annotations

import asyncio
import secrets
from typing import Any, Final, Literal, TypeAlias
from uuid import UUID, uuid4

import msgspec
import structlog
import webauthn
from msgspec import Struct
from webauthn.helpers import parse_authentication_credential_json
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    AuthenticatorTransport,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from seatweb.accounts import factor_queries, queries
from seatweb.accounts.errors import BadCredentials
from seatweb.accounts.factor_queries import NewPasskey, PasskeyDescriptor
from seatweb.accounts.model import Session, User
from seatweb.accounts.sessions import Proof, require_signed_in
from seatweb.errors import InvalidInput
from seatweb.storage.database import Database
from seatweb.storage.statements import Statements

CHALLENGE_SECONDS: Final = 300
LONGEST_NAME: Final = 40
LONGEST_ANSWER: Final = 8000  # characters of JSON; an answer with a 4,096-bit key has 4,000
MOST_PASSKEYS: Final = 20
TRANSPORTS: Final = {transport.value for transport in AuthenticatorTransport}
Purpose: TypeAlias = Literal["add", "sign_in", "second", "confirm"]
PURPOSES: Final[dict[str, Purpose]] = {"add": "add", "sign_in": "sign_in", "second": "second", "confirm": "confirm"}

log = structlog.get_logger(__name__)


class RelyingParty(Struct, frozen=True):
    """The site that a passkey is for: its host name, and the origin that browsers must report."""

    id: str
    origin: str
    name: str


class Challenge(Struct, frozen=True):
    """Random bytes for a passkey to sign: once, in one browser, for one purpose."""

    purpose: Purpose
    challenge: bytes
    user_id: int | None
    """The user whose passkey must sign it; None if any user's may."""
    user_handle: UUID | None = None
    """The id by which authenticators know the user; only for a passkey to be created."""


class _Response(Struct):
    transports: list[str] = []


class _Credential(Struct):
    """The one field of a browser's answer that we parse ourselves."""

    response: _Response = msgspec.field(default_factory=_Response)


class Passkeys:
    """All users' passkeys. Each is discoverable and verifies its user, so it counts as both factors at once."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def options_to_add(self, party: RelyingParty, user: User) -> tuple[str, Challenge]:
        """Return the browser's options for creating a passkey (JSON; WebAuthn, section 5.1.8), and the challenge."""
        existing = await self._credentials(user)
        handle = existing[0].user_handle if existing else uuid4()
        challenge = Challenge("add", secrets.token_bytes(32), user.id, handle)
        options = webauthn.generate_registration_options(
            rp_id=party.id,
            rp_name=party.name,
            user_name=user.username,
            user_id=handle.bytes,
            challenge=challenge.challenge,
            timeout=CHALLENGE_SECONDS * 1000,
            authenticator_selection=AuthenticatorSelectionCriteria(
                resident_key=ResidentKeyRequirement.REQUIRED,
                user_verification=UserVerificationRequirement.REQUIRED,
            ),
            exclude_credentials=[_descriptor(credential) for credential in existing],
        )
        return webauthn.options_to_json(options), challenge

    async def options_to_use(
        self, party: RelyingParty, purpose: Purpose, user: User | None = None
    ) -> tuple[str, Challenge]:
        """Return the browser's options for using a passkey (the user's, or without a user any), and the challenge."""
        challenge = Challenge(purpose, secrets.token_bytes(32), user.id if user else None)
        options = webauthn.generate_authentication_options(
            rp_id=party.id,
            challenge=challenge.challenge,
            timeout=CHALLENGE_SECONDS * 1000,
            allow_credentials=[_descriptor(passkey) for passkey in await self._credentials(user)] if user else None,
            user_verification=UserVerificationRequirement.REQUIRED,
        )
        return webauthn.options_to_json(options), challenge

    async def add(
        self, session: Session, party: RelyingParty, challenge: Challenge | None, answer: str, name: str
    ) -> None:
        """Store the passkey that a browser created.

        Raises:
            InvalidInput: the answer does not match the challenge, or the passkey cannot be used.
            NotSignedIn: the session has ended.
        """
        user = session.user
        if challenge is None or challenge.purpose != "add" or challenge.user_id != user.id:
            raise InvalidInput(reason="took_too_long")
        handle = challenge.user_handle or uuid4()
        try:
            # In a thread, because the worst answers take milliseconds.
            verified = await asyncio.to_thread(
                webauthn.verify_registration_response,
                credential=_bounded(answer),
                expected_challenge=challenge.challenge,
                expected_rp_id=party.id,
                expected_origin=party.origin,
                require_user_verification=True,
            )
            transports = msgspec.json.decode(answer, type=_Credential).response.transports
        except Exception as error:  # noqa: BLE001 - parsers may raise anything on untrusted input
            log.info("passkey not added", error=type(error).__name__)
            raise InvalidInput(reason="unusable_passkey") from None

        async def add(sql: Statements) -> None:
            await require_signed_in(sql, session)
            if not await factor_queries.use_challenge(sql, challenge.challenge, CHALLENGE_SECONDS):
                raise InvalidInput(reason="took_too_long")
            existing = await factor_queries.list_passkeys(sql, user.id)
            if len(existing) >= MOST_PASSKEYS:
                raise InvalidInput(reason="many_passkeys", passkeys=MOST_PASSKEYS)
            new = NewPasskey(
                user_handle=handle,
                credential_id=verified.credential_id,
                public_key=verified.credential_public_key,
                sign_count=verified.sign_count,
                transports=tuple(sorted(TRANSPORTS.intersection(transports))),
                name=_clean_name(name) or f"Passkey {len(existing) + 1}",
            )
            if not await factor_queries.add_passkey(sql, user.id, new, session.id):
                raise InvalidInput(reason="known_passkey")

        await self._database.transaction(add)

    async def prove(
        self, party: RelyingParty, challenge: Challenge | None, purpose: Purpose, answer: str
    ) -> tuple[User, Proof]:
        """Return the user whose passkey signed the challenge, and the proof, which marks the challenge as used.

        The proof raises BadCredentials if the challenge was used or the passkey removed meanwhile, or if the passkey's
        counter did not grow, which suggests a copy.

        Raises:
            BadCredentials: no passkey signed this challenge for this purpose.
        """
        if challenge is None or challenge.purpose != purpose:
            raise BadCredentials(reason="took_too_long")
        try:
            content: Any = msgspec.json.decode(_bounded(answer))
            credential = parse_authentication_credential_json(content)
        except Exception as error:
            raise BadCredentials(reason="passkey_refused") from error
        passkey = await self._database.run(factor_queries.find_passkey, credential.raw_id)
        handle = credential.response.user_handle
        if passkey is None:
            raise BadCredentials(reason="unknown_passkey")
        if challenge.user_id not in {None, passkey.user.id} or handle not in {None, passkey.user_handle.bytes}:
            raise BadCredentials(reason="passkey_refused")
        try:
            verified = await asyncio.to_thread(
                webauthn.verify_authentication_response,
                credential=credential,
                expected_challenge=challenge.challenge,
                expected_rp_id=party.id,
                expected_origin=party.origin,
                credential_public_key=passkey.public_key,
                credential_current_sign_count=passkey.sign_count,
                require_user_verification=True,
            )
        except Exception as error:  # noqa: BLE001 - as above
            log.warning("passkey refused", user_id=passkey.user.id, error=str(error))
            raise BadCredentials(reason="passkey_refused") from None

        async def proof(sql: Statements) -> None:
            await queries.lock_accounts(sql, passkey.user.id)
            if not await factor_queries.use_challenge(sql, challenge.challenge, CHALLENGE_SECONDS):
                raise BadCredentials(reason="took_too_long")
            if not await factor_queries.use_passkey(sql, passkey.id, verified.new_sign_count):
                raise BadCredentials(reason="passkey_refused")
            log.info("passkey accepted", user_id=passkey.user.id)

        return passkey.user, proof

    async def _credentials(self, user: User) -> list[PasskeyDescriptor]:
        passkeys = await self._database.run(factor_queries.list_passkeys, user.id)
        return [credential for _, credential in passkeys]


def _descriptor(credential: PasskeyDescriptor) -> PublicKeyCredentialDescriptor:
    transports = [AuthenticatorTransport(name) for name in credential.transports if name in TRANSPORTS]
    return PublicKeyCredentialDescriptor(id=credential.credential_id, transports=transports or None)


def _bounded(answer: str) -> str:
    """Return a browser's answer; raise ValueError if it is too long, since some CBOR is very slow to parse."""
    if len(answer) > LONGEST_ANSWER:
        raise ValueError
    return answer


def _clean_name(text: str) -> str:
    printable = (character for character in text[: 4 * LONGEST_NAME] if character.isprintable())
    return "".join(printable).strip()[:LONGEST_NAME].strip()
