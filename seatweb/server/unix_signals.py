"""What Ctrl-C and SIGTERM do: an orderly end, and in any case an end in time."""

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

LAST_MOMENT_SECONDS: Final = 2.8
AGAIN_SECONDS: Final = 0.01


def take_signals() -> None:
    """Let SIGINT and SIGTERM raise KeyboardInterrupt in the main thread, once."""
    signal.signal(signal.SIGINT, _interrupt)
    signal.signal(signal.SIGTERM, _interrupt)
    sys.unraisablehook = _unraisable


def run(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine in an event loop of its own, and return what it returns.

    A signal that arrives while the loop is being made waits until it is: Python closes one that is half made with a
    traceback.
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
    """Have the callback called in the running event loop when a signal ends the process, before anything else."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        before = signal.getsignal(number)

        def handle(number: int, frame: FrameType | None, before: Any = before) -> None:  # noqa: ANN401 - a handler
            loop.call_soon_threadsafe(callback)
            before(number, frame)

        if callable(before):
            signal.signal(number, handle)


def end_in_time() -> bool:
    """Let the kernel end this process when its own end takes too long; return whether this is the first call.

    The servers that it started end with it, so nothing is lost or left behind then either.
    """
    if signal.getitimer(signal.ITIMER_REAL)[0]:
        return False
    signal.setitimer(signal.ITIMER_REAL, LAST_MOMENT_SECONDS)  # nothing handles SIGALRM: it ends the process
    return True


def all_ended() -> None:
    """Nothing is left that could hang or be harmed: call off the last moment, and ignore further signals."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.setitimer(signal.ITIMER_REAL, 0)
    gc.freeze()  # Python would look through every object once more before it ends, which takes 0.1 s


def _interrupt(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the shape of a signal handler
    # Once only: the clean-up on the way out is not to be interrupted again.
    if end_in_time():
        raise KeyboardInterrupt


def _unraisable(unraisable: sys.UnraisableHookArgs) -> None:
    """Take up an interrupt that came while a destructor ran: Python only prints and forgets what is raised there."""
    if issubclass(unraisable.exc_type, KeyboardInterrupt):
        threading.Timer(AGAIN_SECONDS, os.kill, (os.getpid(), signal.SIGINT)).start()
        signal.setitimer(signal.ITIMER_REAL, 0)  # as if it came only then
    else:
        sys.__unraisablehook__(unraisable)
