"""What the fault tests share: a Redis that can be stopped, and the streams of live maps."""

from __future__ import annotations

import asyncio
import re
import shutil
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import date
from pathlib import Path
from secrets import token_urlsafe
from typing import Literal, NamedTuple

import httpx
import redis
from seatweb.server.embedded import SOCKETS, _start_valkey
from seatweb.server.processes import Child, Runner
from seatweb.server.programs import Programs
from seatweb.settings import Backends

from tests.support import Site, Visitor, one, soup

SECONDS = 1.0  # others see a change within this time
BROKEN_SECONDS = 5.0  # the same, while something is broken
HEALED_SECONDS = 2.0  # after a fault, everything works again within this time
PAUSE_SECONDS = 2
PATIENT_SECONDS = 60.0  # for waits whose duration is not the subject: enough on a busy machine


class Deadlines(NamedTuple):
    """Within how many seconds things must happen."""

    change: float = SECONDS
    broken: float = BROKEN_SECONDS
    healed: float = HEALED_SECONDS
    answer: float = 5.0  # to any request, whatever is broken
    page: float = 1.0  # without Redis, once that has been noticed
    refusal: float = 1.2  # of a request that gets no database connection: 1 s, plus time for a slow machine
    sign_out: float = SECONDS + 0.2  # until a stream ends, plus time for a slow machine
    streams: float = 0.9  # until all streams have ended at shutdown; other requests get 1 s
    end: float = 3.0  # until the process has ended


PROMISED = Deadlines()
PATIENT = Deadlines(*[PATIENT_SECONDS] * len(Deadlines._fields))


class OwnRedis:
    """A Redis server for one test, which can kill, freeze, fill and empty it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._runner = Runner.as_account(None)
        self._server: Child | None = None
        self._password = token_urlsafe()
        self.url = f"unix://:{self._password}@{folder}/{SOCKETS}/valkey.sock"
        self.store: redis.Redis = redis.Redis.from_url(self.url)

    def start(self) -> None:
        log = self._folder / "valkey.log"
        server = self._server = _start_valkey(self._runner, Programs.find(), log, self._folder, self._password)
        server.wait_until(self._answers, seconds=PATIENT_SECONDS, poll=0.005)

    def kill(self) -> None:
        if self._server:
            self._server.process.kill()
            self._server.process.wait()
            self._server.stop_watcher()
            self._server = None

    def freeze(self) -> None:
        assert self._server
        self._server.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._server
        self._server.process.send_signal(signal.SIGCONT)

    def pause(self) -> None:
        self.store.client_pause(PAUSE_SECONDS * 1000)

    def unpause(self) -> None:
        """Wait until the pause ends; until then, Redis answers nothing, not even CLIENT UNPAUSE."""
        self.store.ping()

    def fill(self) -> None:
        """Make Redis refuse to store anything more."""
        self.store.config_set("maxmemory-policy", "noeviction")
        self.store.config_set("maxmemory", "1")

    def make_room(self) -> None:
        self.store.config_set("maxmemory", "0")

    def flush(self) -> None:
        self.store.flushall()

    def _answers(self) -> bool:
        try:
            return bool(self.store.ping())
        except redis.ConnectionError:
            return False


@contextmanager
def running_redis() -> Iterator[OwnRedis]:
    """Yield a Redis server that nobody else uses."""
    folder = Path(tempfile.mkdtemp(prefix="seatweb-redis-"))
    (folder / SOCKETS).mkdir()
    own = OwnRedis(folder)
    try:
        own.start()
        yield own
    finally:
        own.store.close()
        own.kill()
        shutil.rmtree(folder)


# What can happen to Redis, and what repairs it.
FAULTS: dict[str, tuple[Callable[[OwnRedis], None], Callable[[OwnRedis], None]]] = {
    "killed": (OwnRedis.kill, OwnRedis.start),
    "stopped": (OwnRedis.freeze, OwnRedis.thaw),
    "paused": (OwnRedis.pause, OwnRedis.unpause),
}


def with_redis(backends: Backends, url: str) -> Backends:
    """Return the same servers with another Redis."""
    return Backends(database_url=backends.database_url, redis_url=url, jwt_secret=backends.jwt_secret)


def at(site: Site, visitor: Visitor) -> Visitor:
    """Send the visitor's requests to another process from now on, with their cookies, as a load balancer may."""
    visitor.http.base_url = httpx.URL(site.url)
    return visitor


async def hold(visitor: Visitor, day: date, seat_id: int, **fields: str) -> str:
    """Hold a seat, and return the token of the hold; empty if the seat could not be held."""
    answer = await visitor.post_htmx(f"/days/{day}/seats/{seat_id}/hold", **fields)
    assert answer.status_code == 200, answer.text
    return str(one(soup(answer), "#hold").get("data-token", ""))


async def held_soon(visitor: Visitor, day: date, seat_id: int, seconds: float = PATIENT_SECONDS) -> str:
    """Try to hold a seat until Redis answers again, and return the hold's token."""
    async with asyncio.timeout(seconds):
        while not (token := await hold(visitor, day, seat_id)):
            await asyncio.sleep(0.02)
    return token


class Event(NamedTuple):
    """One event of a stream; an event without a name carries the seats and counts that changed."""

    name: str
    data: str
    id: str  # the tag of the state that it leads to
    map: str  # the map that it is about, such as `2026-11-23/B`
    at: float

    @property
    def targets(self) -> list[str]:
        """The elements that the event replaces on the page, as CSS selectors."""
        return [str(partial["hx-target"]) for partial in soup(self.data).select("hx-partial")]

    def status(self, seat_id: int) -> str | None:
        """The seat's status in the event; None if the seat is not in it."""
        found = re.search(rf'id="seat-{seat_id}"[^>]* data-status="(\w+)"', self.data)
        return found[1] if found else None


class Stream:
    """A live map as one browser receives it; `says` and `shows` find each event only once."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self.named: list[Event] = []
        self.changes: list[Event] = []  # the unnamed events
        self.ended = False
        self.broken = False
        self._consumed = {"named": 0, "changes": 0}

    @property
    def events(self) -> list[Event]:
        return [*self.named, *self.changes]

    async def listen(self) -> None:
        fields: dict[str, str] = {}
        try:
            async for line in self.response.aiter_lines():
                if line:
                    name, _, value = line.partition(": ")
                    fields[name] = f"{fields[name]}\n{value}" if name in fields else value
                elif fields:
                    name, data, id_ = (fields.get(name, "") for name in ("event", "data", "id"))
                    map_, _, tag = id_.rpartition("/")
                    (self.named if name else self.changes).append(Event(name, data, tag, map_, time.monotonic()))
                    fields = {}
        except httpx.HTTPError:
            self.broken = True
        self.ended = True

    async def says(self, name: str, data: str, seconds: float = PATIENT_SECONDS) -> Event:
        """Return the next event with this name and data."""
        return await self._next("named", lambda event: (event.name, event.data) == (name, data), seconds)

    async def shows(self, seat_id: int, status: str, seconds: float = PATIENT_SECONDS) -> Event:
        """Return the next event that shows the seat with this status."""
        return await self._next("changes", lambda event: event.status(seat_id) == status, seconds)

    async def _next(self, kind: Literal["named", "changes"], matches: Callable[[Event], bool], seconds: float) -> Event:
        events: list[Event] = getattr(self, kind)
        position, deadline = self._consumed[kind], time.monotonic() + seconds
        while True:
            ended = self.ended
            for number in range(position, len(events)):
                if matches(events[number]):
                    self._consumed[kind] = number + 1
                    return events[number]
            position = len(events)
            since = events[self._consumed[kind] :]
            assert not ended, f"the stream ended; received: {since}"
            assert time.monotonic() < deadline, f"not received in {seconds} s; received: {since}"
            await asyncio.sleep(0.005)


@asynccontextmanager
async def live(
    visitor: Visitor, day: date, *, since: str = "", section: str = "", also: Sequence[str] = ()
) -> AsyncIterator[Stream]:
    """Yield the live map of a day, with the maps of `also`: changes after the state `since`, or else from now on."""
    given = {"since": since or await tag_of(visitor, day), "section": section, "also": [*also]}
    async with visitor.http.stream(
        "GET",
        f"/days/{day}/live",
        params={name: value for name, value in given.items() if value},
        timeout=httpx.Timeout(PATIENT_SECONDS, read=None),
    ) as response:
        assert response.status_code == 200, await response.aread()
        stream = Stream(response)
        reader = asyncio.create_task(stream.listen())
        try:
            async with asyncio.timeout(PATIENT_SECONDS):
                while not stream.named:
                    await asyncio.sleep(0.005)
            yield stream
        finally:
            reader.cancel()
            with suppress(asyncio.CancelledError):
                await reader


async def tag_of(visitor: Visitor, day: date) -> str:
    """Return the tag of the day's state that the visitor's page shows."""
    return str(one(soup(await visitor.get(f"/days/{day}")), ".live")["data-tag"])
