"""Usernames: which characters a new one may have, which names are the same, and which look the same."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

import idna

from seatweb.accounts import queries
from seatweb.accounts.unicode_security import identifier_types, skeleton
from seatweb.errors import Message
from seatweb.storage.statements import Statements

SKELETONS_AT_ONCE: Final = 2000  # accounts per batch, so that none is locked for long
SHORTEST_USERNAME: Final = 2
# Scripts in which one character is a syllable or a word, by the first word of its characters' names.
SYLLABIC: Final = frozenset({"CJK", "HANGUL", "HIRAGANA", "KATAKANA", "BOPOMOFO", "YI"})
LONGEST_USERNAME: Final = 50
# Longer input is cut off, because normalizing takes time that grows with the square of the length. NFC makes one
# character from at most four (Unicode Standard Annex 15), so input that is longer than this stays too long.
LONGEST_TYPED: Final = 4 * (LONGEST_USERNAME + 1)
# Invisible characters that come along when a name is copied: soft hyphens, zero-width spaces, byte order marks, and
# marks of the direction of writing. They are left out of what was typed.
PASTED: Final = re.compile("[\u00ad\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff]")
# Zero-width non-joiner and joiner: invisible, but they change how the letters around them are written.
ZWNJ: Final = "\u200c"
ZWJ: Final = "\u200d"
VIRAMA: Final = 9  # the combining class of signs that remove a letter's vowel
# Other invisible characters: some Default_Ignorable_Code_Points, and the blank Braille pattern.
INVISIBLE: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200c\u200d\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
# Values of Identifier_Type: invisible or deprecated characters, and scripts in which nobody writes names today
# (Unicode Standard Annex 31, table 4), whose letters few devices can display.
UNUSABLE: Final = frozenset({"Not_Character", "Deprecated", "Default_Ignorable", "Exclusion"})
# Symbols of these types are notation, such as music and Braille. Some are blank on their own.
NOTATION: Final = frozenset({"Technical", "Obsolete"})
PLACEHOLDERS: Final = frozenset("\ufffc\ufffd")  # stand for what could not be displayed
EMOJI_STYLE: Final = "\ufe0f"  # requests colour for the symbol before it; phones add it to emoji
# Invisible on their own: each joins the letters before and after it, which must be of its script.
STACKERS: Final = frozenset("\u1039\u17d2\u1a60\uaaf6\U00011133")
UNSTORABLE: Final = re.compile("[\0-\x1f\ud800-\udfff]")


def typed_username(username: str) -> str:
    """Return a username as it is stored (NFC), from what was typed or pasted; input that is too long is cut off."""
    return unicodedata.normalize("NFC", PASTED.sub("", username).strip()[:LONGEST_TYPED])


def may_be_registered(name: str) -> bool:
    """Return whether an account may have this name; older accounts may have names that new ones may not."""
    return 0 < len(name) <= LONGEST_USERNAME and not UNSTORABLE.search(name)


def username_problem(name: str) -> Message | None:
    """Return what is wrong with a new username; None if nothing is."""
    if not name:
        return Message("username.missing")
    shortest = 1 if _script_word(name[0]) in SYLLABIC else SHORTEST_USERNAME
    if not shortest <= len(name) <= LONGEST_USERNAME:
        return Message("username.length", {"fewest": SHORTEST_USERNAME, "most": LONGEST_USERNAME})
    unusable = next((index for index in range(len(name)) if not _is_usable(name, index)), None)
    if unusable is not None:
        code = f"U+{ord(name[unusable]):04X}"
        return Message("username.unusable_character", {"place": unusable + 1, "character": code})
    letters = [character for character in INVISIBLE.sub("", name) if character.isalnum()]
    marks = [character for character in name if unicodedata.combining(character)]
    if not letters or len(marks) > 2 * len(letters):
        return Message("username.no_letter")
    return None


def _is_usable(name: str, index: int) -> bool:
    """Return whether everyone can see the character at this index."""
    character = name[index]
    if character == EMOJI_STYLE:
        return index > 0 and unicodedata.category(name[index - 1]).startswith("S")
    if character in STACKERS:
        script = _script_word(character)
        return 0 < index < len(name) - 1 and _script_word(name[index - 1]) == _script_word(name[index + 1]) == script
    if character in {ZWNJ, ZWJ}:
        return _changes_its_neighbours(name, index)
    types = identifier_types(character)
    if not character.isprintable() or character in PLACEHOLDERS or types & UNUSABLE:
        return False
    category = unicodedata.category(character)
    # Marks above U+FFFF of these types are notation too; those below are needed by some languages.
    is_notation = category.startswith("S") or (category.startswith("M") and character > "\uffff")
    return not (is_notation and types & NOTATION)


def _changes_its_neighbours(name: str, index: int) -> bool:
    """Return whether the joiner at this index changes how the letters around it are written.

    It does between letters that would join, and after a sign that removes a vowel (Unicode Standard Annex 31, section
    2.3.1, and RFC 5892, appendix A).
    """
    before, after = name[max(index - 1, 0) : index], name[index + 1 : index + 2].strip()
    if name[index] == ZWNJ and not after:
        return False
    if name[index] == ZWJ and after and unicodedata.combining(after) == 0 and unicodedata.category(after)[0] == "M":
        return False  # a vowel follows
    if before and unicodedata.combining(before) == VIRAMA:
        before = name[max(index - 2, 0) : index]
    return len({_script_word(character) for character in before + after}) == 1 and idna.valid_contextj(name, index)


def _script_word(character: str) -> str:
    """Return the first word of the character's name, which is the script for letters and marks."""
    return unicodedata.name(character, "?").split()[0]


def username_key(name: str) -> str:
    """Return a username's key, which ignores compatibility forms, case and invisible characters: equal keys, same name.

    This is Unicode's NFKC_Casefold, with consecutive spaces merged, since pages show them as one.
    """
    visible = _visible(name)
    return " ".join(unicodedata.normalize("NFKC", visible.casefold()).split())


def username_skeletons(name: str) -> list[str]:
    """Return the skeletons of a username; two usernames look the same if they share one.

    Names are compared as written, in lower case and in upper case. "Nina" with a Greek capital Nu looks like "Nina"
    only as written; "MARIA" with Cyrillic capitals looks like "maria" only in upper case.
    """
    visible = _visible(name)
    forms = (skeleton(visible).casefold(), username_key(name), visible.upper())
    return sorted({" ".join(skeleton(form).split()) for form in forms})


def _visible(name: str) -> str:
    return unicodedata.normalize("NFKC", INVISIBLE.sub("", name))


async def fill_in_skeletons(sql: Statements) -> None:
    """Store the skeletons of every account that has none, except those that an older account has.

    Each batch commits by itself, so that a process that was stopped continues at its next start. Every start also finds
    accounts that an older version has registered meanwhile, and those whose look-alike was deleted.
    """
    last_id = 0
    while names := await queries.find_names_without_skeletons(sql, last_id, SKELETONS_AT_ONCE):
        last_id = names[-1][0]
        await queries.put_skeletons(
            sql, [(user_id, skeleton) for user_id, name in names for skeleton in username_skeletons(name)]
        )
