"""Limits: how often something may be tried in a stretch of time, exact across processes by Redis's clock.

The attempts of the last stretch are a log in Redis: one sorted set for each account, address or user, changed by one
Lua script, so nobody slips in between reading and writing. Every process keeps the log of its own attempts as well:
what is too much for one process alone it refuses without asking, and with Redis away its log is all there is, and a
process has its share of the limit. The keys hold keyed hashes, no names and no addresses.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from itertools import count
from math import ceil
from typing import Final, Literal, TypeAlias

import structlog
from msgspec import Struct

from seatweb.accounts.errors import BadCredentials
from seatweb.errors import TooManyAttempts
from seatweb.http.client_address import network_of
from seatweb.limits.fallback import PENDING_SECONDS, Log, OwnAttempts, Refusal
from seatweb.settings import Limit
from seatweb.storage.redis import RedisAway, RedisClient

AttemptKind: TypeAlias = Literal["account", "confirmation"]

log = structlog.get_logger(__name__)

# An attempt counts for as long as the limit's stretch. One in the future is void: the clock was set back since.
# What a process knows to have failed it tells again with each attempt, for Redis may have been away or emptied.
# The answer is how long to wait (0: it is counted), and whether that is settled, or an attempt may still be given back.
TAKE: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local id, at = ARGV[1], 2
local wait, settled, lengths = 0, 0, {}
for i, key in ipairs(KEYS) do
  local count, length, pending = tonumber(ARGV[at]), tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  local known = tonumber(ARGV[at + 3])
  lengths[i], at = length, at + 4
  for _ = 1, known do
    redis.call('ZADD', key, 'NX', now - ARGV[at + 1], ARGV[at])
    redis.call('PEXPIRE', key, length)
    at = at + 2
  end
  redis.call('ZREMRANGEBYSCORE', key, '-inf', now - length)
  redis.call('ZREMRANGEBYSCORE', key, now + 1000, '+inf')
  local taken = redis.call('ZCARD', key)
  if taken >= count and not redis.call('ZSCORE', key, id) then
    wait = math.max(wait, redis.call('ZRANGE', key, taken - count, taken - count, 'WITHSCORES')[2] + length - now)
    if now - redis.call('ZRANGE', key, count - 1, count - 1, 'WITHSCORES')[2] >= pending then
      settled = 1
    end
  end
end
if wait == 0 then
  for i, key in ipairs(KEYS) do
    redis.call('ZADD', key, now, id)
    redis.call('PEXPIRE', key, lengths[i])
  end
end
return {wait, settled}
"""
PATIENCE_SECONDS: Final = 0.2
PATIENCE_TIMES: Final = 10
WAITING_AT_MOST: Final = 64
ATTEMPTS_KEPT: Final = 100_000  # in each process


class Rules(Struct, frozen=True):
    """What is limited, and how; None is without limit."""

    failures_per_account: Limit | None = None
    failures_per_address: Limit | None = None
    registrations: Limit | None = None
    """By address."""
    holds: Limit | None = None
    """By user, like bookings."""
    bookings: Limit | None = None
    requests: Limit | None = None
    """By user, else by address."""


class Limits:
    """Counts attempts and refuses those that are too many; `now` tells the time in the site's time zone."""

    def __init__(
        self, redis: RedisClient, rules: Rules, *, secret: str, workers: int, now: Callable[[], datetime]
    ) -> None:
        self._redis = redis
        self._rules = rules
        self._hash_key = hmac.digest(secret.encode(), b"seatweb limits", "sha256")
        self._workers = workers
        self._now = now
        self._own = OwnAttempts(ATTEMPTS_KEPT)
        self._run_take = redis.script(TAKE)
        self._waiting = 0
        self._process = secrets.token_hex(6)
        self._attempts = count()

    @asynccontextmanager
    async def sign_in_attempt(
        self, account: str | None, address: str | None, kind: AttemptKind = "account"
    ) -> AsyncIterator[None]:
        """Count a failed sign-in before it is one, and give it back unless what is done inside raises BadCredentials.

        So guesses that come all at once are no more than the limit. Only the attempt itself is given back: a right
        password forgets nobody's wrong ones. Whether there is such an account makes no difference. Without an address
        only the account counts, and without an account only the address. Each kind counts apart, under a name that no
        username can stand in for.

        Raises:
            TooManyAttempts: the account or the address has failed too often; nothing inside was done.
        """
        logs = []
        if account is not None:
            logs += self._log(f"{{sign-in}}:{kind}", account, self._rules.failures_per_account)
        if address is not None:
            logs += self._log("{sign-in}:address", network_of(address), self._rules.failures_per_address)
        attempt = await self._take_patiently(logs)
        failed = False
        try:
            yield
        except BadCredentials:
            failed = True
            self._own.fail(logs, attempt)
            raise
        finally:
            if not failed:
                await self._give_back(logs, attempt)

    async def registration(self, address: str) -> None:
        """Count a registration.

        Raises:
            TooManyAttempts: there were too many from this address.
        """
        await self._take(self._log("{registration}", network_of(address), self._rules.registrations))

    async def hold(self, user_id: int) -> None:
        """Count a hold.

        Raises:
            TooManyAttempts: the user took too many.
        """
        await self._take(self._log("{hold}", str(user_id), self._rules.holds))

    async def request(self, user_id: int | None, address: str) -> None:
        """Count a request to the API.

        Raises:
            TooManyAttempts: the user, or the address where no one is signed in, sent too many.
        """
        who = f"address {network_of(address)}" if user_id is None else f"user {user_id}"
        await self._take(self._log("{request}", who, self._rules.requests))

    async def booking(self, user_id: int) -> None:
        """Count a booking or a move.

        Raises:
            TooManyAttempts: the user tried too many.
        """
        await self._take(self._log("{booking}", str(user_id), self._rules.bookings))

    def _log(self, name: str, who: str, limit: Limit | None) -> list[Log]:
        if limit is None:
            return []
        hashed = hmac.digest(self._hash_key, f"{name} {who}".encode(), "sha256").hex()[:32]
        return [Log(f"limit:{name}:{hashed}", limit)]

    async def _take_patiently(self, logs: list[Log]) -> str:
        """Count an attempt, and return its id; where others are only not given back yet, wait for them a moment.

        Else many who sign in at once behind one address would be refused, all with the right password.
        """
        attempt = self._new_attempt()
        tries = 1
        while refusal := await self._try(logs, attempt):
            if refusal.settled or tries > PATIENCE_TIMES or self._waiting >= WAITING_AT_MOST:
                raise self._too_many(refusal, logs)
            tries += 1
            self._waiting += 1
            try:
                await asyncio.sleep(PATIENCE_SECONDS)
            finally:
                self._waiting -= 1
        return attempt

    async def _take(self, logs: list[Log]) -> None:
        if refusal := await self._try(logs, self._new_attempt()):
            raise self._too_many(refusal, logs)

    async def _try(self, logs: list[Log], attempt: str) -> Refusal | None:
        """Count the attempt by every log or by none; return why not."""
        if not logs:
            return None
        if refusal := self._own.add(logs, attempt):
            return refusal
        keys = [log.key for log in logs]
        arguments: list[str | int] = [attempt]
        for log in logs:
            known = self._own.failed(log)
            arguments += [log.limit.count, log.limit.seconds * 1000, round(PENDING_SECONDS * 1000), len(known)]
            arguments += [one for pair in known for one in pair]
        try:
            wait, settled = await self._run_take(keys, arguments)
        except RedisAway:
            refusal = self._own.refusal(logs, attempt, share=self._workers)
        except BaseException:
            self._own.remove(logs, attempt)
            raise
        else:
            refusal = Refusal(wait / 1000, bool(settled)) if wait else None
        if refusal:
            self._own.remove(logs, attempt)
        return refusal

    async def _give_back(self, logs: list[Log], attempt: str) -> None:
        self._own.remove(logs, attempt)
        with suppress(RedisAway):  # then it counts as a failure for a while: stricter, never looser
            await self._redis.batch([("ZREM", log.key, attempt) for log in logs])

    def _new_attempt(self) -> str:
        return f"{self._process}{next(self._attempts):x}"

    def _too_many(self, refusal: Refusal, logs: list[Log]) -> TooManyAttempts:
        log.warning("limit met", limits=[one.key.removeprefix("limit:").rpartition(":")[0] for one in logs])
        seconds = max(1, ceil(refusal.seconds))
        return TooManyAttempts(retry_after=seconds, until=self._now() + timedelta(seconds=seconds))
