"""Programs that use the JSON API with a token, and a proxy to PostgreSQL that can be cut or blocked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias
from urllib.parse import parse_qs, quote, urlsplit

import asyncpg
import httpx
import pytest
from seatweb.accounts.model import Session, User
from seatweb.http.tokens import API_AUDIENCE
from seatweb.settings import Backends

from tests.support import NO_TLS, Site, Visitor

PROBLEM_JSON = "application/problem+json"


class Program:
    """A program that sends a user's token and keeps no cookies."""

    def __init__(self, site: Site, user: User, session: Session) -> None:
        self.site, self.user, self.session = site, user, session
        self.token = site.tokens.issue(session, API_AUDIENCE)
        self.http = httpx.AsyncClient(base_url=site.url, timeout=30, follow_redirects=False, verify=NO_TLS)
        self.http.headers["authorization"] = f"Bearer {self.token}"

    async def get(self, path: str, **options: Any) -> httpx.Response:
        return await self.http.get(path, **options)

    async def post(self, path: str, content: object, *, key: str | None = None) -> httpx.Response:
        return await self.http.post(path, json=content, headers={"idempotency-key": key} if key else None)

    async def book(self, seat_id: int, *, key: str | None = None, **more: object) -> httpx.Response:
        return await self.post("/bookings", {"seat_id": seat_id, **more}, key=key)

    async def move(self, booking_id: object, seat_id: int, *, key: str | None = None) -> httpx.Response:
        headers = {"idempotency-key": key} if key else None
        return await self.http.patch(f"/bookings/{booking_id}", json={"seat_id": seat_id}, headers=headers)

    async def cancel(self, booking_id: object) -> httpx.Response:
        return await self.http.delete(f"/bookings/{booking_id}")


Programs: TypeAlias = Callable[..., AbstractAsyncContextManager[list[Program]]]


@asynccontextmanager
async def running_programs(site: Site, count: int, prefix: str = "person") -> AsyncIterator[list[Program]]:
    """Yield one program each for `count` new users."""
    async with site.people(count, prefix) as people:
        programs = [Program(site, *user_and_session(site, visitor)) for visitor in people]
        yield programs
        for program in programs:
            await program.http.aclose()


@pytest.fixture
def programs(site: Site) -> Programs:
    """Give a function that yields one program each for a number of new users."""

    def start(count: int, prefix: str = "person") -> AbstractAsyncContextManager[list[Program]]:
        return running_programs(site, count, prefix)

    return start


def user_and_session(site: Site, visitor: Visitor) -> tuple[User, Session]:
    """Return a signed-in visitor's user, and the session in their cookie."""
    assert visitor.user
    claims = site.tokens.read(visitor.http.cookies[site.our_cookies.session_cookie])
    assert claims
    in_an_hour = datetime.now(UTC) + timedelta(hours=1)
    return visitor.user, Session(id=claims.session_id, user=visitor.user, expires_at=in_an_hour)


def refused(answer: httpx.Response, status: int, code: str, *fields: str) -> dict[str, Any]:
    """Check that the response is a complete problem with this status, code and fields, and return it."""
    assert (answer.status_code, answer.headers["content-type"]) == (status, PROBLEM_JSON), answer.text
    problem: dict[str, Any] = answer.json()
    assert problem["code"] == code, problem
    assert {type(problem[name]) for name in ("type", "title", "detail", "code", "request_id")} == {str}
    assert (problem["type"], problem["status"]) == (f"/docs#{code}", status)
    assert problem["title"]
    assert problem["detail"]
    assert len(problem["request_id"]) == 16
    assert set(problem) <= {"type", "title", "status", "detail", "code", "request_id", "errors"}
    assert sorted({error["field"] for error in problem.get("errors", [])}) == sorted(fields), problem
    assert all(set(error) == {"field", "message"} and error["message"] for error in problem.get("errors", []))
    for mark in ("Traceback", "asyncpg", "msgspec", "litestar", "select ", "bookings_"):
        assert mark not in answer.text
    return problem


def responses(document: dict[str, Any], operation: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the responses of an operation of the OpenAPI document, by status, also those that operations share."""
    shared = document["components"]["responses"]
    return {
        status: shared[answer["$ref"].rpartition("/")[2]] if "$ref" in answer else answer
        for status, answer in operation["responses"].items()
    }


async def blocked_backend(connection: asyncpg.Connection) -> int:
    """Wait until a backend process of this database waits for a lock, and return its process id."""
    async with asyncio.timeout(30):
        while True:
            pid: int | None = await connection.fetchval(
                "select pid from pg_stat_activity"
                " where datname = current_database() and application_name = 'seatweb' and wait_event_type = 'Lock'"
            )
            if pid is not None:
                return pid
            await asyncio.sleep(0.01)


@asynccontextmanager
async def blocked_bookings(url: str) -> AsyncIterator[None]:
    """Make today's bookings in section A wait inside their transactions, by locking the section's generation."""
    blocker = await asyncpg.connect(url)
    try:
        await blocker.execute("begin; insert into generations values (1, '2026-11-23', 1)")
        yield
    finally:
        await blocker.close()


class Wire:
    """A TCP proxy to PostgreSQL that can be cut (connections end) or blocked (no data arrives)."""

    def __init__(self, url: str) -> None:
        self._parts = urlsplit(url)
        self._options = parse_qs(self._parts.query)
        self._open = asyncio.Event()
        self._open.set()
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self.port = 0

    @property
    def url(self) -> str:
        user = self._parts.username or self._options.get("user", ["postgres"])[0]
        password = f":{quote(self._parts.password)}" if self._parts.password else ""
        return f"postgresql://{user}{password}@127.0.0.1:{self.port}{self._parts.path}"

    async def mend(self) -> None:
        self._open.set()
        if self._server is None:
            self._server = await asyncio.start_server(self._forward, "127.0.0.1", self.port)
            self.port = self._server.sockets[0].getsockname()[1]

    def block(self) -> None:
        self._open.clear()

    def cut(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in self._writers:
            writer.transport.abort()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host = self._parts.hostname or self._options.get("host", ["127.0.0.1"])[0]
        port = self._parts.port or int(self._options.get("port", ["5432"])[0])
        if host.startswith("/"):
            server_reader, server_writer = await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
        else:
            server_reader, server_writer = await asyncio.open_connection(host, port)
        self._writers |= {writer, server_writer}
        with suppress(OSError):
            await asyncio.gather(self._copy(reader, server_writer), self._copy(server_reader, writer))
        self._writers -= {writer, server_writer}

    async def _copy(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(65536):
                await self._open.wait()
                target.write(data)
                await target.drain()
        target.close()


@pytest.fixture
async def wire(database_url: str) -> AsyncIterator[Wire]:
    """Give a proxy to this test's database."""
    wire = Wire(database_url)
    await wire.mend()
    yield wire
    wire.cut()


@pytest.fixture
def wired_backends(wire: Wire, backends: Backends) -> Backends:
    """Give this test's servers, with PostgreSQL behind the proxy."""
    return Backends(database_url=wire.url, redis_url=backends.redis_url, jwt_secret=backends.jwt_secret)


@pytest.fixture
def without_redis(backends: Backends) -> Backends:
    """Give this test's servers, with a Redis address where nothing listens."""
    return Backends(
        database_url=backends.database_url, redis_url="redis://127.0.0.1:1/0", jwt_secret=backends.jwt_secret
    )
