"""Shared fixtures: each run starts one PostgreSQL and one Redis; each worker has a database, reset before each test."""

from __future__ import annotations

import asyncio
import gc
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, date, datetime
from functools import partial
from inspect import ismethod
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import redis
from argon2 import PasswordHasher
from jinja2 import Environment
from jinja2.bccache import Bucket, BytecodeCache
from litestar.handlers import base as handlers
from litestar.utils import signature
from litestar.utils.signature import ParsedSignature
from pydantic import SecretStr
from seatweb.accounts import failed_sign_ins
from seatweb.booking import early_refusal
from seatweb.http import deadline
from seatweb.server.embedded import running_backends
from seatweb.settings import Backends, Settings
from seatweb.storage import database
from seatweb.storage import redis as redis_client
from seatweb.web import rendering

from tests.databases import Keeper, create_template, new_database
from tests.support import CHEAP, Clock, Site

pytest_plugins = ["tests.domain"]

SECRET = "a-secret-for-tests-only-0123456789abcdef"


class Compiled(BytecodeCache):
    """Keeps compiled templates in memory, so that the thousand sites of a run do not each compile them."""

    def __init__(self) -> None:
        self._known: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if bucket.key in self._known:
            bucket.bytecode_from_string(self._known[bucket.key])

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._known[bucket.key] = bucket.bytecode_to_string()


vars(rendering)["Environment"] = partial(Environment, bytecode_cache=Compiled())


class Signatures:
    """Reads each handler's signature once; Litestar would read all of them again for each site, and copy them."""

    def __init__(self) -> None:
        self._known: dict[object, ParsedSignature] = {}

    def from_fn(self, fn: Any, namespace: dict[str, Any]) -> ParsedSignature:
        if not hasattr(fn, "__code__"):
            return ParsedSignature.from_fn(fn, namespace)
        key = (fn.__code__, ismethod(fn), *namespace.items())
        if key not in self._known:
            self._known[key] = ParsedSignature.from_fn(fn, namespace)
        return self._known[key]


vars(handlers)["ParsedSignature"] = Signatures()
vars(signature)["deepcopy"] = lambda value: value  # of the parts of a signature, which are immutable

# Fixtures that need PostgreSQL, Redis or a whole Seatweb. Tests in the folders that `_is_quick` lists start their own.
SERVER_FIXTURES = {"_keeper", "_redis_database", "empty_database_url", "own", "browser"}
QUICK_MODULES = {"server/test_settings.py"}
PATIENT_FOLDERS = {"accounts", "api", "booking", "http", "limits", "web"}
# The seed for choosing bad input: it changes every day. Set it to repeat an earlier day's input.
os.environ.setdefault("SEATWEB_TEST_SEED", f"{datetime.now(UTC):%Y-%m-%d}")
SERVERS = pytest.StashKey[ExitStack]()


def pytest_configure(config: pytest.Config) -> None:
    """Start the servers once, before the xdist workers, which inherit their addresses."""
    if hasattr(config, "workerinput") or config.option.collectonly or config.option.markexpr.startswith("quick"):
        return
    stack = config.stash[SERVERS] = ExitStack()
    folder = tempfile.mkdtemp(prefix="seatweb-test-")
    stack.callback(shutil.rmtree, folder, ignore_errors=True)
    given = {
        name: SecretStr(os.environ[variable])
        for name, variable in (("DATABASE_URL", "SEATWEB_TEST_DATABASE_URL"), ("REDIS_URL", "SEATWEB_TEST_REDIS_URL"))
        if os.environ.get(variable)
    }
    capacity = {"SEATWEB_WORKERS": 16}  # enough connections for all sites that run at once
    values = {"SEATWEB_DATA_DIR": Path(folder), "JWT_SECRET": SecretStr(SECRET), **capacity, **given}
    settings = Settings.model_validate(values)
    backends = stack.enter_context(running_backends(settings))
    os.environ["SEATWEB_TEST_DATABASE_URL"] = backends.database_url
    os.environ["SEATWEB_TEST_REDIS_URL"] = backends.redis_url
    asyncio.run(create_template(backends.database_url, owned="DATABASE_URL" not in given))


def pytest_report_header() -> str:
    """Report the seed that repeats the bad input of this run."""
    return f"bad input: SEATWEB_TEST_SEED={os.environ['SEATWEB_TEST_SEED']}"


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop the servers."""
    if SERVERS in config.stash:
        config.stash[SERVERS].close()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests that need no server."""
    for item in items:
        if isinstance(item, pytest.Function) and _is_quick(item):
            item.add_marker("quick")


def pytest_collection_finish() -> None:
    """Collect garbage more rarely, and exempt what is loaded so far: it stays, and looking through it takes time."""
    gc.freeze()
    gc.set_threshold(10_000)


def _is_quick(item: pytest.Function) -> bool:
    module = item.path.relative_to(Path(__file__).parent).as_posix()
    return not SERVER_FIXTURES & {*item.fixturenames} and (
        module in QUICK_MODULES or not module.startswith(("browser/", "faults/", "server/"))
    )


@pytest.fixture(scope="session")
def _keeper() -> Iterator[Keeper]:
    """Yield the keeper of this worker's database."""
    keeper = Keeper(os.environ["SEATWEB_TEST_DATABASE_URL"])
    yield keeper
    keeper.close()


@pytest.fixture
def database_url(_keeper: Keeper) -> str:
    """Return the URL of a database with the schema and a first run's seats, and nothing from earlier tests."""
    return _keeper.reset()


@pytest.fixture
def empty_database_url() -> Iterator[str]:
    """Yield the URL of an empty database for this test alone."""
    with new_database(os.environ["SEATWEB_TEST_DATABASE_URL"], None) as url:
        yield url


@pytest.fixture(scope="session")
def _redis_database() -> str:
    """Return the URL of this worker's own numbered Redis database."""
    url = os.environ["SEATWEB_TEST_REDIS_URL"]
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) + 1
    return f"{url}?db={number}" if url.startswith("unix:") else url.rsplit("/", 1)[0] + f"/{number}"


@pytest.fixture
def redis_url(_redis_database: str) -> str:
    """Return the URL of an empty Redis database."""
    with redis.Redis.from_url(_redis_database) as client:
        client.flushdb()
    return _redis_database


@pytest.fixture
def patient_with_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lengthen the timeouts for Redis: on a busy machine, it may need longer than a site waits in production."""
    monkeypatch.setattr(redis_client, "SOCKET_SECONDS", 10)
    monkeypatch.setattr(redis_client, "CALL_SECONDS", 10)


@pytest.fixture
def patient_with_database(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lengthen the wait for a database connection, so that a rush on a busy machine does not end in 503s."""
    monkeypatch.setattr(database, "ACQUIRE_SECONDS", 30)


@pytest.fixture
def patient(patient_with_redis: None, patient_with_database: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lengthen the timeouts of sites, which a busy machine may exceed."""
    monkeypatch.setattr(deadline, "DEADLINE_SECONDS", 60)
    monkeypatch.setattr(database, "STATEMENT_SECONDS", 60)
    for name in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"):
        monkeypatch.setitem(database.SERVER_SETTINGS, name, "50000")
    monkeypatch.setattr(early_refusal, "ACQUIRE_SECONDS", 30)


@pytest.fixture(autouse=True)
def _patient(request: pytest.FixtureRequest) -> None:
    """Be patient in these folders, except in timing tests; the tests in others choose for themselves."""
    folder = request.path.relative_to(Path(__file__).parent).parts[0]
    if folder in PATIENT_FOLDERS and not _is_timing(request):
        request.getfixturevalue("patient")


@pytest.fixture
def impatient_with_database(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the waits for a connection and a lock, in tests in which they end; not in timing tests."""
    if _is_timing(request):
        return
    monkeypatch.setattr(database, "ACQUIRE_SECONDS", 0.3)
    monkeypatch.setattr(early_refusal, "ACQUIRE_SECONDS", 0.3)
    monkeypatch.setitem(database.SERVER_SETTINGS, "lock_timeout", "700")


def _is_timing(request: pytest.FixtureRequest) -> bool:
    return request.node.get_closest_marker("timing") is not None


@pytest.fixture
def short_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the time that a sign-in waits for others in progress before it is refused."""
    monkeypatch.setattr(failed_sign_ins, "RETRY_SECONDS", 0.001)


@pytest.fixture
def backends(database_url: str, redis_url: str) -> Backends:
    """Return this test's servers."""
    return Backends(database_url=database_url, redis_url=redis_url, jwt_secret=SECRET)


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """Yield a connection for reading the tables directly."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


@pytest.fixture
def clock() -> Clock:
    """Return a clock that says 2026-11-23, a Monday, until a test sets it."""
    return Clock(date(2026, 11, 23))


@pytest.fixture
def hasher() -> PasswordHasher:
    """Return a cheap password hasher; tests about password hashing override it."""
    return CHEAP


@pytest.fixture
def start_site(backends: Backends, clock: Clock, hasher: PasswordHasher) -> Iterator[Callable[..., Site]]:
    """Yield a function that starts Seatweb in a thread on a free port, with any settings given."""
    with ExitStack() as stack:

        def start(
            *,
            with_backends: Backends = backends,
            with_clock: Clock | None = clock,
            with_hasher: PasswordHasher = hasher,
            **settings: object,
        ) -> Site:
            return stack.enter_context(Site(Settings.model_validate(settings), with_backends, with_clock, with_hasher))

        yield start


@pytest.fixture
def site(start_site: Callable[..., Site]) -> Site:
    """Return a running Seatweb."""
    return start_site()
