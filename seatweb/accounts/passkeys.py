"""Passkeys (WebAuthn): adding one, and signing in with one. The checks of the protocol are py_webauthn's."""

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
from seatweb.accounts.factor_queries import KnownCredential, NewPasskey
from seatweb.accounts.model import Session, User
from seatweb.accounts.sessions import Proof, still_signed_in
from seatweb.errors import InvalidInput
from seatweb.storage.database import Database
from seatweb.storage.statements import Statements

CHALLENGE_SECONDS: Final = 300
LONGEST_NAME: Final = 40
LONGEST_ANSWER: Final = 8000  # characters of JSON; with a key of 4,096 bits it has 4,000
MOST_PASSKEYS: Final = 20
TRANSPORTS: Final = {transport.value for transport in AuthenticatorTransport}
Purpose: TypeAlias = Literal["add", "sign_in", "second", "confirm"]
PURPOSES: Final[dict[str, Purpose]] = {"add": "add", "sign_in": "sign_in", "second": "second", "confirm": "confirm"}

log = structlog.get_logger(__name__)


class RelyingParty(Struct, frozen=True):
    """Who a passkey is for: the host name, and the origin that browsers must name."""

    id: str
    origin: str
    name: str


class Challenge(Struct, frozen=True):
    """What a passkey is to sign: for one purpose, in one browser, once."""

    purpose: Purpose
    challenge: bytes
    user_id: int | None
    """Whose passkey it has to be; None where that is not known yet."""
    user_handle: UUID | None = None
    """What authenticators call the user; of a passkey that is to be made."""


class _Response(Struct):
    transports: list[str] = []


class _Credential(Struct):
    """The one field of a browser's answer that we read ourselves."""

    response: _Response = msgspec.field(default_factory=_Response)


class Passkeys:
    """The passkeys of everyone. All are discoverable and verify their user, so each is both factors at once."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def options_to_add(self, party: RelyingParty, user: User) -> tuple[str, Challenge]:
        """Return what the browser needs to make a passkey (JSON of WebAuthn, section 5.1.8), and its challenge."""
        known = await self._known(user)
        handle = known[0].user_handle if known else uuid4()
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
            exclude_credentials=[_descriptor(credential) for credential in known],
        )
        return webauthn.options_to_json(options), challenge

    async def options_to_use(
        self, party: RelyingParty, purpose: Purpose, user: User | None = None
    ) -> tuple[str, Challenge]:
        """Return what the browser needs to find a passkey, of the user if it is known who it is, and its challenge."""
        challenge = Challenge(purpose, secrets.token_bytes(32), user.id if user else None)
        options = webauthn.generate_authentication_options(
            rp_id=party.id,
            challenge=challenge.challenge,
            timeout=CHALLENGE_SECONDS * 1000,
            allow_credentials=[_descriptor(credential) for credential in await self._known(user)] if user else None,
            user_verification=UserVerificationRequirement.REQUIRED,
        )
        return webauthn.options_to_json(options), challenge

    async def add(
        self, session: Session, party: RelyingParty, challenge: Challenge | None, answer: str, name: str
    ) -> None:
        """Keep the passkey that a browser made.

        Raises:
            InvalidInput: the answer does not fit the challenge, or the passkey cannot be used.
            NotSignedIn: the session was ended meanwhile.
        """
        user = session.user
        if challenge is None or challenge.purpose != "add" or challenge.user_id != user.id:
            raise InvalidInput(reason="took_too_long")
        handle = challenge.user_handle or uuid4()
        try:
            # In a thread: the worst answer takes milliseconds.
            made = await asyncio.to_thread(
                webauthn.verify_registration_response,
                credential=_bounded(answer),
                expected_challenge=challenge.challenge,
                expected_rp_id=party.id,
                expected_origin=party.origin,
                require_user_verification=True,
            )
            transports = msgspec.json.decode(answer, type=_Credential).response.transports
        except Exception as error:  # noqa: BLE001 - whatever parsers find in what a stranger sent, it is refused
            log.info("passkey not added", error=type(error).__name__)
            raise InvalidInput(reason="unusable_passkey") from None

        async def add(sql: Statements) -> None:
            await still_signed_in(sql, session)
            if not await factor_queries.use_challenge(sql, challenge.challenge, CHALLENGE_SECONDS):
                raise InvalidInput(reason="took_too_long")
            known = await factor_queries.list_passkeys(sql, user.id)
            if len(known) >= MOST_PASSKEYS:
                raise InvalidInput(reason="many_passkeys", passkeys=MOST_PASSKEYS)
            new = NewPasskey(
                user_handle=handle,
                credential_id=made.credential_id,
                public_key=made.credential_public_key,
                sign_count=made.sign_count,
                transports=tuple(sorted(TRANSPORTS.intersection(transports))),
                name=_name(name) or f"Passkey {len(known) + 1}",
            )
            if not await factor_queries.add_passkey(sql, user.id, new, session.id):
                raise InvalidInput(reason="known_passkey")

        await self._database.transaction(add)

    async def prove(
        self, party: RelyingParty, challenge: Challenge | None, purpose: Purpose, answer: str
    ) -> tuple[User, Proof]:
        """Return whose passkey signed the challenge, and what uses the challenge up.

        The proof raises BadCredentials where the challenge was used or the passkey removed meanwhile, or a copy of the
        passkey was used before.

        Raises:
            BadCredentials: nobody's passkey did.
        """
        if challenge is None or challenge.purpose != purpose:
            raise BadCredentials(reason="took_too_long")
        try:
            content: Any = msgspec.json.decode(_bounded(answer))
            credential = parse_authentication_credential_json(content)
        except Exception as error:
            raise BadCredentials(reason="passkey_refused") from error
        known = await self._database.run(factor_queries.find_passkey, credential.raw_id)
        handle = credential.response.user_handle
        if known is None:
            raise BadCredentials(reason="unknown_passkey")
        if challenge.user_id not in {None, known.user.id} or handle not in {None, known.user_handle.bytes}:
            raise BadCredentials(reason="passkey_refused")
        try:
            verified = await asyncio.to_thread(
                webauthn.verify_authentication_response,
                credential=credential,
                expected_challenge=challenge.challenge,
                expected_rp_id=party.id,
                expected_origin=party.origin,
                credential_public_key=known.public_key,
                credential_current_sign_count=known.sign_count,
                require_user_verification=True,
            )
        except Exception as error:  # noqa: BLE001 - as above
            log.warning("passkey refused", user_id=known.user.id, error=str(error))
            raise BadCredentials(reason="passkey_refused") from None

        async def use_up(sql: Statements) -> None:
            await queries.lock_accounts(sql, known.user.id)
            if not await factor_queries.use_challenge(sql, challenge.challenge, CHALLENGE_SECONDS):
                raise BadCredentials(reason="took_too_long")
            if not await factor_queries.use_passkey(sql, known.id, verified.new_sign_count):
                raise BadCredentials(reason="passkey_refused")
            log.info("passkey accepted", user_id=known.user.id)

        return known.user, use_up

    async def _known(self, user: User) -> list[KnownCredential]:
        found = await self._database.run(factor_queries.list_passkeys, user.id)
        return [credential for _, credential in found]


def _descriptor(credential: KnownCredential) -> PublicKeyCredentialDescriptor:
    transports = [AuthenticatorTransport(one) for one in credential.transports if one in TRANSPORTS]
    return PublicKeyCredentialDescriptor(id=credential.credential_id, transports=transports or None)


def _bounded(answer: str) -> str:
    """Return a browser's answer, unless it is far longer than any: CBOR has numbers and texts that are slow to read."""
    if len(answer) > LONGEST_ANSWER:
        raise ValueError
    return answer


def _name(text: str) -> str:
    printable = (character for character in text[: 4 * LONGEST_NAME] if character.isprintable())
    return "".join(printable).strip()[:LONGEST_NAME].strip()
