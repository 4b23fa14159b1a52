"""The SQL of second factors (`sql/queries/second_factor.sql`), typed: parameters in, structs out."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from msgspec import Struct

from seatweb.accounts.model import Passkey, User
from seatweb.accounts.queries import user_of
from seatweb.storage.statements import Statements


class FactorRow(Struct, frozen=True):
    """A user's second factors other than passkeys."""

    totp_since: datetime | None
    recovery_made: int
    recovery_left: int


class TotpSecret(Struct, frozen=True):
    """The shared secret (base32) from which an authenticator app computes its codes."""

    secret: str
    confirmed: bool


class PasskeyDescriptor(Struct, frozen=True):
    """What a browser needs to find a passkey."""

    credential_id: bytes
    transports: tuple[str, ...]
    user_handle: UUID


class StoredPasskey(Struct, frozen=True):
    """What is needed to verify an answer that a passkey signed."""

    id: int
    user: User
    user_handle: UUID
    public_key: bytes
    sign_count: int


class NewPasskey(Struct, frozen=True):
    """What is stored when a passkey is added."""

    user_handle: UUID
    credential_id: bytes
    public_key: bytes
    sign_count: int
    transports: tuple[str, ...]
    name: str


async def find_factors(sql: Statements, user_id: int) -> FactorRow:
    """Return the user's second factors other than passkeys."""
    return FactorRow(**await sql.one("find_factors", user_id=user_id))


async def has_second_factor(sql: Statements, user_id: int) -> bool:
    """Return whether signing in takes more than the password."""
    return bool(await sql.one("has_second_factor", user_id=user_id))


async def begin_totp(sql: Statements, user_id: int, secret: str) -> bool:
    """Store an unconfirmed secret; return False if the user has a confirmed one."""
    return await sql.one("begin_totp", user_id=user_id, secret=secret) is not None


async def find_totp(sql: Statements, user_id: int) -> TotpSecret | None:
    """Return the user's secret, or None."""
    row = await sql.one("find_totp", user_id=user_id)
    return row and TotpSecret(**row)


async def confirm_totp(sql: Statements, user_id: int, secret: str, step: int, session_id: UUID) -> bool:
    """Mark the secret as confirmed; return False if it was replaced meanwhile."""
    values = {"user_id": user_id, "secret": secret, "step": step, "session_id": session_id}
    return await sql.one("confirm_totp", **values) is not None


async def use_totp(sql: Statements, user_id: int, secret: str, step: int) -> bool:
    """Mark a time step's code as used; return False if that code or a later one was used before."""
    return await sql.one("use_totp", user_id=user_id, secret=secret, step=step) is not None


async def remove_totp(sql: Statements, user_id: int, session_id: UUID) -> None:
    """Remove the authenticator app."""
    await sql.one("remove_totp", user_id=user_id, session_id=session_id)


async def replace_recovery_codes(sql: Statements, user_id: int, hashes: Sequence[str], session_id: UUID) -> None:
    """Replace the user's recovery codes."""
    await remove_recovery_codes(sql, user_id)
    await sql.one("add_recovery_codes", user_id=user_id, hashes=list(hashes), session_id=session_id)


async def remove_recovery_codes(sql: Statements, user_id: int) -> None:
    """Delete the user's recovery codes."""
    await sql.one("remove_recovery_codes", user_id=user_id)


async def find_recovery_code(sql: Statements, user_id: int, number: int) -> str | None:
    """Return the argon2 hash of an unused recovery code in the old format."""
    found: str | None = await sql.one("find_recovery_code", user_id=user_id, number=number)
    return found


async def use_recovery_code(sql: Statements, user_id: int, code_hash: str) -> bool:
    """Mark a recovery code as used; return False if there is none, or another request used it first."""
    return await sql.one("use_recovery_code", user_id=user_id, code_hash=code_hash) is not None


async def count_code_try(sql: Statements, user_id: int, most: int, seconds: int) -> bool:
    """Count an attempt; return False after `most` in a row, each within `seconds` of the one before."""
    return await sql.one("count_code_try", user_id=user_id, most=most, seconds=seconds) is not None


async def seconds_to_wait(sql: Statements, user_id: int, seconds: int) -> int:
    """Return how long until the next attempt is allowed, in seconds."""
    return max(1, await sql.one("seconds_to_wait", user_id=user_id, seconds=seconds) or 1)


async def forget_code_tries(sql: Statements, user_id: int) -> None:
    """Reset the count of attempts."""
    await sql.one("forget_code_tries", user_id=user_id)


async def begin_waiting(sql: Statements, user_id: int, password_hash: str, seconds: int) -> UUID:
    """Store a sign-in that waits for the second factor, and return its id."""
    waiting_id: UUID = await sql.one("begin_waiting", user_id=user_id, password_hash=password_hash, seconds=seconds)
    return waiting_id


async def find_waiting(sql: Statements, waiting_id: UUID, seconds: int) -> User | None:
    """Return the user of a waiting sign-in; None if it has expired or the account has changed."""
    row = await sql.one("find_waiting", waiting_id=waiting_id, seconds=seconds)
    return row and user_of(row)


async def count_waiting_try(sql: Statements, waiting_id: UUID, most: int) -> bool:
    """Count an attempt of this sign-in; return False after `most`."""
    return await sql.one("count_waiting_try", waiting_id=waiting_id, most=most) is not None


async def end_waiting(sql: Statements, waiting_id: UUID) -> str | None:
    """Delete a waiting sign-in and return the password hash it was verified with; None if it was deleted before."""
    password_hash: str | None = await sql.one("end_waiting", waiting_id=waiting_id)
    return password_hash


async def list_passkeys(sql: Statements, user_id: int) -> list[tuple[Passkey, PasskeyDescriptor]]:
    """Return the user's passkeys, oldest first."""
    return [
        (
            Passkey(id=row["id"], name=row["name"], created_at=row["created_at"], last_used_at=row["last_used_at"]),
            PasskeyDescriptor(
                credential_id=row["credential_id"],
                transports=tuple(row["transports"]),
                user_handle=row["user_handle"],
            ),
        )
        for row in await sql.all("list_passkeys", user_id=user_id)
    ]


async def find_passkey(sql: Statements, credential_id: bytes) -> StoredPasskey | None:
    """Return the passkey and its user; None if it is unknown or the account is disabled."""
    row = await sql.one("find_passkey", credential_id=credential_id)
    return row and StoredPasskey(
        id=row["id"],
        user=user_of(row, "user_id"),
        user_handle=row["user_handle"],
        public_key=row["public_key"],
        sign_count=row["sign_count"],
    )


async def use_challenge(sql: Statements, challenge: bytes, seconds: int) -> bool:
    """Mark a challenge as used; return False if it was used before."""
    return await sql.one("use_challenge", challenge=challenge, seconds=seconds) is not None


async def add_passkey(sql: Statements, user_id: int, new: NewPasskey, session_id: UUID) -> bool:
    """Store a passkey; return False if it is registered already."""
    added = await sql.one(
        "add_passkey",
        user_id=user_id,
        user_handle=new.user_handle,
        credential_id=new.credential_id,
        public_key=new.public_key,
        sign_count=new.sign_count,
        transports=list(new.transports),
        name=new.name,
        session_id=session_id,
    )
    return added is not None


async def use_passkey(sql: Statements, passkey_id: int, sign_count: int) -> bool:
    """Record that a passkey was used; return False if its counter did not grow."""
    return await sql.one("use_passkey", passkey_id=passkey_id, sign_count=sign_count) is not None


async def remove_passkey(sql: Statements, passkey_id: int, user_id: int, session_id: UUID) -> None:
    """Remove one of the user's passkeys."""
    await sql.one("remove_passkey", passkey_id=passkey_id, user_id=user_id, session_id=session_id)
