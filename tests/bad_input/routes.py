"""Every route of the app, from its routing table, with its form."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx

from tests.bad_input.forms import FORMS, READ, Base, Form
from tests.bad_input.requests import Route
from tests.http.test_headers import routes
from tests.support import Site

PAGES: Final = Path(__file__).parents[2] / "seatweb/web"
QUERY_VALUE: Final = re.compile(r"query_value\(request, \"(\w+)\"\)")
PARTS: Final = {
    "api": re.compile("/(auth|me|seats|sections|bookings|site|health|openapi)[/.]"),
    "map": re.compile("/days/"),
    "second factor": re.compile("/(account/second-factor|login/second|login/passkey)/"),
    "account": re.compile("/(account|login|register|logout|my)/"),
    "rest": re.compile(""),
}


def table(site: Site) -> Iterator[tuple[Route, Any]]:
    """Yield every route with its form, and its handler."""
    described: dict[str, Any] = httpx.get(f"{site.url}/openapi.json").json()["paths"]
    queries = {name for path in PAGES.rglob("*.py") for name in QUERY_VALUE.findall(path.read_text())}
    assert {"next", "section", "since", "day"} <= queries
    for route in routes(site.settings, site.backends):
        path = re.sub(r"\{(\w+):\w+\}", r"{\1}", route.path)
        for method in sorted({*route.methods} - {"HEAD", "OPTIONS"}):
            operation = described.get(path, {}).get(method.lower())
            query = {one["name"] for one in (operation or {}).get("parameters", []) if one["in"] == "query"}
            form = FORMS.get(f"{method} {path}")
            if form is None:
                assert method == "GET", f"{method} {path} has no entry in tests/bad_input/forms.py"
                parameters = {name: READ[name] for name in re.findall(r"\{(\w+)\}", path)}
                form = Form((Base(0, parameters), Base(0, parameters, sender="nobody")))
            program = part_of(path) == "api"
            yield (
                Route(method, path, program, tuple(sorted(query if program else queries)), form),
                route.route_handler_map[method],
            )


def part_of(path: str) -> str:
    return next(name for name, pattern in PARTS.items() if pattern.match(f"{path}/"))
