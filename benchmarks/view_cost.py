"""The processor time of a view when thousands of people look at the map: `python -m benchmarks.view_cost`.

The app runs in this process and is called as the server calls it, so neither uvicorn nor the network counts. The users
and the bookings are those of the row `many-people`; a booking moves at every 250th view. The figure is the processor
time of all threads, including that of the moves.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import random
import tempfile
import time
from collections.abc import Iterator
from contextlib import redirect_stderr
from datetime import date, timedelta
from pathlib import Path
from typing import Final

from litestar.types import ASGIApp
from seatweb.app import create_app
from seatweb.settings import Backends, Settings

from benchmarks.parsers import Header, Request, started
from benchmarks.people import Person
from benchmarks.rows.crowd import ACCEPTED, DAYS, HTMX, NO_LIMIT, booked_seats, crowded
from benchmarks.servers import SECRET, Cores, Servers, running_servers

VIEWS: Final = 16_000  # of each kind; as many before them fill the caches
AT_A_TIME: Final = 8
VIEWS_PER_CHANGE: Final = 250
KINDS: Final[dict[str, tuple[str, dict[str, str]]]] = {
    "section view": ("/sections/A", HTMX),
    "day page": ("", {}),
    "day page, compressed": ("", ACCEPTED),
}


def main() -> None:
    """Print a row for each kind of view."""
    logging.getLogger("pogo_core").setLevel(logging.ERROR)  # do not list the applied migrations
    with (
        tempfile.TemporaryDirectory(prefix="seatweb-view-cost-") as folder,
        running_servers(Path(folder), Cores()) as servers,
        crowded(servers) as (url, viewers, movers, first),
        Path(os.devnull).open("w") as devnull,
        redirect_stderr(devnull),  # the log; writing it is part of the work
    ):
        moves = itertools.cycle(_moves(url, movers))
        asyncio.run(_measure(servers, url, viewers, moves, first))


async def _measure(
    servers: Servers, database_url: str, viewers: list[Person], moves: Iterator[Request], first: date
) -> None:
    given = {"DATABASE_URL": database_url, "REDIS_URL": servers.redis_url, "JWT_SECRET": SECRET, **NO_LIMIT}
    backends = Backends(database_url=database_url, redis_url=servers.redis_url, jwt_secret=SECRET)
    app = create_app(Settings.model_validate(given), backends)
    async with started(app):
        for name, (rest, headers) in KINDS.items():
            seconds = 0.0
            for _ in range(2):  # the first time fills the caches
                views = _views(viewers, first, rest, headers)
                began = time.process_time()
                async with asyncio.TaskGroup() as group:
                    for _ in range(AT_A_TIME):
                        group.create_task(_ask_all(app, views, moves))
                seconds = time.process_time() - began
            print(f"| {name} | {1e6 * seconds / VIEWS:.0f} µs |", flush=True)


async def _ask_all(app: ASGIApp, views: Iterator[tuple[int, Request]], moves: Iterator[Request]) -> None:
    for number, view in views:
        if number % VIEWS_PER_CHANGE == 0:
            await _ask(app, next(moves))
        await _ask(app, view)


async def _ask(app: ASGIApp, request: Request) -> None:
    if (status := await request.ask(app)) != 200:
        raise RuntimeError(f"{request.method} {request.path}: {status}")


def _views(viewers: list[Person], first: date, rest: str, headers: dict[str, str]) -> Iterator[tuple[int, Request]]:
    chance = random.Random(1)  # noqa: S311 - the same views in every run
    for number, viewer in enumerate(itertools.islice(itertools.cycle(viewers), VIEWS)):
        path = f"/days/{first + timedelta(days=chance.randrange(DAYS))}{rest}"
        yield number, Request(path=path, headers=_raw({"cookie": viewer.cookie, **headers}))


def _moves(url: str, movers: list[Person]) -> list[Request]:
    return [
        Request(
            "PATCH",
            f"/bookings/{booking_id}",
            headers=_raw({"authorization": f"Bearer {mover.token}", "content-type": "application/json"}),
            body=f'{{"seat_id": {seat_id}}}'.encode(),
        )
        for mover, booking_id, seat_id in booked_seats(url, movers)
    ]


def _raw(headers: dict[str, str]) -> tuple[Header, ...]:
    return tuple((name.lower().encode(), value.encode()) for name, value in headers.items())


if __name__ == "__main__":
    main()
