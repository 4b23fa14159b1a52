"""The documentation page of the JSON API, generated from its OpenAPI document, so that the two always agree."""

from __future__ import annotations

import json
import shlex
from datetime import date
from typing import Any, Final
from uuid import uuid4

from litestar import get
from litestar.di import NamedDependency
from litestar.response import Response
from msgspec import Struct

from seatweb.booking.window import BookingWindow
from seatweb.settings import Limit, Settings
from seatweb.web.rendering import Renderer
from seatweb.web.requests import FOR_EVERYONE, PageRequest

LONGEST_LINE: Final = 58  # characters; longer commands are split into several lines
MOST_LISTED: Final = 6  # values of an enumeration; longer ones, such as the codes of errors, are explained elsewhere
VARIABLES: Final = {"booking_id": "$BOOKING"}
"""The shell variable with the value of a path parameter; one of the commands before sets it."""


class Field(Struct, frozen=True):
    """A field of a body, or a parameter."""

    name: str
    type: str
    place: str
    """Where a parameter is sent: `path`, `query` or `header`; empty for a field."""
    required: bool
    description: str
    default: str | None
    example: str | None


class Sample(Struct, frozen=True):
    """An example: a caption, and the text."""

    words: str
    text: str


class LimitRow(Struct, frozen=True):
    """How often something may be done."""

    what: str
    whose: str
    """Who is counted: each user, or each IP address."""
    limit: str


class KnownProblem(Struct, frozen=True):
    """A reason to refuse a request."""

    code: str
    status: int
    title: str
    detail: str
    description: str
    advice: str


class Answer(Struct, frozen=True):
    """An operation's response with one status."""

    status: int
    description: str
    shape: str
    """The type of the body, such as `list of objects`; empty without a body."""
    fields: list[Field]
    headers: list[tuple[str, str]]
    samples: list[Sample]
    problems: list[KnownProblem]
    """The problems with this status, if it is a refusal."""


class Operation(Struct, frozen=True):
    """A method and a path."""

    id: str
    method: str
    path: str
    summary: str
    description: str
    public: bool
    parameters: list[Field]
    bodies: list[tuple[str, list[Field]]]
    """The fields of each kind of body, under a caption."""
    requests: list[Sample]
    """curl commands."""
    answers: list[Answer]
    """The successful responses."""
    refusals: list[Answer]


class Group(Struct, frozen=True):
    """The operations of one tag."""

    name: str
    description: str
    operations: list[Operation]


class DocumentationPage(Struct, frozen=True):
    """`api_docs.html`."""

    version: str
    description: str
    today: date
    time_zone: str
    """The site's, in which it is that day."""
    bearer: str
    """How to sign in."""
    sign_in: list[Sample]
    groups: list[Group]
    problem_fields: list[Field]
    problem_samples: list[Sample]
    problems: list[KnownProblem]
    limits: list[LimitRow]


@get("/docs", opt=FOR_EVERYONE)
async def documentation(
    request: PageRequest,
    renderer: NamedDependency[Renderer],
    settings: NamedDependency[Settings],
    window: NamedDependency[BookingWindow],
    api_document: NamedDependency[dict[str, Any]],
) -> Response[str]:
    """Show the documentation of the API."""
    host = "localhost" if settings.host in {"127.0.0.1", "0.0.0.0", "::"} else settings.host  # noqa: S104 - compared only
    site = settings.public_url or f"http://{host}:{settings.port}"
    page = documentation_page(api_document, site.rstrip("/"), settings, window.today())
    return renderer.page(request, "api_docs.html", page)


def documentation_page(document: dict[str, Any], site: str, settings: Settings, today: date) -> DocumentationPage:
    """Return the page for an OpenAPI document; `site` is the base URL in the commands."""
    reader = _Reader(document, site)
    operations = [
        (operation["tags"][0], reader.operation(method.upper(), path, operation))
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    samples = {operation.id: operation.requests[0].text for _, operation in operations}
    problem = document["components"]["schemas"]["Problem"]
    return DocumentationPage(
        version=document["info"]["version"],
        description=document["info"]["description"],
        today=today,
        time_zone=settings.time_zone,
        bearer=document["components"]["securitySchemes"]["bearer"]["description"],
        sign_in=[
            Sample("Create an account, once", samples["login"].replace("/auth/login", "/auth/register")),
            Sample("Get a token and save it", _keep("TOKEN", samples["login"], '.*"access_token":"([^"]+)".*')),
            Sample("Send it", samples["getMe"]),
        ],
        groups=[
            Group(tag["name"], tag["description"], [operation for name, operation in operations if name == tag["name"]])
            for tag in document["tags"]
        ],
        problem_fields=reader.fields(problem),
        problem_samples=[
            Sample("A seat that is taken", reader.problem_sample("seat_taken")),
            Sample("A date that is not valid", reader.problem_sample("invalid_input")),
        ],
        problems=list(reader.problems.values()),
        limits=[
            LimitRow("Registrations", "IP address", _limit(settings.limit_registrations)),
            LimitRow("Failed sign-ins", "username", _limit(settings.limit_failures_per_account)),
            LimitRow("Failed sign-ins", "IP address", _limit(settings.limit_failures_per_address)),
            LimitRow("Bookings and moves", "user", _limit(settings.limit_bookings)),
            LimitRow("Requests", "user", _limit(settings.limit_requests)),
        ],
    )


def _limit(limit: Limit | None) -> str:
    if limit is None:
        return "no limit"
    count, _, unit = str(limit).partition("/")
    return f"{count} per {unit}"


class _Reader:
    """Reads an OpenAPI document: resolves references, and describes types in words."""

    def __init__(self, document: dict[str, Any], site: str) -> None:
        self._document = document
        self._site = site
        self.problems = {problem["code"]: KnownProblem(**problem) for problem in document["x-problems"]}

    def operation(self, method: str, path: str, operation: dict[str, Any]) -> Operation:
        """Return all that the page shows about an operation."""
        body = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
        schema = body.get("schema", {})
        bodies = [
            (choice["description"].removesuffix("."), self.fields(choice))
            for choice in map(self._resolve, schema.get("oneOf", []))
        ]
        answers = [
            self._answer(int(status), self._resolve(answer)) for status, answer in operation["responses"].items()
        ]
        commands = self._commands(method, path, operation, body.get("examples"))
        if "{booking_id}" in path and method == "PATCH":
            listed = self._commands("GET", path.partition("/{")[0], {"security": operation["security"]}, None)[0].text
            commands = [
                Sample("Save the id of a booking", _keep("BOOKING", listed, r'^\[\{"id":([0-9]+).*')),
                *commands,
            ]
        return Operation(
            id=operation["operationId"],
            method=method,
            path=path,
            summary=operation["summary"],
            description=operation["description"],
            public=not operation.get("security"),
            parameters=[
                self._field(parameter["name"], parameter, required=parameter["required"])
                for parameter in _parameters(operation)
            ],
            bodies=bodies or ([("Request body", self.fields(schema))] if schema else []),
            requests=commands,
            answers=[answer for answer in answers if not answer.problems],
            refusals=[answer for answer in answers if answer.problems],
        )

    def fields(self, schema: dict[str, Any], prefix: str = "") -> list[Field]:
        """Return the fields of an object, or of the objects in a list; nested fields have dotted names."""
        schema = self._resolve(schema)
        if schema.get("type") == "array":
            return self.fields(schema["items"], prefix)
        found = []
        for name, field in schema.get("properties", {}).items():
            found.append(self._field(prefix + name, field, required=name in schema.get("required", [])))
            inner = self._resolve(field)
            if inner.get("type") in {"object", "array"}:
                dots = f"{prefix}{name}." if inner["type"] == "object" else f"{prefix}{name}[]."
                found.extend(self.fields(inner, dots))
        return found

    def problem_sample(self, code: str) -> str:
        """Return the document's example of a problem; empty if it has none."""
        for methods in self._document["paths"].values():
            for operation in methods.values():
                for answer in map(self._resolve, operation["responses"].values()):
                    examples = answer.get("content", {}).get("application/problem+json", {}).get("examples", {})
                    if code in examples:
                        return _pretty(examples[code]["value"])
        return ""

    def _answer(self, status: int, answer: dict[str, Any]) -> Answer:
        content = answer.get("content") or {}
        refusal = content.get("application/problem+json", {})
        shape = content.get("application/json", {})
        return Answer(
            status=status,
            description=answer["description"],
            shape=self._type(shape["schema"]) if shape else "",
            fields=self.fields(shape["schema"]) if shape else [],
            headers=[(name, header["description"]) for name, header in answer.get("headers", {}).items()],
            samples=[
                Sample(example["summary"], _pretty(example["value"])) for example in shape.get("examples", {}).values()
            ],
            problems=[self.problems[code] for code in refusal.get("examples", {})],
        )

    def _field(self, name: str, field: dict[str, Any], *, required: bool) -> Field:
        schema = self._resolve(field.get("schema", field))
        example = field.get("example", next(iter(schema.get("examples", [])), None))
        default = schema.get("default")
        return Field(
            name=name,
            type=self._type(schema),
            place=field.get("in", ""),
            required=required,
            description=field.get("description") or schema.get("description", ""),
            default=None if default is None else _value(default),
            example=None if example is None else _value(example),
        )

    def _type(self, schema: dict[str, Any]) -> str:
        """Return a type in words."""
        schema = self._resolve(schema)
        if "const" in schema:
            return _value(schema["const"])
        if 1 <= len(schema.get("enum", [])) <= MOST_LISTED:
            return " | ".join(_value(value) for value in schema["enum"])
        if schema.get("type") == "array":
            return f"list of {self._type(schema['items'])}s"
        named = {"date": "date", "date-time": "date and time"}.get(schema.get("format", ""))
        words = named or str(schema.get("type", "value"))
        if "minimum" in schema and "maximum" in schema:
            words += f" from {schema['minimum']:.0f} to {schema['maximum']:.0f}"
        return words

    def _resolve(self, schema: dict[str, Any]) -> dict[str, Any]:
        """Return the schema with references resolved, and without the alternative `null`."""
        if "$ref" in schema:
            found = self._document
            for part in schema["$ref"].removeprefix("#/").split("/"):
                found = found[part]
            return self._resolve(found)
        for group in ("allOf", "oneOf", "anyOf"):
            choices = [choice for choice in schema.get(group, []) if choice.get("type") != "null"]
            if len(choices) == 1:
                return self._resolve(choices[0]) | {key: value for key, value in schema.items() if key != group}
        return schema

    def _commands(
        self, method: str, path: str, operation: dict[str, Any], examples: dict[str, Any] | None
    ) -> list[Sample]:
        address = shlex.quote(self._site + path)
        for name, variable in VARIABLES.items():
            if f"{{{name}}}" in path:
                address = f'"{self._site}{path}"'.replace(f"{{{name}}}", variable)
        query = {
            parameter["name"]: parameter["example"]
            for parameter in _parameters(operation)
            if parameter["in"] == "query" and "example" in parameter
        }
        head = ["curl"] + (["-G"] if query else [] if method == "GET" else ["-X", method])
        first = " ".join([*head, address])
        headers = [] if not operation.get("security") else ['-H "Authorization: Bearer $TOKEN"']
        if not examples:
            values = [f"-d {shlex.quote(f'{name}={value}')}" for name, value in query.items()]
            return [Sample("Request", _lines([first, *headers, *values]))]
        keyed = any(parameter["name"] == "Idempotency-Key" for parameter in _parameters(operation))
        return [
            Sample(
                example["summary"],
                _lines(
                    [
                        first,
                        *headers,
                        *([f'-H "Idempotency-Key: {uuid4()}"'] if keyed else []),  # another one for each request
                        '-H "Content-Type: application/json"',
                        f"-d {shlex.quote(json.dumps(example['value']))}",
                    ]
                ),
            )
            for example in examples.values()
        ]


def _parameters(operation: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = operation.get("parameters", [])
    return found


def _keep(variable: str, command: str, pattern: str) -> str:
    """Return a command that keeps a part of the response in a shell variable."""
    return f"{variable}=$({command.replace('curl', 'curl -s', 1)} \\\n  | sed -E 's/{pattern}/\\1/')"


def _lines(parts: list[str]) -> str:
    """Return a command on one line if it is short, else on several."""
    whole = " ".join(parts)
    return whole if len(whole) <= LONGEST_LINE else " \\\n  ".join(parts)


def _value(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _pretty(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)
