"""The holds in Redis: one hash per day (seat id → user, token, begin and end in milliseconds of Redis's clock).

Every change is one Lua script, so it is atomic. While Redis is away there are no holds; everything else works.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from datetime import date
from itertools import islice
from math import ceil
from typing import Final

from msgspec import Struct

from seatweb.booking.errors import SeatHeld
from seatweb.booking.model import Hold
from seatweb.storage.caching import BoundedDict
from seatweb.storage.outbox import BATCH, RedisOutbox
from seatweb.storage.redis import Command, RedisAway, RedisClient

# A hold is valid from its begin to its end. Ignore one that begins in the future: the clock was set back after it was
# made, so it would last too long.
READ: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function read(value)
  local user, token, from, till = string.match(value, '^(%d+) (%S+) (%d+) (%d+)$')
  if user and tonumber(from) <= now + 1000 and now < tonumber(till) then
    return user, token, till - now, from
  end
end
local holds = redis.call('HGETALL', KEYS[1])
"""
TAKE: Final = (
    READ
    + """
local seat, user, token, length = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local drop = {}
for i = 1, #holds, 2 do
  local holder, _, left = read(holds[i + 1])
  if holds[i] == seat and holder and holder ~= user then
    return left
  end
  if not holder or holder == user then
    drop[#drop + 1] = holds[i]
  end
end
for _, field in ipairs(drop) do
  redis.call('HDEL', KEYS[1], field)
end
redis.call('HSET', KEYS[1], seat, user .. ' ' .. token .. ' ' .. now .. ' ' .. (now + length))
redis.call('PEXPIRE', KEYS[1], math.max(length, redis.call('PTTL', KEYS[1])))
return 0
"""
)
RELEASE: Final = (
    READ
    + """
local user, seat, known = ARGV[1], ARGV[2], ARGV[3]
for i = 1, #holds, 2 do
  local holder, token = read(holds[i + 1])
  if holds[i] == seat and holder == user and token == known then
    return redis.call('HDEL', KEYS[1], seat)
  end
end
return 0
"""
)
END: Final = (
    READ
    + """
local user, before = ARGV[1], tonumber(ARGV[2])
local ended = 0
for i = 1, #holds, 2 do
  local holder, _, _, from = read(holds[i + 1])
  if holder == user and tonumber(from) <= before then
    ended = ended + redis.call('HDEL', KEYS[1], holds[i])
  end
end
return ended
"""
)
ACTIVE: Final = (
    READ
    + """
local active = {now}
for i = 1, #holds, 2 do
  local holder, _, left, from = read(holds[i + 1])
  if holder then
    active[#active + 1] = {tonumber(holds[i]), tonumber(holder), left, tonumber(from)}
  end
end
return active
"""
)


RELEASE_RETRY_SECONDS: Final = 0.6
CLOCK_MARGIN_SECONDS: Final = 0.05  # covers the round trip in the clock offset; no user chooses another seat so fast
RELEASES_KEPT: Final = 10_000


class GrantedHold(Struct, frozen=True):
    """A hold as granted to its user: `token` renews and releases it, `seconds` is how long it lasts."""

    token: str
    seconds: int


class HoldStore:
    """Stores holds, each of which lasts `seconds`."""

    def __init__(self, redis: RedisClient, outbox: RedisOutbox, seconds: int) -> None:
        self._redis = redis
        self._outbox = outbox
        self._seconds = seconds
        self._releases: BoundedDict[Command, float] = BoundedDict(RELEASES_KEPT)  # queued, with the time of queueing
        self._releasing: asyncio.Task[None] | None = None
        self._clock_offset: float | None = None  # Redis's clock minus this process's monotonic clock, in seconds
        self._take = redis.script(TAKE)
        self._release = redis.script(RELEASE)
        self._active = redis.script(ACTIVE)

    async def take(self, day: date, seat_id: int, user_id: int, token: str | None = None) -> GrantedHold | None:
        """Hold the seat for the user and release any other seat they hold that day; return None if Redis is away.

        If the user already holds this seat, the hold starts again, with the given token or a new one.

        Raises:
            SeatHeld: someone else holds it.
        """
        token = token or secrets.token_urlsafe(16)
        try:
            left = await self._take([_key(day)], [seat_id, user_id, token, self._seconds * 1000])
        except RedisAway:
            # Redis may still run the command once it recovers.
            self._release_later(("EVAL", RELEASE, 1, _key(day), user_id, seat_id, token))
            return None
        if left:
            raise SeatHeld(seconds=ceil(left / 1000))
        return GrantedHold(token=token, seconds=self._seconds)

    async def release(self, day: date, seat_id: int, user_id: int, token: str) -> bool:
        """Release the user's hold with this token; return whether there was one."""
        try:
            return bool(await self._release([_key(day)], [user_id, seat_id, token]))
        except RedisAway:
            self._release_later(("EVAL", RELEASE, 1, _key(day), user_id, seat_id, token))
            return False

    def end_soon(self, day: date, user_id: int) -> None:
        """End the user's holds of the day in the background, but not those taken after this call. Never raises.

        If Redis is away, they end once it is back.
        """
        if self._clock_offset is not None:
            now = round(1000 * (time.monotonic() + self._clock_offset + CLOCK_MARGIN_SECONDS))
            self._outbox.put(("EVAL", END, 1, _key(day), user_id, now))

    def _release_later(self, command: Command) -> None:
        self._releases[command] = time.monotonic()
        if self._releasing is None or self._releasing.done():
            self._releasing = asyncio.create_task(self._send_releases())

    async def _send_releases(self) -> None:
        """Send the queued releases once Redis is back: twice, because it may still read a delayed TAKE in between."""
        sent: set[Command] = set()
        while self._releases:
            await asyncio.sleep(RELEASE_RETRY_SECONDS)
            commands = list(islice(self._releases, BATCH))
            try:
                await self._redis.batch(commands)
            except RedisAway:
                sent.clear()
                now = time.monotonic()
                for command in commands:
                    if now - self._releases[command] > self._seconds:
                        del self._releases[command]  # the hold has expired
                continue
            for command in sent & set(commands):
                del self._releases[command]
            sent = set(commands)

    async def active(self, day: date) -> dict[int, Hold]:
        """Return the valid holds of the day by seat id; none if Redis is away."""
        try:
            redis_now, *found = await self._active([_key(day)], [])
        except RedisAway:
            return {}
        now = time.monotonic()
        self._clock_offset = redis_now / 1000 - now
        return {
            seat: Hold(seat_id=seat, user_id=user, began_at=began_at, ends_at=now + left / 1000)
            for seat, user, left, began_at in found
        }


def _key(day: date) -> str:
    return f"holds:{{{day.isoformat()}}}"
