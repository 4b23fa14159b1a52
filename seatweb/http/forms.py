"""Parse forms (`application/x-www-form-urlencoded`)."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import parse_qsl

FORM: Final = "application/x-www-form-urlencoded"
BAD_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")  # browsers never send one, and Python parses them slowly
MOST_FIELDS: Final = 50  # our forms have ten at most


def parse_form(body: bytes) -> list[tuple[str, str]]:
    """Return the names and values of the fields.

    Raises:
        ValueError: the form is malformed or not UTF-8, or has too many fields.
    """
    text = body.decode()
    if BAD_ESCAPE.search(text):
        raise ValueError("bad escape")
    return parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=MOST_FIELDS)
