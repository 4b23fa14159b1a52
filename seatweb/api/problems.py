"""Error responses of the JSON API: problem+json (RFC 9457). The OpenAPI document shows the errors' docstrings."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Any, Final

import msgspec
import structlog
from litestar import Request
from litestar.exceptions import HTTPException, ValidationException
from litestar.openapi.datastructures import ResponseSpec
from litestar.response import Response

from seatweb.api.schemas import FieldError, Problem
from seatweb.errors import InvalidInput, Message, SeatwebError
from seatweb.i18n.catalogue import text_of, texts_of

PROBLEM_JSON: Final = "application/problem+json"
FIELD_IN_MESSAGE: Final = re.compile(r"`\$\.?([a-z_]*)|field `([^`]{1,60})`")

# Makes Litestar add the problem schema to the OpenAPI document; `operations.py` lists each operation's problems.
REFUSED: Final = {503: ResponseSpec(Problem, media_type=PROBLEM_JSON, generate_examples=False)}

log = structlog.get_logger(__name__)


class MalformedRequest(SeatwebError):
    """The request is not what HTTP says that a request is."""

    code = "malformed_request"
    status = 400


class MalformedJSON(SeatwebError):
    """The body says that it is JSON and is not."""

    code = "malformed_json"
    status = 400


class NotFound(SeatwebError):
    """There is nothing at this address."""

    code = "not_found"
    status = 404


class MethodNotAllowed(SeatwebError):
    """The address exists, and takes other methods."""

    code = "method_not_allowed"
    status = 405


class TooLarge(SeatwebError):
    """The body is larger than 16 KiB."""

    code = "too_large"
    status = 413


class UnsupportedMediaType(SeatwebError):
    """The body is not declared as JSON."""

    code = "unsupported_media_type"
    status = 415


class InternalError(SeatwebError):
    """Something broke on our side; it is logged under the request id."""

    code = "internal_error"
    status = 500


# Our error for each status with which Litestar refuses a request.
REFUSALS: Final[dict[int, type[SeatwebError]]] = {
    error.status: error for error in (MalformedRequest, NotFound, MethodNotAllowed, TooLarge, UnsupportedMediaType)
}


def problem_response(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Return the problem response for an exception; log a traceback if we did not expect it."""
    headers: dict[str, str] = {"cache-control": "no-store"}
    errors: list[FieldError] = []
    if isinstance(error, SeatwebError):
        refusal, status = error, error.status
        if isinstance(error, InvalidInput):
            errors = [FieldError(field=name, message=text) for name, text in texts_of(error.fields).items()]
        if status == 401:  # RFC 9110, section 15.5.2, requires a challenge
            headers["www-authenticate"] = "Bearer"
        if error.retry_after is not None:
            headers["retry-after"] = str(error.retry_after)
    elif isinstance(error, ValidationException):
        refusal, status = InvalidInput(), InvalidInput.status
        errors = _field_errors(error)
    elif isinstance(error, HTTPException) and error.status_code < 500:
        status = error.status_code
        refusal = REFUSALS.get(status, MalformedRequest)()
        headers |= {name.lower(): value for name, value in (error.headers or {}).items() if name.lower() == "allow"}
    else:
        refusal, status = InternalError(), InternalError.status
        log.error("request failed", exc_info=error)
    body = problem(status, refusal.code, text_of(refusal), request.scope["state"].get("request_id", ""), errors)
    return Response(body, status_code=status, media_type=PROBLEM_JSON, headers=headers)


def problem(status: int, code: str, detail: str, request_id: str, errors: list[FieldError] | None = None) -> bytes:
    """Return a problem encoded as JSON."""
    return msgspec.json.encode(
        Problem(
            type=f"/docs#{code}",
            title=HTTPStatus(status).phrase,
            status=status,
            detail=detail,
            code=code,
            request_id=request_id,
            errors=errors or msgspec.UNSET,
        )
    )


def _field_errors(error: ValidationException) -> list[FieldError]:
    """Return Litestar's validation errors, by field."""
    found: list[FieldError] = []
    extra = error.extra if isinstance(error.extra, list) else []
    for detail in extra:
        message = str(detail.get("message", "")) if isinstance(detail, dict) else str(detail)
        key = str(detail.get("key", "")) if isinstance(detail, dict) else ""
        match = FIELD_IN_MESSAGE.search(message)
        name = next((group for group in match.groups() if group), "") if match else ""
        text = message.partition(" - at ")[0] or text_of(Message("field.unusable"))
        found.append(FieldError(field=name or (key if key != "data" else "body"), message=text))
    return found or [FieldError(field="body", message=error.detail)]
