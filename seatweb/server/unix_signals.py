"""Handle Ctrl-C and SIGTERM: shut down cleanly, and within a time limit in any case."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import Any, Final, TypeVar

T = TypeVar("T")

SHUTDOWN_SECONDS: Final = 2.8
RESEND_SECONDS: Final = 0.01


def take_signals() -> None:
    """Make SIGINT and SIGTERM raise KeyboardInterrupt in the main thread, once."""
    signal.signal(signal.SIGINT, _interrupt)
    signal.signal(signal.SIGTERM, _interrupt)
    sys.unraisablehook = _unraisable


def run(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine in a new event loop and return its result.

    Signals are blocked while the loop is created: if one interrupted that, Python would print a traceback when it
    closes the incomplete loop.
    """
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        runner = asyncio.Runner()
        runner.get_loop()
    except BaseException:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        raise
    with runner:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        return runner.run(main())


def before_end(callback: Callable[[], None]) -> None:
    """On SIGINT or SIGTERM, schedule `callback` in the running event loop, then call the existing signal handler."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        before = signal.getsignal(number)

        def handle(number: int, frame: FrameType | None, before: Any = before) -> None:  # noqa: ANN401 - a handler
            loop.call_soon_threadsafe(callback)
            before(number, frame)

        if callable(before):
            signal.signal(number, handle)


def end_in_time() -> bool:
    """Make the kernel end this process if its shutdown takes longer than 2.8 s; return whether this is the first call.

    The servers that it started end with it, so nothing is lost or left running.
    """
    if signal.getitimer(signal.ITIMER_REAL)[0]:
        return False
    signal.setitimer(signal.ITIMER_REAL, SHUTDOWN_SECONDS)  # nothing handles SIGALRM: it ends the process
    return True


def all_ended() -> None:
    """Cancel the time limit and ignore further signals; call it when the shutdown is complete."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.setitimer(signal.ITIMER_REAL, 0)
    gc.freeze()  # saves 0.1 s: otherwise Python scans every object once more as it exits


def _interrupt(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the shape of a signal handler
    if _is_in_hook(frame):  # what is raised there is discarded
        _send_again()
    # Only the first signal interrupts: later ones must not interrupt the clean-up.
    elif end_in_time():
        raise KeyboardInterrupt


def _unraisable(unraisable: sys.UnraisableHookArgs) -> None:
    """Send SIGINT again if it arrived while a destructor ran: Python prints and discards exceptions raised there."""
    if issubclass(unraisable.exc_type, KeyboardInterrupt):
        signal.setitimer(signal.ITIMER_REAL, 0)  # the second SIGINT counts as the first
        _send_again()
    else:
        sys.__unraisablehook__(unraisable)


def _send_again() -> None:
    threading.Timer(RESEND_SECONDS, os.kill, (os.getpid(), signal.SIGINT)).start()


def _is_in_hook(frame: FrameType | None) -> bool:
    while frame and frame.f_code is not _unraisable.__code__:
        frame = frame.f_back
    return frame is not None
