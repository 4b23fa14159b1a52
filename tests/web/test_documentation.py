"""The documentation page shows everything in the OpenAPI document, and every problem links to its explanation."""

from __future__ import annotations

import asyncio
import inspect
import pkgutil
import shutil
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any

import pytest
import seatweb
from bs4 import Tag
from seatweb.api.openapi import ONLY_PAGES, problems
from seatweb.api.operations import ADVICE, OPERATIONS
from seatweb.errors import SeatwebError
from seatweb.web.api_docs import documentation_page

from tests.api.conftest import responses
from tests.support import Clock, Site, one, soup


async def document_and_page(site: Site) -> tuple[dict[str, Any], Tag]:
    visitor = site.visitor()
    document = (await visitor.get("/openapi.json")).json()
    answer = await visitor.get("/docs")
    assert answer.status_code == 200
    return document, _main(answer.text)


@cache  # it is the same for every visitor of every site, and large
def _main(html: str) -> Tag:
    return one(soup(html), "main")


def error_classes() -> set[type[SeatwebError]]:
    for module in pkgutil.walk_packages(seatweb.__path__, "seatweb."):
        if not module.name.endswith("__main__"):
            import_module(module.name)
    found, pending = set[type[SeatwebError]](), [SeatwebError]
    while pending:
        subclasses = [error for error in pending.pop().__subclasses__() if error.__module__.startswith("seatweb.")]
        found.update(error for error in subclasses if error.code != SeatwebError.code)
        pending.extend(subclasses)
    return found


async def test_the_page_shows_every_operation_and_response(site: Site) -> None:
    document, page = await document_and_page(site)
    seen = set()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            seen.add(operation["operationId"])
            heading = one(page, f"h3#{operation['operationId']}")
            assert heading.get_text("", strip=True) == method.upper() + path
            article = heading.find_parent("article")
            assert article
            text = article.get_text()
            assert operation["summary"] in text
            statuses = {element.get_text() for element in article.select(".api-status b, .api-refusals li > b")}
            assert statuses == set(operation["responses"])
            names = {element.get_text() for element in article.select("th code")}
            assert {parameter["name"] for parameter in operation.get("parameters", [])} <= names
            command = "curl " if method == "get" else f"curl -X {method.upper()} "
            assert command in text
    assert seen == set(OPERATIONS)


async def test_every_response_is_described_and_links_to_its_problems(site: Site) -> None:
    document, page = await document_and_page(site)
    for methods in document["paths"].values():
        for operation in methods.values():
            article = one(page, f"#{operation['operationId']}").find_parent("article")
            assert article
            linked = {str(link["href"]).removeprefix("#") for link in article.select(".api-refusals a")}
            documented = set()
            for status, answer in responses(document, operation).items():
                assert answer["description"]
                content = answer.get("content", {})
                if "application/problem+json" in content:
                    examples = content["application/problem+json"]["examples"]
                    documented.update(examples)
                    assert all(str(example["value"]["status"]) == status for example in examples.values())
                elif content:
                    assert content["application/json"]["examples"]
            assert linked == documented


async def test_the_page_shows_every_field_of_every_schema(site: Site) -> None:
    document, page = await document_and_page(site)
    names = {element.get_text().rpartition(".")[2] for element in page.select("th code")}
    for name, schema in document["components"]["schemas"].items():
        assert set(schema.get("properties", {})) <= names, name


async def test_every_error_code_has_an_anchor(site: Site) -> None:
    document, page = await document_and_page(site)
    codes = {error.code for error in error_classes()} - ONLY_PAGES
    assert codes == set(ADVICE) == set(problems())
    for code in codes:
        assert code in one(page, f"dl #{code}").get_text()
    assert {problem["code"] for problem in document["x-problems"]} == codes
    assert all(inspect.cleandoc(problem["description"]) for problem in document["x-problems"])


async def test_the_type_of_every_problem_links_to_an_anchor(site: Site, clock: Clock) -> None:
    _, page = await document_and_page(site)
    visitor = site.visitor()
    json_type = {"content-type": "application/json"}
    john = {"username": "john", "password": "secret"}
    token = (await visitor.http.post("/auth/register", json=john)).json()["access_token"]
    bearer = {"authorization": f"Bearer {token}"}
    await visitor.http.post("/bookings", json={"seat_id": 1}, headers=bearer)
    refusals = [
        await visitor.get("/me"),
        await visitor.get("/seats?section=Z", headers=bearer),
        await visitor.get("/seats/nowhere"),
        await visitor.get("/bookings?limit=many", headers=bearer),
        await visitor.http.put("/bookings", headers=bearer),
        await visitor.http.post("/auth/login", content="{", headers=json_type),
        await visitor.http.post("/auth/login", content="a=b", headers={"content-type": "text/plain"}),
        await visitor.http.post("/auth/login", json=john | {"password": "wrong"}),
        await visitor.http.post("/auth/register", json=john),
        await visitor.http.post("/auth/register", content=b"x" * 100_000, headers=json_type),
        await visitor.http.post("/bookings", json={"seat_id": 2}, headers=bearer),
        await visitor.http.post("/bookings", json={"seat_id": 0}, headers=bearer),
        await visitor.http.post(
            "/bookings", json={"seat_id": 2, "booking_date": str(clock.ahead(400))}, headers=bearer
        ),
        await visitor.http.delete("/bookings/1000", headers=bearer),
    ]
    for answer in refusals:
        problem = answer.json()
        assert answer.status_code == problem["status"] >= 400
        path, _, anchor = problem["type"].partition("#")
        assert (path, anchor) == ("/docs", problem["code"])
        assert one(page, f"dl #{anchor}").get_text()
    assert len({answer.json()["code"] for answer in refusals}) == len(refusals)


@pytest.mark.skipif(not (shutil.which("curl") and shutil.which("bash")), reason="needs curl and bash")
async def test_every_command_of_the_page_runs_as_it_stands(site: Site) -> None:
    """From top to bottom, in one shell, each with a success: dates to come, keys used once, ids that exist."""
    page = soup(await site.visitor().get("/docs"))
    blocks = [code.get_text() for code in page.select(".api-sample pre code") if "curl " in code.get_text()]
    assert len(blocks) > 15
    script = "\n".join(['curl() { command curl -sS --fail-with-body "$@"; }', *blocks, "echo; echo done"])
    script = script.replace(f"http://localhost:{site.settings.port}", site.url)
    process = await asyncio.create_subprocess_exec(
        *("bash", "-euo", "pipefail", "-c", script), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output = (await process.communicate())[0].decode()
    assert process.returncode == 0, output
    assert output.endswith("done\n")


async def test_the_page_says_what_the_limits_and_the_time_zone_are(start_site: Callable[..., Site]) -> None:
    site = start_site(SEATWEB_LIMIT_BOOKINGS="7/day", SEATWEB_TIME_ZONE="Asia/Tokyo")
    text = " ".join(one(soup(await site.visitor().get("/docs")), "main").get_text(" ").split())
    assert "Bookings and moves per user 7 per day" in text
    assert "Requests per user no limit" in text
    assert "This site's time zone is Asia/Tokyo . Today is 2026-11-23 there." in text


async def test_every_link_within_the_page_has_a_target(site: Site) -> None:
    _, page = await document_and_page(site)
    for link in page.select("a[href^='#']"):
        assert one(page, str(link["href"]))


async def test_example_commands_use_the_public_url(site: Site) -> None:
    document, _ = await document_and_page(site)
    page = documentation_page(document, "https://seats.example.org", site.settings, site.clock.today)
    commands = [request.text for group in page.groups for item in group.operations for request in item.requests]
    assert all("https://seats.example.org/" in command for command in commands)
