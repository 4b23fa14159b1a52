"""A time limit for every request."""

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
    """Middleware that cancels a request after 4.5 s: with 503, or mid-response if that has started."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection.

        Raises:
            Overloaded: the response did not start in time.
        """
        begun = False

        async def send_once_begun(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                if (b"content-type", EVENT_STREAM) in message["headers"]:
                    deadline.reschedule(None)  # streams have no time limit
            await send(message)

        try:
            async with timeout(DEADLINE_SECONDS) as deadline:
                await self.app(scope, receive, send_once_begun)
        except TimeoutError:
            if not begun:
                log.warning("request timed out")
                raise Overloaded from None
