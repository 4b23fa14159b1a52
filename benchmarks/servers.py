"""Start and stop the processes of a run: PostgreSQL, Redis, and the app on a separate core; create databases."""

from __future__ import annotations

import asyncio
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import asyncpg
import redis
from pydantic import SecretStr
from seatweb.server.embedded import running_backends
from seatweb.server.migrate import migrate
from seatweb.settings import Settings

from benchmarks.load import Address, BenchmarkError

ROOT: Final = Path(__file__).parent.parent
SECRET: Final = "a-secret-for-benchmarks-only-0123456789abcdef"  # noqa: S105 - signs tokens of short-lived test users
CONNECTIONS: Final = 60  # to PostgreSQL: enough for the app, the bare app and pgbench
START_SECONDS: Final = 30.0
STOP_SECONDS: Final = 10.0
POLL_SECONDS: Final = 0.005
LOG_LINES_SHOWN: Final = 6
LOG_CHARACTERS_SHOWN: Final = 1000


@dataclass(frozen=True, slots=True)
class Cores:
    """CPU cores for the app and for everything else; empty if the system has no CPU affinity."""

    app: int | None = None
    rest: int | None = None
    all: tuple[int, ...] = ()

    @classmethod
    def take(cls) -> Cores:
        """Reserve the first core for the app, and pin this process and its children to the second."""
        if sys.platform != "linux":
            return cls()
        cores = sorted(os.sched_getaffinity(0))
        if len(cores) < 2:
            return cls()
        os.sched_setaffinity(0, {cores[1]})
        return cls(cores[0], cores[1], tuple(cores))


@dataclass(frozen=True, slots=True)
class App:
    """A running server process."""

    address: Address
    pid: int

    def resident_bytes(self) -> int:
        """Return the app's resident memory."""
        shown = subprocess.run(["ps", "-o", "rss=", "-p", str(self.pid)], capture_output=True, text=True, check=True)
        return int(shown.stdout) * 1024


@dataclass(frozen=True, slots=True)
class Servers:
    """PostgreSQL and Redis, and methods that run apps on them."""

    database_url: str
    redis_url: str
    folder: Path
    cores: Cores
    external: Sequence[str] = field(default=())  # DATABASE_URL, REDIS_URL or both, if set

    @contextmanager
    def database(self) -> Iterator[str]:
        """Yield the URL of a new database with the schema and the first-run seats; drop it on exit."""
        name = f"seatweb_bench_{uuid4().hex[:12]}"
        execute(self.database_url, f"create database {name}")
        try:
            url = _with_database(self.database_url, name)
            asyncio.run(migrate(url))
            self.forget_views()
            yield url
        finally:
            execute(self.database_url, f"drop database if exists {name} with (force)")
            self.forget_views()

    def forget_views(self) -> None:
        """Empty Redis, which may hold views of another database."""
        with redis.Redis.from_url(self.redis_url) as client:
            client.flushdb()

    def seatweb(self, database_url: str, **settings: str) -> AbstractContextManager[App]:
        """Run Seatweb with one worker on the app's core."""
        return self._serve(database_url, settings, all_cores=False)

    def seatweb_on_all_cores(self, database_url: str, **settings: str) -> AbstractContextManager[App]:
        """Run Seatweb on all cores, which it shares with the load generator, PostgreSQL and Redis."""
        return self._serve(database_url, settings, all_cores=True)

    @contextmanager
    def _serve(self, database_url: str, settings: Mapping[str, str], *, all_cores: bool) -> Iterator[App]:
        environment = {"DATABASE_URL": database_url, "REDIS_URL": self.redis_url, "JWT_SECRET": SECRET, **settings}
        command = [sys.executable, "-m", "seatweb", "serve"]
        with self.process(command, environment, ready="/health/live", all_cores=all_cores) as app:
            yield app

    @contextmanager
    def bare(self, factory: str, ready: str, **environment: str) -> Iterator[App]:
        """Run an app of `benchmarks.bare` on the same core, with uvicorn configured as in Seatweb."""
        command = [sys.executable, "-m", "uvicorn", f"benchmarks.bare:{factory}", "--factory", "--loop", "uvloop"]
        command += ["--http", "httptools", "--ws", "none", "--no-access-log", "--no-proxy-headers"]
        command += ["--no-server-header", "--backlog", "1024", "--timeout-keep-alive", "15", "--log-level", "warning"]
        with self.process([*command, "--port", "{port}"], environment, ready=ready) as app:
            yield app

    @contextmanager
    def process(
        self, command: Sequence[str], environment: Mapping[str, str], *, ready: str, all_cores: bool = False
    ) -> Iterator[App]:
        """Start a server, and yield it once it answers at the path `ready`.

        `{port}` in the command and the variable SEATWEB_PORT are set to a free port.

        Raises:
            BenchmarkError: it did not start.
        """
        address = Address("127.0.0.1", _free_port())
        log = self.folder / f"app-{address.port}.log"
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("SEATWEB_") and name not in {"DATABASE_URL", "REDIS_URL", "JWT_SECRET"}
        }
        with log.open("wb") as output:
            process = subprocess.Popen(
                [part.format(port=address.port) for part in command],
                env=inherited | {"SEATWEB_PORT": str(address.port), **environment},
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C reaches only this program, which stops the others
            )
        try:
            _pin(process, *(self.cores.all if all_cores else (self.cores.app,)))
            _wait_until_ready(process, address, ready)
            yield App(address, process.pid)
        except BenchmarkError as error:
            error.add_note(f"the last lines of {command[2]}:\n{_last_lines(log)}")
            raise
        finally:
            _stop(process)
            log.unlink(missing_ok=True)

    @contextmanager
    def on_app_core(self, command: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
        """Run a program on the app's core, instead of the app; its output can be read."""
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        try:
            _pin(process, self.cores.app)
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.wait(STOP_SECONDS)


@contextmanager
def running_servers(folder: Path, cores: Cores) -> Iterator[Servers]:
    """Yield the servers at DATABASE_URL and REDIS_URL, or start embedded ones in a new folder.

    Raises:
        BenchmarkError: the given Redis is not empty, and its data would be lost.
    """
    variables = ("DATABASE_URL", "REDIS_URL")
    external = {name: SecretStr(os.environ[name]) for name in variables if os.environ.get(name)}
    own = {"SEATWEB_DATA_DIR": folder / "data", "SEATWEB_DATABASE_POOL": CONNECTIONS, "JWT_SECRET": SecretStr(SECRET)}
    with running_backends(Settings.model_validate(own | external)) as backends:
        servers = Servers(backends.database_url, backends.redis_url, folder, cores, tuple(external))
        with redis.Redis.from_url(servers.redis_url) as client:
            if client.dbsize():
                raise BenchmarkError("REDIS_URL must name an empty database: it is emptied between the rows")
        yield servers


def execute(url: str, statement: str, *values: object) -> list[asyncpg.Record]:
    """Run one statement and return its rows."""

    async def fetch() -> list[asyncpg.Record]:
        connection: asyncpg.Connection[Any] = await asyncpg.connect(url)
        try:
            rows: list[asyncpg.Record] = await connection.fetch(statement, *values)
        finally:
            await connection.close()
        return rows

    return asyncio.run(fetch())


def _with_database(url: str, name: str) -> str:
    head, _, query = url.partition("?")
    return head.rsplit("/", 1)[0] + f"/{name}" + (f"?{query}" if query else "")


def _pin(process: subprocess.Popen[Any], *cores: int | None) -> None:
    pinned = {core for core in cores if core is not None}
    if pinned and sys.platform == "linux":
        os.sched_setaffinity(process.pid, pinned)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_ready(process: subprocess.Popen[bytes], address: Address, path: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not answers(address, path):
        if process.poll() is not None or time.monotonic() > deadline:
            raise BenchmarkError("the app did not start")
        time.sleep(POLL_SECONDS)


def _last_lines(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()[-LOG_LINES_SHOWN:]
    return "\n".join(line[:LOG_CHARACTERS_SHOWN] for line in lines)


def answers(address: Address, path: str) -> bool:
    """Return whether the server answers at the path, and not with a server error."""
    connection = http.client.HTTPConnection(*address, timeout=START_SECONDS)
    with suppress(OSError, http.client.HTTPException):
        try:
            connection.request("GET", path, headers={"Connection": "close"})
            return connection.getresponse().status < 500
        finally:
            connection.close()
    return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Stop a process: ask it to end, then kill it."""
    for number, seconds in ((signal.SIGTERM, STOP_SECONDS), (signal.SIGKILL, STOP_SECONDS)):
        if process.poll() is None:
            process.send_signal(number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
            return
