"""Usernames: what a new one may contain, which are the same, and which look the same."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from seatweb.accounts import queries
from seatweb.accounts.unicode_security import identifier_types, skeleton
from seatweb.errors import Message
from seatweb.storage.statements import Statements

SKELETONS_AT_ONCE: Final = 2000  # accounts, so that none is locked for long
SHORTEST_USERNAME: Final = 3
LONGEST_USERNAME: Final = 50
# Of what is typed no more is looked at: to bring it into one form takes time that grows with the square of its length.
# No four characters become fewer than one (Unicode Standard Annex 15), so what is longer than this stays too long.
LONGEST_TYPED: Final = 4 * (LONGEST_USERNAME + 1)
# What shows nothing though Python prints it: of Unicode's Default_Ignorable_Code_Point, and the empty Braille cell.
INVISIBLE: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
# Values of Identifier_Type: characters that show nothing, are not to be used, or belong to scripts that nobody writes
# names in today (Unicode Standard Annex 31, table 4), whose letters few devices can show.
UNUSABLE: Final = frozenset({"Not_Character", "Deprecated", "Default_Ignorable", "Exclusion"})
# Symbols of these types are notation, such as music and Braille. Some are blank by themselves.
NOTATION: Final = frozenset({"Technical", "Obsolete"})
PLACEHOLDERS: Final = frozenset("\ufffc\ufffd")  # stand for what could not be shown
EMOJI_STYLE: Final = "\ufe0f"  # asks for the symbol before it in colours; phones add it to emoji
# Invisible by themselves: each joins the two letters of its script that it stands between.
STACKERS: Final = frozenset("\u1039\u17d2\u1a60\uaaf6\U00011133")
UNSTORABLE: Final = re.compile("[\0-\x1f\ud800-\udfff]")


def typed_username(username: str) -> str:
    """Return a username as it is kept (NFC), of as much of what was typed as could be one."""
    return unicodedata.normalize("NFC", username.strip()[:LONGEST_TYPED])


def may_be_registered(name: str) -> bool:
    """Return whether an account may have this name: older ones may have names that are refused today."""
    return 0 < len(name) <= LONGEST_USERNAME and not UNSTORABLE.search(name)


def username_problem(name: str) -> Message | None:
    """Return what is wrong with a new username; None if nothing is."""
    if not name:
        return Message("username.missing")
    if not SHORTEST_USERNAME <= len(name) <= LONGEST_USERNAME:
        return Message("username.length", {"fewest": SHORTEST_USERNAME, "most": LONGEST_USERNAME})
    unusable = next((place for place in range(len(name)) if not _is_usable(name, place)), None)
    if unusable is not None:
        code = f"U+{ord(name[unusable]):04X}"
        return Message("username.unusable_character", {"place": unusable + 1, "character": code})
    letters = [character for character in INVISIBLE.sub("", name) if character.isalnum()]
    marks = [character for character in name if unicodedata.combining(character)]
    if not letters or len(marks) > 2 * len(letters):
        return Message("username.no_letter")
    return None


def _is_usable(name: str, place: int) -> bool:
    """Return whether everyone can see the character at this place."""
    character = name[place]
    if character == EMOJI_STYLE:
        return place > 0 and unicodedata.category(name[place - 1]).startswith("S")
    if character in STACKERS:
        script = _script_word(character)
        return 0 < place < len(name) - 1 and _script_word(name[place - 1]) == _script_word(name[place + 1]) == script
    types = identifier_types(character)
    if not character.isprintable() or character in PLACEHOLDERS or types & UNUSABLE:
        return False
    category = unicodedata.category(character)
    # Marks above U+FFFF with these types are notation too; below are marks that some languages need.
    is_notation = category.startswith("S") or (category.startswith("M") and character > "\uffff")
    return not (is_notation and types & NOTATION)


def _script_word(character: str) -> str:
    """Return the first word of the character's name: for letters and marks, their script."""
    return unicodedata.name(character, "?").split()[0]


def username_key(name: str) -> str:
    """Return what makes two usernames the same: compatibility forms, case and what nobody sees do not count.

    That is Unicode's NFKC_Casefold, and pages show several spaces as one.
    """
    visible = _visible(name)
    return " ".join(unicodedata.normalize("NFKC", visible.casefold()).split())


def username_skeletons(name: str) -> list[str]:
    """Return what makes two usernames look the same; two that have one of these in common do.

    A name is compared as it is written, in small letters and in capitals. With a Greek capital Nu, "Nina" looks like
    itself only as it is written; all in Cyrillic capitals where there are some, "MARIA" looks like "maria" only in
    capitals.
    """
    visible = _visible(name)
    forms = (skeleton(visible).casefold(), username_key(name), visible.upper())
    return sorted({" ".join(skeleton(form).split()) for form in forms})


def _visible(name: str) -> str:
    return unicodedata.normalize("NFKC", INVISIBLE.sub("", name))


async def fill_in_skeletons(sql: Statements) -> None:
    """Give every account that has no skeleton its own, unless an older account has them.

    Each batch commits by itself, so that a process that is stopped in the middle goes on at its next start. Every
    start also finds the accounts that an older version registered meanwhile, and those whose look-alike was deleted.
    """
    last_id = 0
    while names := await queries.find_names_without_skeletons(sql, last_id, SKELETONS_AT_ONCE):
        last_id = names[-1][0]
        await queries.put_skeletons(
            sql, [(user_id, skeleton) for user_id, name in names for skeleton in username_skeletons(name)]
        )
