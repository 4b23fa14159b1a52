"""The queries of the second factor: `sql/queries/second_factor.sql` and `passkeys.sql`, typed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from msgspec import Struct

from seatweb.accounts.model import Passkey, User
from seatweb.storage.statements import Statements


class FactorRow(Struct, frozen=True):
    """What a user has beside passkeys."""

    totp_since: datetime | None
    recovery_made: int
    recovery_left: int


class TotpSecret(Struct, frozen=True):
    """What an authenticator app makes its codes of (base32)."""

    secret: str
    confirmed: bool


class KnownCredential(Struct, frozen=True):
    """A passkey as browsers know it."""

    credential_id: bytes
    transports: tuple[str, ...]
    user_handle: UUID


class StoredPasskey(Struct, frozen=True):
    """What the answer of a passkey is compared with."""

    id: int
    user: User
    user_handle: UUID
    public_key: bytes
    sign_count: int


class NewPasskey(Struct, frozen=True):
    """What is kept of a passkey when it is added."""

    user_handle: UUID
    credential_id: bytes
    public_key: bytes
    sign_count: int
    transports: tuple[str, ...]
    name: str


async def find_factors(sql: Statements, user_id: int) -> FactorRow:
    """Return what the user has beside passkeys."""
    return FactorRow(**await sql.one("find_factors", user_id=user_id))


async def has_second_factor(sql: Statements, user_id: int) -> bool:
    """Return whether the password alone lets nobody in."""
    return bool(await sql.one("has_second_factor", user_id=user_id))


async def begin_totp(sql: Statements, user_id: int, secret: str) -> bool:
    """Keep a secret that does not count yet; False where one counts already."""
    return await sql.one("begin_totp", user_id=user_id, secret=secret) is not None


async def find_totp(sql: Statements, user_id: int) -> TotpSecret | None:
    """Return the user's secret, if there is one."""
    row = await sql.one("find_totp", user_id=user_id)
    return row and TotpSecret(**row)


async def confirm_totp(sql: Statements, user_id: int, secret: str, step: int, session_id: UUID) -> bool:
    """Let the secret count; False when it was replaced meanwhile."""
    values = {"user_id": user_id, "secret": secret, "step": step, "session_id": session_id}
    return await sql.one("confirm_totp", **values) is not None


async def use_totp(sql: Statements, user_id: int, secret: str, step: int) -> bool:
    """Take the code of a time-step; False when this or a later one was taken before."""
    return await sql.one("use_totp", user_id=user_id, secret=secret, step=step) is not None


async def remove_totp(sql: Statements, user_id: int, session_id: UUID) -> None:
    """Take the authenticator app away."""
    await sql.one("remove_totp", user_id=user_id, session_id=session_id)


async def replace_recovery_codes(sql: Statements, user_id: int, hashes: Sequence[str], session_id: UUID) -> None:
    """Keep new recovery codes in the place of the old ones."""
    await remove_recovery_codes(sql, user_id)
    await sql.one("add_recovery_codes", user_id=user_id, hashes=list(hashes), session_id=session_id)


async def remove_recovery_codes(sql: Statements, user_id: int) -> None:
    """Let no recovery code of the user count."""
    await sql.one("remove_recovery_codes", user_id=user_id)


async def find_recovery_code(sql: Statements, user_id: int, number: int) -> str | None:
    """Return the argon2 hash of an unused code of the earlier kind."""
    found: str | None = await sql.one("find_recovery_code", user_id=user_id, number=number)
    return found


async def use_recovery_code(sql: Statements, user_id: int, code_hash: str) -> bool:
    """Use a code up; False when there is none, or another request was faster."""
    return await sql.one("use_recovery_code", user_id=user_id, code_hash=code_hash) is not None


async def count_code_try(sql: Statements, user_id: int, most: int, seconds: int) -> bool:
    """Count a try; False when there were too many."""
    return await sql.one("count_code_try", user_id=user_id, most=most, seconds=seconds) is not None


async def seconds_to_wait(sql: Statements, user_id: int, seconds: int) -> int:
    """Return after how many seconds codes are taken again."""
    return max(1, await sql.one("seconds_to_wait", user_id=user_id, seconds=seconds) or 1)


async def forget_code_tries(sql: Statements, user_id: int) -> None:
    """Let the tries so far not count."""
    await sql.one("forget_code_tries", user_id=user_id)


async def begin_waiting(sql: Statements, user_id: int, password_hash: str, seconds: int) -> UUID:
    """Return the id of a sign-in that waits for the second factor."""
    waiting_id: UUID = await sql.one("begin_waiting", user_id=user_id, password_hash=password_hash, seconds=seconds)
    return waiting_id


async def find_waiting(sql: Statements, waiting_id: UUID, seconds: int) -> User | None:
    """Return whose sign-in it is while it waits."""
    row = await sql.one("find_waiting", waiting_id=waiting_id, seconds=seconds)
    return row and User(**row)


async def count_waiting_try(sql: Statements, waiting_id: UUID, most: int) -> bool:
    """Count a try of this sign-in; False after so many."""
    return await sql.one("count_waiting_try", waiting_id=waiting_id, most=most) is not None


async def end_waiting(sql: Statements, waiting_id: UUID) -> str | None:
    """End the wait, and return the hash of the password that it began with; None when it was ended before."""
    password_hash: str | None = await sql.one("end_waiting", waiting_id=waiting_id)
    return password_hash


async def list_passkeys(sql: Statements, user_id: int) -> list[tuple[Passkey, KnownCredential]]:
    """Return the user's passkeys, in the order in which they were added."""
    return [
        (
            Passkey(id=row["id"], name=row["name"], created_at=row["created_at"], last_used_at=row["last_used_at"]),
            KnownCredential(
                credential_id=row["credential_id"],
                transports=tuple(row["transports"]),
                user_handle=row["user_handle"],
            ),
        )
        for row in await sql.all("list_passkeys", user_id=user_id)
    ]


async def find_passkey(sql: Statements, credential_id: bytes) -> StoredPasskey | None:
    """Return the passkey with its user, unless the account is disabled."""
    row = await sql.one("find_passkey", credential_id=credential_id)
    return row and StoredPasskey(
        id=row["id"],
        user=User(id=row["user_id"], username=row["username"], created_at=row["created_at"]),
        user_handle=row["user_handle"],
        public_key=row["public_key"],
        sign_count=row["sign_count"],
    )


async def use_challenge(sql: Statements, challenge: bytes, seconds: int) -> bool:
    """Use a challenge up; False when it was used before."""
    return await sql.one("use_challenge", challenge=challenge, seconds=seconds) is not None


async def add_passkey(sql: Statements, user_id: int, new: NewPasskey, session_id: UUID) -> bool:
    """Keep a passkey; False when someone has it already."""
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
    """Note that it was used; False when its counter did not grow."""
    return await sql.one("use_passkey", passkey_id=passkey_id, sign_count=sign_count) is not None


async def remove_passkey(sql: Statements, passkey_id: int, user_id: int, session_id: UUID) -> None:
    """Take a passkey of the user away."""
    await sql.one("remove_passkey", passkey_id=passkey_id, user_id=user_id, session_id=session_id)
