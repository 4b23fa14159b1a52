"""The live map: watch each day that has open streams, and hand its changes to them.

A channel watches one day. It reads the day when a signal arrives, when a hold expires, and every few seconds, since a
signal can be lost. It numbers the changes that it finds. A stream remembers the last number that it received, so a slow
or reconnected stream gets everything it missed as one update, without a queue of its own.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Collection
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

POLL_SECONDS: Final = 4.0  # while signals arrive: others see a change within 5 s, even if its signal was lost
POLL_WITHOUT_SIGNALS_SECONDS: Final = 1.0
PAUSE_SECONDS: Final = 0.03  # between two reads: a rush of bookings causes about thirty reads a second
HEARTBEAT_SECONDS: Final = 15.0  # keeps proxies and browsers from closing an idle stream
CHANGES_KEPT: Final = 64
# Per process. A stream counts once for each map that it carries; a browser has one stream, whatever its windows show.
STREAMS_OF_A_USER: Final = 24
STREAMS: Final = 10_000
STREAMS_OF_VISITORS: Final = STREAMS // 2  # without a session; the rest is reserved for users

K = TypeVar("K", int, tuple[UUID, int])
State = Literal["live", "catching-up"]

log = structlog.get_logger(__name__)


class Update(Struct, frozen=True):
    """The day as of change `number`, and what changed since the stream's last number: seats by id, or `everything`."""

    view: DayView
    number: int
    seats: frozenset[int]
    everything: bool


class _Change(Struct, frozen=True):
    tag: str  # of the day view after the change
    seats: frozenset[int]


class Channel:
    """Watches one day for all its streams."""

    def __init__(self, day: date, views: DayViews, window: BookingWindow, changes: Changes) -> None:
        self.day = day
        self.number = 0
        self.heartbeats = 0
        self.streams = 0
        self._views = views
        self._window = window
        self._changes = changes
        self._view: DayView | None = None
        self._failed = False
        self._history: deque[_Change] = deque(maxlen=CHANGES_KEPT)
        self._refresh_wanted = asyncio.Event()
        self._news = asyncio.Event()
        self._task = asyncio.create_task(self._watch())

    @property
    def state(self) -> State:
        """Whether changes arrive at once, or with a delay because Redis or the database is away."""
        return "live" if self._changes.connected and not self._failed else "catching-up"

    @property
    def over(self) -> bool:
        """Whether the day can no longer be booked, so that it will not change any more."""
        return not self._window.includes(self.day)

    def refresh(self) -> None:
        """Read the day again soon, because it may have changed."""
        self._refresh_wanted.set()

    async def wait_for_news(self) -> None:
        """Wait for a change, a new state, a heartbeat, or the end of a stream."""
        await self._news.wait()

    async def view(self) -> DayView:
        """Return the latest view of the day.

        Raises:
            Overloaded: it has not been read yet, and the database does not answer.
        """
        if self._view is None:
            self._update_view(await self._views.day(self.day))
        assert self._view is not None  # noqa: S101 - for the type checker
        return self._view

    def number_of(self, tag: str) -> int | None:
        """Return the number of the state with this tag; None if it is unknown or no longer kept."""
        if self._view is not None and tag == self._view.tag:
            return self.number
        for behind, change in enumerate(reversed(self._history)):
            if change.tag == tag:
                return self.number - behind
        return None

    async def update(self, since: int | None) -> Update:
        """Return what changed since a number; everything if that is no longer known."""
        view = await self.view()
        missed = self.number - since if since is not None else CHANGES_KEPT + 1
        if missed > len(self._history):
            return Update(view, self.number, frozenset(), everything=True)
        recent = [change.seats for change in list(self._history)[len(self._history) - missed :]] if missed else []
        return Update(view, self.number, frozenset().union(*recent), everything=False)

    def wake(self) -> None:
        """Wake every stream, to check whether there is something to send."""
        self._news.set()
        self._news.clear()

    def heartbeat(self) -> None:
        """Make every stream send a heartbeat."""
        self.heartbeats += 1
        self.wake()

    def end(self) -> None:
        """Stop watching."""
        self._task.cancel()

    async def _watch(self) -> None:
        seen = (self.state, self.over)
        while True:
            try:
                self._refresh_wanted.clear()
                self._update_view(await self._views.day(self.day, fresh=True))
                self._failed = False
            except SeatwebError:
                self._failed = True  # the database does not answer; maps stay as they are, marked as possibly outdated
            except Exception:
                self._failed = True
                log.exception("reading a day failed", day=str(self.day))
            if seen != (self.state, self.over):
                seen = (self.state, self.over)
                self.wake()
            await asyncio.sleep(PAUSE_SECONDS)
            try:
                async with asyncio.timeout(self._seconds_to_next_read()):
                    await self._refresh_wanted.wait()
            except TimeoutError:
                pass

    def _seconds_to_next_read(self) -> float:
        seconds = POLL_SECONDS if self.state == "live" else POLL_WITHOUT_SIGNALS_SECONDS
        ends = [hold.ends_at for hold in self._view.holds.values()] if self._view else []
        return max(0.0, min(seconds, *(end - time.monotonic() for end in ends))) if ends else seconds

    def _update_view(self, view: DayView) -> None:
        before = self._view
        if before is not None and view.tag == before.tag:
            return
        self._view = view
        if before is None:
            return
        if {*before.seats} != {*view.seats}:  # seats were added or removed: streams get whole sections
            self._history.clear()
            self.number += CHANGES_KEPT + 1
        else:
            if not self._history:
                self._history.append(_Change(before.tag, frozenset()))
            self._history.append(_Change(view.tag, _changed_seats(before, view)))
            self.number += 1
        self.wake()


def _changed_seats(before: DayView, after: DayView) -> frozenset[int]:
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
    """Opens and closes the channels of this process, and counts their streams."""

    def __init__(self, views: DayViews, window: BookingWindow, changes: Changes) -> None:
        self._views = views
        self._window = window
        self._changes = changes
        self._channels: dict[date, Channel] = {}
        self._sessions: Counter[tuple[UUID, int]] = Counter()
        self._users: Counter[int] = Counter()
        self._ended: set[UUID] = set()
        self.closing = False

    async def __aenter__(self) -> Self:
        """Start to listen for changes and to send heartbeats."""
        self._changes.listen(self._refresh)
        self._heartbeat_task = asyncio.create_task(self._send_heartbeats())
        return self

    async def __aexit__(self, *exception: object) -> None:
        """End every stream."""
        self.close()
        self._heartbeat_task.cancel()
        await asyncio.gather(self._heartbeat_task, return_exceptions=True)

    @asynccontextmanager
    async def join(self, days: Collection[date], session: Session | None) -> AsyncIterator[dict[date, Channel]]:
        """Open a stream of one map for each of the days, which may repeat, and yield the channels of the days.

        Raises:
            TooManyStreams: this user, or the process, has too many streams open.
        """
        user_id = session.user.id if session else 0
        limit = STREAMS_OF_A_USER if session else STREAMS_OF_VISITORS
        count = len(days)
        if self.closing or self._users.total() + count > STREAMS or self._users[user_id] + count > limit:
            raise TooManyStreams
        self._users[user_id] += count
        if session:
            self._sessions[session.id, user_id] += 1
        channels = {day: self._channel(day) for day in {*days}}
        for channel in channels.values():
            channel.streams += 1
        try:
            yield channels
        finally:
            for day, channel in channels.items():
                channel.streams -= 1
                if not channel.streams:
                    channel.end()
                    del self._channels[day]
            _decrement(self._users, user_id, count)
            if session:
                _decrement(self._sessions, (session.id, user_id))
                if (session.id, user_id) not in self._sessions:
                    self._ended.discard(session.id)

    def _channel(self, day: date) -> Channel:
        if day not in self._channels:
            self._channels[day] = Channel(day, self._views, self._window, self._changes)
        return self._channels[day]

    @property
    def sessions(self) -> dict[UUID, int]:
        """The ids of the sessions that have a stream open, and of their users."""
        return dict(self._sessions.keys())

    def end_sessions(self, ended: set[UUID]) -> None:
        """End the streams of these sessions."""
        if ended := ended & self.sessions.keys():
            self._ended |= ended
            self._wake()

    def has_ended(self, session: Session | None) -> bool:
        """Return whether a stream's session has ended since the stream was opened."""
        return session is not None and session.id in self._ended

    def close(self) -> None:
        """End every stream, because the process is stopping."""
        self.closing = True
        self._wake()

    def _wake(self) -> None:
        for channel in self._channels.values():
            channel.wake()

    def _refresh(self, day: date | None) -> None:
        for channel in self._channels.values():
            if day is None or channel.day == day:
                channel.refresh()

    async def _send_heartbeats(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            for channel in self._channels.values():
                channel.heartbeat()


def _decrement(counter: Counter[K], key: K, count: int = 1) -> None:
    counter[key] -= count
    if not counter[key]:
        del counter[key]
