"""Benchmark of open maps: memory per map, and how soon the last one receives a booking."""

from __future__ import annotations

import asyncio
import html
import re
import resource
from typing import Final

import httpx

from benchmarks import data, people
from benchmarks.load import BenchmarkError, run
from benchmarks.measure import Bench, Result, median, milliseconds
from benchmarks.open_maps import Heard, OpenMaps
from benchmarks.people import Person
from benchmarks.servers import App, execute

MAPS: Final = 5000
FEW_MAPS: Final = 200
FIRST_MAPS: Final = 10
MAPS_PER_USER: Final = 5  # the app allows 24
BOOKINGS: Final = 7
OTHER_FILES: Final = 200
SETTLE_SECONDS: Final = 1.5
STREAM: Final = re.compile(r'data-stream="([^"]+)".* data-tag="([^"]+)"')
KIB: Final = 1024


def live(bench: Bench) -> list[Result]:
    """Open 5,000 maps of one day, measure the app's memory, and measure how fast bookings arrive."""
    maps = FEW_MAPS if bench.quick else MAPS
    _allow_files(maps + OTHER_FILES)
    with bench.servers.database() as url:
        people.register(url, max(maps // MAPS_PER_USER, data.CROWD))
        users = people.sign_in(url, maps // MAPS_PER_USER)
        seats = [row["id"] for row in execute(url, "select id from seats order by id")]
        data.settle(url)
        with bench.servers.seatweb(url) as site:
            path = _live_address(site, users[0])
            [measured] = run(_watch(OpenMaps(site.address), site, path, users, seats))
    return _results(bench, maps, *measured)


def _results(bench: Bench, maps: int, before: int, after: int, heard: list[Heard]) -> list[Result]:
    each = (after - before) / maps / KIB
    bench.say(f"live: {before / 1e6:.0f} MB without maps, {after / 1e6:.0f} MB with {maps:,}")
    first, half, last = (median(times) for times in zip(*heard, strict=True))
    sent = f"{maps:,} GET /days/{{day}}/live, {maps // MAPS_PER_USER:,} users' cookies"
    return [
        Result("live: memory", sent, f"{each:.1f} KiB per map", "", each, " KiB", 25.0, "less"),
        Result(
            name="live: last map",
            sent=f"{sent}; {len(heard)} POST /bookings",
            ours=f"first {milliseconds(first)}, half {milliseconds(half)}, last {milliseconds(last)}",
            against="",
            figure=1000 * last,
            unit=" ms",
            goal=200.0,
            better="less",
            rounds={
                "first": [h.first for h in heard],
                "half": [h.half for h in heard],
                "last": [h.last for h in heard],
            },
        ),
    ]


def _live_address(site: App, user: Person) -> str:
    """Return the URL of the event stream that a day's page connects to.

    Raises:
        BenchmarkError: the page has none.
    """
    page = f"http://{site.address.host}:{site.address.port}/days/{people.day_ahead(1)}"
    found = STREAM.search(httpx.get(page, headers={"Cookie": user.cookie}).text)
    if not found:
        raise BenchmarkError("a day's page has no event stream (data-stream)")
    return html.unescape(f"{found[1]}?since={found[2]}")


async def _watch(
    maps: OpenMaps, site: App, path: str, users: list[Person], seats: list[int]
) -> tuple[int, int, list[Heard]]:
    """Return the app's memory in bytes before and with the maps open, and when they received each booking."""
    requests = [user.get(path, Accept="text/event-stream") for user in users for _ in range(MAPS_PER_USER)]
    try:
        await maps.open(requests[:FIRST_MAPS])  # exclude one-time allocations
        await maps.close()
        before = site.resident_bytes()
        await maps.open(requests)
        await asyncio.sleep(SETTLE_SECONDS)
        after = site.resident_bytes()
        heard = []
        for user, seat in zip(users, seats[:BOOKINGS], strict=False):
            day = people.day_ahead(1)
            heard.append(await maps.book_and_wait(user.book(seat, day), seat))
            await asyncio.sleep(SETTLE_SECONDS)
        return before, max(after, site.resident_bytes()), heard
    finally:
        await maps.close()


def _allow_files(count: int) -> None:
    """Raise the limit of open files for this process and the app that it starts.

    Raises:
        BenchmarkError: the system does not allow it.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= count:
        return
    if hard != resource.RLIM_INFINITY and hard < count:
        raise BenchmarkError(f"{count} open files are needed, and the system allows {hard} (ulimit -n)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
