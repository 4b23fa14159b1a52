"""Middleware around all others: request ids, client addresses, the host check, response headers, the request log."""

from __future__ import annotations

import secrets
import time
from http import HTTPStatus
from itertools import count
from typing import Final

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from seatweb.http.client_address import STATE_KEY, Proxies
from seatweb.http.hosts import Hosts
from seatweb.http.logs import REQUEST_ID, LogRequest

PROBES: Final = ("/health", "/health/live")
REFUSED_HOSTS: Final = {
    HTTPStatus.BAD_REQUEST: b"Bad Host header",
    HTTPStatus.MISDIRECTED_REQUEST: b"This site does not answer for that host name. If you run it, set "
    b"SEATWEB_PUBLIC_URL to the address that people type, or add the name to SEATWEB_HOSTS.",
}


def _raw(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in headers.items()]


class Telemetry:
    """Gives each request an id and its client's address, and each response its headers and a log line.

    It refuses requests for other hosts.

    The log line has the method, the path, the status and the time; never a query, a cookie or a body.
    """

    def __init__(
        self,
        app: ASGIApp,
        headers: dict[str, str],
        file_headers: dict[str, str],
        log_request: LogRequest,
        proxies: Proxies,
        hosts: Hosts,
    ) -> None:
        self._app = app
        self._proxies = proxies
        self._hosts = hosts
        self._headers = _raw(headers)
        self._file_headers = _raw(file_headers)
        self._log_request = log_request
        self._process = secrets.token_hex(4)
        self._requests = count()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        request_id = f"{self._process}{next(self._requests):08x}"
        status = 0
        REQUEST_ID.set(request_id)
        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        state[STATE_KEY] = self._proxies.client_address(scope)

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = [*message["headers"], (b"x-request-id", request_id.encode())]
                given = dict(headers)
                is_page = given.get(b"content-type", b"").startswith(b"text/html")
                ours = self._headers if is_page else self._file_headers
                headers += [header for header in ours if header[0] not in given]
                message["headers"] = headers
            await send(message)

        problem = self._hosts.problem([value for name, value in scope["headers"] if name == b"host"])
        if problem and not (problem is HTTPStatus.MISDIRECTED_REQUEST and scope["path"] in PROBES):
            as_text = [(b"content-type", b"text/plain; charset=utf-8")]
            await send_with_headers({"type": "http.response.start", "status": problem.value, "headers": as_text})
            await send({"type": "http.response.body", "body": REFUSED_HOSTS[problem], "more_body": False})
            return
        # HEAD is handled as GET (RFC 9110, section 9.3.2); the server omits the body.
        inner = scope
        if scope["method"] == "HEAD":
            inner = {**scope, "method": "GET"}
            scope["state"]["head"] = True
        try:
            await self._app(inner, receive, send_with_headers)
        finally:
            if not scope["path"].startswith(("/static/", "/health")) or status >= 400:
                self._log_request(
                    method=scope["method"],
                    path=scope["path"],
                    status=status,
                    ms=round(1000 * (time.perf_counter() - started), 1),
                )
