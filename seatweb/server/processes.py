"""Server processes that run without root's powers and end with the process that started them."""

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
HASTY_STOP_SECONDS: Final = 0.3
LOG_TAIL_BYTES: Final = 65_536
FOREIGN_FILE_BYTES: Final = 65_536

# What setpriv takes away besides root's rights, so that no program that a server runs can have them again. Where a
# container forbids to bound the capabilities, the first two do.
RESTRAINTS: Final = (
    ("--no-new-privs", "--inh-caps=-all", "--bounding-set=-all"),
    ("--no-new-privs", "--inh-caps=-all"),
    (),
)
# The kernel's parent-death signal is armed before this runs. Whoever has another parent by now came too late for it.
WITH_THE_KERNEL: Final = 'test "$PPID" = "$0" && exec "$@"'
# A watcher reads the pipe that the app holds, which comes as standard error: a line is the app's farewell, its end
# without one is the app's death.
WITH_A_WATCHER: Final = 'exec 3<&2 2>&1; (read -r line <&3 || kill -s "$0" $$) & exec 3<&-; exec "$@"'
CANNOT_ENTER_OR_RUN: Final = 'for path; do test -x "$path" || printf "%s\\0" "$path"; done'


class ServerError(Exception):
    """A server process cannot run; the message is one line."""


@dataclass(slots=True)
class Child:
    """A running process of ours."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    end_with: signal.Signals
    lifeline: int | None  # the writing end of the watcher's pipe, where the kernel does not watch

    def wait_until(self, is_ready: Callable[[], bool], *, seconds: float, poll: float) -> None:
        """Wait until the server is ready.

        Raises:
            ServerError: it ended, or is not ready in time.
        """
        deadline = time.monotonic() + seconds
        while not is_ready():
            if self.process.poll() is not None:
                raise self.failure("did not start")
            if time.monotonic() > deadline:
                raise self.failure(f"is not ready after {seconds:.0f} s")
            time.sleep(poll)

    def wait_until_done(self, *, seconds: float, poll: float) -> None:
        """Wait until the process has done its work.

        Raises:
            ServerError: it failed, or is not done in time.
        """
        deadline = time.monotonic() + seconds
        while self.process.poll() is None:
            if time.monotonic() > deadline:
                raise self.failure(f"is not done after {seconds:.0f} s")
            time.sleep(poll)
        self.say_farewell()
        if self.process.returncode != 0:
            raise self.failure("failed")

    def failure(self, what: str) -> ServerError:
        """Return what to raise, with the last line of the log."""
        with suppress(OSError), self.log.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - LOG_TAIL_BYTES))
            last = last_line(log.read(LOG_TAIL_BYTES).decode(errors="replace"))
            return ServerError(f"{self.name} {what}: {last} (see {self.log})")
        return ServerError(f"{self.name} {what}")

    def say_farewell(self) -> None:
        """Send the watcher home: the process has ended, and its number may soon be another's."""
        if self.lifeline is not None:
            with suppress(OSError):
                os.write(self.lifeline, b"\n")
            os.close(self.lifeline)
            self.lifeline = None

    @classmethod
    def stop_all(cls, children: list[Self]) -> None:
        """End all of them at once: politely, then hastily, then by force. It takes 2 s at most."""
        steps = [(None, STOP_SECONDS), (signal.SIGQUIT, HASTY_STOP_SECONDS), (signal.SIGKILL, HASTY_STOP_SECONDS)]
        for hasty, seconds in steps:
            for child in children:
                if child.process.poll() is None:
                    child.process.send_signal(hasty or child.end_with)
            deadline = time.monotonic() + seconds
            for child in children:
                with suppress(subprocess.TimeoutExpired):
                    child.process.wait(max(0.0, deadline - time.monotonic()))
        for child in children:
            child.say_farewell()


@contextmanager
def watched(children: Sequence[Child]) -> Iterator[None]:
    """End this process, as if by SIGTERM, when one of the children ends while it should run.

    Raises:
        ServerError: that happened; the message says which one, once this process has ended its work.
    """
    over = threading.Event()
    failures: list[ServerError] = []

    def look() -> None:
        while not over.wait(WATCH_SECONDS):
            for child in children:
                if child.process.poll() is not None:
                    failures.append(child.failure("ended by itself"))
                    os.kill(os.getpid(), signal.SIGTERM)
                    return

    watcher = threading.Thread(target=look, name="servers' watch", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
    if failures:
        raise failures[0]


@dataclass(frozen=True, slots=True)
class Runner:
    """As whom servers run, and what they need for it."""

    account: tuple[int, int] | None  # user and group to change to
    setpriv: tuple[str, ...] = ()  # util-linux's, where it knows the parent-death signal, and what it takes away

    @classmethod
    def choose(cls, *, owner_of: Path) -> Self:
        """Return how to run servers: as root they change to the owner of the data that they have already.

        Without data it is `nobody`: PostgreSQL refuses root.

        Raises:
            ServerError: there is no such user.
        """
        return cls.as_account(_account(owner_of) if os.geteuid() == 0 else None)

    @classmethod
    def as_account(cls, account: tuple[int, int] | None) -> Self:
        """Return how to run servers as this user and group; None keeps this process's own."""
        setpriv = shutil.which("setpriv") if sys.platform == "linux" else None
        if setpriv:
            for restraints in RESTRAINTS if account else RESTRAINTS[1:]:
                runner = cls(account, (setpriv, *restraints))
                if subprocess.run(runner._as_account(["true"]), capture_output=True, check=False).returncode == 0:  # noqa: S603
                    return runner
        return cls(account)  # busybox has a smaller setpriv

    def unreachable(self, paths: list[str]) -> list[str]:
        """Return those of the folders and programs that the servers' account may not enter or run."""
        if not self.account:
            return []
        command = self._as_account(["sh", "-c", CANNOT_ENTER_OR_RUN, "sh", *paths])
        change = self._change_user()
        tried = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/", **change)  # noqa: S603
        return tried.stdout.split("\0")[:-1] if tried.returncode == 0 else paths

    def give(self, folder: Path) -> None:
        """Make the servers' account the owner of a folder, which lies in one that is ours alone."""
        if self.account:
            os.chown(folder, *self.account, follow_symlinks=False)

    def take_back(self, folder: Path) -> None:
        """Make this process's user the owner again."""
        if self.account:
            os.chown(folder, os.geteuid(), os.getegid(), follow_symlinks=False)

    def reaches_cwd(self) -> bool:
        """Whether a server finds the folder in which it is started, whatever its rights on the folders above."""
        return self.account is None or sys.platform == "linux"

    def name_of(self, cwd: Path) -> str:
        """Return the name by which a server that is started in the folder `cwd` finds it.

        We enter it as root; this link of Linux then leads there without any right on the folders above.
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
        """Start a process that writes to `log` and gets the signal `end_with` when this process dies.

        In a session of its own: Ctrl-C in the terminal reaches the app only, which ends the servers after its own work.
        A log that has grown large is emptied first. 4 KiB of `stdin` fit into the pipe on every system.
        """
        watch: int | None = None
        lifeline: int | None = None
        if self.setpriv:
            shell = ["sh", "-c", WITH_THE_KERNEL, str(os.getpid()), *command]
        else:
            watch, lifeline = os.pipe()
            shell = ["sh", "-c", WITH_A_WATCHER, end_with.name.removeprefix("SIG"), *command]
        try:
            with _open_log(log) as output, _readable(stdin) as said:
                process = subprocess.Popen(  # noqa: S603
                    self._as_account(shell, end_with),
                    stdin=said,
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
        """Return what servers need of the environment: nothing that steers them, no secrets."""
        kept = {name: os.environ[name] for name in ("PATH", "TMPDIR", "LD_LIBRARY_PATH") if name in os.environ}
        return kept | {"LC_ALL": "C", "TZ": "UTC"}

    def _as_account(self, command: list[str], end_with: signal.Signals = signal.SIGINT) -> list[str]:
        """Return the command behind setpriv, which changes the user first, since that disarms the signal."""
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
    """Return the last line that says something."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "nothing was said"


def answers(path: Path, ask: bytes = b"", expect: bytes = b"") -> bool:
    """Whether a server listens on the socket, and answers so when something is asked."""
    with socket.socket(socket.AF_UNIX) as connection, suppress(OSError):
        connection.settimeout(1)
        connection.connect(str(path))
        connection.sendall(ask)
        return not ask or connection.recv(len(expect)) == expect
    return False


def read_foreign(path: Path) -> str | None:
    """Return the start of a file in a folder that another user owns; None where there is no file, but a link or a pipe.

    Raises:
        OSError: it cannot be read.
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
    """Take the lock on an open file, or return False where another process has it."""
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
        raise ServerError("PostgreSQL does not run as root, and there is no user nobody") from None
    return nobody.pw_uid, nobody.pw_gid


def _open_log(path: Path) -> IO[bytes]:
    log = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    if os.fstat(log).st_size > LARGEST_LOG_BYTES:
        os.ftruncate(log, 0)
    return os.fdopen(log, "ab")


@contextmanager
def _readable(text: bytes) -> Iterator[int]:
    """Give a descriptor from which the text can be read, once, and by nobody who does not inherit it."""
    reading, writing = os.pipe()
    try:
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(text)
        yield reading
    finally:
        os.close(reading)
