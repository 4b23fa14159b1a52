"""Which cookies of a request are read: ours, and no others."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

OWN: Final = re.compile(rb"(?:^|;)[ \t]*((?:__Host-)?seatweb_[a-z_]+=[A-Za-z0-9._-]*)[ \t]*(?=;|$)")


def with_own_cookies(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return a request's headers with no cookies but ours, in one `Cookie` header.

    Other programs on the same host set cookies too, which nothing here reads. To remove quotes and escapes from a
    value takes Python's library time that grows with the square of its length (CVE-2024-7592); ours have neither.
    """
    sent = b";".join([value for name, value in headers if name == b"cookie"])
    own = OWN.findall(sent)
    others = [header for header in headers if header[0] != b"cookie"]
    return [*others, (b"cookie", b"; ".join(own))] if own else others
