"""Usernames: which characters a new one may have, and which names look alike."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Iterator

import pytest
from seatweb.accounts.unicode_security import identifier_types, skeleton
from seatweb.accounts.usernames import (
    LONGEST_USERNAME,
    may_be_registered,
    typed_username,
    username_key,
    username_problem,
    username_skeletons,
)
from seatweb.i18n.catalogue import text_of

# DerivedCoreProperties.txt of Unicode 17.0.0: Default_Ignorable_Code_Point.
DEFAULT_IGNORABLE = (
    (0xAD, 0xAD), (0x34F, 0x34F), (0x61C, 0x61C), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F),
    (0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F), (0x3164, 0x3164), (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF),
    (0xFFA0, 0xFFA0), (0xFFF0, 0xFFF8), (0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A), (0xE0000, 0xE0FFF),
)  # fmt: skip
# Blocks.txt of Unicode 17.0.0: scripts that nobody writes names in (UAX 31, table 4), and notation.
OUT_OF_USE = {
    "Ogham": (0x1680, 0x169F), "Runic": (0x16A0, 0x16FF), "Glagolitic": (0x2C00, 0x2C5F), "Gothic": (0x10330, 0x1034F),
    "Zanabazar Square": (0x11A00, 0x11A4F), "Cuneiform": (0x12000, 0x123FF), "Egyptian": (0x13000, 0x1345F),
    "Khitan": (0x18B00, 0x18CFF), "Duployan": (0x1BC00, 0x1BC9F), "Braille": (0x2800, 0x28FF),
    "Byzantine music": (0x1D000, 0x1D0FF), "music": (0x1D100, 0x1D1FF), "Znamenny music": (0x1CF00, 0x1CFCF),
    "Greek music": (0x1D200, 0x1D24F), "specials": (0xFFF0, 0xFFFF), "private use": (0xE000, 0xF8FF),
    "more private use": (0xF0000, 0xFFFFF), "tags": (0xE0000, 0xE007F), "surrogates": (0xD800, 0xDFFF),
}  # fmt: skip


def usable() -> Iterator[str]:
    """Return the characters that are accepted between letters, and are in NFC."""
    all_characters = (chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code <= 0xDFFF)
    # Of ideographs and syllables, and of private and unassigned code points, only every hundredth.
    many = {"Lo", "Cn", "Co"}
    characters = (
        one for one in all_characters if one < "\u3000" or ord(one) % 100 == 0 or unicodedata.category(one) not in many
    )
    return (one for one in characters if one in typed_username(f"ada{one}b") and is_accepted(f"ada{one}b"))


def is_accepted(name: str) -> bool:
    return username_problem(typed_username(name)) is None


@pytest.mark.parametrize(
    "name",
    [
        "王伟明", "José", "O'Brien", "O\u2019Brien", "Jean-Luc", "anna (HR)", "Ada Lovelace", "अनिल कुमार", "דנה כהן",
        "محمد", "민수진", "ada_l.1", "Ἀθηνᾶ", "Lîm Bo\u030dk", "Ẹ̀kọ́", "สมชาย", "မောင်မောင်", "သတ္တိ", "សុខា", "ஆதிரா",
        "ᏣᎳᎩ", "ada 🪑", "ada ❤\ufe0f", "ada 👍🏽", "ada 🇩🇪", "ʻOkina", "ｊｏｈｎ", "ada & eve", "ada+eve@here", "№ 12",
        "50 €", "Ng", "Bo", "王伟", "王", "김", "علی\u200cرضا", "ශ්\u200dරී", "ක්\u200dෂ", "അനില്\u200d",
        "അനില്\u200d കുമാര്\u200d",
        "क्\u200cष",
    ],
)  # fmt: skip
def test_real_names_are_accepted(name: str) -> None:
    assert is_accepted(name)


@pytest.mark.parametrize(
    "blank", ["\U0001d159", "\U00016fe4", "\U00011a47", "\U0001bc9d", "\u2800", "\u3164", "\ufffc"]
)
def test_an_invisible_character_is_refused_and_named(blank: str) -> None:
    for name in (f"ada{blank}", f"{blank}ada", f"a{blank}da"):
        problem = username_problem(name)
        assert problem
        assert f"character {name.index(blank) + 1} (U+{ord(blank):04X})" in text_of(problem)


@pytest.mark.parametrize("name", ["A", "7", "ø", "", " A "])
def test_a_single_letter_is_too_short(name: str) -> None:
    assert not is_accepted(name)


@pytest.mark.parametrize(
    "name",
    [
        *("ad\u200ca", "ad\u200da", "\u200cada", "ada\u200c", "\u200dada", "ada\u200d", "ada\u200c lovelace"),
        *("علی\u200c", "\u200cعلی", "علی\u200cada", "علی\u200c رضا", "علی\u200c\u200cرضا"),
        *("ශ\u200dර", "ශ්\u200d\u200dර", "ක්\u200c", "ada\u0dca\u200dර", "ක්\u200dada", "ක්\u200dෂ\u200d"),
    ],
)  # fmt: skip
def test_a_joiner_that_changes_no_letter_is_refused(name: str) -> None:
    problem = username_problem(typed_username(name))
    assert problem
    assert "Remove character" in text_of(problem)


def test_names_that_differ_in_a_joiner_only_are_the_same() -> None:
    for name in ("علی\u200cرضا", "ශ්\u200dරී", "അനില്\u200d"):
        plain = name.replace("\u200c", "").replace("\u200d", "")
        assert username_key(name) == username_key(plain)
        assert username_skeletons(name) == username_skeletons(plain)


@pytest.mark.parametrize(
    "pasted", ["\u00ad", "\u061c", "\u200b", "\u200e", "\u200f", "\u202a", "\u202c", "\u2060", "\ufeff"]
)
def test_invisible_characters_that_are_pasted_with_a_name_are_left_out(pasted: str) -> None:
    for name in (f"{pasted}ada", f"ada{pasted}", f"a{pasted}da", f" {pasted} ada {pasted} "):
        assert typed_username(name) == "ada"


def test_every_default_ignorable_character_is_left_out_or_refused() -> None:
    for first, last in DEFAULT_IGNORABLE:
        for code in range(first, last + 1):
            name = f"ada{chr(code)}b"
            assert typed_username(name) == "adab" or not is_accepted(name), hex(code)
    for selector in map(chr, range(0xFE00, 0xFE0F)):
        assert not is_accepted(f"ada ❤{selector}"), hex(ord(selector))


@pytest.mark.parametrize("kind", OUT_OF_USE)
def test_every_character_out_of_use_is_refused(kind: str) -> None:
    first, last = OUT_OF_USE[kind]
    assert [hex(code) for code in range(first, last + 1) if is_accepted(f"ada{chr(code)}b")] == []


def test_every_accepted_character_is_visible() -> None:
    accepted = set(usable()) - {" "}
    assert len(accepted) > 10_000
    for character in accepted:
        code = ord(character)
        assert unicodedata.category(character) not in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"}, hex(code)
        assert not any(first <= code <= last for first, last in DEFAULT_IGNORABLE), hex(code)
        assert not {"Exclusion", "Deprecated", "Not_Character"} & identifier_types(character), hex(code)
        assert username_key(f"ada{character}") != "ada", hex(code)
        assert "ada" not in username_skeletons(f"ada{character}"), hex(code)


@pytest.mark.parametrize("stacker", ["\u1039", "\u17d2", "\u1a60", "\uaaf6", "\U00011133"])
def test_a_sign_that_joins_letters_must_stand_between_letters_of_its_script(stacker: str) -> None:
    for name in (f"ada{stacker}", f"ad{stacker}a", f"{stacker}ada", f"adaက{stacker}"):
        assert not is_accepted(name)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("anna", "\u0430nna"),  # Cyrillic a
        ("anna", "\u0410NNA"),
        ("maria", "\u041c\u0410R\u0406\u0410"),  # in Cyrillic capitals
        ("Maria Rossi", "\u041caria R\u043ess\u0456"),
        ("Bob", "\u0412ob"),
        ("Nina", "\u039dina"),  # a Greek capital
        ("\u041d\u0438\u043d\u0430", "\u043d\u0438\u043da"),  # Latin letters in a Cyrillic name
        ("ron", "r\u03bfn"),  # Greek
        ("scope", "\u0455\u0441\u043e\u0440\u0435"),
        ("john", "ｊｏｈｎ"),
        ("john", "\U0001d423\U0001d428\U0001d421\U0001d427"),  # mathematical
        ("paypal", "pa\u04afpal"),
        ("user1", "userl"),
        ("user1", "userI"),
        ("user0", "usero"),
        ("USER0", "USERO"),
        ("Paul", "PauI"),
        ("PAUL", "PAu1"),
        ("mary", "rnary"),
        ("Maximilian", "\u041caximilian"),
        ("ada lovelace", "ada  lovelace"),
        ("O'Brien", "O\u2019Brien"),
        ("Jean-Luc", "Jean\u2010Luc"),
        ("\u5de5\u85e4\u4e00", "\u30a8\u85e4\u4e00"),  # CJK and Katakana
    ],
)
def test_names_that_look_alike_have_a_skeleton_in_common(first: str, second: str) -> None:
    assert set(username_skeletons(typed_username(first))) & set(username_skeletons(typed_username(second)))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Neil", "Nell"), ("Jose", "José"), ("Kai", "Kal"), ("Ali", "All"), ("ada lovelace", "adalovelace"),
        ("Anna", "Ana"), ("person.10", "person.100"), ("王伟明", "王伟朋"), ("محمد", "محمود"), ("Ян", "Яна"),
        ("Eva", "Ева!"),
    ],
)  # fmt: skip
def test_names_that_look_different_have_no_skeleton_in_common(one: str, other: str) -> None:
    assert not set(username_skeletons(one)) & set(username_skeletons(other))


def test_names_of_tests_and_benchmarks_do_not_look_alike() -> None:
    for pattern in ("person{}", "person.{}", "user {}", "someone-1-{}"):
        seen: set[str] = set()
        for number in range(2000):
            skeletons = set(username_skeletons(pattern.format(number)))
            assert not seen & skeletons
            seen |= skeletons


def test_skeletons_follow_the_standard() -> None:
    assert skeleton("paypal") == skeleton("p\u0430yp\u0430l")
    assert skeleton("scope") == skeleton("\u0455\u0441\u043e\u0440\u0435")
    assert skeleton("m") == "rn"
    assert skeleton("\u200d") == ""


def test_username_keys_do_not_change() -> None:
    """Accounts must still be found by the keys in the database."""
    keys = {
        "Ada  Lovelace": "ada lovelace", "ＡＤＡ": "ada", "Straße": "strasse", "ada\u3164": "ada",
        "\u0410nna": "\u0430nna",
        "ada\U0001d159": "ada\U0001d159", "ﬁona": "fiona", "İpek": "i\u0307pek", "ΣΑΣ": "σασ",
    }  # fmt: skip
    assert {name: username_key(name) for name in keys} == keys


def test_any_name_that_can_be_stored_can_be_looked_up() -> None:
    assert may_be_registered("ada\U0001d159")
    assert may_be_registered("ada\u200b")
    assert may_be_registered("a" * LONGEST_USERNAME)
    for name in ("", "a" * (LONGEST_USERNAME + 1), "a\0b", "\x01" + "7", "\ud800ada"):
        assert not may_be_registered(name)


@pytest.mark.parametrize("worst", ["\ufdfa" * 50, "\ucb94" * 50, ("a" + "\u0301\u0323") * 16, "\u1f82" * 50, "m" * 50])
def test_no_skeleton_is_too_long_for_the_index(worst: str) -> None:
    assert all(len(found.encode()) < 2700 for found in username_skeletons(worst))
