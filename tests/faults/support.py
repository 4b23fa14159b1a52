"""What tests of trouble share: a Redis that can be stopped, and the streams of live maps."""

from __future__ import annotations

import asyncio
import re
import shutil
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
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

SECONDS = 1.0  # within so many others see a change
BROKEN_SECONDS = 5.0  # or within so many while something is broken
HEALED_SECONDS = 2.0  # so long after a fault everything works again
PAUSE_SECONDS = 2


class OwnRedis:
    """A Redis of one test, that can be killed, frozen, filled and emptied."""

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
        server.wait_until(self._answers, seconds=10, poll=0.005)

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
        """Wait for the end of the pause: until then nothing is answered, CLIENT UNPAUSE included."""
        self.store.ping()

    def fill(self) -> None:
        """Let it take nothing more."""
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
    """Give a Redis of one's own."""
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


# What can happen to a Redis, and what mends it.
FAULTS: dict[str, tuple[Callable[[OwnRedis], None], Callable[[OwnRedis], None]]] = {
    "killed": (OwnRedis.kill, OwnRedis.start),
    "stopped": (OwnRedis.freeze, OwnRedis.thaw),
    "paused": (OwnRedis.pause, OwnRedis.unpause),
}


def with_redis(backends: Backends, url: str) -> Backends:
    """Return the same servers with another Redis."""
    return Backends(database_url=backends.database_url, redis_url=url, jwt_secret=backends.jwt_secret)


def at(site: Site, visitor: Visitor) -> Visitor:
    """Send the browser to another process from now on, with its cookies, as a load balancer may."""
    visitor.http.base_url = httpx.URL(site.url)
    return visitor


async def hold(visitor: Visitor, day: date, seat_id: int, **fields: str) -> str:
    """Choose a seat, and return the token of the hold ("" when nothing is held)."""
    answer = await visitor.post_htmx(f"/days/{day}/seats/{seat_id}/hold", **fields)
    assert answer.status_code == 200, answer.text
    return str(one(soup(answer), "#hold").get("data-token", ""))


class Event(NamedTuple):
    """One event of a stream; an unnamed one has the seats, counts and tally that changed."""

    name: str
    data: str
    id: str
    at: float

    @property
    def targets(self) -> list[str]:
        """What the event replaces on the page."""
        return [str(partial["hx-target"]) for partial in soup(self.data).select("hx-partial")]

    def status(self, seat_id: int) -> str | None:
        """What the event says of a seat, None if nothing."""
        found = re.search(rf'id="seat-{seat_id}"[^>]* data-status="(\w+)"', self.data)
        return found[1] if found else None


class Stream:
    """A live map as one browser gets it; what was asked for once is not found again."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self.words: list[Event] = []  # the named events
        self.changes: list[Event] = []  # what was said of seats
        self.ended = False
        self.broken = False
        self._known = {"words": 0, "changes": 0}

    @property
    def events(self) -> list[Event]:
        return [*self.words, *self.changes]

    async def listen(self) -> None:
        fields: dict[str, str] = {}
        try:
            async for line in self.response.aiter_lines():
                if line:
                    name, _, value = line.partition(": ")
                    fields[name] = f"{fields[name]}\n{value}" if name in fields else value
                elif fields:
                    name, data, id_ = (fields.get(name, "") for name in ("event", "data", "id"))
                    (self.words if name else self.changes).append(Event(name, data, id_, time.monotonic()))
                    fields = {}
        except httpx.HTTPError:
            self.broken = True
        self.ended = True

    async def says(self, name: str, data: str, seconds: float = SECONDS) -> Event:
        """Return the next event with this name and data."""
        return await self._hears("words", lambda event: (event.name, event.data) == (name, data), seconds)

    async def shows(self, seat_id: int, status: str, seconds: float = SECONDS) -> Event:
        """Return the next event that shows the seat so."""
        return await self._hears("changes", lambda event: event.status(seat_id) == status, seconds)

    async def _hears(self, kind: Literal["words", "changes"], wanted: Callable[[Event], bool], seconds: float) -> Event:
        events: list[Event] = getattr(self, kind)
        heard, deadline = self._known[kind], time.monotonic() + seconds
        while True:
            ended = self.ended
            for number in range(heard, len(events)):
                if wanted(events[number]):
                    self._known[kind] = number + 1
                    return events[number]
            heard = len(events)
            since = events[self._known[kind] :]
            assert not ended, f"the stream ended; heard: {since}"
            assert time.monotonic() < deadline, f"not heard in {seconds} s; heard: {since}"
            await asyncio.sleep(0.005)


@asynccontextmanager
async def live(
    visitor: Visitor, day: date, *, since: str = "", last_id: str = "", section: str = ""
) -> AsyncIterator[Stream]:
    """Yield the live map of a day, from where `since` or `last_id` says: else from how it is now."""
    since = since or ("" if last_id else await tag_of(visitor, day))
    given = {"since": since, "section": section}
    async with visitor.http.stream(
        "GET",
        f"/days/{day}/live",
        params={name: value for name, value in given.items() if value},
        headers={"last-event-id": last_id} if last_id else None,
        timeout=httpx.Timeout(5, read=None),
    ) as response:
        assert response.status_code == 200, await response.aread()
        stream = Stream(response)
        reader = asyncio.create_task(stream.listen())
        try:
            async with asyncio.timeout(5):
                while not stream.words:
                    await asyncio.sleep(0.005)
            yield stream
        finally:
            reader.cancel()
            with suppress(asyncio.CancelledError):
                await reader


async def tag_of(visitor: Visitor, day: date) -> str:
    """Return the state of the day as the visitor's page shows it."""
    address = str(one(soup(await visitor.get(f"/days/{day}")), ".live")["hx-sse:connect"])
    return address.partition("since=")[2].partition("&")[0]
