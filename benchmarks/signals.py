"""Handle Ctrl-C and SIGTERM: stop everything that was started, then exit."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_received: Final[list[int]] = []


def take() -> None:
    """Make the first signal raise KeyboardInterrupt in the main thread; ignore later ones."""
    for number in SIGNALS:
        signal.signal(number, _interrupt)


def check() -> None:
    """Raise again if a signal arrived, since its exception may have been lost in a callback.

    Raises:
        KeyboardInterrupt: a signal arrived.
    """
    if _received:
        raise KeyboardInterrupt


@contextmanager
def restored_handlers() -> Iterator[None]:
    """On exit, restore the signal handlers, which `cancel_on_signal` replaces on an event loop inside the block.

    Raises:
        KeyboardInterrupt: a signal cancelled the task.
    """
    check()
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        yield
    except asyncio.CancelledError:
        check()
        raise
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def cancel_on_signal(task: asyncio.Task[Any] | None) -> None:
    """Make signals cancel this task of the running loop, because an exception raised in uvloop's callbacks is lost."""

    def handle(number: int) -> None:
        _received.append(number)
        if task:
            task.cancel()

    for number in SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, handle, number)


def _interrupt(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the shape of a signal handler
    first = not _received
    _received.append(number)
    if first:
        raise KeyboardInterrupt
