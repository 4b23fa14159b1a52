"""Random codes that people type: password reset codes and recovery codes."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from typing import Final

CODE_BYTES: Final = 15
"""120 random bits. A code of 112 bits or more needs no slow hash, unlike a password (OWASP ASVS 5.0, 6.5.2)."""
LONGEST_TYPED: Final = 100  # characters; the longest code has 24 and 5 dashes
SEPARATORS: Final = re.compile(r"[\s-]+")
MISREAD: Final = str.maketrans("018", "OIB")  # digits that base32 (RFC 4648) lacks, to the letters that look like them


def new_code() -> str:
    """Return a new code: letters and digits in groups of four, with dashes between them."""
    return "-".join(grouped(base64.b32encode(secrets.token_bytes(CODE_BYTES)).decode()))


def grouped(code: str) -> list[str]:
    """Split a code into groups of four characters, which are easier to read."""
    return [code[start : start + 4] for start in range(0, len(code), 4)]


def hash_code(typed: str) -> str:
    """Return the SHA-256 hash under which a code is stored, in hexadecimal. Case, spaces and dashes are ignored."""
    plain = without_separators(typed).upper().translate(MISREAD)
    return hashlib.sha256(plain.encode("utf-8", "replace")).hexdigest()


def without_separators(typed: str) -> str:
    """Return a code without spaces and dashes; input beyond the length of the longest code is cut off."""
    return SEPARATORS.sub("", typed[:LONGEST_TYPED])
