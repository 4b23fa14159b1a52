"""The live map over real HTTP: streams get each change, nothing else, and only what their viewer may see."""

from __future__ import annotations

import asyncio
import gc
import socket
import weakref
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
import redis
from seatweb.accounts import queries as account_queries
from seatweb.booking import live as module
from seatweb.booking import queries as booking_queries
from seatweb.booking.changes import CHANNEL
from seatweb.booking.live import POLL_SECONDS, Live
from seatweb.storage.database import Database

from tests.domain import Process
from tests.faults.support import BROKEN_SECONDS, SECONDS, Event, Stream, hold, live, tag_of
from tests.support import Clock, Site, Visitor, one, promised, soup, until

DAY = "2026-11-23"
COUNT = f"#free-{DAY}"  # the day's free seats in the week above the map


@pytest.fixture
def store(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        yield client


async def cancel(visitor: Visitor) -> None:
    action = one(soup(await visitor.get("/my/bookings")), "form[action$='/cancel']")["action"]
    assert (await visitor.post(str(action))).status_code == 303


def counts(event: Event, section: str = "A") -> tuple[str, str]:
    """Return the section's count and the tally in the event."""
    html = soup(event.data)
    return one(html, f"#section-{section}-count").get_text(), str(one(html, "#tally")["data-free"])


async def test_each_change_by_others_arrives_and_nothing_else(site: Site, clock: Clock) -> None:
    async with site.people(1, prefix="Zoltan") as (zoltan,):
        visitor = site.visitor()
        async with live(visitor, clock.today) as stream:
            assert (stream.events[0].name, stream.events[0].data) == ("status", "live")
            token = await hold(zoltan, clock.today, 7)
            events = [await stream.shows(7, "held")]
            await zoltan.post_htmx(f"/days/{DAY}/seats/7/release", token=token)
            events.append(await stream.shows(7, "free"))
            await zoltan.book(clock.today, 7)
            events.append(await stream.shows(7, "taken"))
            await zoltan.post(f"/days/{DAY}/seats/43/move")
            moved = await stream.shows(43, "taken")
            assert moved.status(7) == "free"
            await cancel(zoltan)
            events.append(await stream.shows(43, "free"))
            for event, section in zip(events, "AAAC", strict=True):
                (seat,) = (target for target in event.targets if target.startswith("#seat-"))
                assert event.targets == [seat, f"#section-{section}-count", "#tally", COUNT]
            assert [counts(event, section) for event, section in zip(events, "AAAC", strict=True)] == [
                ("19 free", "79"), ("20 free", "80"), ("19 free", "79"), ("20 free", "80"),
            ]  # fmt: skip
            assert len(stream.changes) == 5
            assert events[-1].id == await tag_of(visitor, clock.today)
            assert len({event.id for event in events}) == 4
            assert one(soup(events[0].data), "#seat-7")["aria-label"] == "Seat A-07, on hold"
            assert "<hx-partial" in events[0].data
            for event in stream.events:
                assert not [word for word in ("Zoltan", ">ZO<", token) if word in event.data]


@pytest.mark.timing
async def test_each_change_arrives_within_a_second(site: Site, clock: Clock) -> None:
    async with site.people(1) as (ada,), live(site.visitor(), clock.today) as stream:
        for _ in range(5):
            token = await hold(ada, clock.today, 7)
            await stream.shows(7, "held", SECONDS)
            await ada.post_htmx(f"/days/{DAY}/seats/7/release", token=token)
            await stream.shows(7, "free", SECONDS)
            await ada.book(clock.today, 7)
            await stream.shows(7, "taken", SECONDS)
            await cancel(ada)
            await stream.shows(7, "free", SECONDS)


async def test_the_expiry_of_a_hold_is_streamed(
    site: Site, clock: Clock, store: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "POLL_SECONDS", 1000)  # so that nothing but the expiry can free the seat

    def hold_for(milliseconds: int) -> None:
        seconds, microseconds = store.time()
        now = int(seconds) * 1000 + int(microseconds) // 1000
        store.hset(f"holds:{{{DAY}}}", "7", f"1 some-token {now} {now + milliseconds}")
        store.publish(CHANNEL, f"someone {DAY}")

    async with live(site.visitor(), clock.today) as stream:
        hold_for(60_000)
        await stream.shows(7, "held")
        hold_for(300)
        await stream.shows(7, "free")


async def test_a_change_whose_signal_was_lost_is_found_by_polling(
    start_site: Callable[..., Site], clock: Clock, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert POLL_SECONDS < BROKEN_SECONDS
    monkeypatch.setattr("seatweb.booking.live.POLL_SECONDS", 0.2)
    async with live(start_site().visitor(), clock.today) as stream:
        await connection.execute("update seats set closed = true where id = 7")
        await stream.shows(7, "closed")


async def test_only_users_see_who_has_a_seat_and_their_own_seat_is_marked(site: Site, clock: Clock) -> None:
    async with (
        site.people(1, prefix="Zoltan") as (zoltan,),
        site.people(1) as (grace,),
        live(zoltan, clock.today) as his,
        live(grace, clock.today) as hers,
        live(site.visitor(), clock.today) as visitors,
    ):
        await his.says("mine", f"{DAY} ")
        await zoltan.book(clock.today, 7)
        (mine, taken, seen) = (
            await his.shows(7, "mine"),
            await hers.shows(7, "taken"),
            await visitors.shows(7, "taken"),
        )
        assert one(soup(mine.data), "#seat-7")["aria-label"] == "Seat A-07, yours"
        assert one(soup(taken.data), ".seat-initials").get_text() == "ZO"
        assert "ZO" not in soup(seen.data).get_text()
        await his.says("mine", f"{DAY} 7")
        await zoltan.post(f"/days/{DAY}/seats/8/move")
        await his.says("mine", f"{DAY} 8")
        await cancel(zoltan)
        await his.says("mine", f"{DAY} ")
        assert [event.data for event in hers.events if event.name == "mine"] == [f"{DAY} "]
        assert not [event for event in visitors.events if event.name == "mine"]
        assert not [
            event for event in [*his.events, *visitors.events] if "Zoltan" in event.data or ">ZO<" in event.data
        ]


@pytest.mark.parametrize("first", ["holder", "other"])
async def test_each_viewer_gets_their_own_counts(site: Site, clock: Clock, first: str) -> None:
    """A held seat counts as free for its holder only, whichever stream was opened first."""
    async with site.people(3) as (ada, grace, eve), AsyncExitStack() as stack:
        await hold(ada, clock.today, 7)
        streams: dict[str, Stream] = {}
        for name in (first, *({"holder", "other"} - {first})):
            viewer = ada if name == "holder" else grace
            streams[name] = await stack.enter_async_context(live(viewer, clock.today))
        await eve.book(clock.today, 8)
        assert counts(await streams["holder"].shows(8, "taken")) == ("19 free", "79")
        assert counts(await streams["other"].shows(8, "taken")) == ("18 free", "78")


async def test_a_held_seat_stays_free_in_its_holders_other_tabs(site: Site, clock: Clock) -> None:
    async with site.people(2) as (ada, grace), live(ada, clock.today) as hers, live(grace, clock.today) as others:
        await hold(ada, clock.today, 7)
        await others.shows(7, "held")
        await hold(ada, clock.today, 8)
        assert (await others.shows(8, "held")).status(7) == "free"
        await grace.book(clock.today, 9)
        await hers.shows(9, "taken")
        assert {event.status(seat) for event in hers.changes for seat in (7, 8)} <= {"free", None}


async def test_a_section_page_gets_only_changes_of_its_section(site: Site, clock: Clock) -> None:
    async with site.people(2) as (ada, grace), live(site.visitor(), clock.today, section="B") as stream:
        await ada.book(clock.today, 7)
        await grace.book(clock.today, 27)
        event = await stream.shows(27, "taken")
        assert event.targets == ["#seat-27", "#section-B-count", "#tally", COUNT]
        assert counts(event, "B") == ("19 free", "19")
        assert one(soup(event.data), "#seat-27")["href"] == f"/days/{DAY}/seats/27?section=B"
        assert "seat-7" not in "".join(event.data for event in stream.events)


# Several windows


async def test_one_stream_carries_the_maps_of_all_windows(site: Site, clock: Clock) -> None:
    today, tomorrow = clock.today, clock.ahead(1)
    async with site.people(2) as (ada, grace), live(grace, tomorrow) as witness:
        tags = {day: await tag_of(ada, day) for day in (today, tomorrow)}
        await grace.book(tomorrow, 27)  # after the windows were opened
        await witness.shows(27, "mine")
        windows = [f"{today}/B/{tags[today]}", f"{tomorrow}//{tags[tomorrow]}"]
        async with live(ada, today, since=tags[today], also=windows) as stream:
            assert ada.user
            assert stream.response.headers["seatweb-viewer"] == ada.user.username
            missed = await stream.shows(27, "taken")
            assert (missed.map, missed.targets) == (
                f"{tomorrow}/",
                ["#seat-27", "#section-B-count", "#tally", f"#free-{tomorrow}"],
            )
            assert missed.id == await tag_of(ada, tomorrow)
            await stream.says("mine", f"{tomorrow} ")
            await ada.book(today, 28)
            for _ in range(2):
                await stream.says("mine", f"{today} 28")
            both = [event for event in stream.changes if event.status(28) == "mine"]
            assert {event.map: counts(event, "B")[1] for event in both} == {f"{today}/": "79", f"{today}/B": "19"}
            assert [event.data for event in stream.named if event.name == "status"] == ["live"]
            assert len(stream.changes) == 3


async def test_windows_that_show_a_map_in_different_states_get_all_that_any_of_them_missed(
    site: Site, clock: Clock
) -> None:
    async with site.people(3) as (ada, grace, joan), live(joan, clock.today) as witness:
        visitor, tags = site.visitor(), []
        for person, seat_id in ((ada, 7), (grace, 8)):
            tags.append(await tag_of(visitor, clock.today))
            await person.book(clock.today, seat_id)
            await witness.shows(seat_id, "taken")
        now = await tag_of(visitor, clock.today)
        async with live(visitor, clock.today, since=now, also=[f"{DAY}//{tag}" for tag in tags]) as stream:
            event = await stream.shows(7, "taken")
            assert event.targets == ["#seat-7", "#seat-8", "#section-A-count", "#tally", f"#free-{clock.today}"]
        async with live(visitor, clock.today, since=now, also=[f"{DAY}//A:1"]) as stream:
            assert (await stream.shows(7, "taken")).targets[0] == "#section-A"


async def test_a_window_whose_map_is_over_does_not_end_the_stream_of_the_others(site: Site, clock: Clock) -> None:
    gone = (f"{clock.ahead(-1)}//A:1", f"{DAY}/Z/A:1")
    async with site.people(1) as (ada,), live(site.visitor(), clock.today, also=gone) as stream:
        await stream.says("over", f"{clock.ahead(-1)}//")
        await stream.says("over", f"{DAY}/Z/")
        await ada.book(clock.today, 7)
        await stream.shows(7, "taken")


async def test_every_map_of_a_stream_counts(site: Site, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STREAMS_OF_A_USER", 3)
    path = f"/days/{DAY}/live?also={clock.ahead(1)}//&also={clock.ahead(2)}//"
    async with site.people(1) as (ada,):
        assert (await ada.http.head(path)).status_code == 200
        assert (await ada.http.head(f"{path}&also={clock.ahead(3)}//")).status_code == 429


# Reconnecting


async def test_a_reconnected_stream_gets_what_it_missed_and_nothing_twice(site: Site, clock: Clock) -> None:
    async with site.people(4) as (ada, grace, eve, joan), live(joan, clock.today) as witness:
        visitor = site.visitor()
        async with live(visitor, clock.today) as stream:
            await ada.book(clock.today, 7)
            last = (await stream.shows(7, "taken")).id
        async with live(visitor, clock.today, since=last) as stream:
            await grace.book(clock.today, 8)
            await stream.shows(8, "taken")
            (event,) = stream.changes
            assert event.targets == ["#seat-8", "#section-A-count", "#tally", COUNT]
            last = event.id
        await eve.book(clock.today, 43)
        await cancel(grace)
        await witness.shows(8, "free")
        async with live(visitor, clock.today, since=last) as stream:
            event = await stream.shows(43, "taken")
            assert (event.status(8), event.status(7)) == ("free", None)
            assert event.targets == ["#seat-8", "#section-A-count", "#seat-43", "#section-C-count", "#tally", COUNT]
            assert event.id == await tag_of(visitor, clock.today)
            assert len(stream.changes) == 1


async def test_a_page_rendered_before_a_change_gets_it(site: Site, clock: Clock) -> None:
    async with site.people(2) as (ada, grace), live(grace, clock.today) as witness:
        visitor = site.visitor()
        tag = await tag_of(visitor, clock.today)
        await ada.book(clock.today, 7)
        await witness.shows(7, "taken")
        async with live(visitor, clock.today, since=tag) as stream:
            assert (await stream.shows(7, "taken")).targets == ["#seat-7", "#section-A-count", "#tally", COUNT]


async def test_a_stream_with_an_unknown_tag_gets_whole_sections(
    site: Site, clock: Clock, subtests: pytest.Subtests
) -> None:
    async with site.people(1) as (ada,):
        await ada.book(clock.today, 7)
        for tag in ("A:1,B:1,C:1,D:1,h:0", "rubbish", "A:20", "🪑", "x" * 2000, "A:20,B:20,C:20,D:20,h:1"):
            with subtests.test(tag=tag[:20]):
                async with live(ada, clock.today, since=tag) as stream:
                    event = await stream.shows(7, "mine")
                    assert event.targets == [*(f"#section-{name}" for name in "ABCD"), "#tally", COUNT]
                    assert event.id == await tag_of(ada, clock.today)
                    await stream.says("mine", f"{DAY} 7")


async def test_a_stream_that_missed_more_changes_than_are_kept_gets_whole_sections(
    site: Site, clock: Clock, connection: asyncpg.Connection, store: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHANGES_KEPT", 8)
    async with live(site.visitor(), clock.today) as witness:
        tag = await tag_of(site.visitor(), clock.today)
        for number in range(10):
            await connection.execute("update seats set closed = $1 where id = 7", number % 2 == 0)
            store.publish(CHANNEL, f"someone {DAY}")
            event = await witness.shows(7, "closed" if number % 2 == 0 else "free")
            if number == 4:
                later = event.id
        async with live(site.visitor(), clock.today, since=tag) as stream:
            assert (await stream.shows(7, "free")).targets[0] == "#section-A"
        async with live(site.visitor(), clock.today, since=later) as stream:
            assert (await stream.shows(7, "free")).targets == ["#seat-7", "#section-A-count", "#tally", COUNT]


async def test_streams_get_whole_sections_when_a_seat_is_added(
    site: Site, clock: Clock, connection: asyncpg.Connection, store: redis.Redis
) -> None:
    async with live(site.visitor(), clock.today) as stream:
        await connection.execute(
            "insert into seats (id, section_id, number, grid_row, grid_column)"
            " overriding system value values (1081, 2, '99', 90, 1)"
        )
        store.publish(CHANNEL, f"someone {DAY}")
        event = await stream.shows(1081, "free")
        assert event.targets == [*(f"#section-{name}" for name in "ABCD"), "#tally", COUNT]


async def test_a_day_that_is_watched_again_streams_the_new_change(site: Site, clock: Clock) -> None:
    """A new channel starts counting again; its first change must not be mistaken for the old channel's first."""
    async with site.people(2) as (ada, grace):
        for person, seat_id in ((ada, 7), (grace, 8)):
            for viewer in (site.visitor(), person):
                async with live(viewer, clock.today) as stream:
                    if viewer is not person:
                        await person.book(clock.today, seat_id)
                        event = await stream.shows(seat_id, "taken")
                        assert event.targets == [f"#seat-{seat_id}", "#section-A-count", "#tally", COUNT]
                        assert event.id == await tag_of(viewer, clock.today)


async def test_a_page_from_another_process_misses_no_booking_made_between_two_reads(
    process: Process,
    another: Process,
    database: Database,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Both read the generation before a booking; the page reads the seats before it, the live map after it."""
    ada = await database.run(account_queries.register_user, "ada", "ada", ["ada"], "none")
    original = booking_queries.read_seats
    page_read, map_reads, booked = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def read_seats(sql: Any, wanted: Any) -> Any:
        if page_read.is_set():
            map_reads.set()
            await booked.wait()
            return await original(sql, wanted)
        rows = await original(sql, wanted)
        page_read.set()
        await booked.wait()
        return rows

    monkeypatch.setattr(booking_queries, "read_seats", read_seats)
    page = asyncio.create_task(another.views.day(clock.today))
    await page_read.wait()
    async with (
        Live(process.views, process.window, process.changes) as live_map,
        live_map.join([clock.today], None) as channels,
    ):
        channel = channels[clock.today]
        await map_reads.wait()
        await another.bookings.book(ada, 7, clock.today)
        booked.set()
        shown = await page
        assert shown.seats[7].sitter is None
        await channel.view()
        since = channel.number_of(shown.tag)
        async with asyncio.timeout(30):
            while (update := await channel.update(since)).view.tag == shown.tag:
                await asyncio.sleep(0.005)
        assert update.everything or 7 in update.seats


# Ends of streams, limits and invalid requests


@promised(SECONDS)
async def test_signing_out_ends_the_stream(site: Site, clock: Clock, seconds: float) -> None:
    async with site.people(2) as (ada, grace), live(ada, clock.today) as hers, live(grace, clock.today) as others:
        await ada.post("/logout")
        await hers.says("bye", "signed-out", seconds)
        await until(lambda: hers.ended, seconds)
        assert not hers.broken
        assert not others.ended


async def test_a_quiet_stream_sends_heartbeats_and_ends_with_its_day(
    start_site: Callable[..., Site], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("seatweb.booking.live.HEARTBEAT_SECONDS", 0.1)
    site = start_site()
    async with live(site.visitor(), clock.today) as stream:
        for _ in range(3):
            await stream.says("status", "live")
        clock.today += timedelta(days=1)
        await until(lambda: stream.ended)
        assert not stream.broken
        assert (await site.visitor().http.head(f"/days/{DAY}/live")).status_code == 404


async def test_a_user_can_have_a_limited_number_of_maps_in_open_streams(
    site: Site, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STREAMS_OF_A_USER", 8)
    async with site.people(2) as (ada, grace), AsyncExitStack() as stack:
        last = AsyncExitStack()
        for number in range(8):
            await (stack if number else last).enter_async_context(live(ada, clock.ahead(number % 3)))
        for day in (clock.today, clock.ahead(9)):
            refused = await ada.http.head(f"/days/{day}/live")
            assert (refused.status_code, int(refused.headers["retry-after"]) > 0) == (429, True)
        await stack.enter_async_context(live(grace, clock.today))
        for _ in range(10):
            await stack.enter_async_context(live(site.visitor(), clock.today))
        await last.aclose()
        async with asyncio.timeout(30):
            while (await ada.http.head(f"/days/{DAY}/live")).status_code != 200:
                await asyncio.sleep(0.01)
        await stack.enter_async_context(live(ada, clock.today))
        assert (await ada.http.head(f"/days/{DAY}/live")).status_code == 429


async def test_visitors_cannot_take_the_streams_reserved_for_users(
    site: Site, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STREAMS_OF_VISITORS", 3)
    async with site.people(1) as (ada,), AsyncExitStack() as stack:
        for _ in range(3):
            await stack.enter_async_context(live(site.visitor(), clock.today))
        assert (await site.visitor().http.head(f"/days/{DAY}/live")).status_code == 429
        await stack.enter_async_context(live(ada, clock.today))


async def test_nothing_of_a_day_is_kept_after_its_last_stream_ends(process: Process, clock: Clock) -> None:
    tasks = asyncio.all_tasks()
    async with Live(process.views, process.window, process.changes) as live_map:
        running = len(asyncio.all_tasks())
        async with live_map.join([clock.today], None) as channels, live_map.join([clock.today], None) as same:
            assert same == channels
            channel = channels[clock.today]
            await channel.view()
            gone = weakref.ref(channel)
        del channel, channels, same
        await until(lambda: len(asyncio.all_tasks()) == running)
        gc.collect()
        assert gone() is None
        assert (live_map._channels, live_map._users, live_map._sessions) == ({}, {}, {})
    await until(lambda: asyncio.all_tasks() == tasks)


async def test_proxies_and_browsers_neither_cache_nor_buffer_the_stream(site: Site, clock: Clock) -> None:
    visitor = site.visitor()
    async with visitor.http.stream("GET", f"/days/{DAY}/live", headers={"Accept-Encoding": "gzip, br"}) as answer:
        headers = answer.headers
        assert (answer.status_code, headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
        assert "no-store" in headers["cache-control"]
        assert headers["x-accel-buffering"] == "no"
        assert not {"content-encoding", "content-length", "set-cookie"} & {*headers}
        assert "default-src 'none'" in headers["content-security-policy"]
        assert (await anext(answer.aiter_raw())).startswith(b"event: status\ndata: live\n\n")


async def test_invalid_stream_requests_are_refused(site: Site, clock: Clock) -> None:
    visitor = site.visitor()
    path = f"/days/{DAY}/live"
    head = await visitor.http.head(path)
    assert (head.status_code, head.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    for method in ("POST", "PUT", "DELETE"):
        answer = await visitor.http.request(method, path)
        assert answer.status_code == 405
        assert "GET" in answer.headers["allow"]
    for path, status in (
        (f"/days/{clock.today - timedelta(days=1)}/live", 404), (f"/days/{clock.ahead(91)}/live", 404),
        ("/days/soon/live", 404), ("/days/2026-02-30/live", 404), (f"/days/{DAY}/live?section=Z", 404),
        (f"/days/{DAY}/live?section=A&section=B", 422), (f"/days/{DAY}/live?section=%00", 422),
        (f"/days/{DAY}/live?since=A&since=B", 422), (f"/days/{DAY}/live?also=soon//", 404),
        (f"/days/{DAY}/live?" + "&".join(f"also={clock.ahead(days)}//" for days in range(1, 9)), 422),
        (f"/days/{DAY}/live/x", 404),
    ):  # fmt: skip
        async with visitor.http.stream("GET", path) as answer:
            assert (path, answer.status_code) == (path, status)
            assert soup((await answer.aread()).decode()).select("a[href='/']")


async def test_a_stalled_client_delays_nobody_and_gets_its_changes_combined(
    site: Site, clock: Clock, connection: asyncpg.Connection, store: redis.Redis
) -> None:
    await connection.execute(
        "insert into seats (section_id, number, grid_row, grid_column)"
        " select 1, to_char(n, 'FM0000'), 100 + n / 10, 1 + n % 10 from generate_series(21, 940) as n"
    )
    tag = await tag_of(site.visitor(), clock.today)
    loop = asyncio.get_running_loop()
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect(("127.0.0.1", int(site.url.rpartition(":")[2])))
        slow.settimeout(0)
        await loop.sock_sendall(slow, f"GET /days/{DAY}/live?since={tag} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert b"200 OK" in await loop.sock_recv(slow, 100)
        async with live(site.visitor(), clock.today) as quick:
            for number in range(24):  # about 300 kB each: together more than all buffers in between can hold
                closed = number % 2 == 0
                await connection.execute("update seats set closed = $1", closed)
                store.publish(CHANNEL, f"someone {DAY}")
                await quick.shows(1, "closed" if closed else "free")
            last = quick.changes[-1].id
        received = b""
        async with asyncio.timeout(30):
            while f"//{last}\n".encode() not in received[-1_000_000:] or not received.endswith(b"\n\n\r\n"):
                received += await loop.sock_recv(slow, 1_000_000)
    assert received.count(b"id: ") < 24
    assert received.rpartition(b"id: ")[2].count(b'data-status="free"') == 1000
