"""Run the original API's commands, verbatim, and every command of docs/api.md against a site."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.support import Site

GUIDE = Path(__file__).parents[2] / "docs/api.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ADDRESS = "http://localhost:8000"
MARK = "=== end of block ==="
ORIGINAL = (
    (
        """curl -X POST http://localhost:8000/auth/register -H "Content-Type: application/json" """
        """-d '{"username": "john", "password": "secret"}'"""
    ),
    (
        """curl -X POST http://localhost:8000/auth/login    -H "Content-Type: application/json" """
        """-d '{"username": "john", "password": "secret"}'"""
    ),
    (
        """curl -X POST http://localhost:8000/bookings -H "Authorization: Bearer YOUR_TOKEN" """
        """-H "Content-Type: application/json" -d '{"seat_id": 1}'"""
    ),
)

needs_curl = pytest.mark.skipif(not (shutil.which("curl") and shutil.which("bash")), reason="needs curl and bash")


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def blocks() -> list[tuple[str, str]]:
    return BLOCK.findall(GUIDE.read_text())


def shape(value: Any) -> Any:
    """Return the names and types in a JSON value; of a list, those of its first item."""
    if isinstance(value, dict):
        return {name: shape(item) for name, item in value.items()}
    if isinstance(value, list):
        return [shape(item) for item in value[:1]]
    return type(value)


@needs_curl
def test_the_commands_of_the_original_work_word_for_word(site: Site) -> None:
    register, login, book = (command.replace(ADDRESS, site.url) for command in ORIGINAL)
    assert json.loads(run("bash", "-c", register))["token_type"] == "bearer"
    token = json.loads(run("bash", "-c", login))["access_token"]
    booking = json.loads(run("bash", "-c", book.replace("YOUR_TOKEN", token)))
    assert (booking["seat_id"], booking["status"]) == (1, "confirmed")
    assert booking["booking_date"] == str(site.clock.today)
    assert booking["seat_details"] == {"section": "A", "seat_number": "01"}


def test_the_guide_quotes_the_original_word_for_word() -> None:
    assert all(f"    {command}\n" in GUIDE.read_text() for command in ORIGINAL)


@needs_curl
def test_every_command_of_the_guide_returns_what_the_guide_shows(site: Site) -> None:
    found = blocks()
    commands = [text.replace(ADDRESS, site.url) for kind, text in found if kind == "sh"]
    script = "".join(f"{command}\necho; echo '{MARK}'\n" for command in commands)
    answers = iter(run("bash", "-euc", script).split(MARK))
    compared = 0
    for (kind, command), (next_kind, expected) in pairwise([*found, ("", "")]):
        if kind != "sh":
            continue
        answer = next(answers).strip()
        assert answer, command
        if next_kind == "json":
            compared += 1
            assert shape(json.loads(answer)) == shape(json.loads(expected)), command
        elif next_kind == "text":
            compared += 1
            assert without_cursors(answer) == without_cursors(expected.strip()), command
    assert compared >= 10


def without_cursors(text: str) -> str:
    return re.sub(r"cursor=[\w-]+", "cursor=…", text)


def test_every_python_snippet_of_the_guide_runs(site: Site, tmp_path: Path) -> None:
    script = tmp_path / "guide.py"
    script.write_text("".join(text.replace(ADDRESS, site.url) for kind, text in blocks() if kind == "python"))
    output = list(lines(run(sys.executable, str(script))))
    assert output[0].startswith("{'section': 'C'")
    assert output[1] == "day_already_booked: You already have a seat on this day."
    assert output[2].startswith("2026-11-24 C ")
    assert output[3].endswith("free seats; the last answer was 304")


def lines(text: str) -> Iterator[str]:
    return (line for line in text.splitlines() if line)
