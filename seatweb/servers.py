"""Server processes that run without root's powers and end with the process that started them."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Self

LARGEST_LOG_BYTES: Final = 10_000_000
STOP_SECONDS: Final = 1.0
WATCH_SECONDS: Final = 0.25
HASTY_STOP_SECONDS: Final = 0.3
CAPABILITIES: Final = {"dac_read_search": 2, "dac_override": 1}  # linux/capability.h; the weaker one first

# The kernel's parent-death signal is armed before this runs. Whoever has another parent by now came too late for it.
WITH_THE_KERNEL: Final = 'test "$PPID" = "$0" && exec "$@"'
# A watcher reads the pipe that the app holds: a line is the app's farewell, its end without one is the app's death.
WITH_A_WATCHER: Final = 'exec 3<&0 </dev/null; (read -r line <&3 || kill -s "$0" $$) & exec 3<&-; exec "$@"'
CAN_RUN: Final = 'for path; do test -x "$path" || { echo "$path"; exit 1; }; done'


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
        with suppress(OSError):
            last = last_line(self.log.read_text(errors="replace"))
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

    account: tuple[int, int] | None  # user and group to change to; None keeps this process's own
    setpriv: str | None  # util-linux's, where it knows the parent-death signal
    capability: str | None = None  # to pass folders that the account cannot enter

    @classmethod
    def choose(cls, data: Path, *, owner_of: Path, programs: list[str]) -> Self:
        """Return how to run servers with their data below `data`.

        As root they run as the owner of the data they already have, or else as `nobody` (PostgreSQL refuses root).

        Raises:
            ServerError: the account cannot reach `data` or `programs`.
        """
        setpriv = shutil.which("setpriv") if sys.platform == "linux" else None
        knows = setpriv and subprocess.run([setpriv, "--pdeathsig=INT", "true"], capture_output=True, check=False)  # noqa: S603
        if not knows or knows.returncode != 0:
            setpriv = None  # busybox has a smaller one
        if os.geteuid() != 0:
            return cls(None, setpriv)
        with suppress(FileNotFoundError):
            if owner_of.stat().st_uid != 0:
                return cls._reaching((owner_of.stat().st_uid, owner_of.stat().st_gid), setpriv, [str(data), *programs])
        try:
            nobody = pwd.getpwnam("nobody")
        except KeyError:
            raise ServerError("PostgreSQL does not run as root, and there is no user nobody") from None
        return cls._reaching((nobody.pw_uid, nobody.pw_gid), setpriv, [str(data), *programs])

    @classmethod
    def _reaching(cls, account: tuple[int, int], setpriv: str | None, paths: list[str]) -> Self:
        runner = cls(account, setpriv)
        unreachable = runner._first_unreachable(paths)
        if unreachable and setpriv:
            # For instance below /root. The capability to read past folders is the least that helps.
            for name in (name for name, bit in CAPABILITIES.items() if _effective_capabilities() >> bit & 1):
                runner = cls(account, setpriv, name)
                unreachable = runner._first_unreachable(paths)
                if not unreachable:
                    break
        if unreachable:
            raise ServerError(
                f"started by root, PostgreSQL and Valkey run as user {account[0]}, who cannot reach {unreachable}; "
                "start Seatweb as an ordinary user, or set DATABASE_URL and REDIS_URL"
            )
        return runner

    def _first_unreachable(self, paths: list[str]) -> str:
        command = self._as_account(["sh", "-c", CAN_RUN, "sh", *paths])
        change = self._change_user()
        tried = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/", **change)  # noqa: S603
        return "" if tried.returncode == 0 else tried.stdout.strip() or paths[0]

    def give(self, path: Path) -> None:
        """Make the servers' account the owner of `path`."""
        if self.account:
            os.chown(path, *self.account)

    def start(
        self,
        name: str,
        command: list[str],
        log: Path,
        *,
        end_with: signal.Signals = signal.SIGINT,
        keep_open: int | None = None,
    ) -> Child:
        """Start a process that writes to `log` and gets the signal `end_with` when this process dies.

        In a session of its own: Ctrl-C in the terminal reaches the app only, which ends the servers after its own work.
        A log that has grown large is emptied first.
        """
        if log.exists() and log.stat().st_size > LARGEST_LOG_BYTES:
            os.truncate(log, 0)
        watch: int | None = None
        lifeline: int | None = None
        if self.setpriv:
            shell = ["sh", "-c", WITH_THE_KERNEL, str(os.getpid()), *command]
        else:
            watch, lifeline = os.pipe()
            shell = ["sh", "-c", WITH_A_WATCHER, end_with.name.removeprefix("SIG"), *command]
        try:
            with os.fdopen(os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab") as output:
                process = subprocess.Popen(  # noqa: S603
                    self._as_account(shell, end_with),
                    stdin=subprocess.DEVNULL if watch is None else watch,
                    stdout=output,
                    stderr=output,
                    cwd="/",
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
        options = [f"--pdeathsig={end_with.name.removeprefix('SIG')}"]
        if self.account:
            options += [f"--reuid={self.account[0]}", f"--regid={self.account[1]}", "--clear-groups"]
        if self.capability:
            # Without no_setuid_fixup, access(2) leaves the capability out, and PostgreSQL asks it about its programs.
            options += ["--securebits=+no_setuid_fixup"]
            options += [f"--inh-caps=+{self.capability}", f"--ambient-caps=+{self.capability}"]
        return [self.setpriv, *options, "--", *command]

    def _change_user(self) -> dict[str, Any]:
        if self.setpriv or not self.account:
            return {}
        return {"user": self.account[0], "group": self.account[1], "extra_groups": []}


def last_line(text: str) -> str:
    """Return the last line that says something."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "nothing was said"


def answers(path: Path, ask: bytes = b"") -> bool:
    """Whether a server listens on the socket, and answers when something is asked."""
    with socket.socket(socket.AF_UNIX) as connection, suppress(OSError):
        connection.settimeout(1)
        connection.connect(str(path))
        connection.sendall(ask)
        return not ask or connection.recv(16).startswith(b"+PONG")
    return False


def program_of(package: str, path: str) -> str:
    """Return where a wheel keeps a program; the package is not imported, since that starts things of its own.

    Raises:
        ServerError: there is none for this system.
    """
    spec = find_spec(package)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        if (program := Path(folder, path)).is_file():
            return str(program)
    raise ServerError(f"{package} has no servers for this system here; set DATABASE_URL and REDIS_URL")


def _effective_capabilities() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return int(line.split()[1], 16)
    return 0
