"""Where log lines go: to standard error, from a thread of their own, so that a log that nobody reads stops nothing."""

from __future__ import annotations

import atexit
import os
import select
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final

LINES_KEPT: Final = 10_000
GATHER_SECONDS: Final = 0.02  # lines that are logged in this time are written together
FULL_SECONDS: Final = 0.05  # until the next try, if standard error does not block
END_SECONDS: Final = 0.5  # for writing what is left when the process ends


class LogOutput:
    """Writes lines to standard error: at once, or after `start` in a thread; `write` then never waits.

    While nobody reads them, 10,000 lines are kept and the others dropped. `on_dropped` is called with their number once
    lines can be written again.
    """

    def __init__(
        self, on_dropped: Callable[[int], None] = lambda _: None, *, descriptor: int = 2, most: int = LINES_KEPT
    ) -> None:
        self.on_dropped = on_dropped
        self._descriptor = descriptor
        self._most = most
        self._lines: deque[str] = deque()
        self._some = threading.Event()
        self._ending = threading.Event()
        self._dropping = threading.Lock()
        self._dropped = 0
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Write in a thread from now on, until the process exits."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="log", daemon=True)
            self._thread.start()
            atexit.register(self.end)

    def end(self, seconds: float = END_SECONDS) -> None:
        """Write what is left, for `seconds` at most."""
        if self._thread:
            self._ending.set()
            self._some.set()
            self._thread.join(seconds)
            if not self._thread.is_alive():
                self._write_all()  # what was logged at the very last moment

    def write(self, line: str) -> None:
        """Write the line, or leave it to the thread. Never raises."""
        if self._thread is None or not self._thread.is_alive():
            with suppress(OSError, ValueError):
                sys.stderr.write(line + "\n")
                sys.stderr.flush()
        elif len(self._lines) < self._most:
            self._lines.append(line)
            if not self._some.is_set():
                self._some.set()
        else:
            self._drop(1)

    def _drop(self, lines: int) -> None:
        with self._dropping:
            self._dropped += lines

    def _run(self) -> None:
        while not self._ending.is_set():
            self._some.wait()
            self._ending.wait(GATHER_SECONDS)
            self._some.clear()
            self._write_all()

    def _write_all(self) -> None:
        while self._lines:
            # Workers share a pipe, and only writes of this size are not mixed with those of others.
            text, lines = b"", 0
            while self._lines:
                line = f"{self._lines[0]}\n".encode(errors="backslashreplace")
                if text and len(text) + len(line) > select.PIPE_BUF:
                    break
                text, lines = text + line, lines + 1
                self._lines.popleft()
            self._write(text, lines)

    def _write(self, text: bytes, lines: int) -> None:
        # Not through sys.stderr: if the process exits while this thread waits in it, Python aborts.
        while text:
            try:
                text = text[os.write(self._descriptor, text) :]
            except BlockingIOError:
                time.sleep(FULL_SECONDS)
            except OSError:  # a full disk, a closed pipe
                self._drop(lines)
                return
        with self._dropping:
            dropped, self._dropped = self._dropped, 0
        if dropped:
            self.on_dropped(dropped)
