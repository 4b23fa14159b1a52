"""The API described: the OpenAPI document, and what is said of the API as a whole."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from litestar import Litestar, Request, get
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme, Tag
from litestar.response import Response

from seatweb import __version__

DESCRIPTION: Final = """\
Book seats from a program. Get a token from `/auth/register` or `/auth/login` and send it as
`Authorization: Bearer …`. A user has at most one booking a day; seats can be booked from today to 90 days ahead.

Refusals are `application/problem+json` (RFC 9457) with a stable `code`; unknown fields are refused by name. Send an
`Idempotency-Key` with `POST /bookings`, so that asking again after a lost answer is safe."""

TAGS: Final = [
    Tag(name="Accounts", description="Register, sign in, and who one is."),
    Tag(name="Seats", description="What there is to book."),
    Tag(name="Bookings", description="Book, list, move, cancel."),
    Tag(name="Health", description="For those who watch over it."),
]


def openapi_config() -> OpenAPIConfig:
    """Return what Litestar needs to describe the API."""
    return OpenAPIConfig(
        title="Seatweb",
        version=__version__,
        description=DESCRIPTION,
        path="/openapi",
        render_plugins=[JsonRenderPlugin()],
        use_handler_docstrings=True,
        tags=TAGS,
        components=Components(
            security_schemes={"bearer": SecurityScheme(type="http", scheme="bearer", bearer_format="JWT")}
        ),
    )


def document(app: Litestar) -> dict[str, Any]:
    """Return the OpenAPI document of the application."""
    found: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(app.openapi_schema.to_schema()))
    return found


@get("/openapi.json", include_in_schema=False, sync_to_thread=False)
def openapi_json(request: Request[Any, Any, Any]) -> Response[dict[str, Any]]:
    """Return the OpenAPI document."""
    return Response(document(request.app), headers={"cache-control": "public, max-age=3600"})
