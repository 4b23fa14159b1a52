"""docs/security.md: every requirement of ASVS levels 1 and 2 has an answer, and every test that it names exists."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENT = (ROOT / "docs/security.md").read_text()
ROW = re.compile(r"^\| v5\.0\.0-(\d+\.\d+\.\d+) \| (.*?) \| (\d) \| (.*?) \|$", re.MULTILINE)
NAMED = re.compile(r"`((?:[a-z_]+/)*test_\w+\.py)::(test_\w+)`")
CRYPTOGRAPHIC = {"hashlib", "hmac", "secrets", "random", "ssl", "jwt", "argon2", "cryptography", "webauthn", "pyotp"}
LEVEL_1, LEVEL_2 = 70, 183  # requirements of ASVS 5.0.0
PENDING = {"sessions", "passwords", "second factor", "limits", "rights"}


@cache
def names_in(path: str) -> set[str]:
    tree = ast.parse((ROOT / "tests" / path).read_text())
    return {node.name for node in tree.body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))}


def test_every_requirement_has_a_row() -> None:
    rows = ROW.findall(DOCUMENT)
    assert Counter(level for _, _, level, _ in rows) == {"1": LEVEL_1, "2": LEVEL_2}
    assert len({id_ for id_, *_ in rows}) == len(rows)
    assert [id_ for id_, *_ in rows] == sorted((id_ for id_, *_ in rows), key=lambda id_: [*map(int, id_.split("."))])


def test_no_row_is_empty() -> None:
    for id_, words, _, answer in ROW.findall(DOCUMENT):
        assert 3 <= len(words.split()) <= 20, id_
        pending = set(re.findall(r"\(pending: ([a-z ]+)\)", answer))
        assert pending <= PENDING, id_
        assert pending or NAMED.search(answer) or len(answer.split()) >= 5, id_


def test_every_named_test_exists() -> None:
    named = NAMED.findall(DOCUMENT)
    assert len(named) > 100
    assert len(named) == DOCUMENT.count(".py::")  # none is written in a way that NAMED misses
    for path, name in named:
        assert name in names_in(path), f"{path}::{name}"


def test_the_inventory_of_cryptography_names_every_module_that_is_imported() -> None:
    table = DOCUMENT.partition("### Cryptography")[2].partition("\n### ")[0]
    used: set[tuple[str, str]] = set()
    for path in (ROOT / "seatweb").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module]
            for name in names:
                if name.partition(".")[0] in CRYPTOGRAPHIC:
                    used.add((name.partition(".")[0], path.name))
    assert used
    for module, name in used:
        assert re.search(rf"\| `{module}`.*`{name}`", table), f"{module} in {name}"


@pytest.mark.parametrize("path", ['/x\r\n{"event":"request","path":"/forged"}\x1b[2J', "/\x1b[2J", "/\x9b2J\x07"])
@pytest.mark.parametrize("log_format", ["json", "console"])
def test_log_lines_are_json_in_utc_and_cannot_be_forged(log_format: str, path: str) -> None:
    program = (
        "import sys; from seatweb.http.logs import configure_logging;"
        "configure_logging(sys.argv[1])(method='GET', path=sys.argv[2], status=404, ms=1.0)"
    )
    done = subprocess.run([sys.executable, "-c", program, log_format, path], capture_output=True, check=True, cwd=ROOT)
    output = done.stderr.decode()
    assert output.count("\n") == 1
    controls = {"\r", "\x1b", "\x07"} | ({"\x9b"} if log_format == "console" else set())  # only programs read JSON
    assert not set(output) & controls
    if log_format == "json":
        line = json.loads(output)
        assert (line["method"], line["path"], line["status"]) == ("GET", path, 404)
        assert abs((datetime.now(UTC) - datetime.fromisoformat(line["timestamp"])).total_seconds()) < 60
