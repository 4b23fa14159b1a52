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


class FactorQueries(Statements):
    """The queries of the second factor."""

    async def find_factors(self, user_id: int) -> FactorRow:
        """Return what the user has beside passkeys."""
        return FactorRow(**await self._one("find_factors", user_id=user_id))

    async def has_second_factor(self, user_id: int) -> bool:
        """Return whether the password alone lets nobody in."""
        return bool(await self._one("has_second_factor", user_id=user_id))

    # The authenticator app

    async def begin_totp(self, user_id: int, secret: str) -> bool:
        """Keep a secret that does not count yet; False where one counts already."""
        return await self._one("begin_totp", user_id=user_id, secret=secret) is not None

    async def find_totp(self, user_id: int) -> TotpSecret | None:
        """Return the user's secret, if there is one."""
        row = await self._one("find_totp", user_id=user_id)
        return row and TotpSecret(**row)

    async def confirm_totp(self, user_id: int, secret: str, step: int, session_id: UUID) -> bool:
        """Let the secret count; False when it was replaced meanwhile."""
        values = {"user_id": user_id, "secret": secret, "step": step, "session_id": session_id}
        return await self._one("confirm_totp", **values) is not None

    async def use_totp(self, user_id: int, secret: str, step: int) -> bool:
        """Take the code of a time-step; False when this or a later one was taken before."""
        return await self._one("use_totp", user_id=user_id, secret=secret, step=step) is not None

    async def remove_totp(self, user_id: int, session_id: UUID) -> None:
        """Take the authenticator app away."""
        await self._one("remove_totp", user_id=user_id, session_id=session_id)

    # Recovery codes

    async def replace_recovery_codes(self, user_id: int, hashes: Sequence[str], session_id: UUID) -> None:
        """Keep new recovery codes in the place of the old ones."""
        await self.remove_recovery_codes(user_id)
        await self._one("add_recovery_codes", user_id=user_id, hashes=list(hashes), session_id=session_id)

    async def remove_recovery_codes(self, user_id: int) -> None:
        """Let no recovery code of the user count."""
        await self._one("remove_recovery_codes", user_id=user_id)

    async def find_recovery_code(self, user_id: int, number: int) -> str | None:
        """Return the argon2 hash of an unused code of the earlier kind."""
        found: str | None = await self._one("find_recovery_code", user_id=user_id, number=number)
        return found

    async def use_recovery_code(self, user_id: int, code_hash: str) -> bool:
        """Use a code up; False when there is none, or another request was faster."""
        return await self._one("use_recovery_code", user_id=user_id, code_hash=code_hash) is not None

    # Tries, and sign-ins that wait

    async def count_code_try(self, user_id: int, most: int, seconds: int) -> bool:
        """Count a try; False when there were too many."""
        return await self._one("count_code_try", user_id=user_id, most=most, seconds=seconds) is not None

    async def seconds_to_wait(self, user_id: int, seconds: int) -> int:
        """Return after how many seconds codes are taken again."""
        return max(1, await self._one("seconds_to_wait", user_id=user_id, seconds=seconds) or 1)

    async def forget_code_tries(self, user_id: int) -> None:
        """Let the tries so far not count."""
        await self._one("forget_code_tries", user_id=user_id)

    async def begin_waiting(self, user_id: int, password_hash: str, seconds: int) -> UUID:
        """Return the id of a sign-in that waits for the second factor."""
        waiting_id: UUID = await self._one(
            "begin_waiting", user_id=user_id, password_hash=password_hash, seconds=seconds
        )
        return waiting_id

    async def find_waiting(self, waiting_id: UUID, seconds: int) -> User | None:
        """Return whose sign-in it is while it waits."""
        row = await self._one("find_waiting", waiting_id=waiting_id, seconds=seconds)
        return row and User(**row)

    async def count_waiting_try(self, waiting_id: UUID, most: int) -> bool:
        """Count a try of this sign-in; False after so many."""
        return await self._one("count_waiting_try", waiting_id=waiting_id, most=most) is not None

    async def end_waiting(self, waiting_id: UUID) -> str | None:
        """End the wait, and return the hash of the password that it began with; None when it was ended before."""
        password_hash: str | None = await self._one("end_waiting", waiting_id=waiting_id)
        return password_hash

    # Passkeys

    async def list_passkeys(self, user_id: int) -> list[tuple[Passkey, KnownCredential]]:
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
            for row in await self._all("list_passkeys", user_id=user_id)
        ]

    async def find_passkey(self, credential_id: bytes) -> StoredPasskey | None:
        """Return the passkey with its user, unless the account is disabled."""
        row = await self._one("find_passkey", credential_id=credential_id)
        return row and StoredPasskey(
            id=row["id"],
            user=User(id=row["user_id"], username=row["username"], created_at=row["created_at"]),
            user_handle=row["user_handle"],
            public_key=row["public_key"],
            sign_count=row["sign_count"],
        )

    async def use_challenge(self, challenge: bytes, seconds: int) -> bool:
        """Use a challenge up; False when it was used before."""
        return await self._one("use_challenge", challenge=challenge, seconds=seconds) is not None

    async def add_passkey(self, user_id: int, new: NewPasskey, session_id: UUID) -> bool:
        """Keep a passkey; False when someone has it already."""
        added = await self._one(
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

    async def use_passkey(self, passkey_id: int, sign_count: int) -> bool:
        """Note that it was used; False when its counter did not grow."""
        return await self._one("use_passkey", passkey_id=passkey_id, sign_count=sign_count) is not None

    async def remove_passkey(self, passkey_id: int, user_id: int, session_id: UUID) -> None:
        """Take a passkey of the user away."""
        await self._one("remove_passkey", passkey_id=passkey_id, user_id=user_id, session_id=session_id)
