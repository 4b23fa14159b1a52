"""What the tests share: a running site, its visitors, and a clock."""

from __future__ import annotations

import asyncio
import errno
import random
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from datetime import date, datetime, timedelta
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar

import asyncpg
import httpx
import jwt
import pytest
import uvicorn
from argon2 import PasswordHasher
from bs4 import BeautifulSoup, Tag
from litestar import Litestar
from seatweb.accounts.model import Session, User
from seatweb.accounts.passwords import Passwords
from seatweb.app import create_app
from seatweb.http.cookies import Cookies
from seatweb.http.csrf import Csrf
from seatweb.http.protocol import BoundedHttp
from seatweb.http.tokens import CONFIRMED_AUDIENCE, Tokens
from seatweb.settings import Backends, Settings, split_ring
from seatweb.web.account.second_factor import CONFIRMED_SECONDS

HTMX = {"HX-Request": "true"}
# No test uses TLS, and reading the system's certificates takes 40 ms per visitor.
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
# For tests that send more requests per minute than people do.
NO_LIMITS = {
    f"SEATWEB_LIMIT_{name}": "off"
    for name in (
        *("SIGN_IN_FAILURES_PER_ACCOUNT", "SIGN_IN_FAILURES_PER_ADDRESS"),
        *("REGISTRATIONS", "HOLDS", "BOOKINGS", "REQUESTS"),
    )
}

# Hashes passwords at almost no cost, for tests that are not about passwords.
CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)

# Two addresses, and whether limits count them as one: IPv6 is counted by its /64 network.
ADDRESS_PAIRS = [
    ("2001:db8::1", "2001:db8:0:0:ffff::2", True),
    ("2001:db8::1", "2001:db8:0:1::1", False),
    ("::ffff:192.0.2.1", "192.0.2.1", True),
    ("192.0.2.1", "192.0.2.2", False),
    ("", "", True),
]

T = TypeVar("T")


class Clock:
    """The site's clock: says which day is today."""

    def __init__(self, today: date) -> None:
        self.today = today

    def __call__(self) -> date:
        return self.today

    def ahead(self, days: int) -> date:
        return self.today + timedelta(days=days)


class Site:
    """Seatweb in its own thread, on a free port of the loopback interface."""

    def __init__(
        self, settings: Settings, backends: Backends, clock: Clock | None, hasher: PasswordHasher = CHEAP
    ) -> None:
        self.settings, self.backends = settings, backends
        self.clock = clock or Clock(datetime.now(settings.zone).date())
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        secrets = split_ring(backends.jwt_secret)
        self.tokens = Tokens(secrets)
        self.our_cookies = Cookies(
            self.tokens, secure=settings.secure_cookies, port=settings.cookie_port, base=settings.base
        )
        self.csrf = Csrf(secrets, self.our_cookies, settings.public_url)
        self._ready = threading.Event()
        self._end_streams: Callable[[], Any] = lambda: None
        self._server = _Server(
            uvicorn.Config(
                partial(create_app, settings, backends, clock, self._at_end, Passwords(hasher=hasher)),
                factory=True,
                log_config=None,
                http=BoundedHttp,
                lifespan="on",
                timeout_graceful_shutdown=1,
                timeout_keep_alive=60,  # a slow test's connection must not close just as it is reused
                access_log=False,
                server_header=False,  # as in production
                proxy_headers=False,  # as in production: Seatweb decides itself which proxies to trust
            ),
            self._ready,
        )
        self._thread = threading.Thread(target=self._server.run, args=([self.socket],), daemon=True)

    def _at_end(self, callback: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        self._end_streams = lambda: loop.call_soon_threadsafe(callback)

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._ready.wait(60) or not self._server.started:
            raise RuntimeError("the site did not start")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop the server."""
        if self._thread.is_alive():
            self._end_streams()
        self._server.end()
        self._thread.join(10)
        self.socket.close()

    @property
    def connections(self) -> int:
        """How many connections the server has open."""
        return len(self._server.server_state.connections)

    @property
    def requests(self) -> int:
        """How many requests the server is handling."""
        return len(self._server.server_state.tasks)

    def visitor(self, **options: Any) -> Visitor:
        """Return a new visitor with their own browser."""
        return Visitor(self.url, **options)

    @asynccontextmanager
    async def people(self, count: int, prefix: str = "person") -> AsyncIterator[list[Visitor]]:
        """Yield signed-in visitors without the cost of hashing passwords; the tests of sign-in hash them."""
        connection = await asyncpg.connect(self.backends.database_url)
        rows = await connection.fetch(
            """
            with new_users as (
                insert into users (username, username_key, password_hash)
                select $2 || n, lower($2) || n, 'none' from generate_series(1, $1::int) as n
                returning id, username, created_at
            ), new_sessions as (
                insert into sessions (user_id, expires_at) select id, now() + interval '1 day' from new_users
                returning id, user_id, expires_at
            )
            select new_users.*, new_sessions.id as session_id, new_sessions.expires_at
            from new_users join new_sessions on new_sessions.user_id = new_users.id order by new_users.id
            """,
            count,
            prefix,
        )
        await connection.close()
        visitors = []
        for row in rows:
            user = User(id=row["id"], username=row["username"], created_at=row["created_at"])
            session = Session(id=row["session_id"], user=user, expires_at=row["expires_at"])
            visitors.append(Visitor(self.url, user=user))
            cookies = visitors[-1].http.cookies
            for cookie in self.our_cookies.of_session(session):
                cookies.set(cookie.key, str(cookie.value))
            cookies.set(self.our_cookies.csrf_cookie, "0" * 64)
            visitors[-1].use_token(self.csrf.token(f"{'0' * 64}:{session.id}"))
        yield visitors
        for visitor in visitors:
            await visitor.http.aclose()

    async def new_session(self, username: str) -> tuple[User, dict[str, str]]:
        """Return a new user and the cookies of their session, by name, for a browser."""
        async with self.people(1, prefix=username) as (visitor,):
            assert visitor.user
            return visitor.user, {str(name): str(value) for name, value in visitor.http.cookies.items()}

    def confirm(self, visitor: Visitor) -> None:
        """Make the visitor count as having just confirmed their password, without the cost of hashing it."""
        session = {"session": str(visitor.session_id)}
        cookie = self.our_cookies.of_step(CONFIRMED_AUDIENCE, session, CONFIRMED_SECONDS)
        visitor.http.cookies.set(cookie.key, str(cookie.value))


class _Server(uvicorn.Server):
    """uvicorn, but an event stops it; on its own it polls every 0.1 s, in three places."""

    def __init__(self, config: uvicorn.Config, ready: threading.Event) -> None:
        super().__init__(config)
        self._ready = ready
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = asyncio.Event()

    def end(self) -> None:
        """Stop the server, from another thread."""
        if self._loop:
            with suppress(RuntimeError):  # it has stopped already
                self._loop.call_soon_threadsafe(self._stopping.set)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        try:
            await super().startup(sockets)
        finally:
            self._ready.set()

    async def main_loop(self) -> None:
        while not self._stopping.is_set():
            await self.on_tick(0)  # updates the Date header
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), 1)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002 - `Site` closes them
        """Do what uvicorn does, without its pauses."""
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        with suppress(TimeoutError):
            async with asyncio.timeout(self.config.timeout_graceful_shutdown):
                while self.server_state.connections or self.server_state.tasks:
                    await asyncio.sleep(0.002)
        for task in self.server_state.tasks:
            task.cancel(msg="Task cancelled, timeout graceful shutdown exceeded")
        await self.lifespan.shutdown()


class Visitor:
    """Someone with a browser that runs no scripts."""

    def __init__(self, url: str, user: User | None = None, **options: Any) -> None:
        self.http = httpx.AsyncClient(base_url=url, timeout=30, follow_redirects=False, verify=NO_TLS, **options)
        self.user = user
        self.token = ""
        self._token_session: str | None = None

    async def get(self, path: str, **options: Any) -> httpx.Response:
        return await self.http.get(path, **options)

    async def post(self, path: str, **fields: str) -> httpx.Response:
        """Send a form as the page would."""
        return await self.http.post(path, data={"_csrf_token": await self.csrf(), **fields})

    async def post_htmx(self, path: str, **fields: str) -> httpx.Response:
        """Send a form as htmx would."""
        return await self.http.post(path, data={"_csrf_token": await self.csrf(), **fields}, headers=HTMX)

    async def csrf(self) -> str:
        """Return a CSRF token for forms, bound to the session."""
        if not self.token or self.session_id != self._token_session:
            for path in ("/register", "/account", "/account/second-factor"):
                answer = await self.get(path)
                if answer.status_code == 200:
                    break
            page = soup(answer)
            self.use_token(str(page.select("input[name=_csrf_token]")[0]["value"]))
        return self.token

    def use_token(self, token: str) -> None:
        """Use this token for forms until the session changes."""
        self.token = token
        self._token_session = self.session_id

    @property
    def session_id(self) -> str | None:
        """Return the id of the session that the cookies name."""
        for cookie in self.http.cookies.jar:
            if "seatweb_renewal" in cookie.name and cookie.value:
                return str(jwt.decode(cookie.value, options={"verify_signature": False})["sid"])
        return None

    async def register(self, username: str, password: str = "correct horse battery") -> httpx.Response:
        return await self.post("/register", username=username, password=password)

    async def login(self, username: str, password: str = "correct horse battery") -> httpx.Response:
        return await self.post("/login", username=username, password=password)

    async def book(self, day: date, seat_id: int) -> httpx.Response:
        return await self.post(f"/days/{day}/seats/{seat_id}/book")

    async def statuses(self, day: date) -> dict[str, str]:
        """Return the status of every seat as this visitor sees it, by label."""
        return seats(await self.get(f"/days/{day}"))


def soup(response: httpx.Response | str) -> BeautifulSoup:
    return BeautifulSoup(response if isinstance(response, str) else response.text, "html5lib")


def one(page: BeautifulSoup | Tag, selector: str) -> Tag:
    """Return the only element that matches."""
    found = page.select(selector)
    assert len(found) == 1, f"{selector}: {len(found)} elements"
    return found[0]


def seats(response: httpx.Response) -> dict[str, str]:
    """Return the status of every seat on the page, by label."""
    found = {}
    for element in soup(response).select("[data-seat-id]"):
        name = str(element.get("aria-label") or element.get_text(" ", strip=True))
        found[name.removeprefix("Seat ").partition(",")[0]] = str(element["data-status"])
    return found


def says(response: httpx.Response) -> str:
    """Return what the live regions of the page announce."""
    regions = soup(response).select("[role=status], [role=alert]")
    return " ".join(" ".join(region.get_text(" ", strip=True) for region in regions).split())


def run(action: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in its own thread, since Playwright runs an event loop in this one."""
    with ThreadPoolExecutor(1) as executor:
        return executor.submit(asyncio.run, action).result()


def free_port(host: str = "127.0.0.1") -> int:
    """Return a free port below those that the system assigns, so that no other test is given it meanwhile."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    while True:
        port = random.randrange(20_000, 32_000)  # noqa: S311 - no secret
        try:
            with socket.create_server((host, port), family=family):
                return port
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise


async def until(condition: Callable[[], Any], seconds: float = 30) -> None:
    """Wait until the condition is true; fail after `seconds`."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


async def within(seconds: float, check: Callable[[], Awaitable[bool]]) -> None:
    """Wait until the check returns true; fail after `seconds`."""
    async with asyncio.timeout(seconds):
        while not await check():
            await asyncio.sleep(0.02)


def promised(seconds: float) -> pytest.MarkDecorator:
    """Run a test twice: as an ordinary test, with `seconds` that are enough on a busy machine; and as a timing test."""
    return pytest.mark.parametrize(
        "seconds", [pytest.param(60, id="patient"), pytest.param(seconds, id="promised", marks=pytest.mark.timing)]
    )


async def until_definite(ask: Callable[[], Awaitable[httpx.Response]]) -> httpx.Response:
    """Return the first answer that is not 503; retry as Retry-After says, since a 503 does not mean no."""
    async with asyncio.timeout(60):
        while (answer := await ask()).status_code == 503:
            await asyncio.sleep(int(answer.headers["retry-after"]))
    return answer


async def together(*actions: Any, at_a_time: int = 60) -> list[Any]:
    """Run all actions, `at_a_time` at once, and return their results."""
    slots = asyncio.Semaphore(at_a_time)

    async def run(action: Any) -> Any:
        async with slots:
            return await action

    return list(await asyncio.gather(*map(run, actions)))


def without_layers(app: Any) -> Litestar:
    """Return the Litestar application inside the ASGI layers that `create_app` puts around it."""
    while not isinstance(app, Litestar):
        app = app._app
    return app


async def until_blocked(database_url: str, *tasks: asyncio.Future[Any]) -> None:
    """Wait until one connection per task is waiting for a database lock, and check that no task is done."""
    watcher = await asyncpg.connect(database_url)

    async def all_wait() -> bool:
        waiting = "datname = current_database() and wait_event_type = 'Lock'"
        count = await watcher.fetchval(f"select count(*) from pg_stat_activity where {waiting}")  # noqa: S608
        return bool(count >= len(tasks))

    try:
        await within(30, all_wait)
        assert not any(task.done() for task in tasks)
    finally:
        await watcher.close()
