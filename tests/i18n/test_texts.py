"""Every error and every message has its text, and every text is used."""

from __future__ import annotations

import ast
import pkgutil
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from string import Formatter
from types import ModuleType

import pytest
import seatweb
from seatweb.booking.errors import SeatHeld
from seatweb.errors import InvalidInput, Message, SeatwebError, TooManyAttempts
from seatweb.i18n.catalogue import plural, text_of, texts_of
from seatweb.i18n.english import TEXTS
from seatweb.web.errors import TEXTS as PAGE_TEXTS
from seatweb.web.errors import TITLES
from seatweb.web.notices import NOTICES, SEAT_NOTICES

MODULES = [
    import_module(found.name)
    for found in pkgutil.walk_packages(seatweb.__path__, "seatweb.")
    if not found.name.endswith("__main__")
]
# Errors and messages whose keys are computed at run time.
COMPUTED = [
    SeatHeld(seconds=1).message,
    TooManyAttempts(retry_after=1, until=datetime(2026, 11, 23, 12, 0, tzinfo=UTC)).message,
    *TITLES.values(),
    *PAGE_TEXTS.values(),
    *(Message(f"notice.{name}") for name in NOTICES),
    *(Message(f"notice.{name}", {"seat": "A-07"}) for name in SEAT_NOTICES),
]


def errors_in(module: ModuleType) -> list[type[SeatwebError]]:
    return [value for value in vars(module).values() if isinstance(value, type) and issubclass(value, SeatwebError)]


def strings_in(node: ast.AST) -> list[str]:
    """Return the strings that an argument may be; a conditional expression may be several."""
    parts = [node.body, node.orelse] if isinstance(node, ast.IfExp) else [node]
    return [part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str)]


def calls_in(module: ModuleType) -> Iterator[tuple[ast.Call, list[object]]]:
    """Yield every call, with the objects that its function and arguments refer to, if they are plain names."""
    assert module.__file__
    for call in ast.walk(ast.parse(Path(module.__file__).read_text())):
        if isinstance(call, ast.Call):
            names = [node.id for node in (call.func, *call.args) if isinstance(node, ast.Name)]
            yield call, [vars(module).get(name) for name in names]


def test_every_error_has_a_text_for_its_code_and_its_reason() -> None:
    for module in MODULES:
        for error in errors_in(module):
            assert error.code in TEXTS
            assert not error.reason or f"{error.code}.{error.reason}" in TEXTS


def test_every_reason_has_a_text_and_fills_its_placeholders() -> None:
    for module in MODULES:
        for key, names in reasons_in(module):
            assert placeholders_of(key) <= names, key


def test_every_message_has_a_text_and_fills_its_placeholders() -> None:
    for module in MODULES:
        for key, names in messages_in(module):
            assert names is None or placeholders_of(key) <= names, key
    for message in COMPUTED:
        assert text_of(message)


def test_every_text_is_used() -> None:
    used = {message.key for message in COMPUTED}
    for module in MODULES:
        used |= {error.code for error in errors_in(module)}
        used |= {f"{error.code}.{error.reason}" for error in errors_in(module)}
        used |= {key for key, _ in (*reasons_in(module), *messages_in(module))}
    assert set(TEXTS) <= used


def reasons_in(module: ModuleType) -> Iterator[tuple[str, set[str]]]:
    """Yield the key of each error that is raised with a reason, and the names of its parameters."""
    for call, objects in calls_in(module):
        arguments = {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg}
        for reason in strings_in(arguments["reason"]) if "reason" in arguments else ():
            errors = [value for value in objects if isinstance(value, type) and issubclass(value, SeatwebError)]
            assert errors or isinstance(call.func, ast.Attribute), f"{module.__name__}: no error class for {reason}"
            for error in errors:
                yield f"{error.code}.{reason}", {*arguments} - {"reason", "fields", "retry_after"}


def messages_in(module: ModuleType) -> Iterator[tuple[str, set[str] | None]]:
    """Yield the key of each message, and the names of its parameters; None if they are not a literal dictionary."""
    for call, objects in calls_in(module):
        if Message in objects[:1] and isinstance(call.func, ast.Name):
            names: set[str] | None = set()
            if len(call.args) > 1:
                parameters = call.args[1]
                names = None
                if isinstance(parameters, ast.Dict):
                    names = {text for key in parameters.keys if key for text in strings_in(key)}
            for key in strings_in(call.args[0]):
                yield key, names


def placeholders_of(key: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(TEXTS[key]) if name}


@pytest.mark.parametrize(("count", "words"), [(0, "0 seconds"), (1, "1 second"), (2, "2 seconds"), (60, "60 seconds")])
def test_a_count_agrees_with_its_noun(count: int, words: str) -> None:
    assert plural(count, "second") == words


def test_texts_agree_with_their_numbers() -> None:
    start = "That seat is on hold for someone else for"
    assert text_of(SeatHeld(seconds=1)) == f"{start} 1 more second."
    assert text_of(SeatHeld(seconds=2)) == f"{start} 2 more seconds."
    locked = TooManyAttempts(reason="wrong_codes", retry_after=60, minutes=1)
    assert text_of(locked) == "Too many wrong codes. Wait 1 minute, or use a passkey if you have one."


def test_input_is_shown_unchanged_in_texts() -> None:
    for sent in ("{name}", "{0}", "{", "%s", "{name.__class__}"):
        assert text_of(InvalidInput(reason="field_twice", name=sent)) == f"The field {sent} was sent twice."
        assert texts_of({"a": Message("field.one_of", {"values": sent})}) == {"a": f"Must be one of: {sent}."}


def test_errors_in_logs_contain_no_personal_data() -> None:
    assert str(InvalidInput()) == "invalid_input"
    assert str(InvalidInput(reason="field_twice", name="ada")) == "invalid_input.field_twice"
    assert "ada" not in repr(
        InvalidInput(reason="field_twice", fields={"a": Message("field.one_of", {"values": "ada"})})
    )
