"""`seatweb serve` as an operator runs it: with real processes, signals and ports."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import asyncpg
import httpx
import psutil  # type: ignore[import-untyped]
import pytest
from seatweb.server.embedded import running_backends
from seatweb.server.serve import serve
from seatweb.settings import Settings
from seatweb.storage.migrations import check_schema

from tests.faults.support import PATIENT_SECONDS, Deadlines
from tests.support import free_port

REPOSITORY = Path(__file__).resolve().parents[2]
STRONG_SECRET = "a-secret-of-the-tests-0123456789-abcdefghij"


def wait_for(condition: Callable[[], bool], what: str, seconds: float = PATIENT_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen in {seconds} s"
        time.sleep(0.005)


def is_gone(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def is_worker(process: psutil.Process) -> bool:
    try:
        return not is_gone(process) and "spawn_main" in " ".join(process.cmdline())
    except psutil.Error:
        return False


class Seatweb:
    """A running `seatweb` command on a data folder, and its output."""

    def __init__(self, data: Path, command: str = "serve", log: int | None = None, /, **environment: str) -> None:
        """Write the log to the descriptor `log`, or to the file `err`."""
        inherited = ("PATH", "HOME", "COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG")
        self.data = data
        port = environment.get("SEATWEB_PORT", "")
        self.port = int(port) if port.isdigit() else free_port()
        self.out = Path(tempfile.mkstemp(prefix="out-", dir=data.parent)[1])
        self.err = Path(tempfile.mkstemp(prefix="err-", dir=data.parent)[1])
        with self.out.open("w") as out, self.err.open("w") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "seatweb", command],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err if log is None else log,
                cwd=data.parent,
                start_new_session=True,  # a process group like a terminal's foreground group, to send Ctrl-C to
                env={name: os.environ[name] for name in inherited if name in os.environ}
                | {"PYTHONPATH": str(REPOSITORY), "SEATWEB_DATA_DIR": str(data), "SEATWEB_PORT": str(self.port)}
                | environment,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        family = self.family()
        self.process.kill()
        self.process.wait()
        wait_for(lambda: all(map(is_gone, family)), "the end of all processes")
        if (self.data / "lock").exists():  # remove what the next start would
            for folder in (self.data / "lock").read_text().splitlines()[1:]:
                shutil.rmtree(folder, ignore_errors=True)

    def family(self) -> list[psutil.Process]:
        """Return the process and all its descendants."""
        try:
            this = psutil.Process(self.process.pid)
            return [this, *this.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def ready(self) -> Self:
        """Wait until it reports that it is ready."""
        wait_for(lambda: "is ready at" in self.out.read_text() or self.process.poll() is not None, "ready")
        assert self.process.poll() is None, self.err.read_text()
        return self

    def done(self) -> None:
        """Wait until a command that is not `serve` succeeds."""
        assert self.process.wait(PATIENT_SECONDS) == 0, self.err.read_text()

    def refused(self) -> str:
        """Wait until it fails, and return its error messages."""
        assert self.process.wait(PATIENT_SECONDS) != 0
        err = self.err.read_text()
        assert "Traceback" not in err
        assert self.out.read_text() == ""
        return err

    def ends(self, seconds: float = PATIENT_SECONDS, *, by: Callable[[], None]) -> None:
        """Check that it and all its processes end cleanly and in time after `by`.

        On a busy machine the shutdown can exceed its own time limit; then SIGALRM ends it, and the data is intact. A
        timing test does not accept that.
        """
        patient = seconds == PATIENT_SECONDS
        family = self.family()
        started = time.monotonic()
        by()
        code = self.process.wait(PATIENT_SECONDS)
        assert code in ({0, -signal.SIGALRM} if patient else {0}), self.err.read_text()
        assert time.monotonic() - started < seconds
        wait_for(lambda: all(map(is_gone, family)), "the end of all processes", seconds if patient else 1)
        assert "Traceback" not in self.err.read_text()

    def interrupt(self) -> None:
        os.killpg(self.process.pid, signal.SIGINT)

    def terminate(self) -> None:
        self.process.terminate()

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"http://127.0.0.1:{self.port}{path}", timeout=PATIENT_SECONDS)

    @property
    def database_url(self) -> str:
        folder = (self.data / "lock").read_text().splitlines()[1]
        return f"postgresql:///seatweb?host={folder}/sockets&user=seatweb"


@pytest.fixture
def end(request: pytest.FixtureRequest) -> str:
    """Return how to end Seatweb: each test alternates between the two ways from day to day."""
    seed = f"{os.environ['SEATWEB_TEST_SEED']} {request.node.name}"
    return random.Random(seed).choice(["interrupt", "terminate"])  # noqa: S311 - no secret


@pytest.fixture
def no_database() -> Iterator[str]:
    """Yield a database URL where nothing listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound but not listening, so it refuses connections
        yield f"postgresql://seatweb:wrong@127.0.0.1:{taken.getsockname()[1]}/seatweb"


@contextmanager
def open_request(port: int) -> Iterator[None]:
    """Keep an unfinished request and an idle connection open."""
    with socket.create_connection(("127.0.0.1", port)) as slow, socket.create_connection(("127.0.0.1", port)) as idle:
        slow.sendall(b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50\r\n")
        slow.sendall(b"Content-Type: application/x-www-form-urlencoded\r\n\r\nusername=")
        idle.sendall(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert idle.recv(100).startswith(b"HTTP/1.1 200")
        yield


def test_serve_prints_its_url_once_it_answers(data: Path) -> None:
    with Seatweb(data) as site:
        site.ready()
        assert site.out.read_text() == f"Seatweb is ready at http://127.0.0.1:{site.port}\n"
        assert site.get("/health/live").status_code == 200
        assert "server" not in site.get("/health/live").headers
        assert str(data) in site.err.read_text()
        assert "DATABASE_URL" in site.err.read_text()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_serve_stops_cleanly_and_in_time_with_a_request_open(
    used: Path, workers: str, end: str, deadlines: Deadlines
) -> None:
    with Seatweb(used, SEATWEB_WORKERS=workers) as site:
        site.ready()
        with open_request(site.port):
            site.ends(deadlines.end, by=getattr(site, end))


@pytest.mark.parametrize("moment", ["lock", "postgresql.new-*/PG_VERSION", "postgresql/postmaster.pid", "jwt_secret"])
def test_serve_stops_cleanly_during_its_first_start(data: Path, moment: str, end: str) -> None:
    with Seatweb(data) as site:
        wait_for(lambda: any(data.glob(moment)), moment)
        # Even on an idle machine, a first start with a slow disk can exceed the time for a clean shutdown.
        site.ends(by=getattr(site, end))
    with Seatweb(data, "migrate") as command:
        command.done()


def test_workers_that_are_still_starting_stop_cleanly(used: Path, deadlines: Deadlines) -> None:
    with Seatweb(used, SEATWEB_WORKERS="2") as site:
        wait_for(lambda: sum(map(is_worker, site.family())) == 2, "workers")
        site.ends(deadlines.end, by=site.interrupt)


async def test_kill_9_leaves_no_processes_and_loses_no_data(used: Path) -> None:
    with Seatweb(used, SEATWEB_WORKERS="2") as site:
        site.ready()
        connection = await asyncpg.connect(site.database_url)
        await connection.execute("create table noted as select 'kept' as word")
        family = site.family()
        assert len(family) > 5
        site.process.kill()
        site.process.wait()
        wait_for(lambda: all(map(is_gone, family)), "the end of all processes")
        connection.terminate()
    with running_backends(Settings.from_environment({"SEATWEB_DATA_DIR": str(used)})) as backends:
        connection = await asyncpg.connect(backends.database_url)
        assert await connection.fetchval("select word from noted") == "kept"
        await connection.close()


@pytest.mark.parametrize("server", ["postgres", "valkey-server"])
def test_the_death_of_an_embedded_server_is_reported_and_stops_seatweb(used: Path, server: str) -> None:
    with Seatweb(used) as site:
        site.ready()
        family = site.family()
        victim = next(each for each in family if each.name() == server and each.ppid() == site.process.pid)
        victim.kill()
        assert site.process.wait(PATIENT_SECONDS) == 1
        err = site.err.read_text()
        assert "Traceback" not in err
        line = err.splitlines()[-1]
        assert ("PostgreSQL" if server == "postgres" else "Valkey") in line
        assert "ended unexpectedly" in line
        wait_for(lambda: all(map(is_gone, family)), "the end of all processes")


def test_a_worker_that_dies_is_replaced(used: Path) -> None:
    def workers() -> list[psutil.Process]:
        return [each for each in site.family() if is_worker(each)]

    with Seatweb(used, SEATWEB_WORKERS="2") as site:
        site.ready()
        wait_for(lambda: len(workers()) == 2, "two workers")
        killed = workers()[0]
        killed.kill()
        wait_for(lambda: len(workers()) == 2 and killed not in workers(), "a new worker")
        assert site.get("/health/live").status_code == 200
        site.ends(by=site.interrupt)


def test_a_busy_port_is_reported_before_anything_starts(data: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with Seatweb(data, SEATWEB_PORT=str(port)) as site:
            err = site.refused()
            assert err == (
                f"seatweb: port {port} on 127.0.0.1 is in use by another program; choose another with SEATWEB_PORT\n"
            )
            assert site.process.returncode == 1
    assert not data.exists()


def test_a_second_seatweb_on_the_same_folder_is_refused(used: Path) -> None:
    with Seatweb(used) as first:
        first.ready()
        with Seatweb(used) as second:
            err = second.refused()
            assert (
                err == f"seatweb: the data folder {used} is in use by another Seatweb (process {first.process.pid})\n"
            )
        assert first.get("/health/live").status_code == 200


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"SEATWEB_PORT": "eighty"}, "SEATWEB_PORT"),
        ({"SEATWEB_PROT": "8000"}, "SEATWEB_PROT is not a Seatweb setting"),
        ({"DATABASE_URL": "postgresql://x/y"}, "JWT_SECRET is required"),
        ({"DATABASE_URL": "postgresql://x/y", "JWT_SECRET": "mySectreKeyWhichWillChange"}, "JWT_SECRET"),
        ({"SEATWEB_HOST": "0.0.0.0"}, "loopback only"),  # noqa: S104
        ({"SEATWEB_HOST": "example.org"}, "loopback only"),
    ],
)
def test_invalid_settings_are_reported_by_name(
    data: Path, environment: dict[str, str], expected: str, capfd: pytest.CaptureFixture[str]
) -> None:
    code = serve({"SEATWEB_DATA_DIR": str(data)} | environment)
    printed = capfd.readouterr()
    assert re.fullmatch(rf"(seatweb: .*\n)*seatweb: .*{expected}.*\n(seatweb: .*\n)*", printed.err)
    assert (code, printed.out) == (2, "")
    assert not data.exists()


def test_invalid_settings_end_the_command(data: Path) -> None:
    with Seatweb(data, SEATWEB_PORT="eighty") as site:
        assert site.refused().startswith("seatweb: SEATWEB_PORT")
        assert site.process.returncode == 2


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])  # RFC 5737 and RFC 6761: never ours
def test_an_address_of_another_host_is_reported(data: Path, no_database: str, host: str) -> None:
    with Seatweb(data, DATABASE_URL=no_database, JWT_SECRET=STRONG_SECRET, SEATWEB_HOST=host) as site:
        assert re.fullmatch(rf"seatweb: cannot listen on {re.escape(host)}: .*SEATWEB_HOST\n", site.refused())
    assert not data.exists()


@pytest.mark.parametrize("command", ["serve", "migrate"])
def test_an_unreachable_database_is_reported_in_one_line(data: Path, no_database: str, command: str) -> None:
    with Seatweb(data, command, DATABASE_URL=no_database, JWT_SECRET=STRONG_SECRET) as site:
        err = [line for line in site.refused().splitlines() if line.startswith("seatweb: ")]
        assert len(err) == 1
        assert "wrong" not in err[0], "the password is shown"
        assert site.process.returncode == 1


def test_an_unreachable_redis_is_reported_in_one_line(used: Path) -> None:
    with Seatweb(used, REDIS_URL=f"redis://127.0.0.1:{free_port()}/0") as site:
        err = [line for line in site.refused().splitlines() if line.startswith("seatweb: ")]
        assert len(err) == 1
        assert site.process.returncode == 1


def test_servers_on_one_database_must_share_a_redis(used: Path, redis_url: str, database_url: str) -> None:
    other = used.with_name("other")
    given = {"DATABASE_URL": database_url, "JWT_SECRET": STRONG_SECRET}
    with Seatweb(used, SEATWEB_WORKERS="2", **given) as first:
        first.ready()
        assert "REDIS_URL is not set: Seatweb runs its own Valkey" in first.err.read_text()
        with Seatweb(other, **given) as second:
            assert second.refused().splitlines()[-1] == (
                "seatweb: another Seatweb (at this machine) uses this database, and this one has no REDIS_URL: "
                "they would share no holds, limits or signals; set REDIS_URL to one Redis for all of them"
            )
        with Seatweb(other, REDIS_URL=redis_url, **given) as third:
            third.ready()
            assert "another Seatweb on this database has no REDIS_URL" in third.err.read_text()


async def test_migrate_creates_the_schema_and_exits(data: Path) -> None:
    with Seatweb(data, "migrate") as command:
        command.done()
        assert command.out.read_text() == "The database is up to date.\n"
    with running_backends(Settings.from_environment({"SEATWEB_DATA_DIR": str(data)})) as backends:
        await check_schema(backends.database_url)


def test_serve_listens_on_ipv6(used: Path) -> None:
    try:
        port = free_port("::1")
    except OSError:
        pytest.skip("no IPv6 here")
    with Seatweb(used, SEATWEB_HOST="::1", SEATWEB_PORT=str(port)) as site:
        site.ready()
        assert site.out.read_text() == f"Seatweb is ready at http://[::1]:{port}\n"
        assert httpx.get(f"http://[::1]:{port}/health/live").status_code == 200
