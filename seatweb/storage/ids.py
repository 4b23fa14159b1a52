"""Ids: positive PostgreSQL bigints."""

from __future__ import annotations

from typing import Final

LARGEST_ID: Final = 2**63 - 1


def is_id(value: int) -> bool:
    """Return whether a row can have this id."""
    return 0 < value <= LARGEST_ID


def parse_id(text: str) -> int | None:
    """Return the id that is written in decimal digits, None where the text is not one."""
    if not (text.isascii() and text.isdigit()) or len(text) > 19 or not is_id(int(text)):
        return None
    return int(text)
