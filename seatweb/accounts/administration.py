"""Roles, and what administrators may do with accounts: list, disable and enable them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final
from uuid import UUID

from seatweb.accounts import queries, session_queries
from seatweb.accounts.errors import UserNotFound
from seatweb.accounts.model import Account, Role, Session, User
from seatweb.accounts.sessions import Sessions, require_administrator
from seatweb.accounts.usernames import typed_username, username_key
from seatweb.errors import NotAllowed
from seatweb.storage.database import Database
from seatweb.storage.statements import Statements

ROWS: Final = 50


class AccountAdministration:
    """Changes roles, and disables and enables accounts; each change ends all sessions of the user.

    `seatweb.disabled_accounts` also cancels the bookings of the accounts that it disables.
    """

    def __init__(self, database: Database, sessions: Sessions) -> None:
        self._database = database
        self._sessions = sessions

    async def accounts(self, name: str = "", after: str = "") -> list[Account]:
        """Return up to 50 accounts whose username starts with `name`, sorted by key, after the key `after`."""
        key = username_key(typed_username(name))
        pattern = "".join(f"\\{character}" if character in "\\%_" else character for character in key) + "%"
        return await self._database.run(queries.list_users, pattern, after, ROWS)

    async def admins(self) -> list[User]:
        """Return all administrators."""
        return await self._database.run(queries.list_admins)

    async def account(self, user_id: int) -> Account | None:
        """Return the account with this id; None if there is none, or it was deleted."""
        return await self._database.run(queries.find_account, user_id)

    async def find(self, name: str) -> int:
        """Return the id of the account with this name.

        Raises:
            UserNotFound: there is none.
        """
        user_id = await self._database.run(queries.find_user_id, username_key(typed_username(name)))
        if user_id is None:
            raise UserNotFound
        return user_id

    async def change_role(self, user_id: int, role: Role) -> bool:
        """Change a user's role; return whether they had a different one."""
        return await self._change(user_id, lambda sql: queries.change_role(sql, user_id, role, None))

    async def enable(self, user_id: int, by: Session | None = None) -> bool:
        """Enable an account; return whether it was disabled.

        Raises:
            NotAllowed, NotSignedIn: as `authorize` does.
        """

        async def enable(sql: Statements) -> bool:
            await self.authorize(sql, user_id, by)
            return await queries.change_disabled(sql, user_id, disabled=False, actor_id=by.user.id if by else None)

        return await self._change(user_id, enable)

    async def disable_in(self, sql: Statements, user_id: int, by: Session | None) -> set[UUID] | None:
        """Disable an account in the caller's transaction.

        Return the ids of the sessions that ended, to `forget` after the commit; None if the account was disabled
        already.

        Raises:
            NotAllowed: the account is the administrator's own.
            NotAllowed, NotSignedIn: as `authorize` does.
        """
        await self.authorize(sql, user_id, by)
        if not await queries.change_disabled(sql, user_id, disabled=True, actor_id=by.user.id if by else None):
            return None
        return await session_queries.end_sessions(sql, user_id, None)

    async def authorize(self, sql: Statements, user_id: int, by: Session | None) -> dict[int, Role]:
        """Lock the account, and check that an administrator, or the operator if `by` is None, may change it.

        Return the roles of the accounts that are not disabled, by id.

        Raises:
            NotAllowed: `by` is no longer an administrator, or the account is their own.
            NotSignedIn: the administrator's session has ended.
        """
        if by and by.user.id == user_id:
            raise NotAllowed(reason="own_account")
        if by:
            return await require_administrator(sql, by, user_id)
        return await queries.lock_accounts(sql, user_id)

    def forget(self, user_id: int, ended: set[UUID]) -> None:
        """Drop the cached sessions of a user that have ended."""
        self._sessions.forget(user_id, ended)

    async def _change(self, user_id: int, work: Callable[[Statements], Awaitable[bool]]) -> bool:
        async def change(sql: Statements) -> tuple[bool, set[UUID]]:
            changed = await work(sql)
            return changed, await session_queries.end_sessions(sql, user_id, None) if changed else set()

        changed, ended = await self._database.transaction(change)
        self.forget(user_id, ended)
        return changed
