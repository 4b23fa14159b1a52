"""Repository rules: imports run one way, templates parse, vendored files are unmodified, pages load nothing foreign."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from pathlib import Path

import pytest
from jinja2 import Environment, FileSystemLoader
from seatweb.http.cookies import Cookies
from seatweb.http.csrf import Csrf
from seatweb.http.tokens import Tokens
from seatweb.web.rendering import Renderer

ROOT = Path(__file__).parents[1]
TEMPLATES = sorted(path.relative_to(ROOT / "templates").as_posix() for path in (ROOT / "templates").rglob("*.html"))


def test_imports_run_one_way() -> None:
    result = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("name", TEMPLATES)
def test_every_template_parses_and_names_files_that_exist(name: str) -> None:
    our_cookies = Cookies(Tokens(["x" * 32]), secure=False)
    renderer = Renderer(our_cookies, Csrf(["x" * 32], our_cookies, None), "Seatweb")
    renderer.environment.get_template(name)
    source = (ROOT / "templates" / name).read_text()
    for path in re.findall(r"static\('([^']+)'\)", source):
        assert renderer.environment.globals["static"](path)  # type: ignore[operator]
    assert name == "components/icon.html" or "| safe" not in source  # the SVG paths of our own icons


def test_the_root_element_of_a_partial_is_named_after_its_file() -> None:
    environment = Environment(loader=FileSystemLoader(ROOT / "templates"), autoescape=True)
    for path in (ROOT / "templates/map/partials").glob("*.html"):
        if path.stem.endswith("_result") or path.stem == "section":  # several root elements, or one per section
            continue
        assert f'id="{path.stem}"' in path.read_text(), path.name
        environment.get_template(f"map/partials/{path.name}")


def test_vendored_files_are_unmodified() -> None:
    for path in (*(ROOT / "static/vendor").iterdir(), *(ROOT / "seatweb/accounts/unicode_data").iterdir()):
        readme = (path.parent / "README.md").read_text()
        if path.suffix in {".js", ".woff2", ".txt"} and "LICENSE" not in path.name:
            assert hashlib.sha256(path.read_bytes()).hexdigest() in readme, path.name


def test_the_style_sheet_and_the_preload_use_the_same_font_url() -> None:
    sheet = ROOT / "static/css/seatweb.css"
    named = re.findall(r'url\("?([^")]+)\?v=([0-9a-f]+)"?\)', sheet.read_text())
    assert named
    for path, fingerprint in named:
        assert hashlib.sha256((sheet.parent / path).read_bytes()).hexdigest().startswith(fingerprint)
        assert len(fingerprint) == 12


def test_nothing_is_loaded_from_other_hosts() -> None:
    for folder in ("templates", "static/css", "static/js"):
        for path in (ROOT / folder).rglob("*.*"):
            text = re.sub(r'xmlns(:\w+)?="[^"]*"', "", path.read_text())
            assert not re.search(r"""(https?:)?//[a-z0-9.-]+\.[a-z]{2,}""", text), path


def test_pages_carry_no_inline_script_or_style() -> None:
    for path in (ROOT / "templates").rglob("*.html"):
        text = path.read_text()
        assert not re.search(r"<style|<script(?![^>]*\bsrc=)|\sstyle=|\son[a-z]+=|hx-on|\bjs:", text), path


def test_scripts_store_nothing_and_listen_to_no_other_origin() -> None:
    for path in (ROOT / "static/js").glob("*.js"):
        text = path.read_text()
        assert not re.search(r"localStorage|sessionStorage|indexedDB|document\.cookie|caches\.", text), path
        # A BroadcastChannel, as `channel` is, connects windows of the same origin only.
        assert not re.search(
            r"""(?<!\bchannel\?\.)postMessage|\bopener\b|addEventListener\(\s*["']message["']""", text
        ), path
        assert not re.search(r"\beval\(|new Function|(inner|outer|Adjacent)HTML|document\.write|__proto__", text), path


def test_trusted_types_allow_everything_that_templates_contain() -> None:
    """Browsers refuse elements and attributes that the lists in trusted-types.js do not contain."""
    script = (ROOT / "static/js/trusted-types.js").read_text()
    lists = dict(re.findall(r"const (ELEMENTS|ATTRIBUTES) = words\(`([^`]+)`\)", script))
    elements, attributes = set(lists["ELEMENTS"].split()), set(lists["ATTRIBUTES"].split())
    attributes |= set(re.findall(r'^    \["([a-z:-]+)", ', script, re.MULTILINE))
    used: set[str] = set()
    for path in (ROOT / "templates").rglob("*.html"):
        if not path.name.startswith("base"):
            # Swaps never contain the head, or content for browsers without scripts.
            head = r"\{% block (?:head|scripts) %\}.*?\{% endblock %\}|<noscript>.*?</noscript>"
            text = re.sub(head, "", path.read_text(), flags=re.DOTALL)
            text = re.sub(r"\{#.*?#\}|\{%.*?%\}|\{\{.*?\}\}", "x", text, flags=re.DOTALL)
            for tag, rest in re.findall(r"<([a-z][a-z0-9-]*)((?:\s+[^<>]*)?)>", text):
                assert tag in elements or tag == "hx-partial", f"{path.name}: <{tag}>"
                names = set(re.findall(r"(?:^|\s)([a-zA-Z][\w:-]*)(?==)", re.sub(r'"[^"]*"', "", rest)))
                unknown = {name for name in names if not name.startswith(("aria-", "data-"))} - attributes
                assert not unknown, f"{path.name}: <{tag}> {unknown}"
                used |= names
    unused = {name for name in attributes if name.startswith("hx-")} - used
    assert unused <= {"hx-morph-skip"}, unused  # an attribute without a value, which the search does not find
