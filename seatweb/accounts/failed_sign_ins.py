"""Count failed sign-ins in PostgreSQL: exactly, across all processes and replicas, with or without Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from datetime import datetime
from typing import Final

from seatweb.accounts import failed_sign_in_queries as queries
from seatweb.accounts.errors import BadCredentials
from seatweb.accounts.failed_sign_in_queries import Counter
from seatweb.errors import Overloaded
from seatweb.http.client_address import network_of
from seatweb.limits.keyed_hash import KeyedHash
from seatweb.limits.refusal import Clock, refusal
from seatweb.settings import Limit
from seatweb.storage.database import Database
from seatweb.storage.statements import Statements

IN_PROGRESS_SECONDS: Final = 5.0  # longer than any request: an older attempt will not be given back
RETRY_SECONDS: Final = 0.2
RETRIES: Final = 10
MOST_WAITING: Final = 64  # in each process
PRUNED_PER_ATTEMPT: Final = 10  # more than the two counters that an attempt may add


class FailedSignIns:
    """Counts each attempt before the password is verified, and gives it back unless the password was wrong.

    So of any number of concurrent guesses, no more than the limit are verified. A correct password gives back only its
    own attempt and does not reset the count. While a full counter may hold attempts in progress, new attempts wait
    briefly for those to end. Unknown usernames are counted like accounts.
    """

    def __init__(
        self,
        database: Database,
        keyed_hash: KeyedHash,
        *,
        per_account: Limit | None,
        per_address: Limit | None,
        now: Clock,
    ) -> None:
        """If a limit is None, nothing is counted per account or per address respectively."""
        self._database = database
        self._keyed_hash = keyed_hash
        self._per_account = per_account
        self._per_address = per_address
        self._now = now
        self._waiting = 0

    def sign_in(self, username_key: str, address: str) -> AbstractAsyncContextManager[None]:
        """Count a failure for the account and the address if the body raises BadCredentials.

        Raises:
            TooManyAttempts: the account or the address has failed too often; the body does not run.
        """
        # Always the account before the address, so that concurrent attempts cannot deadlock.
        return self._attempt(self._account("account", username_key) + self._address(address))

    def reset_code(self, address: str) -> AbstractAsyncContextManager[None]:
        """Count a failure for the address alone if the body raises BadCredentials.

        Raises:
            TooManyAttempts: as `sign_in` does.
        """
        return self._attempt(self._address(address))

    def confirmation(self, user_id: int) -> AbstractAsyncContextManager[None]:
        """Count a failure for the user, separately from sign-ins, if the body raises BadCredentials.

        Raises:
            TooManyAttempts: as `sign_in` does.
        """
        return self._attempt(self._account("confirmation", str(user_id)))

    def _account(self, kind: str, account: str) -> list[Counter]:
        return [Counter(kind, self._keyed_hash.of(kind, account), self._per_account)] if self._per_account else []

    def _address(self, address: str) -> list[Counter]:
        key = self._keyed_hash.of("address", network_of(address))
        return [Counter("address", key, self._per_address)] if self._per_address else []

    @asynccontextmanager
    async def _attempt(self, counters: Sequence[Counter]) -> AsyncIterator[None]:
        if not counters:
            yield
            return
        counted = await self._count_or_wait(counters)
        failed = False
        try:
            yield
        except BadCredentials:
            failed = True
            raise
        finally:
            if not failed:
                with suppress(Overloaded):  # it stays counted as a failure: stricter, never looser
                    await self._database.write(_give_back, counted)

    async def _count_or_wait(self, counters: Sequence[Counter]) -> dict[bytes, datetime]:
        """Add an attempt to every counter; if one is full but attempts are in progress, wait briefly for them to end.

        Otherwise many users who sign in at once behind one address would be refused, despite correct passwords.
        """
        retries = 0
        while True:
            # Check before counting, so that a refused attempt waits for no lock and writes nothing.
            full = await self._database.run(queries.find_full_counter, counters, IN_PROGRESS_SECONDS)
            if full is None:
                if counted := await self._database.write(_count, counters):
                    return counted
                continue  # a concurrent attempt filled a counter
            if not full.in_progress or retries == RETRIES or self._waiting >= MOST_WAITING:
                raise refusal([counter.kind for counter in counters], full.seconds, self._now)
            retries += 1
            self._waiting += 1
            try:
                await asyncio.sleep(RETRY_SECONDS)
            finally:
                self._waiting -= 1


async def _count(sql: Statements, counters: Sequence[Counter]) -> dict[bytes, datetime]:
    """Add an attempt to every counter, or to none if one is full; return their keys and the attempt's time."""
    counted = await queries.count_attempt(sql, counters)
    if len(counted) < len(counters):
        await _give_back(sql, counted)
        return {}
    await queries.prune_failed_sign_ins(sql, PRUNED_PER_ATTEMPT)
    return counted


async def _give_back(sql: Statements, counted: dict[bytes, datetime]) -> None:
    for key, counted_at in counted.items():  # one at a time: holding one row while waiting for another could deadlock
        await queries.give_attempt_back(sql, key, counted_at)
