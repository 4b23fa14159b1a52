"""The answer to an attempt that is too much."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from math import ceil
from typing import TypeAlias

import structlog

from seatweb.errors import TooManyAttempts

Clock: TypeAlias = Callable[[], datetime]
"""Tells the time in the site's time zone."""

log = structlog.get_logger(__name__)


def refusal(kinds: Sequence[str], seconds: float, now: Clock) -> TooManyAttempts:
    """Log which kinds of attempts were counted, and return the error that says when the next may be made."""
    log.warning("limit met", limits=list(kinds))
    whole = max(1, ceil(seconds))
    return TooManyAttempts(retry_after=whole, until=now() + timedelta(seconds=whole))
