"""The OpenAPI document, and the description of the API as a whole."""

from __future__ import annotations

import inspect
import re
from collections import Counter
from datetime import date, timedelta
from http import HTTPStatus
from typing import Any, Final

import msgspec
from litestar import Litestar, get
from litestar.di import NamedDependency
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, Contact, License, SecurityScheme, Server, Tag
from litestar.response import Response

from seatweb import __version__
from seatweb.api.operations import ADVICE, EXPLANATIONS, HEADERS, OPERATIONS, PARAMETERS, TODAY, OperationDoc
from seatweb.api.problems import PROBLEM_JSON
from seatweb.booking.errors import RequestInProgress, SeatHeld
from seatweb.errors import InvalidInput, Message, Overloaded, SeatwebError, TooManyAttempts
from seatweb.i18n.catalogue import text_of

DESCRIPTION: Final = """\
Book seats from a program, with the same rules as on the website. Requests and responses are JSON in UTF-8. Every path
works with or without a trailing slash.

Dates look like `2026-11-23` and are in the site's time zone. `GET /site` returns that zone, today's date there, and the
last day that can be booked: 90 days ahead. Times are in UTC.

A user can have one booking per day. An unknown field or query parameter gets an error that names it, so that you notice
typos.

Any other path returns 404, and any other method returns 405 with an `Allow` header."""

BEARER: Final = """\
Get a token from `POST /auth/login`, and send it with every request in the header `Authorization: Bearer …`. The API
ignores cookies, and the website ignores tokens."""

TAGS: Final = [
    Tag(name="Seats", description="Find seats to book."),
    Tag(name="Bookings", description="Book, list, move and cancel."),
    Tag(name="Accounts", description="Register, sign in and sign out."),
    Tag(name="Site", description="What day it is at the site, and which days can be booked."),
    Tag(name="Health", description="Check whether the site works. Query parameters are ignored."),
]

# The limits of fields that are checked by the domains, which explain a violation better.
LENGTHS: Final = {
    ("Credentials", "username"): {"minLength": 1, "maxLength": 50},
    ("Credentials", "password"): {"minLength": 1, "maxLength": 128},
    ("SignInCredentials", "username"): {"minLength": 1},
    ("SignInCredentials", "password"): {"minLength": 1},
}
EXAMPLES: Final = frozenset({"example", "examples"})
ONLY_PAGES: Final = frozenset({"cannot_undo", "forbidden", "not_allowed", "too_many_streams", "user_not_found"})
"""The codes of problems that the API never returns."""


def openapi_config(base: str) -> OpenAPIConfig:
    """Return the configuration from which Litestar generates the OpenAPI schema of a site under the path `base`."""
    return OpenAPIConfig(
        title="Seatweb",
        version=__version__,
        description=DESCRIPTION,
        contact=Contact(name="The operator of this site"),
        license=License(name="MIT", identifier="MIT"),
        servers=[Server(url=base or "/")],
        path="/openapi",
        render_plugins=[JsonRenderPlugin()],
        use_handler_docstrings=True,
        tags=TAGS,
        components=Components(
            security_schemes={
                "bearer": SecurityScheme(type="http", scheme="bearer", bearer_format="JWT", description=BEARER)
            }
        ),
    )


def document(app: Litestar, today: date) -> dict[str, Any]:
    """Return the OpenAPI document of the application: Litestar's schema with our descriptions and examples."""
    encoded = msgspec.json.encode(app.openapi_schema.to_schema()).decode()
    found: dict[str, Any] = _tidy(msgspec.json.decode(re.sub(r'\b(\w+)Out"', r'\1"', encoded)))
    _describe_schemas(found["components"]["schemas"])
    for path in found["paths"].values():
        for operation in path.values():
            _describe(operation, OPERATIONS[operation["operationId"]])
    order = [*OPERATIONS].index
    paths = {
        path: dict(sorted(methods.items(), key=lambda item: order(item[1]["operationId"])))
        for path, methods in found["paths"].items()
    }
    found["paths"] = dict(
        sorted(paths.items(), key=lambda item: min(order(one["operationId"]) for one in item[1].values()))
    )
    _share_responses(found)
    found["x-problems"] = [
        {
            "code": error.code,
            "status": error.status,
            "title": HTTPStatus(error.status).phrase,
            "detail": _detail(error),
            "description": _explanation(error),
            "advice": ADVICE[error.code],
        }
        for error in problems().values()
    ]
    shifted: dict[str, Any] = _shift_days(found, today - date.fromisoformat(TODAY))
    return _with_base(shifted, app.state.base) if app.state.base else shifted


def problems() -> dict[str, type[SeatwebError]]:
    """Return the error class of every code that the API can return, by code, ordered by status."""
    found: dict[str, type[SeatwebError]] = {}
    unvisited = [SeatwebError]
    while unvisited:
        for error in unvisited.pop().__subclasses__():
            unvisited.append(error)
            if error.__module__.startswith("seatweb.") and error.code not in {*ONLY_PAGES, SeatwebError.code}:
                defines_code = "code" in vars(error) and not error.__module__.startswith("seatweb.web.")
                found[error.code] = error if defines_code else found.get(error.code, error)
    return dict(sorted(found.items(), key=lambda item: (item[1].status, item[0])))


def _tidy(value: Any) -> Any:  # noqa: ANN401 - JSON
    """Return a part of the document, with `oneOf` and `allOf` only where there are several choices."""
    if isinstance(value, list):
        return [_tidy(item) for item in value]
    if not isinstance(value, dict):
        return int(value) if isinstance(value, float) and value.is_integer() else value
    found = {key: _tidy(item) for key, item in value.items()}
    for group in ("oneOf", "allOf"):
        if len(found.get(group, [])) == 1:
            found = found.pop(group)[0] | found
    return found


def _describe_schemas(schemas: dict[str, Any]) -> None:
    """Add what Litestar omits: lengths, the size of ids, which codes there are, and what excludes what."""
    for name, schema in schemas.items():
        for field, described in schema.get("properties", {}).items():
            described.update(LENGTHS.get((name, field), {}))
            if (field == "id" or field.endswith("_id")) and described["type"] == "integer":
                described["format"] = "int64"
    schemas["Problem"]["properties"]["code"]["enum"] = [*problems()]
    # Generated clients can only express that `seat_id` and `any` exclude each other if there are two schemas.
    fields = schemas.pop("NewBooking")["properties"]
    seat = {"seat_id": fields["seat_id"], "booking_date": fields["booking_date"]}
    any_seat = {"any": {"type": "boolean", "enum": [True], "description": fields["any"]["description"]}}
    no_any = {"any": {"type": "boolean", "enum": [False], "description": "Can be left out."}}
    schemas["BookSeat"] = _request("BookSeat", "To book a specific seat.", seat | no_any, ["seat_id"])
    schemas["BookAny"] = _request(
        "BookAny",
        "To book any free seat.",
        any_seat | {"section": fields["section"], "booking_date": fields["booking_date"]},
        ["any"],
    )
    for name in ("Credentials", "SignInCredentials", "Move"):
        schemas[name]["additionalProperties"] = False


def _request(title: str, description: str, properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    return {
        "type": "object",
        "title": title,
        "description": description,
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def _describe(operation: dict[str, Any], doc: OperationDoc) -> None:
    """Add descriptions, examples, headers and problems to an operation that Litestar has described."""
    operation |= {"summary": doc.summary, "description": doc.description}
    if doc.public:
        operation["security"] = []
    if doc.requests:
        content = operation["requestBody"]["content"]
        content["application/json"]["examples"] = _examples(doc.requests)
        if operation["operationId"] == "createBooking":
            both = [{"$ref": f"#/components/schemas/{name}"} for name in ("BookSeat", "BookAny")]
            content["application/json"]["schema"] = {"oneOf": both}
    parameters = [_without_null(one) | PARAMETERS.get(one["name"], {}) for one in operation.get("parameters", [])]
    if parameters or doc.parameters:
        operation["parameters"] = [*parameters, *doc.parameters]
    # Drop Litestar's default error responses: they are not problem+json, and we never send them.
    responses = {
        status: response
        for status, response in operation["responses"].items()
        if int(status) in doc.answers or PROBLEM_JSON in response.get("content", {})
    }
    for number in doc.answers:
        responses[str(number)] |= _success_response(responses[str(number)], doc, number)
    known = problems()
    for status in sorted({known[code].status for code in doc.refusals}):
        responses[str(status)] = _problem_response(
            [known[code] for code in doc.refusals if known[code].status == status]
        )
    operation["responses"] = dict(sorted(responses.items()))


def _without_null(parameter: dict[str, Any]) -> dict[str, Any]:
    """Return a parameter without the alternative `null`: it can be left out, but no URL or header contains a null."""
    schema = parameter["schema"]
    choices = [choice for choice in schema.get("oneOf", []) if choice.get("type") != "null"]
    return parameter | {"schema": choices[0]} if len(choices) == 1 else parameter


def _share_responses(document: dict[str, Any]) -> None:
    """Move the problem responses that several operations share to the document's components."""
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    times = Counter(
        _name(response)
        for operation in operations
        for response in operation["responses"].values()
        if PROBLEM_JSON in response.get("content", {})
    )
    shared: dict[str, Any] = {}
    for operation in operations:
        for status, response in operation["responses"].items():
            if PROBLEM_JSON in response.get("content", {}) and times[_name(response)] > 1:
                shared[_name(response)] = response
                operation["responses"][status] = {"$ref": f"#/components/responses/{_name(response)}"}
    document["components"]["responses"] = dict(sorted(shared.items()))


def _name(response: dict[str, Any]) -> str:
    """Return a name for a problem response: its codes, such as `MalformedJsonOrMalformedRequest`."""
    codes = sorted(response["content"][PROBLEM_JSON]["examples"])
    return "Or".join("".join(word.capitalize() for word in code.split("_")) for code in codes)


def _shift_days(value: Any, by: timedelta) -> Any:  # noqa: ANN401 - JSON
    """Return a part of the document whose examples are as many days later."""
    if isinstance(value, dict):
        return {key: _shift_text(item, by) if key in EXAMPLES else _shift_days(item, by) for key, item in value.items()}
    return [_shift_days(item, by) for item in value] if isinstance(value, list) else value


def _shift_text(value: Any, by: timedelta) -> Any:  # noqa: ANN401 - JSON
    def shift(match: re.Match[str]) -> str:
        return str(date.fromisoformat(match[0]) + by)

    return msgspec.json.decode(re.sub(r"\b20\d\d-\d\d-\d\d", shift, msgspec.json.encode(value).decode()))


def _with_base(document: dict[str, Any], base: str) -> dict[str, Any]:
    """Return the document with the path under which Seatweb runs in its examples of addresses."""
    text = msgspec.json.encode(document).decode()
    found: dict[str, Any] = msgspec.json.decode(text.replace('"/docs#', f'"{base}/docs#').replace("`</", f"`<{base}/"))
    return found


def _success_response(response: dict[str, Any], doc: OperationDoc, status: int) -> dict[str, Any]:
    found: dict[str, Any] = {"description": doc.answers[status]}
    if status in doc.examples:
        media = response["content"]["application/json"]
        found["content"] = {"application/json": media | {"examples": _examples(doc.examples[status])}}
    if status in doc.headers:
        found["headers"] = _headers(*doc.headers[status])
    return found


def _problem_response(errors: list[type[SeatwebError]]) -> dict[str, Any]:
    response: dict[str, Any] = {
        "description": "\n".join(f"`{error.code}`: {_explanation(error)}" for error in errors),
        "content": {
            PROBLEM_JSON: {
                "schema": {"$ref": "#/components/schemas/Problem"},
                "examples": _examples({error.code: (_detail(error), _example_problem(error)) for error in errors}),
            }
        },
    }
    if errors[0].status == 401:
        response["headers"] = _headers("WWW-Authenticate")
    if {Overloaded, RequestInProgress, SeatHeld, TooManyAttempts} & {*errors}:
        response["headers"] = _headers("Retry-After")
    return response


def _explanation(error: type[SeatwebError]) -> str:
    return EXPLANATIONS.get(error.code) or inspect.getdoc(error) or _detail(error)


def _detail(error: type[SeatwebError]) -> str:
    return text_of(Message(error.code))


def _example_problem(error: type[SeatwebError]) -> dict[str, Any]:
    fields = (
        {"errors": [{"field": "booking_date", "message": text_of(Message("field.date"))}]}
        if error is InvalidInput
        else {}
    )
    return {
        "type": f"/docs#{error.code}",
        "title": HTTPStatus(error.status).phrase,
        "status": error.status,
        "detail": _detail(error),
        "code": error.code,
        "request_id": "5f0c2f9e0c6b4f0f",
        **fields,
    }


def _examples(examples: dict[str, tuple[str, Any]]) -> dict[str, Any]:
    return {name: {"summary": summary, "value": value} for name, (summary, value) in examples.items()}


def _headers(*names: str) -> dict[str, Any]:
    return {name: {"description": HEADERS[name], "schema": {"type": "string"}} for name in names}


@get("/openapi.json", include_in_schema=False, sync_to_thread=False, opt={"for_programs": True})
def openapi_json(api_document: NamedDependency[dict[str, Any]]) -> Response[dict[str, Any]]:
    """Return the OpenAPI document."""
    return Response(api_document, headers={"cache-control": "public, max-age=3600"})
