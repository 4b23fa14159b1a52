"""Serves style sheets, scripts and icons, compressed, and cached by browsers for ever under their fingerprint."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

import brotli
from litestar import Router, get
from litestar.config.compression import CompressionConfig
from litestar.datastructures import Headers, MutableScopeHeaders
from litestar.exceptions import NotFoundException
from litestar.middleware import DefineMiddleware
from litestar.response import File
from litestar.response.base import ASGIResponse
from litestar.static_files import create_static_files_router
from litestar.status_codes import HTTP_200_OK
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from seatweb.http.compression import BROTLI, Compression, accepted_encoding
from seatweb.storage import resources

TEXT_TYPES: Final = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
COMPRESSED_ALREADY: Final = r"\.(png|woff2)$"  # compressed again, they grow
FOR_EVER: Final = "public, max-age=31536000, immutable"
AN_HOUR: Final = "public, max-age=3600"


def static_router(addresses: dict[str, str]) -> Router:
    """Return the routes of all files under `static/`, and of `/favicon.ico`."""
    files = create_static_files_router(
        path="/static",
        directories=[resources.folder("static")],
        middleware=[
            DefineMiddleware(KnownFiles, fingerprints=addresses),
            DefineMiddleware(
                Compression, config=CompressionConfig("gzip", minimum_size=500, exclude=COMPRESSED_ALREADY)
            ),
        ],
    )
    return Router("/", route_handlers=[files, favicon])


class KnownFiles:
    """Middleware that refuses unknown files; browsers cache the others for ever if the URL has the fingerprint.

    To browsers that prefer Brotli it sends text files itself, compressed at the highest quality, once per process.
    """

    def __init__(self, app: ASGIApp, fingerprints: dict[str, str]) -> None:
        self.app = app
        self._fingerprints = fingerprints
        self._compressed: dict[str, bytes] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection.

        Raises:
            NotFoundException: there is no such file.
        """
        name = scope["path"].removeprefix("/static/")
        url = self._fingerprints.get(name)
        if url is None:
            raise NotFoundException
        cache_control = FOR_EVER if url.encode().endswith(scope["query_string"] or b"?") else AN_HOUR

        media_type = TEXT_TYPES.get(Path(name).suffix)
        accepted = Headers.from_scope(scope).get("accept-encoding")
        if media_type and accepted_encoding(accepted) == BROTLI:
            headers = {"cache-control": cache_control, "content-encoding": BROTLI, "vary": "Accept-Encoding"}
            response = ASGIResponse(body=await self._brotli(name), headers=headers, media_type=media_type)
            await response(scope, receive, send)
            return

        async def send_with_cache_control(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == HTTP_200_OK:
                MutableScopeHeaders.from_message(message)["cache-control"] = cache_control
            await send(message)

        await self.app(scope, receive, send_with_cache_control)

    async def _brotli(self, name: str) -> bytes:
        if name not in self._compressed:
            content = (resources.folder("static") / name).read_bytes()
            self._compressed[name] = await asyncio.to_thread(brotli.compress, content, brotli.MODE_TEXT)
        return self._compressed[name]


@get("/favicon.ico", include_in_schema=False, sync_to_thread=False)
def favicon() -> File:
    """Return the icon, for browsers that ignore the link to it in the page."""
    icon = resources.folder("static") / "icons" / "favicon.ico"
    return File(icon, content_disposition_type="inline", headers={"cache-control": AN_HOUR})
