"""Chooses the encoding of a response: the best that the client accepts."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from litestar.datastructures import Headers
from litestar.middleware.compression import CompressionMiddleware
from litestar.types import Receive, Scope, Send

BROTLI: Final = "br"
GZIP: Final = "gzip"
IDENTITY: Final = "identity"  # no encoding
ANY: Final = "*"
# An element of Accept-Encoding (RFC 9110, sections 12.4.2 and 12.5.3), such as `br` or `gzip;q=0.5`.
CODING: Final = re.compile(r"([!#$%&'*+.^_`|~0-9a-z-]+)(?:[ \t]*;[ \t]*q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?))?")


@lru_cache(maxsize=64)  # browsers send the same few headers
def accepted_encoding(header: str | bytes | None, offered: tuple[str, ...] = (BROTLI, GZIP)) -> str | None:
    """Return the encoding that the client prefers among those offered (best first); None to send the body as it is.

    Elements that are not valid are ignored, so nothing is sent in an encoding that the client did not clearly accept.
    """
    weights = _weights(header or "")
    if not weights:
        return None
    for_others = weights.get(ANY, 0.0)
    best = max(offered, key=lambda coding: weights.get(coding, for_others))
    weight = weights.get(best, for_others)
    # Without an encoding it is always acceptable, but preferred only if the header says so.
    return best if weight > 0 and weight >= weights.get(IDENTITY, 0.0) else None


def _weights(header: str | bytes) -> dict[str, float]:
    text = header.decode("latin-1") if isinstance(header, bytes) else header
    elements = (CODING.fullmatch(element.strip(" \t").lower()) for element in text.split(","))
    return {match[1]: float(match[2] or 1) for match in elements if match}


class Compression(CompressionMiddleware):
    """Litestar's middleware, except that the weights in `Accept-Encoding` count: `br;q=0` refuses Brotli."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        config = self.config
        offered = (config.compression_facade.encoding, *((GZIP,) if config.gzip_fallback else ()))
        encoding = accepted_encoding(Headers.from_scope(scope).get("accept-encoding"), offered)
        if encoding:
            send = self.create_compression_send_wrapper(send, encoding, scope)
        await self.app(scope, receive, send)
