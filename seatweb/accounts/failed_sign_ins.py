"""Failed sign-ins, counted in PostgreSQL: exactly, for all processes and replicas, whether Redis is there or not."""

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

IN_PROGRESS_SECONDS: Final = 5.0  # longer than any request: an attempt this old is not given back any more
PATIENCE_SECONDS: Final = 0.2
PATIENCE_TIMES: Final = 10
WAITING_AT_MOST: Final = 64  # in each process
PRUNED_AT_ONCE: Final = 10  # by each attempt that is counted, which adds two counters at most


class FailedSignIns:
    """Counts an attempt before the password is looked at, and gives it back if that was not wrong.

    So of guesses that come at once, no more than the limit are looked at. Only the attempt itself is given back: a
    right password forgets nobody's wrong ones. Where a counter is full of attempts of which some are in progress,
    others wait a moment for their end. Whether there is such an account makes no difference.
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
        """Without a limit (None) nothing is counted by account or by address."""
        self._database = database
        self._keyed_hash = keyed_hash
        self._per_account = per_account
        self._per_address = per_address
        self._now = now
        self._waiting = 0

    def sign_in(self, username_key: str, address: str) -> AbstractAsyncContextManager[None]:
        """Count what is done inside by the account and by the address, if it raises BadCredentials.

        Raises:
            TooManyAttempts: the account or the address has failed too often; nothing inside was done.
        """
        # Accounts before addresses, always: so no two attempts wait for each other.
        return self._attempt(self._account("account", username_key) + self._address(address))

    def reset_code(self, address: str) -> AbstractAsyncContextManager[None]:
        """Count what is done inside by the address alone, if it raises BadCredentials.

        Raises:
            TooManyAttempts: as `sign_in` does.
        """
        return self._attempt(self._address(address))

    def confirmation(self, user_id: int) -> AbstractAsyncContextManager[None]:
        """Count what is done inside by the user, and apart from sign-ins, if it raises BadCredentials.

        Raises:
            TooManyAttempts: as `sign_in` does.
        """
        return self._attempt(self._account("confirmation", str(user_id)))

    def _account(self, kind: str, who: str) -> list[Counter]:
        return [Counter(kind, self._keyed_hash.of(kind, who), self._per_account)] if self._per_account else []

    def _address(self, address: str) -> list[Counter]:
        key = self._keyed_hash.of("address", network_of(address))
        return [Counter("address", key, self._per_address)] if self._per_address else []

    @asynccontextmanager
    async def _attempt(self, counters: Sequence[Counter]) -> AsyncIterator[None]:
        if not counters:
            yield
            return
        counted = await self._count_patiently(counters)
        failed = False
        try:
            yield
        except BadCredentials:
            failed = True
            raise
        finally:
            if not failed:
                with suppress(Overloaded):  # then it counts as a failure: stricter, never looser
                    await self._database.write(_give_back, counted)

    async def _count_patiently(self, counters: Sequence[Counter]) -> dict[bytes, datetime]:
        """Count an attempt by every counter; where others are in progress, wait a moment for their end.

        Else many who sign in at once behind one address would be refused, all with the right password.
        """
        waited = 0
        while True:
            # Asked before: who is refused waits for no lock and writes nothing, however often they try.
            full = await self._database.run(queries.find_full_counter, counters, IN_PROGRESS_SECONDS)
            if full is None:
                if counted := await self._database.write(_count, counters):
                    return counted
                continue  # others were faster
            if not full.in_progress or waited == PATIENCE_TIMES or self._waiting >= WAITING_AT_MOST:
                raise refusal([counter.kind for counter in counters], full.seconds, self._now)
            waited += 1
            self._waiting += 1
            try:
                await asyncio.sleep(PATIENCE_SECONDS)
            finally:
                self._waiting -= 1


async def _count(sql: Statements, counters: Sequence[Counter]) -> dict[bytes, datetime]:
    """Count an attempt by every counter, or by none where one is full; return their keys, with its time."""
    counted = await queries.count_attempt(sql, counters)
    if len(counted) < len(counters):
        await _give_back(sql, counted)
        return {}
    await queries.prune_failed_sign_ins(sql, PRUNED_AT_ONCE)
    return counted


async def _give_back(sql: Statements, counted: dict[bytes, datetime]) -> None:
    for key, counted_at in counted.items():  # one at a time: who has one row and waits for the next might wait for ever
        await queries.give_attempt_back(sql, key, counted_at)
