"""Unicode Technical Standard 39 (UTS 39): which characters suit identifiers, and which look alike."""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from functools import cache
from pathlib import Path
from typing import Final

NO_TYPE: Final = frozenset({"Not_Character"})
TYPE_LINE: Final = re.compile(r"^([0-9A-F]+)(?:\.\.([0-9A-F]+))?\s*;\s*([\w ]+?)\s*#", re.MULTILINE)
CONFUSABLE_LINE: Final = re.compile(r"^([0-9A-F]+) ;\t([0-9A-F ]+) ;", re.MULTILINE)


def identifier_types(character: str) -> frozenset[str]:
    """Return the character's values of the property Identifier_Type, such as `Recommended` (UTS 39, section 3.1)."""
    starts, ranges = _identifier_types()
    index = bisect_right(starts, ord(character)) - 1
    if index < 0:
        return NO_TYPE
    last, types = ranges[index]
    return types if ord(character) <= last else NO_TYPE


def skeleton(text: str) -> str:
    """Return the skeleton of a text, which texts that look alike share (UTS 39, section 4, internalSkeleton).

    It is only for comparison, never for display.
    """
    mapped = unicodedata.normalize("NFD", text).translate(_prototypes())
    return unicodedata.normalize("NFD", mapped)


@cache
def _identifier_types() -> tuple[list[int], list[tuple[int, frozenset[str]]]]:
    """Return where each range of characters starts, and where it ends, with the types of its characters."""
    ranges = sorted(
        (int(first, 16), int(last or first, 16), types)
        for first, last, types in TYPE_LINE.findall(_read("IdentifierType"))
    )
    split = {types: frozenset(types.split()) for _, _, types in ranges}
    return [first for first, _, _ in ranges], [(last, split[types]) for _, last, types in ranges]


@cache
def _prototypes() -> dict[int, str]:
    """Return what replaces each character: its prototype, or nothing if it is invisible."""
    starts, ranges = _identifier_types()
    invisible = (
        range(first, last + 1)
        for first, (last, types) in zip(starts, ranges, strict=True)
        if "Default_Ignorable" in types
    )
    prototypes = {code: "" for codes in invisible for code in codes}
    for character, prototype in CONFUSABLE_LINE.findall(_read("confusables")):
        prototypes[int(character, 16)] = "".join(chr(int(code, 16)) for code in prototype.split())
    return prototypes


def _read(name: str) -> str:
    return (Path(__file__).parent / "unicode_data" / f"{name}.txt").read_text("utf-8-sig")
