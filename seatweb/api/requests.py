"""What every API request goes through: the bearer token, and a body that is JSON."""

from __future__ import annotations

import hashlib
import re
from typing import Any, Final, TypeAlias

import msgspec
from litestar import Request
from litestar.datastructures import State

from seatweb.accounts import Accounts
from seatweb.api.problems import MalformedJSON, UnsupportedMediaType
from seatweb.errors import InvalidInput, NotSignedIn
from seatweb.model import Session
from seatweb.security import API_AUDIENCE, Security

ApiRequest: TypeAlias = Request[None, None, State]

BEARER: Final = re.compile(r"bearer ([A-Za-z0-9._-]{1,4096})", re.IGNORECASE | re.ASCII)
KEY: Final = re.compile(r"[\x21-\x7e]{1,255}", re.ASCII)


async def check_request(request: ApiRequest) -> None:
    """Let a request through whose parameters come once, and whose body says it is JSON, is, and holds usable text.

    Raises:
        UnsupportedMediaType, MalformedJSON: the body is not JSON.
        InvalidInput: a parameter comes twice, or a text holds what no text should.
    """
    names = [name for name, _ in request.query_params.multi_items()]
    twice = {name: "It was sent twice." for name in names if names.count(name) > 1}
    if twice:
        raise InvalidInput(fields=twice)
    if request.method not in {"POST", "PATCH"}:
        return
    if request.content_type[0] != "application/json":
        raise UnsupportedMediaType
    try:
        content = msgspec.json.decode(await request.body())
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedJSON from error
    if not isinstance(content, dict):
        raise InvalidInput("The body is not a JSON object.", fields={"body": "A JSON object is needed."})
    wrong = {name: "This text cannot be used." for name, value in content.items() if not _is_text(value)}
    if wrong:
        raise InvalidInput(fields=wrong)


async def signed_in(request: ApiRequest) -> Session:
    """Return the session of the bearer token; a cookie counts for nothing here.

    Raises:
        NotSignedIn: there is no token, or it does not count (any more).
    """
    security: Security = request.app.state.security
    accounts: Accounts = request.app.state.accounts
    match = BEARER.fullmatch(request.headers.get("authorization", ""))
    claims = security.read(match[1], API_AUDIENCE) if match else None
    session = await accounts.find_session(claims.session_id, claims.user_id) if claims else None
    if session is None:
        raise NotSignedIn("Send a valid token as Authorization: Bearer …")
    return session


def idempotency_key(request: ApiRequest) -> str | None:
    """Return the request's Idempotency-Key; quotes around it do not count (it is a string in RFC 8941's sense).

    Raises:
        InvalidInput: it is not 1 to 255 printable characters, or comes twice.
    """
    values = request.headers.getall("idempotency-key", [])
    if not values:
        return None
    if len(values) > 1:
        raise InvalidInput(fields={"Idempotency-Key": "It was sent twice."})
    key = values[0].strip()
    if len(key) > 1 and key[0] == key[-1] == '"':
        key = key[1:-1]
    if not KEY.fullmatch(key):
        raise InvalidInput(fields={"Idempotency-Key": "1 to 255 printable characters without spaces are needed."})
    return key


async def fingerprint(request: ApiRequest) -> str:
    """Return what tells two requests apart: method, path and the content of the body, however it is written."""
    content: Any = msgspec.json.decode(await request.body())
    path = request.url.path.rstrip("/")
    canonical = msgspec.json.encode([request.method, path, content], order="deterministic")
    return hashlib.sha256(canonical).hexdigest()


def _is_text(value: object) -> bool:
    return not isinstance(value, str) or "\0" not in value
