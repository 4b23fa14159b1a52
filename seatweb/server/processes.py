"""Run server processes that have no root privileges and end with the process that started them."""

from __future__ import annotations

import errno
import fcntl
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, Self

LARGEST_LOG_BYTES: Final = 10_000_000
STOP_SECONDS: Final = 1.0
WATCH_SECONDS: Final = 0.25
FAST_STOP_SECONDS: Final = 0.3
LOG_TAIL_BYTES: Final = 65_536
FOREIGN_FILE_BYTES: Final = 65_536

# What setpriv drops besides root's rights, so that no program that a server starts can regain them. The first set that
# works is used, because some containers forbid changing the bounding set.
RESTRAINTS: Final = (
    ("--no-new-privs", "--inh-caps=-all", "--bounding-set=-all"),
    ("--no-new-privs", "--inh-caps=-all"),
    (),
)
# The parent-death signal is armed before this runs. If the parent has changed, ours died before that, so exit.
RUN_IF_PARENT_LIVES: Final = 'test "$PPID" = "$0" && exec "$@"'
# A background shell reads a pipe whose other end the app holds (passed in as standard error). If the pipe closes
# without a line, the app died: signal the server. A line means that the server has already ended.
RUN_WITH_WATCHER: Final = 'exec 3<&2 2>&1; (read -r line <&3 || kill -s "$0" $$) & exec 3<&-; exec "$@"'
LIST_UNREACHABLE: Final = 'for path; do test -x "$path" || printf "%s\\0" "$path"; done'


class ServerError(Exception):
    """A server process cannot run; the message is one line that says why."""


@dataclass(slots=True)
class Child:
    """A process that we started."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    end_with: signal.Signals
    lifeline: int | None  # the write end of the watcher's pipe; None where the kernel's parent-death signal is used

    def wait_until(self, is_ready: Callable[[], bool], *, seconds: float, poll: float) -> None:
        """Wait until the server is ready, at most `seconds`; check every `poll` seconds.

        Raises:
            ServerError: it ended, or was not ready in time.
        """
        deadline = time.monotonic() + seconds
        while not is_ready():
            if self.process.poll() is not None:
                raise self.failure("did not start")
            if time.monotonic() > deadline:
                raise self.failure(f"was not ready after {seconds:.0f} s")
            time.sleep(poll)

    def wait_until_done(self, *, seconds: float, poll: float) -> None:
        """Wait until the process has exited, at most `seconds`; check every `poll` seconds.

        Raises:
            ServerError: it failed, or did not exit in time.
        """
        deadline = time.monotonic() + seconds
        while self.process.poll() is None:
            if time.monotonic() > deadline:
                raise self.failure(f"was not done after {seconds:.0f} s")
            time.sleep(poll)
        self.stop_watcher()
        if self.process.returncode != 0:
            raise self.failure("failed")

    def failure(self, what: str) -> ServerError:
        """Return the error to raise, with the last line of the log."""
        with suppress(OSError), self.log.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - LOG_TAIL_BYTES))
            last = last_line(log.read(LOG_TAIL_BYTES).decode(errors="replace"))
            return ServerError(f"{self.name} {what}: {last} (see {self.log})")
        return ServerError(f"{self.name} {what}")

    def stop_watcher(self) -> None:
        """Tell the watcher to stop: the process has ended, and another process may soon have its pid."""
        if self.lifeline is not None:
            with suppress(OSError):
                os.write(self.lifeline, b"\n")
            os.close(self.lifeline)
            self.lifeline = None

    @classmethod
    def stop_all(cls, children: list[Self]) -> None:
        """Stop all children at once, within 2 s: each with its own signal, then SIGQUIT, then SIGKILL."""
        steps = [(None, STOP_SECONDS), (signal.SIGQUIT, FAST_STOP_SECONDS), (signal.SIGKILL, FAST_STOP_SECONDS)]
        for stop_signal, seconds in steps:
            for child in children:
                if child.process.poll() is None:
                    child.process.send_signal(stop_signal or child.end_with)
            deadline = time.monotonic() + seconds
            for child in children:
                with suppress(subprocess.TimeoutExpired):
                    child.process.wait(max(0.0, deadline - time.monotonic()))
        for child in children:
            child.stop_watcher()


@contextmanager
def watched(children: Sequence[Child]) -> Iterator[None]:
    """Watch the children while the block runs; send this process SIGTERM if one of them ends.

    Raises:
        ServerError: a child ended; raised when the block has exited, with a message that names the child.
    """
    exited = threading.Event()
    failures: list[ServerError] = []

    def watch() -> None:
        while not exited.wait(WATCH_SECONDS):
            for child in children:
                if child.process.poll() is not None:
                    failures.append(child.failure("ended unexpectedly"))
                    os.kill(os.getpid(), signal.SIGTERM)
                    return

    watcher = threading.Thread(target=watch, name="server watcher", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        exited.set()
        watcher.join()
    if failures:
        raise failures[0]


@dataclass(frozen=True, slots=True)
class Runner:
    """Starts servers under the right user, without privileges."""

    account: tuple[int, int] | None  # user and group to change to
    setpriv: tuple[str, ...] = ()  # util-linux's setpriv with its options; empty if it lacks the parent-death signal

    @classmethod
    def choose(cls, *, owner_of: Path) -> Self:
        """Return a runner for this process's user or, if that is root, for the owner of the data.

        PostgreSQL refuses to run as root. Without data, or if root owns it, servers run as `nobody`.

        Raises:
            ServerError: there is no user `nobody`.
        """
        return cls.as_account(_account(owner_of) if os.geteuid() == 0 else None)

    @classmethod
    def as_account(cls, account: tuple[int, int] | None) -> Self:
        """Return a runner for this user and group; None keeps this process's own."""
        setpriv = shutil.which("setpriv") if sys.platform == "linux" else None
        if setpriv:
            for restraints in RESTRAINTS if account else RESTRAINTS[1:]:
                runner = cls(account, (setpriv, *restraints))
                if subprocess.run(runner._as_account(["true"]), capture_output=True, check=False).returncode == 0:  # noqa: S603
                    return runner
        return cls(account)  # no setpriv, or busybox's, which has fewer options

    def unreachable(self, paths: list[str]) -> list[str]:
        """Return which of these folders and programs the servers' account may not enter or run."""
        if not self.account:
            return []
        command = self._as_account(["sh", "-c", LIST_UNREACHABLE, "sh", *paths])
        change = self._change_user()
        result = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/", **change)  # noqa: S603
        return result.stdout.split("\0")[:-1] if result.returncode == 0 else paths

    def give(self, folder: Path) -> None:
        """Make the servers' account the owner of a folder; only we may write to its parent."""
        if self.account:
            os.chown(folder, *self.account, follow_symlinks=False)

    def take_back(self, folder: Path) -> None:
        """Make this process's user the folder's owner again."""
        if self.account:
            os.chown(folder, os.geteuid(), os.getegid(), follow_symlinks=False)

    def reaches_cwd(self) -> bool:
        """Return whether a server can use its working directory without rights on the parent folders."""
        return self.account is None or sys.platform == "linux"

    def name_of(self, cwd: Path) -> str:
        """Return the path by which a server started in `cwd` can open that folder.

        Root changes into it before the server drops its rights; on Linux, `/proc/self/cwd` then leads there without
        rights on the parent folders.
        """
        return "/proc/self/cwd" if self.account and self.reaches_cwd() else str(cwd)

    def start(
        self,
        name: str,
        command: list[str],
        log: Path,
        *,
        cwd: Path = Path("/"),
        stdin: bytes = b"",
        end_with: signal.Signals = signal.SIGINT,
        keep_open: int | None = None,
    ) -> Child:
        """Start a process that writes to `log` and receives the signal `end_with` when this process dies.

        It gets its own session: Ctrl-C in the terminal reaches only the app, which stops the servers when it is done.
        A log of more than 10 MB is emptied first. `stdin` must fit into a pipe: up to 4 KiB do on every system.
        """
        watch: int | None = None
        lifeline: int | None = None
        if self.setpriv:
            shell = ["sh", "-c", RUN_IF_PARENT_LIVES, str(os.getpid()), *command]
        else:
            watch, lifeline = os.pipe()
            shell = ["sh", "-c", RUN_WITH_WATCHER, end_with.name.removeprefix("SIG"), *command]
        try:
            with _open_log(log) as output, _readable(stdin) as input_pipe:
                process = subprocess.Popen(  # noqa: S603
                    self._as_account(shell, end_with),
                    stdin=input_pipe,
                    stdout=output,
                    stderr=output if watch is None else watch,
                    cwd=cwd,
                    env=self.environment(),
                    start_new_session=True,
                    pass_fds=() if keep_open is None else (keep_open,),
                    **self._change_user(),
                )
        finally:
            if watch is not None:
                os.close(watch)
        return Child(name, process, log, end_with, lifeline)

    @staticmethod
    def environment() -> dict[str, str]:
        """Return the environment for servers: no secrets, and no variables that change their behaviour."""
        kept = {name: os.environ[name] for name in ("PATH", "TMPDIR", "LD_LIBRARY_PATH") if name in os.environ}
        return kept | {"LC_ALL": "C", "TZ": "UTC"}

    def _as_account(self, command: list[str], end_with: signal.Signals = signal.SIGINT) -> list[str]:
        """Return the command wrapped in setpriv, which arms the signal after changing the user: a change disarms it."""
        if not self.setpriv:
            return command
        options = [*self.setpriv, f"--pdeathsig={end_with.name.removeprefix('SIG')}"]
        if self.account:
            options += [f"--reuid={self.account[0]}", f"--regid={self.account[1]}", "--clear-groups"]
        return [*options, "--", *command]

    def _change_user(self) -> dict[str, Any]:
        if self.setpriv or not self.account:
            return {}
        return {"user": self.account[0], "group": self.account[1], "extra_groups": []}


def last_line(text: str) -> str:
    """Return the last line that is not blank."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no output"


def answers(path: Path, ask: bytes = b"", expect: bytes = b"") -> bool:
    """Return whether a server listens on the socket and, if `ask` is given, answers it with `expect`."""
    with socket.socket(socket.AF_UNIX) as connection, suppress(OSError):
        connection.settimeout(1)
        connection.connect(str(path))
        connection.sendall(ask)
        return not ask or connection.recv(len(expect)) == expect
    return False


def read_foreign(path: Path) -> str | None:
    """Return the first 64 KiB of a file in another user's folder; None if it is missing or not a regular file.

    Links are not followed.

    Raises:
        OSError: the file cannot be read.
    """
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in {errno.ENOENT, errno.ELOOP, errno.ENXIO}:  # ENXIO: a socket
            return None
        raise
    with os.fdopen(file, "rb") as opened:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            return None
        return opened.read(FOREIGN_FILE_BYTES).decode(errors="replace")


def try_lock(lock: int) -> bool:
    """Lock an open file; return False if another process has the lock."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _account(owner_of: Path) -> tuple[int, int]:
    with suppress(FileNotFoundError):
        found = owner_of.stat()
        if found.st_uid != 0:
            return found.st_uid, found.st_gid
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        raise ServerError(
            "PostgreSQL refuses to run as root, and this system has no user `nobody` to run it as"
        ) from None
    return nobody.pw_uid, nobody.pw_gid


def _open_log(path: Path) -> IO[bytes]:
    log = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    if os.fstat(log).st_size > LARGEST_LOG_BYTES:
        os.ftruncate(log, 0)
    return os.fdopen(log, "ab")


@contextmanager
def _readable(text: bytes) -> Iterator[int]:
    """Yield a file descriptor from which the text can be read once, and only by a process that inherits it."""
    reading, writing = os.pipe()
    try:
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(text)
        yield reading
    finally:
        os.close(reading)
