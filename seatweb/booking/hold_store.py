"""The holds in Redis: one hash a day (seat id → user, token, begin and end by Redis's clock).

Every change is one Lua script, so nobody sees half of one. With Redis away there are no holds; all else works.
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

# A hold counts from its begin to its end. One that begins in the future is void: the clock was set back since.
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


UNDO_SECONDS: Final = 0.6
MARGIN_SECONDS: Final = 0.05  # for the way between the clocks: shorter than any user takes to choose another seat
UNDONE_KEPT: Final = 10_000


class GrantedHold(Struct, frozen=True):
    """A hold as its user got it: `token` renews and ends it, `seconds` is what is left of it, rounded up."""

    token: str
    seconds: int


class HoldStore:
    """The holds of every day, `seconds` long each."""

    def __init__(self, redis: RedisClient, outbox: RedisOutbox, seconds: int) -> None:
        self._redis = redis
        self._outbox = outbox
        self._seconds = seconds
        self._undone: BoundedDict[Command, float] = BoundedDict(UNDONE_KEPT)
        self._undoing: asyncio.Task[None] | None = None
        self._ahead: float | None = None  # how many seconds Redis's clock is ahead of this process's monotonic one
        self._take = redis.script(TAKE)
        self._release = redis.script(RELEASE)
        self._active = redis.script(ACTIVE)

    async def take(self, day: date, seat_id: int, user_id: int, token: str | None = None) -> GrantedHold | None:
        """Hold the seat for the user instead of any other of that day; None with Redis away.

        A hold that the user has on this seat already begins anew, under `token` if one is given.

        Raises:
            SeatHeld: someone else holds it.
        """
        token = token or secrets.token_urlsafe(16)
        try:
            left = await self._take([_key(day)], [seat_id, user_id, token, self._seconds * 1000])
        except RedisAway:
            self._undo_later(
                ("EVAL", RELEASE, 1, _key(day), user_id, seat_id, token)
            )  # it may be done when Redis goes on
            return None
        if left:
            raise SeatHeld(seconds=ceil(left / 1000))
        return GrantedHold(token=token, seconds=self._seconds)

    async def release(self, day: date, seat_id: int, user_id: int, token: str) -> bool:
        """End the user's hold that has this token; return whether there was one."""
        try:
            return bool(await self._release([_key(day)], [user_id, seat_id, token]))
        except RedisAway:
            self._undo_later(("EVAL", RELEASE, 1, _key(day), user_id, seat_id, token))
            return False

    def end_soon(self, day: date, user_id: int) -> None:
        """End what the user holds on the day by now, but nothing that they take later. It cannot fail.

        With Redis away it is done once Redis is back.
        """
        if self._ahead is not None:
            now = round(1000 * (time.monotonic() + self._ahead + MARGIN_SECONDS))
            self._outbox.put(("EVAL", END, 1, _key(day), user_id, now))

    def _undo_later(self, command: Command) -> None:
        self._undone[command] = time.monotonic()
        if self._undoing is None or self._undoing.done():
            self._undoing = asyncio.create_task(self._undo())

    async def _undo(self) -> None:
        """End what should not be held, once Redis goes on: twice, for what it still had to read may come in between."""
        done: set[Command] = set()
        while self._undone:
            await asyncio.sleep(UNDO_SECONDS)
            commands = list(islice(self._undone, BATCH))
            try:
                await self._redis.batch(commands)
            except RedisAway:
                done.clear()
                now = time.monotonic()
                for command in commands:
                    if now - self._undone[command] > self._seconds:
                        del self._undone[command]  # it has ended by itself
                continue
            for command in done & set(commands):
                del self._undone[command]
            done = set(commands)

    async def active(self, day: date) -> dict[int, Hold]:
        """Return the holds of the day by seat id; none with Redis away."""
        try:
            redis_now, *found = await self._active([_key(day)], [])
        except RedisAway:
            return {}
        now = time.monotonic()
        self._ahead = redis_now / 1000 - now
        return {
            seat: Hold(seat_id=seat, user_id=user, begun=begun, until=now + left / 1000)
            for seat, user, left, begun in found
        }


def _key(day: date) -> str:
    return f"holds:{{{day.isoformat()}}}"
