"""Seatweb under a path of its host, such as `https://example.org/seats`: the border where addresses come in and go out.

Inside, all code knows only addresses without that path. Here it is removed from requests and added to headers of
responses; `seatweb.web.sub_path` adds it to the addresses in templates.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

ADDRESSES: Final = frozenset({b"location", b"hx-redirect", b"hx-push-url", b"hx-replace-url", b"hx-location"})
PREFIX_HEADER: Final = b"x-forwarded-prefix"


class SubPath:
    """The outermost middleware of a site under a path.

    A proxy may pass the path on or remove it, so requests are understood with it and without it. One that removes it
    can say so in `X-Forwarded-Prefix`; otherwise `/seats` under `/seats`, which is an address of ours, would lose both.
    """

    def __init__(self, app: ASGIApp, base: str) -> None:
        """`base` is the path without a slash at its end, such as `/seats`."""
        self._app = app
        self._base = base
        self._raw_base = base.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        path = scope["path"]
        if (path == self._base or path.startswith(self._base + "/")) and not self._is_removed(scope):
            scope["path"] = path = path.removeprefix(self._base) or "/"
            scope["raw_path"] = quote(path).encode()

        async def send_with_base(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [(name, self._outside(name.lower(), value)) for name, value in message["headers"]]
            await send(message)

        await self._app(scope, receive, send_with_base)

    def _is_removed(self, scope: Scope) -> bool:
        """Return whether the proxy says that it has removed the path."""
        said = [value for name, value in scope["headers"] if name == PREFIX_HEADER]
        return any(value.rstrip(b"/") == self._raw_base for value in said)

    def _outside(self, name: bytes, value: bytes) -> bytes:
        """Return the value of a response's header with the path in front of an address of ours."""
        if name in ADDRESSES and value.startswith(b"/"):
            return self._raw_base + value
        if name == b"link" and value.startswith(b"</"):
            return b"<" + self._raw_base + value[1:]
        return value
