"""Limit how often users may register, hold, book and call the API in a period, counted in Redis.

For each user or address, Redis keeps a list of the latest times. One Lua script checks it and adds to it, so the two
are atomic. With Redis away, each process allows its share. Failed sign-ins are counted in PostgreSQL instead:
see `seatweb.accounts.failed_sign_ins`.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from seatweb.http.client_address import network_of
from seatweb.limits.fallback import LocalLimits
from seatweb.limits.keyed_hash import KeyedHash
from seatweb.limits.refusal import Clock, refusal
from seatweb.settings import Limit
from seatweb.storage.redis import RedisAway, RedisClient

# The list has the newest time first. With a limit of 10, an attempt is refused if the tenth time is in the period that
# ends now; the script then returns the milliseconds until it no longer does. It ignores a time in the future, since the
# clock was set back. LTRIM precedes LPUSH: a Redis out of memory lets a script finish once it has written something.
COUNT: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local most, period = tonumber(ARGV[1]), tonumber(ARGV[2])
local last = tonumber(redis.call('LINDEX', KEYS[1], most - 1) or 0)
if last > now - period and last <= now then
  return last + period - now
end
redis.call('LTRIM', KEYS[1], 0, most - 1)
redis.call('LPUSH', KEYS[1], now)
redis.call('PEXPIRE', KEYS[1], period)
return 0
"""


class Rules(Struct, frozen=True):
    """The limit of each kind of attempt; None if it is unlimited."""

    registrations: Limit | None = None
    """Per address."""
    holds: Limit | None = None
    """Per user, like bookings."""
    bookings: Limit | None = None
    requests: Limit | None = None
    """Per user; per address if no one is signed in."""


class Limits:
    """Counts attempts, and refuses those beyond the limit; refused attempts are not counted."""

    def __init__(self, redis: RedisClient, rules: Rules, keyed_hash: KeyedHash, *, workers: int, now: Clock) -> None:
        self._run_count = redis.script(COUNT)
        self._rules = rules
        self._keyed_hash = keyed_hash
        self._share = LocalLimits(workers)
        self._now = now

    async def registration(self, address: str) -> None:
        """Count a registration.

        Raises:
            TooManyAttempts: there were too many from this address.
        """
        await self._count("registration", network_of(address), self._rules.registrations)

    async def hold(self, user_id: int) -> None:
        """Count a hold.

        Raises:
            TooManyAttempts: the user made too many.
        """
        await self._count("hold", str(user_id), self._rules.holds)

    async def request(self, user_id: int | None, address: str) -> None:
        """Count a request to the API.

        Raises:
            TooManyAttempts: the user sent too many, or the address if no one is signed in.
        """
        subject = f"address {network_of(address)}" if user_id is None else f"user {user_id}"
        await self._count("request", subject, self._rules.requests)

    async def booking(self, user_id: int) -> None:
        """Count a booking or a move.

        Raises:
            TooManyAttempts: the user made too many.
        """
        await self._count("booking", str(user_id), self._rules.bookings)

    async def undo(self, user_id: int) -> None:
        """Count an undo: as many as bookings, counted apart, so that the last booking allowed can be undone too.

        Raises:
            TooManyAttempts: the user made too many.
        """
        await self._count("undo", str(user_id), self._rules.bookings)

    async def _count(self, kind: str, subject: str, limit: Limit | None) -> None:
        if limit is None:
            return
        key = f"limit:{kind}:{self._keyed_hash.of(kind, subject).hex()}"
        try:
            seconds = await self._run_count([key], [limit.count, limit.seconds * 1000]) / 1000
        except RedisAway:
            seconds = self._share.seconds_to_wait(key, limit)
        if seconds:
            raise refusal([kind], seconds, self._now)
        self._share.add(key, limit)
