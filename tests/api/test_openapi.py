"""The OpenAPI document is valid and correct: every response to a fuzzer's requests is one that it describes.

`make test` sends about a hundred requests, different ones every day; SEATWEB_TEST_SEED repeats them.
`SEATWEB_TEST_FUZZ_CASES=5000` sends at least 5,000, and prints the figures.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4
from zlib import crc32

import httpx
import pytest
import schemathesis
from jsonschema_rs import Draft202012Validator

from tests.api.conftest import PROBLEM_JSON, Programs, responses
from tests.http.test_headers import routes
from tests.support import NO_LIMITS, Site

CASES = int(os.environ.get("SEATWEB_TEST_FUZZ_CASES", "0"))
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,"
    "response_headers_conformance,ignored_auth,use_after_free,negative_data_rejection"
)


@schemathesis.hook
def map_body(context: schemathesis.HookContext, body: Any) -> Any:
    """Map most generated seats, sections and days to ones that can be booked; leave the rest as generated."""
    if not isinstance(body, dict):
        return body
    seat_id, day, section, name = (body.get(key) for key in ("seat_id", "booking_date", "section", "username"))
    if type(seat_id) is int and abs(seat_id) < 10**9:
        body["seat_id"] = abs(seat_id) % 90
        if body.get("any") is True:
            del body["seat_id"]
    if isinstance(section, str) and len(section) < 5:
        body["section"] = "ABCDZ"[len(section)]
        if body.get("any") is not True:
            del body["section"]
    if isinstance(day, str):
        with suppress(ValueError):
            body["booking_date"] = str(date(2026, 11, 22) + timedelta(days=date.fromisoformat(day).toordinal() % 95))
    if isinstance(name, str):
        body["username"] = f"{name[:40]}john"
    return body


@schemathesis.hook
def map_headers(context: schemathesis.HookContext, headers: Any) -> Any:
    """Give each request a key of its own: with the key of the example, only the first would do anything."""
    return headers | {"Idempotency-Key": str(uuid4())} if headers and "Idempotency-Key" in headers else headers


@pytest.fixture
def site(start_site: Callable[..., Site]) -> Site:
    return start_site(**NO_LIMITS)


@pytest.fixture
def api(site: Site) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(f"{site.url}/openapi.json").json()
    return found


def operations(api: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        f"{method.upper()} {path}": operation
        for path, methods in api["paths"].items()
        for method, operation in methods.items()
    }


def test_the_document_is_valid(api: dict[str, Any]) -> None:
    schemathesis.openapi.from_dict(api).validate()
    broken = {**api, "paths": {**api["paths"], "/me": {"get": {"responses": {"200": {}}}}}}  # no description
    with pytest.raises(Exception, match="description"):
        schemathesis.openapi.from_dict(broken).validate()


def test_the_document_describes_every_operation(api: dict[str, Any]) -> None:
    described = operations(api)
    assert set(described) == {
        "POST /auth/register",
        "POST /auth/login",
        "POST /auth/logout",
        "GET /me",
        "GET /site",
        "GET /seats",
        "GET /sections",
        "GET /bookings",
        "POST /bookings",
        "PATCH /bookings/{booking_id}",
        "DELETE /bookings/{booking_id}",
        "GET /health",
        "GET /health/live",
    }
    for name, operation in described.items():
        assert operation["summary"], name
        assert operation["description"], name
        public = name in {"POST /auth/register", "POST /auth/login", "GET /site"} or name.startswith("GET /health")
        assert operation.get("security", []) == ([] if public else [{"bearer": []}]), name
        for parameter in operation.get("parameters", []):
            assert parameter["description"], (name, parameter["name"])


def parts(value: Any) -> Iterator[dict[str, Any]]:
    """Return every object in the document."""
    if isinstance(value, dict):
        yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from parts(item)


def test_generators_and_linters_understand_the_document(api: dict[str, Any]) -> None:
    """What Spectral, Redocly, and the generators of Python and TypeScript clients stumbled over."""
    described = operations(api)
    assert all(re.fullmatch("[a-z]+([A-Z][a-z]+)?", one["operationId"]) for one in described.values())
    assert {"createBooking", "moveBooking", "cancelBooking", "listBookings"} <= {
        one["operationId"] for one in described.values()
    }
    assert [tag["name"] for tag in api["tags"]] == ["Seats", "Bookings", "Accounts", "Site", "Health"]
    assert api["servers"]
    assert {"contact", "license", "description"} <= set(api["info"])
    schemas = api["components"]["schemas"]
    assert {"Booking", "Seat", "Section", "User", "Site"} <= set(schemas)
    assert not [name for name in schemas if name.endswith("Out")]
    for name, operation in described.items():
        for parameter in operation.get("parameters", []):
            schema = parameter["schema"]
            assert isinstance(schema["type"], str), (name, parameter["name"])  # never null
            assert parameter["required"] is (parameter["in"] == "path")
        # One kind of body only: the Python client cannot be imported with two.
        assert len(operation.get("requestBody", {"content": {"application/json": {}}})["content"]) == 1, name
        assert {"400", "500"} <= set(operation["responses"]), name
    booking_id = described["DELETE /bookings/{booking_id}"]["parameters"][0]
    assert booking_id["schema"] == {"type": "integer", "format": "int64", "minimum": 1}
    assert schemas["Booking"]["properties"]["id"]["format"] == "int64"
    body = described["POST /bookings"]["requestBody"]["content"]["application/json"]["schema"]
    assert body == {"oneOf": [{"$ref": f"#/components/schemas/{name}"} for name in ("BookSeat", "BookAny")]}
    assert (schemas["BookSeat"]["required"], schemas["BookAny"]["required"]) == (["seat_id"], ["any"])
    credentials = schemas["Credentials"]["properties"]
    assert (credentials["username"]["maxLength"], credentials["password"]["maxLength"]) == (50, 128)
    used = {part["$ref"] for part in parts(api) if "$ref" in part}
    kinds = ("schemas", "responses")
    assert used == {f"#/components/{kind}/{name}" for kind in kinds for name in api["components"][kind]}
    for part in parts(api):
        for group in ("oneOf", "anyOf", "allOf"):
            assert len(part.get(group, [1, 2])) > 1


async def test_the_document_is_sent_compressed(site: Site) -> None:
    async with httpx.AsyncClient(base_url=site.url) as http:
        plain = await http.get("/openapi.json", headers={"accept-encoding": "identity"})
        for coding in ("gzip", "br"):
            async with http.stream("GET", "/openapi.json", headers={"accept-encoding": coding}) as answer:
                assert answer.headers["content-encoding"] == coding
                sent = sum([len(chunk) async for chunk in answer.aiter_raw()])
                assert sent < len(plain.content) / 4


async def test_the_examples_are_days_that_can_be_booked(site: Site) -> None:
    site.clock.today = date(2027, 3, 1)
    async with httpx.AsyncClient(base_url=site.url) as http:
        api = (await http.get("/openapi.json")).json()
    examples = operations(api)["POST /bookings"]["requestBody"]["content"]["application/json"]["examples"]
    assert examples["day"]["value"]["booking_date"] == "2027-03-02"
    assert "2026-" not in json.dumps(api["paths"])


def answers(har: Path, api: dict[str, Any]) -> Counter[tuple[str, int, str]]:
    """Return how often each operation answered with each status and code."""
    paths = {path: re.compile(re.sub(r"\{\w+\}", "[^/]+", path)) for path in api["paths"]}
    seen: Counter[tuple[str, int, str]] = Counter()
    for entry in json.loads(har.read_text())["log"]["entries"]:
        path = urlsplit(entry["request"]["url"]).path.rstrip("/")
        template = next((template for template, pattern in paths.items() if pattern.fullmatch(path)), "elsewhere")
        content = entry["response"]["content"]
        problem = json.loads(content["text"]) if content.get("mimeType") == PROBLEM_JSON else {}
        name = f"{entry['request']['method']} {template}"
        seen[name, entry["response"]["status"], problem.get("code", "")] += 1
    return seen


def test_every_example_matches_its_schema(api: dict[str, Any]) -> None:
    seen = 0
    for name, operation in operations(api).items():
        contents = [operation.get("requestBody", {}).get("content", {})]
        contents += [response.get("content", {}) for response in responses(api, operation).values()]
        for media in (media for content in contents for media in content.values()):
            for example in media.get("examples", {}).values():
                schema = {**media["schema"], "components": api["components"]}
                assert Draft202012Validator(schema).is_valid(example["value"]), (name, example)
                seen += 1
    assert seen > 50


def test_the_document_has_no_random_examples(site: Site) -> None:
    """Litestar adds them, to some schemas in some runs, unless each response says that it must not."""
    seen = 0
    for route in routes(site.settings, site.backends):
        for handler in route.route_handlers:
            for status, response in (handler.responses or {}).items():
                assert response.data_container is None or not response.generate_examples, (route.path, status)
                seen += 1
    assert seen > 5


async def test_every_response_matches_the_document(programs: Programs, tmp_path: Path) -> None:
    """Schemathesis sends valid and invalid requests with a user's token, one by one and in sequences."""
    phases = "examples,coverage,fuzzing,stateful" if CASES else "examples,fuzzing,stateful"
    async with programs(1) as (ada,):
        await ada.post("/auth/register", {"username": "john", "password": "secret"})  # the user in the examples
        process = await asyncio.create_subprocess_exec(
            Path(sys.executable).with_name("schemathesis"),
            *("run", f"{ada.site.url}/openapi.json"),
            *("--header", f"Authorization: Bearer {ada.token}"),
            *("--checks", CHECKS),
            *("--phases", phases),
            *("--max-examples", str(CASES // 7 or 8)),
            *("--seed", str(crc32(os.environ["SEATWEB_TEST_SEED"].encode()))),
            *("--exclude-operation-id", "logout"),  # it would end the token
            *("--continue-on-failure", "--no-color"),
            *("--report-har-path", str(tmp_path / "answers.har")),
            cwd=tmp_path,
            env=os.environ | {"SCHEMATHESIS_HOOKS": __name__, "PYTHONPATH": str(Path(__file__).parents[2])},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output = (await process.communicate())[0].decode()
        api = (await ada.get("/openapi.json")).json()
    seen = answers(tmp_path / "answers.har", api)
    figures = [f"{times:5} {' '.join(map(str, answer))}" for answer, times in sorted(seen.items())]
    sys.stdout.write("\n".join([output, *figures]))
    assert process.returncode == 0, output
    assert sum(seen.values()) >= (CASES or 80)
    described = operations(api)
    for name, status, code in seen:
        if code not in {"method_not_allowed", "not_found"}:  # these do not belong to an operation
            answer = responses(api, described[name]).get(str(status), {})
            assert not code or code in answer["content"][PROBLEM_JSON]["examples"], (name, status, code)
    succeeded = {name for name, status, _ in seen if status < 300}
    # Every operation succeeded at least once, except perhaps registering, because john exists already.
    assert succeeded >= set(described) - {"POST /auth/register", "POST /auth/logout"}
