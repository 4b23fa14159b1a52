"""The documentation page says all that the OpenAPI document says, and every problem leads to its explanation."""

from __future__ import annotations

import inspect
import pkgutil
from importlib import import_module
from typing import Any

import seatweb
from bs4 import Tag
from seatweb.api.openapi import problems
from seatweb.api.operations import ADVICE, OPERATIONS
from seatweb.api.problems import REFUSALS
from seatweb.errors import SeatwebError
from seatweb.web.api_docs import documentation_page

from tests.support import Clock, Site, one, soup


async def read(site: Site) -> tuple[dict[str, Any], Tag]:
    visitor = site.visitor()
    document = (await visitor.get("/openapi.json")).json()
    answer = await visitor.get("/docs")
    assert answer.status_code == 200
    return document, one(soup(answer), "main")


def every_error() -> set[type[SeatwebError]]:
    for module in pkgutil.walk_packages(seatweb.__path__, "seatweb."):
        if not module.name.endswith("__main__"):
            import_module(module.name)
    found, waiting = set[type[SeatwebError]](), [SeatwebError]
    while waiting:
        subclasses = [error for error in waiting.pop().__subclasses__() if error.__module__.startswith("seatweb.")]
        found.update(error for error in subclasses if error.code != SeatwebError.code)
        waiting.extend(subclasses)
    return found


async def test_every_operation_and_answer_is_on_the_page(site: Site) -> None:
    document, page = await read(site)
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


async def test_every_answer_is_explained_with_its_problems(site: Site) -> None:
    document, page = await read(site)
    for methods in document["paths"].values():
        for operation in methods.values():
            article = one(page, f"#{operation['operationId']}").find_parent("article")
            assert article
            linked = {str(link["href"]).removeprefix("#") for link in article.select(".api-refusals a")}
            given = set()
            for status, answer in operation["responses"].items():
                assert answer["description"]
                content = answer.get("content", {})
                if "application/problem+json" in content:
                    examples = content["application/problem+json"]["examples"]
                    given.update(examples)
                    assert all(str(example["value"]["status"]) == status for example in examples.values())
                elif content:
                    assert content["application/json"]["examples"]
            assert linked == given


async def test_every_field_of_every_shape_is_on_the_page(site: Site) -> None:
    document, page = await read(site)
    named = {element.get_text().rpartition(".")[2] for element in page.select("th code")}
    for name, shape in document["components"]["schemas"].items():
        assert set(shape.get("properties", {})) <= named, name


async def test_every_code_of_the_code_base_has_its_anchor(site: Site) -> None:
    document, page = await read(site)
    codes = {error.code for error in every_error()} | {error.code for error in REFUSALS.values()} | {"internal_error"}
    assert codes == set(ADVICE) == set(problems())
    for code in codes:
        assert code in one(page, f"dl #{code}").get_text()
    assert {problem["code"] for problem in document["x-problems"]} == codes
    assert all(inspect.cleandoc(problem["description"]) for problem in document["x-problems"])


async def test_every_type_that_the_api_gives_leads_to_an_anchor(site: Site, clock: Clock) -> None:
    _, page = await read(site)
    visitor = site.visitor()
    json = {"content-type": "application/json"}
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
        await visitor.http.post("/auth/login", content="{", headers=json),
        await visitor.http.post("/auth/login", content="a=b"),
        await visitor.http.post("/auth/login", json=john | {"password": "wrong"}),
        await visitor.http.post("/auth/register", json=john),
        await visitor.http.post("/auth/register", content=b"x" * 100_000, headers=json),
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


async def test_every_link_on_the_page_leads_somewhere(site: Site) -> None:
    _, page = await read(site)
    for link in page.select("a[href^='#']"):
        assert one(page, str(link["href"]))


async def test_commands_name_the_public_address(site: Site) -> None:
    document, _ = await read(site)
    page = documentation_page(document, "https://seats.example.org")
    commands = [request.text for group in page.groups for one in group.operations for request in one.requests]
    assert all("https://seats.example.org/" in command for command in commands)
