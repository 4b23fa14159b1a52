"""docs/architecture.md and CONTRIBUTING.md name only files, methods and other identifiers that exist."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = (
    "seatweb/**/*.py",
    "tests/**/*.py",
    "sql/**/*.sql",
    "templates/**/*.html",
    "static/js/*.js",
    "pyproject.toml",
)
PATH = re.compile(r"[\w-]+(?:/[\w-]+)*(?:/|\.(?:py|sql|html|js|md|toml))")
METHOD = re.compile(r"([A-Z]\w+)\.(\w+)")
IDENTIFIER = re.compile(r"(?:\w+\.)*(\w+)")


def files() -> Iterator[Path]:
    for pattern in SOURCES:
        yield from ROOT.glob(pattern)


@cache
def words() -> frozenset[str]:
    """Return every word in the source files."""
    return frozenset(word for path in files() for word in re.findall(r"\w+", path.read_text()))


@cache
def methods() -> frozenset[tuple[str, str]]:
    """Return every method of every class in seatweb, as (class, method)."""
    return frozenset(
        (node.name, child.name)
        for path in (ROOT / "seatweb").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
        for child in node.body
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef))
    )


def exists(path: str) -> bool:
    """Return whether the path is in the repository, `seatweb/` or `seatweb/web/`, or is a source file's name."""
    return any((ROOT / folder / path).exists() for folder in ("", "seatweb", "seatweb/web")) or any(
        file.name == path for file in files()
    )


@pytest.mark.parametrize("document", ["docs/architecture.md", "CONTRIBUTING.md"])
def test_every_name_in_a_document_exists(document: str) -> None:
    checked = 0
    for name in re.findall(r"`([^`\n]+)`", (ROOT / document).read_text()):
        if name.startswith(("data/", "SEATWEB_")) or "NNNN" in name:
            continue
        checked += 1
        if PATH.fullmatch(name):
            assert exists(name), name
        elif match := METHOD.fullmatch(name):
            assert match.groups() in methods(), name
        elif match := IDENTIFIER.fullmatch(name):
            assert match[1] in words(), name
    assert checked > 40
