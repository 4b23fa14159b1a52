"""Real servers for every test: one PostgreSQL and one Redis a run, with a database for each worker, reset each time."""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import ExitStack
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path

import asyncpg
import pytest
import redis
from argon2 import PasswordHasher
from jinja2 import Environment
from jinja2.bccache import Bucket, BytecodeCache
from pydantic import SecretStr
from seatweb.server.embedded import running_backends
from seatweb.settings import Backends, Settings
from seatweb.storage import database
from seatweb.storage import redis as redis_client
from seatweb.web import rendering

from tests.databases import Keeper, copied, make_template
from tests.support import CHEAP, Clock, Site

pytest_plugins = ["tests.domain"]

SECRET = "a-secret-for-tests-only-0123456789abcdef"


class Compiled(BytecodeCache):
    """Templates as Jinja compiled them, in memory: else each of a thousand sites would do it anew."""

    def __init__(self) -> None:
        self._known: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if bucket.key in self._known:
            bucket.bytecode_from_string(self._known[bucket.key])

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._known[bucket.key] = bucket.bytecode_to_string()


vars(rendering)["Environment"] = partial(Environment, bytecode_cache=Compiled())

# Fixtures that need PostgreSQL, Redis or a whole Seatweb; tests in the folders that `_is_quick` names start their own.
SERVERS_OF_TESTS = {"_keeper", "_redis_database", "empty_database_url", "own", "browser"}
QUICK_MODULES = {"server/test_settings.py"}
# What bad input is chosen by: a day's tests choose the same, and the next day's others. Said first, to repeat a day.
os.environ.setdefault("SEATWEB_TEST_SEED", f"{datetime.now(UTC):%Y-%m-%d}")
SERVERS = pytest.StashKey[ExitStack]()


def pytest_configure(config: pytest.Config) -> None:
    """Start the servers once, before the workers of xdist, which inherit their addresses."""
    if hasattr(config, "workerinput") or config.option.collectonly or config.option.markexpr.startswith("quick"):
        return
    stack = config.stash[SERVERS] = ExitStack()
    folder = tempfile.mkdtemp(prefix="seatweb-test-")
    stack.callback(shutil.rmtree, folder, ignore_errors=True)
    os.environ["SEATWEB_TEST_FOLDER"] = folder
    given = {
        name: SecretStr(os.environ[variable])
        for name, variable in (("DATABASE_URL", "SEATWEB_TEST_DATABASE_URL"), ("REDIS_URL", "SEATWEB_TEST_REDIS_URL"))
        if os.environ.get(variable)
    }
    room = {"SEATWEB_WORKERS": 16}  # for the connections of all sites that run at once
    values = {"SEATWEB_DATA_DIR": Path(folder), "JWT_SECRET": SecretStr(SECRET), **room, **given}
    settings = Settings.model_validate(values)
    backends = stack.enter_context(running_backends(settings))
    os.environ["SEATWEB_TEST_DATABASE_URL"] = backends.database_url
    os.environ["SEATWEB_TEST_REDIS_URL"] = backends.redis_url
    asyncio.run(make_template(backends.database_url, ours="DATABASE_URL" not in given))


def pytest_report_header() -> str:
    """Say how the bad input of this run is sent again."""
    return f"bad input: SEATWEB_TEST_SEED={os.environ['SEATWEB_TEST_SEED']}"


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop the servers."""
    if SERVERS in config.stash:
        config.stash[SERVERS].close()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark those that need no server, and put those that run alone at the end, so that nobody waits for them before."""
    for item in items:
        if isinstance(item, pytest.Function) and _is_quick(item):
            item.add_marker("quick")
    items.sort(key=_is_alone)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Let nothing run beside a test that is marked `alone`, in whichever worker."""
    if "SEATWEB_TEST_FOLDER" not in os.environ:  # no server runs, and nothing that would be in anyone's way
        return (yield)
    folder = Path(os.environ["SEATWEB_TEST_FOLDER"])
    with (folder / "room").open("w") as room:
        with (folder / "door").open("w") as door:  # who waits for an empty room lets nobody in meanwhile
            fcntl.flock(door, fcntl.LOCK_EX)
            fcntl.flock(room, fcntl.LOCK_EX if _is_alone(item) else fcntl.LOCK_SH)
        return (yield)


def _is_quick(item: pytest.Function) -> bool:
    module = item.path.relative_to(Path(__file__).parent).as_posix()
    return not SERVERS_OF_TESTS & {*item.fixturenames} and (
        module in QUICK_MODULES or not module.startswith(("browser/", "faults/", "server/"))
    )


def _is_alone(item: pytest.Item) -> bool:
    return item.get_closest_marker("alone") is not None


@pytest.fixture(scope="session")
def _keeper() -> Iterator[Keeper]:
    """Give the database of this worker."""
    keeper = Keeper(os.environ["SEATWEB_TEST_DATABASE_URL"])
    yield keeper
    keeper.close()


@pytest.fixture
def database_url(_keeper: Keeper) -> str:
    """Give a database with the schema and the seats of a first run, and nothing of the tests before."""
    return _keeper.reset()


@pytest.fixture
def empty_database_url() -> Iterator[str]:
    """Give an empty database of this test alone."""
    with copied(os.environ["SEATWEB_TEST_DATABASE_URL"], None) as url:
        yield url


@pytest.fixture(scope="session")
def _redis_database() -> str:
    """Give a numbered Redis database of this worker alone."""
    url = os.environ["SEATWEB_TEST_REDIS_URL"]
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) + 1
    return f"{url}?db={number}" if url.startswith("unix:") else url.rsplit("/", 1)[0] + f"/{number}"


@pytest.fixture
def redis_url(_redis_database: str) -> str:
    """Give an empty Redis database."""
    with redis.Redis.from_url(_redis_database) as client:
        client.flushdb()
    return _redis_database


@pytest.fixture
def patient_with_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Redis take its time: a busy machine may keep its answer from us for longer than a site waits in service."""
    monkeypatch.setattr(redis_client, "SOCKET_SECONDS", 10)
    monkeypatch.setattr(redis_client, "CALL_SECONDS", 10)


@pytest.fixture
def patient_with_database(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a rush take its time, for the same reason: in service, who waits longer for a connection has to come back."""
    monkeypatch.setattr(database, "ACQUIRE_SECONDS", 30)


@pytest.fixture
def backends(database_url: str, redis_url: str) -> Backends:
    """Give the servers of this test."""
    return Backends(database_url=database_url, redis_url=redis_url, jwt_secret=SECRET)


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """Give a connection to look at the tables themselves."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


@pytest.fixture
def clock() -> Clock:
    """Give a clock that says 2026-11-23, a Monday, until it is set."""
    return Clock(date(2026, 11, 23))


@pytest.fixture
def hasher() -> PasswordHasher:
    """Give what hashes passwords: cheaply, except for tests that are about them."""
    return CHEAP


@pytest.fixture
def start_site(backends: Backends, clock: Clock, hasher: PasswordHasher) -> Iterator[Callable[..., Site]]:
    """Give a function that starts Seatweb in a thread on a free port, with other settings if wanted."""
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
    """Give a running Seatweb."""
    return start_site()
