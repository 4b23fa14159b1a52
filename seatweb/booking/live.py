"""The live map: for each day that someone looks at, what changed on it, handed to all open streams.

A channel watches one day. It looks at the day when a signal says so, when a hold comes to its end, and by itself every
few seconds, since a signal can be lost. What it finds different it numbers; a stream remembers the last number that it
was given, so one that was slow or away gets the sum of what it missed, and nothing has to be kept for it.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date
from typing import Final, Literal, Self, TypeVar
from uuid import UUID

import structlog
from msgspec import Struct

from seatweb.accounts.model import Session
from seatweb.booking.changes import Changes
from seatweb.booking.day_views import DayViews
from seatweb.booking.errors import TooManyStreams
from seatweb.booking.model import DayView
from seatweb.booking.window import BookingWindow
from seatweb.errors import SeatwebError

LOOK_SECONDS: Final = 4.0  # while signals arrive: others see a change within 5 s, even if its signal was lost
LOOK_WITHOUT_SIGNALS_SECONDS: Final = 1.0
REST_SECONDS: Final = 0.03  # between two looks: a rush of bookings costs some thirty looks a second
BEAT_SECONDS: Final = 15.0  # so that proxies and browsers know that the stream lives
CHANGES_KEPT: Final = 64
STREAMS_OF_A_USER: Final = 8  # in each process; a tab in the background has none
STREAMS: Final = 10_000
STREAMS_OF_VISITORS: Final = STREAMS // 2  # of those who are not signed in: they leave room for those who are

K = TypeVar("K", int, UUID)
State = Literal["live", "catching-up"]

log = structlog.get_logger(__name__)


class Update(Struct, frozen=True):
    """How the day is now, at a number, and what changed since another: seats by id, or `everything`."""

    view: DayView
    number: int
    seats: frozenset[int]
    everything: bool


class _Change(Struct, frozen=True):
    tag: str  # of the day after the change
    seats: frozenset[int]


class Channel:
    """One day, watched for all its streams."""

    def __init__(self, day: date, views: DayViews, window: BookingWindow, changes: Changes) -> None:
        self.day = day
        self.number = 0
        self.beats = 0
        self.streams = 0
        self._views = views
        self._window = window
        self._changes = changes
        self._view: DayView | None = None
        self._failed = False
        self._history: deque[_Change] = deque(maxlen=CHANGES_KEPT)
        self._look = asyncio.Event()
        self._news = asyncio.Event()
        self._task = asyncio.create_task(self._watch())

    @property
    def state(self) -> State:
        """Whether a change shows at once, or a few seconds later because something is away."""
        return "live" if self._changes.connected and not self._failed else "catching-up"

    @property
    def over(self) -> bool:
        """Whether the day can no longer be booked, so that nothing will change on it."""
        return not self._window.includes(self.day)

    def look(self) -> None:
        """Look at the day soon: it may have changed."""
        self._look.set()

    async def news(self) -> None:
        """Return when there is something new: a change, another state, a beat, or an end."""
        await self._news.wait()

    async def view(self) -> DayView:
        """Return the day as it was seen last.

        Raises:
            Overloaded: it was not seen yet, and the database does not answer.
        """
        if self._view is None:
            self._see(await self._views.day(self.day))
        assert self._view is not None  # noqa: S101 - for the type checker
        return self._view

    def number_of(self, tag: str) -> int | None:
        """Return the number of the state with this tag, None if it is not known (any more)."""
        if self._view is not None and tag == self._view.tag:
            return self.number
        for behind, change in enumerate(reversed(self._history)):
            if change.tag == tag:
                return self.number - behind
        return None

    async def update(self, since: int | None) -> Update:
        """Return what changed since a number; everything where that is not known any more."""
        view = await self.view()
        missed = self.number - since if since is not None else CHANGES_KEPT + 1
        if missed > len(self._history):
            return Update(view, self.number, frozenset(), everything=True)
        recent = [change.seats for change in list(self._history)[len(self._history) - missed :]] if missed else []
        return Update(view, self.number, frozenset().union(*recent), everything=False)

    def wake(self) -> None:
        """Let every stream look whether there is something for it."""
        self._news.set()
        self._news.clear()

    def beat(self) -> None:
        """Let every stream send a sign of life."""
        self.beats += 1
        self.wake()

    def end(self) -> None:
        """Stop watching."""
        self._task.cancel()

    async def _watch(self) -> None:
        state = self.state
        while True:
            try:
                self._look.clear()
                self._see(await self._views.day(self.day, fresh=True))
                self._failed = False
            except SeatwebError:
                self._failed = True  # the database does not answer; what is shown stays, and says that it may be old
            except Exception:
                self._failed = True
                log.exception("looking at a day failed", day=str(self.day))
            if state != self.state:
                state = self.state
                self.wake()
            await asyncio.sleep(REST_SECONDS)
            try:
                async with asyncio.timeout(self._next_look()):
                    await self._look.wait()
            except TimeoutError:
                pass

    def _next_look(self) -> float:
        seconds = LOOK_SECONDS if self.state == "live" else LOOK_WITHOUT_SIGNALS_SECONDS
        ends = [hold.until for hold in self._view.holds.values()] if self._view else []
        return max(0.0, min(seconds, *(end - time.monotonic() for end in ends))) if ends else seconds

    def _see(self, view: DayView) -> None:
        before = self._view
        if before is not None and view.tag == before.tag:
            return
        self._view = view
        if before is None:
            return
        if {*before.seats} != {*view.seats}:  # seats came or went: everyone gets the sections anew
            self._history.clear()
            self.number += CHANGES_KEPT + 1
        else:
            if not self._history:
                self._history.append(_Change(before.tag, frozenset()))
            self._history.append(_Change(view.tag, _different(before, view)))
            self.number += 1
        self.wake()


def _different(before: DayView, after: DayView) -> frozenset[int]:
    held = before.holds.keys() | after.holds.keys()
    return frozenset(
        id_
        for id_, seat in after.seats.items()
        if seat != before.seats[id_] or (id_ in held and _holder(before, id_) != _holder(after, id_))
    )


def _holder(view: DayView, seat_id: int) -> int | None:
    hold = view.holds.get(seat_id)
    return hold.user_id if hold else None


class Live:
    """All channels of this process, and who listens."""

    def __init__(self, views: DayViews, window: BookingWindow, changes: Changes) -> None:
        self._views = views
        self._window = window
        self._changes = changes
        self._channels: dict[date, Channel] = {}
        self._sessions: Counter[UUID] = Counter()
        self._users: Counter[int] = Counter()
        self._ended: set[UUID] = set()
        self.closing = False

    async def __aenter__(self) -> Self:
        """Begin to watch."""
        self._changes.listen(self._changed)
        self._beating = asyncio.create_task(self._beat())
        return self

    async def __aexit__(self, *exception: object) -> None:
        """End every stream."""
        self.close()
        self._beating.cancel()
        await asyncio.gather(self._beating, return_exceptions=True)

    @asynccontextmanager
    async def join(self, day: date, session: Session | None) -> AsyncIterator[Channel]:
        """Yield the channel of a day to one more stream.

        Raises:
            TooManyStreams: of this user, or in all.
        """
        user_id = session.user.id if session else 0
        most = STREAMS_OF_A_USER if session else STREAMS_OF_VISITORS
        if self.closing or self._users.total() >= STREAMS or self._users[user_id] >= most:
            raise TooManyStreams
        self._users[user_id] += 1
        if session:
            self._sessions[session.id] += 1
        channel = self._channels.get(day)
        if channel is None:
            channel = self._channels[day] = Channel(day, self._views, self._window, self._changes)
        channel.streams += 1
        try:
            yield channel
        finally:
            channel.streams -= 1
            if not channel.streams:
                channel.end()
                del self._channels[day]
            _less(self._users, user_id)
            if session:
                _less(self._sessions, session.id)
                if session.id not in self._sessions:
                    self._ended.discard(session.id)

    @property
    def sessions(self) -> set[UUID]:
        """The sessions that have a stream open."""
        return set(self._sessions)

    def end_sessions(self, ended: set[UUID]) -> None:
        """End the streams of these sessions."""
        if ended := ended & self.sessions:
            self._ended |= ended
            self._wake()

    def has_ended(self, session: Session | None) -> bool:
        """Return whether the session of a stream was ended since it began."""
        return session is not None and session.id in self._ended

    def close(self) -> None:
        """End every stream: the process is about to end."""
        self.closing = True
        self._wake()

    def _wake(self) -> None:
        for channel in self._channels.values():
            channel.wake()

    def _changed(self, day: date | None) -> None:
        for channel in self._channels.values():
            if day is None or channel.day == day:
                channel.look()

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            for channel in self._channels.values():
                channel.beat()


def _less(counter: Counter[K], key: K) -> None:
    counter[key] -= 1
    if not counter[key]:
        del counter[key]
