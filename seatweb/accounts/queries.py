"""The SQL of accounts, passwords and roles (`sql/queries/accounts.sql`), typed: parameters in, structs out."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import date, datetime
from typing import Any
from uuid import UUID

from msgspec import Struct

from seatweb.accounts.model import Account, Role, User
from seatweb.storage.statements import Statements


class StoredPassword(Struct, frozen=True):
    """The stored credentials that a sign-in is checked against."""

    user: User
    password_hash: str
    disabled: bool


class AuditRow(Struct, frozen=True):
    """An entry of the audit trail, as its user may read it."""

    at: datetime
    action: str
    day: date | None
    seat: str | None
    """The seat's label, such as `A-07`."""


async def register_user(
    sql: Statements, username: str, username_key: str, skeletons: Collection[str], password_hash: str
) -> User:
    """Store and return a new user.

    Raises:
        UsernameTaken: another account has the same key, or one of these skeletons.
    """
    values = {"username": username, "username_key": username_key, "password_hash": password_hash}
    return user_of(await sql.one("register_user", skeletons=list(skeletons), **values))


async def find_names_without_skeletons(sql: Statements, after: int, rows: int) -> list[tuple[int, str]]:
    """Return the ids and usernames of accounts without a skeleton, in the order of their ids, after the id `after`."""
    return [
        (row["id"], row["username"]) for row in await sql.all("find_names_without_skeletons", after=after, rows=rows)
    ]


async def put_skeletons(sql: Statements, skeletons: Collection[tuple[int, str]]) -> None:
    """Store skeletons with the ids of their accounts, except those that another account has."""
    user_ids, texts = [user_id for user_id, _ in skeletons], [skeleton for _, skeleton in skeletons]
    await sql.one("put_skeletons", user_ids=user_ids, skeletons=texts)


async def find_credentials(sql: Statements, username_key: str) -> StoredPassword | None:
    """Return the stored credentials for a username, or None."""
    row = await sql.one("find_credentials", username_key=username_key)
    return row and StoredPassword(
        user=user_of(row),
        password_hash=row["password_hash"],
        disabled=row["disabled"],
    )


async def find_password(sql: Statements, user_id: int) -> str | None:
    """Return the user's password hash; None if the account is disabled."""
    password_hash: str | None = await sql.one("find_password", user_id=user_id)
    return password_hash


async def change_password(
    sql: Statements, user_id: int, known_hash: str | None, password_hash: str, session_id: UUID | None
) -> bool:
    """Store a new password; return False if `known_hash` is given and no longer current."""
    values = {"user_id": user_id, "known_hash": known_hash, "password_hash": password_hash}
    return await sql.one("change_password", **values, session_id=session_id) is not None


async def put_password_reset(sql: Statements, user_id: int, code_hash: str, hours: int, actor_id: int | None) -> None:
    """Store a password reset code, replacing any earlier one."""
    values = {"user_id": user_id, "code_hash": code_hash, "hours": hours, "actor_id": actor_id}
    await sql.one("put_password_reset", **values)


async def find_password_reset(sql: Statements, username_key: str, code_hash: str) -> int | None:
    """Return the id of the user whose unexpired reset code this is, or None."""
    found: int | None = await sql.one("find_password_reset", username_key=username_key, code_hash=code_hash)
    return found


async def use_password_reset(sql: Statements, user_id: int, code_hash: str) -> bool:
    """Delete a reset code as used; return False if it does not work, or no longer."""
    return await sql.one("use_password_reset", user_id=user_id, code_hash=code_hash) is not None


async def rehash_password(sql: Statements, user_id: int, known_hash: str, password_hash: str) -> None:
    """Store a new hash of the same password, unless the password has changed meanwhile."""
    await sql.one("rehash_password", user_id=user_id, known_hash=known_hash, password_hash=password_hash)


async def list_users(sql: Statements, pattern: str, after: str, rows: int) -> list[Account]:
    """Return a page of the accounts whose key matches the SQL pattern, in the order of their keys, after `after`."""
    return [_account_of(row) for row in await sql.all("list_users", pattern=pattern, after=after, rows=rows)]


async def list_admins(sql: Statements) -> list[User]:
    """Return all administrators."""
    return [user_of(row) for row in await sql.all("list_admins")]


async def find_user_id(sql: Statements, username_key: str) -> int | None:
    """Return the id of the account with this username, or None."""
    user_id: int | None = await sql.one("find_user_id", username_key=username_key)
    return user_id


async def find_account(sql: Statements, user_id: int) -> Account | None:
    """Return the account with this id; None if there is none, or it was deleted."""
    row = await sql.one("find_account", user_id=user_id)
    return row and _account_of(row)


async def change_role(sql: Statements, user_id: int, role: Role, actor_id: int | None) -> bool:
    """Change a user's role; return whether they had a different one."""
    return await sql.one("change_role", user_id=user_id, role=role.value, actor_id=actor_id) is not None


async def change_disabled(sql: Statements, user_id: int, *, disabled: bool, actor_id: int | None) -> bool:
    """Disable or enable an account; return whether that changed anything."""
    changed = await sql.one("change_disabled", user_id=user_id, disabled=disabled, actor_id=actor_id)
    return changed is not None


async def lock_accounts(sql: Statements, *user_ids: int) -> dict[int, Role]:
    """Lock the accounts until the transaction ends; return the roles of those that are not disabled, by id."""
    rows = await sql.all("lock_accounts", user_ids=list(user_ids))
    return {row["id"]: Role(row["role"]) for row in rows if not row["disabled"]}


async def delete_account(sql: Statements, user_id: int, session_id: UUID) -> None:
    """Erase an account's personal data."""
    await sql.one("delete_account", user_id=user_id, session_id=session_id)


async def export_audit(sql: Statements, user_id: int) -> list[AuditRow]:
    """Return the audit trail of a user, oldest first."""
    return [AuditRow(**row) for row in await sql.all("export_audit", user_id=user_id)]


def _account_of(row: Mapping[str, Any]) -> Account:
    return Account(user=user_of(row), key=row["username_key"], disabled=row["disabled"])


def user_of(row: Mapping[str, Any], id_column: str = "id") -> User:
    """Return the user in a row whose column `id_column` holds their id."""
    return User(id=row[id_column], username=row["username"], created_at=row["created_at"], role=Role(row["role"]))
