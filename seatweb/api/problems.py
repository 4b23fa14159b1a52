"""Error responses of the JSON API: problem+json (RFC 9457). The OpenAPI document shows the errors' docstrings."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

import msgspec
import structlog
from litestar import Request
from litestar.exceptions import HTTPException, ValidationException
from litestar.openapi.datastructures import ResponseSpec
from litestar.response import Response

from seatweb.api.schemas import FieldError, Problem
from seatweb.errors import InvalidInput, SeatwebError
from seatweb.i18n.catalogue import text_of, texts_of

PROBLEM_JSON: Final = "application/problem+json"

# Makes Litestar add the problem schema to the OpenAPI document; `operations.py` lists each operation's problems.
REFUSED: Final = {503: ResponseSpec(Problem, media_type=PROBLEM_JSON, generate_examples=False)}

log = structlog.get_logger(__name__)


class MalformedRequest(SeatwebError):
    """The request is not valid HTTP."""

    code = "malformed_request"
    status = 400


class MalformedJSON(SeatwebError):
    """The body is not valid JSON."""

    code = "malformed_json"
    status = 400


class TokenEnded(SeatwebError):
    """The token is no longer valid: it has expired, it was not used for too long, or its session has ended."""

    code = "token_ended"
    status = 401


class NotFound(SeatwebError):
    """There is nothing at this URL."""

    code = "not_found"
    status = 404


class MethodNotAllowed(SeatwebError):
    """The URL exists, but does not support this method."""

    code = "method_not_allowed"
    status = 405


class TooLarge(SeatwebError):
    """The body is larger than 16 KiB."""

    code = "too_large"
    status = 413


class UnsupportedMediaType(SeatwebError):
    """The body is not declared as JSON, with `Content-Type: application/json`."""

    code = "unsupported_media_type"
    status = 415


class InternalError(SeatwebError):
    """Something went wrong on our side. It is in the site's log, under the `request_id`."""

    code = "internal_error"
    status = 500


# How to sign in (RFC 6750, section 3), by error; plain `Bearer` for all others.
CHALLENGES: Final = {
    "not_signed_in.bad_header": 'Bearer error="invalid_token", error_description="The header is malformed"',
    "not_signed_in.bad_token": 'Bearer error="invalid_token", error_description="The token is not valid"',
    "token_ended": 'Bearer error="invalid_token", error_description="The session has ended"',
    "token_ended.expired": 'Bearer error="invalid_token", error_description="The token has expired"',
}

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
            headers["www-authenticate"] = CHALLENGES.get(str(error), "Bearer")
        if error.retry_after is not None:
            headers["retry-after"] = str(error.retry_after)
    elif isinstance(error, ValidationException):
        refusal, status = InvalidInput(), InvalidInput.status  # what `seatweb.api.validation` did not notice
    elif isinstance(error, HTTPException) and error.status_code < 500:
        status = error.status_code
        refusal = REFUSALS.get(status, MalformedRequest)()
        headers |= {name.lower(): value for name, value in (error.headers or {}).items() if name.lower() == "allow"}
    else:
        refusal, status = InternalError(), InternalError.status
        log.error("request failed", exc_info=error)
    request_id, base = request.scope["state"].get("request_id", ""), request.app.state.base
    body = problem(status, refusal.code, text_of(refusal), request_id, errors, base=base)
    return Response(body, status_code=status, media_type=PROBLEM_JSON, headers=headers)


def problem(
    status: int, code: str, detail: str, request_id: str, errors: list[FieldError] | None = None, *, base: str
) -> bytes:
    """Return a problem encoded as JSON; `base` is the path under which Seatweb runs."""
    return msgspec.json.encode(
        Problem(
            type=f"{base}/docs#{code}",
            title=HTTPStatus(status).phrase,
            status=status,
            detail=detail,
            code=code,
            request_id=request_id,
            errors=errors or msgspec.UNSET,
        )
    )
