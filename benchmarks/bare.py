"""Minimal apps that set the limit for Seatweb's rates, on the same server software."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date
from typing import Any, Final
from uuid import UUID

import asyncpg
from litestar import Litestar, Response, get, post
from litestar.datastructures import State
from msgspec import Struct
from seatweb.storage.statements import load_statements

HELLO: Final = "Hello, world"
POOL: Final = 10  # the default of SEATWEB_DATABASE_POOL


@get("/")
async def hello() -> str:
    """Say hello."""
    return HELLO


def hello_app() -> Litestar:
    """Return an app that says hello."""
    return Litestar([hello], logging_config=None, openapi_config=None)


class Wanted(Struct):
    """A seat for a user on a day."""

    seat_id: int
    user_id: int
    day: date
    session_id: UUID


@post("/bookings")
async def book(data: Wanted, state: State) -> Response[dict[str, Any]]:
    """Run the booking statement; the unique indexes decide who gets the seat."""
    pool: asyncpg.Pool[Any] = state.pool
    try:
        async with pool.acquire() as connection:
            row = await state.statements.book_seat(
                connection, seat_id=data.seat_id, user_id=data.user_id, day=data.day, session_id=data.session_id
            )
    except asyncpg.UniqueViolationError:
        return Response({"code": "seat_taken"}, status_code=409)
    return Response({"id": row["id"], "seat_id": row["seat_id"]})


def booking_app() -> Litestar:
    """Return an app that books in the database at DATABASE_URL, without checking any rules."""

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        async with asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=1, max_size=POOL) as pool:
            app.state.update(pool=pool, statements=load_statements())
            yield

    return Litestar([book], lifespan=[lifespan], logging_config=None, openapi_config=None)
