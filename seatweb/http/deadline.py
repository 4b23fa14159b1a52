"""The deadline of every request."""

from __future__ import annotations

from asyncio import timeout
from typing import Final

import structlog
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from seatweb.errors import Overloaded

DEADLINE_SECONDS: Final = 4.5
EVENT_STREAM: Final = b"text/event-stream; charset=utf-8"

log = structlog.get_logger("seatweb.requests")


class Deadline:
    """Ends what takes too long with a definite answer, unless the answer has begun."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection.

        Raises:
            Overloaded: there was no answer in time.
        """
        begun = False

        async def send_once_begun(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                if (b"content-type", EVENT_STREAM) in message["headers"]:
                    deadline.reschedule(None)  # it goes on for as long as someone listens
            await send(message)

        try:
            async with timeout(DEADLINE_SECONDS) as deadline:
                await self.app(scope, receive, send_once_begun)
        except TimeoutError:
            if not begun:
                log.warning("no answer in time")
                raise Overloaded from None
