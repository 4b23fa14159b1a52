"""Turn errors and messages into text for responses."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from math import ceil
from string import Formatter
from typing import Any, Final

from seatweb.errors import Message, SeatwebError
from seatweb.i18n.english import TEXTS


def text_of(told: SeatwebError | Message) -> str:
    """Return the text of an error or a message, with its parameters filled in."""
    message = told.message if isinstance(told, SeatwebError) else told
    parameters = {**message.parameters}
    seconds, until = parameters.get("seconds"), parameters.get("until")
    if isinstance(seconds, int) and isinstance(until, datetime):
        parameters["when"] = _when(seconds, until)
    return _FORMATTER.vformat(TEXTS[message.key], (), parameters)


def texts_of(messages: Mapping[str, Message]) -> dict[str, str]:
    """Return the messages' texts, by the same names."""
    return {name: text_of(message) for name, message in messages.items()}


def plural(count: int, noun: str) -> str:
    """Return the count with its noun, such as "1 second" or "2 seconds"."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _when(seconds: int, until: datetime) -> str:
    """Return a wait as text, rounded up; from 1 minute on, as a time of day and a number of minutes or hours."""
    if seconds < 60:
        return text_of(Message("when.in_seconds", {"count": seconds}))
    tomorrow = (until - timedelta(seconds=seconds)).date() != until.date()
    at = until + timedelta(seconds=(-until.second) % 60 if until.second else 60 * bool(until.microsecond))
    time = f"{at:%H:%M}"
    if seconds < 2 * 3600:
        count = ceil(seconds / 60)
        return text_of(
            Message("when.in_minutes_tomorrow" if tomorrow else "when.in_minutes", {"time": time, "count": count})
        )
    count = ceil(seconds / 3600)
    return text_of(Message("when.in_hours_tomorrow" if tomorrow else "when.in_hours", {"time": time, "count": count}))


class _Formatter(Formatter):
    """Fills in texts; `{count:second}` becomes a count with its noun, such as "2 seconds"."""

    def format_field(self, value: Any, format_spec: str) -> str:  # noqa: ANN401 - as the library declares it
        return plural(value, format_spec) if format_spec else str(value)


_FORMATTER: Final = _Formatter()
