"""The OpenAPI document, and the description of the API as a whole."""

from __future__ import annotations

import inspect
from http import HTTPStatus
from typing import Any, Final

import msgspec
from litestar import Litestar, get
from litestar.di import NamedDependency
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme, Tag
from litestar.response import Response

from seatweb import __version__
from seatweb.api.operations import ADVICE, EXPLANATIONS, HEADERS, OPERATIONS, PARAMETERS, OperationDoc
from seatweb.api.problems import PROBLEM_JSON
from seatweb.api.schemas import Credentials, Move, NewBooking, SignInCredentials
from seatweb.booking.errors import RequestInProgress, SeatHeld
from seatweb.errors import InvalidInput, Message, NotSignedIn, Overloaded, SeatwebError, TooManyAttempts
from seatweb.i18n.catalogue import text_of

DESCRIPTION: Final = """\
Book seats from a program, by the same rules as on the pages. Requests and answers are JSON in UTF-8; every path works
with and without a slash at its end. Days are written `2026-11-23` and mean days in the site's time zone; times are UTC.

A user has at most one booking a day. Seats can be booked from today to 90 days ahead. Fields that are not described
here are refused by name, so that a typing error is noticed."""

BEARER: Final = """\
Get a token from `POST /auth/register` or `POST /auth/login`, and send it with every other request in the header
`Authorization: Bearer …`. Cookies count for nothing here, and the pages take no tokens."""

TAGS: Final = [
    Tag(name="Accounts", description="Register, sign in, and who one is."),
    Tag(name="Seats", description="What there is to book."),
    Tag(name="Bookings", description="Book, list, move, cancel."),
    Tag(name="Health", description="For those who watch over it."),
]


def openapi_config() -> OpenAPIConfig:
    """Return the configuration from which Litestar generates the OpenAPI schema."""
    return OpenAPIConfig(
        title="Seatweb",
        version=__version__,
        description=DESCRIPTION,
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


def document(app: Litestar) -> dict[str, Any]:
    """Return the OpenAPI document of the application: Litestar's schema with our descriptions and examples."""
    found: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(app.openapi_schema.to_schema()))
    for struct in (Credentials, SignInCredentials, NewBooking, Move):  # Litestar omits that they forbid unknown fields
        found["components"]["schemas"][struct.__name__]["additionalProperties"] = False
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
    return found


def problems() -> dict[str, type[SeatwebError]]:
    """Return the error class of every problem code, by code, ordered by status."""
    found: dict[str, type[SeatwebError]] = {}
    unvisited = [SeatwebError]
    while unvisited:
        for error in unvisited.pop().__subclasses__():
            unvisited.append(error)
            if error.__module__.startswith("seatweb.") and error.code != SeatwebError.code:
                defines_code = "code" in vars(error) and not error.__module__.startswith("seatweb.web.")
                found[error.code] = error if defines_code else found.get(error.code, error)
    return dict(sorted(found.items(), key=lambda item: (item[1].status, item[0])))


def _describe(operation: dict[str, Any], doc: OperationDoc) -> None:
    """Add descriptions, examples, headers and problems to an operation that Litestar has described."""
    operation |= {"summary": doc.summary, "description": doc.description}
    if doc.public:
        operation["security"] = []
    if doc.requests:
        operation["requestBody"]["content"]["application/json"]["examples"] = _examples(doc.requests)
    parameters = [one | PARAMETERS.get(one["name"], {}) for one in operation.get("parameters", [])]
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
    if NotSignedIn in errors:
        response["headers"] = _headers("WWW-Authenticate")
    if {Overloaded, RequestInProgress, SeatHeld, TooManyAttempts} & {*errors}:
        response["headers"] = _headers("Retry-After")
    return response


def _explanation(error: type[SeatwebError]) -> str:
    return EXPLANATIONS.get(error.code) or inspect.getdoc(error) or _detail(error)


def _detail(error: type[SeatwebError]) -> str:
    return text_of(Message(error.code))


def _example_problem(error: type[SeatwebError]) -> dict[str, Any]:
    fields = {"errors": [{"field": "booking_date", "message": "This is no day."}]} if error is InvalidInput else {}
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
