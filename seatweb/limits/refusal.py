"""The error for an attempt beyond a limit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from math import ceil
from typing import TypeAlias

import structlog

from seatweb.errors import TooManyAttempts

Clock: TypeAlias = Callable[[], datetime]
"""Returns the current time, in the site's time zone."""

log = structlog.get_logger(__name__)


def refusal(kinds: Sequence[str], seconds: float, now: Clock) -> TooManyAttempts:
    """Log which limits were checked, and return the error, which says when the next attempt may be made."""
    log.warning("attempt limit exceeded", limits=list(kinds))
    whole = max(1, ceil(seconds))
    return TooManyAttempts(retry_after=whole, until=now() + timedelta(seconds=whole))
