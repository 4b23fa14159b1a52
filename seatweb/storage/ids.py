"""Row ids: positive PostgreSQL bigints."""

from __future__ import annotations

from typing import Final

LARGEST_ID: Final = 2**63 - 1


def is_id(value: int) -> bool:
    """Return whether the number can be a row's id."""
    return 0 < value <= LARGEST_ID


def parse_id(text: str) -> int | None:
    """Return the id that the text holds in decimal digits; None if it is not an id."""
    if not (text.isascii() and text.isdigit()) or len(text) > 19 or not is_id(int(text)):
        return None
    return int(text)
