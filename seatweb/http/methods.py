"""Answer OPTIONS with the methods that a path supports."""

from __future__ import annotations

from litestar.datastructures import MutableScopeHeaders
from litestar.enums import ScopeType
from litestar.routes import HTTPRoute
from litestar.types import Message, Scope


async def send_allowed_methods(message: Message, scope: Scope) -> None:
    """Set the header `Allow` of a response to OPTIONS: Litestar names only the methods of the path's first handler."""
    if message["type"] != "http.response.start" or scope["type"] != ScopeType.HTTP or scope["method"] != "OPTIONS":
        return
    for route in scope["litestar_app"].routes:
        if isinstance(route, HTTPRoute) and route.path_format == scope.get("path_template"):
            headers = MutableScopeHeaders.from_message(message)
            if "allow" in headers:
                headers["allow"] = ", ".join(sorted(route.methods))
