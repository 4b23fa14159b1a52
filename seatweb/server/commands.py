"""The operator's commands: manage administrators and accounts, and delete old data."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import date, datetime, timedelta
from typing import Final

from seatweb.accounts import failed_sign_in_queries, session_queries
from seatweb.accounts.administration import AccountAdministration
from seatweb.accounts.errors import CONSTRAINTS, UserNotFound
from seatweb.accounts.model import Role
from seatweb.accounts.password_resets import CODE_HOURS, ResetCodes
from seatweb.accounts.sessions import Sessions
from seatweb.booking import queries as booking_queries
from seatweb.booking.changes import signal_command
from seatweb.disabled_accounts import DisabledAccounts
from seatweb.i18n.catalogue import plural
from seatweb.server.embedded import reachable_database
from seatweb.settings import Settings
from seatweb.storage.database import Database
from seatweb.storage.migrations import check_schema
from seatweb.storage.redis import RedisAway, RedisClient
from seatweb.storage.statements import Statements

BATCH: Final = 5000  # rows per statement, so that no statement takes long
ENDED_SESSION_DAYS: Final = 30
IDEMPOTENCY_DAYS: Final = 7


class CannotDo(Exception):
    """The command cannot be carried out; the message is one line that says why."""


def administer(environment: Mapping[str, str], action: str, names: list[str], *, keep_bookings: bool = False) -> None:
    """Run an operator's command and print what it did.

    Raises:
        CannotDo: there is no such account.
        SettingsError: the environment is invalid.
        EmbeddedError, DatabaseUnusable: the database cannot be used.
    """
    settings = Settings.from_environment(environment)
    with reachable_database(settings) as url:
        asyncio.run(_run(settings, url, action, names, keep_bookings=keep_bookings))


async def _run(settings: Settings, url: str, action: str, names: list[str], *, keep_bookings: bool) -> None:
    await check_schema(url)
    async with Database(url, CONSTRAINTS, size=1) as database:
        if action == "prune":
            await _prune(settings, database)
            return
        sessions = Sessions(database, days=settings.session_days, idle_hours=settings.session_idle_hours)
        administration = AccountAdministration(database, sessions)
        if action == "list":
            for user in await administration.admins():
                _say(user.username)
            return
        for name in names:
            try:
                user_id = await administration.find(name)
            except UserNotFound:
                raise CannotDo(f"there is no account {name!r}; register it on the site first") from None
            if action == "reset":
                _, code = await ResetCodes(database).make(user_id)
                _say(f"{name} can choose a new password at /login/reset with the code {code}.")
                _say(f"It works once, for {CODE_HOURS} hours.")
            elif action == "disable":
                await _disable(settings, database, administration, name, user_id, keep_bookings=keep_bookings)
            else:
                await _change(administration, action, name, user_id)


async def _change(administration: AccountAdministration, action: str, name: str, user_id: int) -> None:
    changes: dict[str, tuple[Callable[[], Awaitable[bool]], str, str]] = {
        "grant": (
            lambda: administration.change_role(user_id, Role.ADMIN),
            "is now an administrator and must sign in again",
            "is already an administrator",
        ),
        "revoke": (
            lambda: administration.change_role(user_id, Role.USER),
            "is no longer an administrator and must sign in again",
            "is not an administrator",
        ),
        "enable": (
            lambda: administration.enable(user_id),
            "is enabled again and can sign in",
            "is not disabled",
        ),
    }
    change, done, nothing_to_do = changes[action]
    _say(f"{name} {done if await change() else nothing_to_do}.")


async def _disable(
    settings: Settings,
    database: Database,
    administration: AccountAdministration,
    name: str,
    user_id: int,
    *,
    keep_bookings: bool,
) -> None:
    days: list[date] = []
    accounts = DisabledAccounts(database, administration, days.append, lambda: datetime.now(settings.zone).date())
    result = await accounts.disable(user_id, keep_bookings=keep_bookings)
    _say(f"{name} {'is now disabled and signed out everywhere' if result.changed else 'is already disabled'}.")
    if result.cancelled:
        _say(f"Cancelled {plural(result.cancelled, 'upcoming booking')}.")
    if result.kept:
        _say(f"Kept {plural(result.kept, 'upcoming booking')}.")
    if days and settings.redis_url:  # without a signal, open maps see the change within four seconds
        async with RedisClient(settings.redis_url.get_secret_value()) as redis:
            with suppress(RedisAway):
                await redis.batch([signal_command("operator", days)])


async def _prune(settings: Settings, database: Database) -> None:
    before = datetime.now(settings.zone).date() - timedelta(days=settings.keep_days)
    kinds: dict[str, Callable[[Statements], Awaitable[int]]] = {
        "sessions": lambda sql: session_queries.prune_sessions(sql, ENDED_SESSION_DAYS, BATCH),
        "idempotency keys": lambda sql: booking_queries.prune_idempotency_keys(sql, IDEMPOTENCY_DAYS, BATCH),
        "bookings": lambda sql: booking_queries.prune_bookings(sql, before, BATCH),
        "counters of failed sign-ins": lambda sql: failed_sign_in_queries.prune_failed_sign_ins(sql, BATCH),
    }
    for kind, prune in kinds.items():
        deleted = 0
        while batch := await database.write(prune):
            deleted += batch
        _say(f"Deleted {kind}: {deleted}.")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
