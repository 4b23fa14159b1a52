"""Random codes that people type: for a forgotten password, and for a lost second factor."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from typing import Final

CODE_BYTES: Final = 15
"""120 random bits: with 112 or more, a code needs no slow hash, unlike a password (OWASP ASVS 5.0, 6.5.2)."""
LONGEST_TYPED: Final = 100  # characters; the longest code has 24, and 5 dashes
SEPARATORS: Final = re.compile(r"[\s-]+")
MISREAD: Final = str.maketrans("018", "OIB")  # base32 (RFC 4648) has none of these digits


def new_code() -> str:
    """Return a new code, as people read it: groups of four letters and digits."""
    return "-".join(in_fours(base64.b32encode(secrets.token_bytes(CODE_BYTES)).decode()))


def in_fours(code: str) -> list[str]:
    """Return the code in groups of four characters, as people read it best."""
    return [code[place : place + 4] for place in range(0, len(code), 4)]


def hash_code(typed: str) -> str:
    """Return what is kept of a code: SHA-256, in hexadecimal. Case, spaces and dashes make no difference."""
    plain = without_separators(typed).upper().translate(MISREAD)
    return hashlib.sha256(plain.encode("utf-8", "replace")).hexdigest()


def without_separators(typed: str) -> str:
    """Return a code without the spaces and dashes between its groups; no more is read than the longest code has."""
    return SEPARATORS.sub("", typed[:LONGEST_TYPED])
