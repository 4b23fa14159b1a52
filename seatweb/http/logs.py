"""Configure logging: where lines go, and their format."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import partial
from typing import Final, Literal, TypeAlias

import msgspec
import structlog
from structlog.tracebacks import ExceptionDictTransformer

from seatweb.http.log_output import LogOutput

REQUEST_ID: Final[ContextVar[str]] = ContextVar("request_id", default="")

LogRequest: TypeAlias = Callable[..., None]

log = structlog.get_logger("seatweb.requests")
# A process has one standard error, so it has one of these; `OUTPUT.start` makes it write in a thread.
OUTPUT: Final = LogOutput(
    lambda lines: log.warning("log lines were dropped, because they could not be written", count=lines)
)


def configure_logging(log_format: Literal["auto", "console", "json"]) -> LogRequest:
    """Log to standard error, as text or as JSON; return the function that logs a request."""
    as_text = log_format == "console" or (log_format == "auto" and sys.stderr.isatty())
    shared: list[structlog.typing.Processor] = [
        _with_request_id,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    # Tracebacks omit the values of local variables, which can be passwords, cookies and secrets.
    renderer: list[structlog.typing.Processor] = (
        [
            _without_controls,
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
            ),
        ]
        if as_text
        else [
            structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False)),
            structlog.processors.JSONRenderer(serializer=_to_json),
        ]
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.PositionalArgumentsFormatter(), *renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=_Logger,
        cache_logger_on_first_use=True,
    )
    handler = _Handler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    return partial(log.info, "request") if as_text else _log_request


def _log_request(**event: object) -> None:
    """Write the same line as structlog in a fifth of the time: structlog would take half the time of a cached page."""
    event |= {"event": "request", "request_id": REQUEST_ID.get(), "level": "info"}
    now = datetime.now(UTC).isoformat(timespec="microseconds").removesuffix("+00:00")
    OUTPUT.write(_to_json(event | {"timestamp": f"{now}Z"}))


def _to_json(event: structlog.typing.EventDict, **_: object) -> str:
    return msgspec.json.encode(event, enc_hook=repr).decode()


def _with_request_id(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    if request_id := REQUEST_ID.get():
        event["request_id"] = request_id
    return event


def _without_controls(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Escape control characters, which a terminal would obey: the renderer does so only for values that it quotes."""
    return {
        name: repr(value) if isinstance(value, str) and not value.isprintable() else value
        for name, value in event.items()
    }


class _Logger:
    """Passes lines on to `OUTPUT`, as structlog's logger."""

    def __init__(self, *_: object) -> None:
        pass

    def msg(self, line: str) -> None:
        OUTPUT.write(line)

    debug = info = warning = error = critical = msg


class _Handler(logging.Handler):
    """Passes the lines of libraries on to `OUTPUT`."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            OUTPUT.write(self.format(record))
        except Exception:  # noqa: BLE001 - as every handler of the standard library does
            self.handleError(record)
