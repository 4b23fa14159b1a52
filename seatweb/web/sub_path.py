"""Adds the path under which Seatweb runs (see `seatweb.http.sub_path`) to the addresses in templates.

It is added to the source of a template when it is loaded, so that no template can forget it, and a site without such a
path does nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader

ATTRIBUTES: Final = (
    "href|src|action|formaction|hx-get|hx-post|data-address|data-options|data-script|data-stream|data-style"
)
"""The attributes that contain addresses, also those that scripts read."""
ADDRESS: Final = re.compile(rf'(?<=[\s}}])({ATTRIBUTES})="(?:(?=/)|\{{\{{ (?P<value>.*?) \}}\}})')
FILTER: Final = "with_base"


class SubPathLoader(FileSystemLoader):
    """Loads templates with the path in front of their addresses; an address is a constant or begins with a value."""

    def __init__(self, folder: Path, base: str) -> None:
        super().__init__(folder)
        self._base = base

    def get_source(self, environment: Environment, template: str) -> tuple[str, str, Callable[[], bool]]:
        """Return the source of a template."""
        environment.filters.setdefault(FILTER, self._with_base)
        source, file, is_current = super().get_source(environment, template)
        return ADDRESS.sub(self._replace, source), file, is_current

    def _replace(self, found: re.Match[str]) -> str:
        start = f'{found[1]}="'
        return start + (f"{{{{ ({found['value']}) | {FILTER} }}}}" if found["value"] else self._base)

    def _with_base(self, address: str) -> str:
        return self._base + address if address.startswith("/") else address
