"""Checks of every API request: rate limit, bearer token, query parameters and JSON body."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable
from functools import cache
from typing import Any, Final, TypeAlias

import msgspec
from litestar import Request
from litestar.datastructures import State

from seatweb.accounts.model import Session
from seatweb.accounts.sessions import Sessions
from seatweb.api.problems import MalformedJSON, UnsupportedMediaType
from seatweb.errors import InvalidInput, Message, NotSignedIn
from seatweb.http.client_address import address_of
from seatweb.http.tokens import API_AUDIENCE, Claims, Tokens
from seatweb.limits.limits import Limits

ApiRequest: TypeAlias = Request[None, None, State]

BEARER: Final = re.compile(r"bearer ([A-Za-z0-9._-]{1,4096})", re.IGNORECASE | re.ASCII)
KEY: Final = re.compile(r"[\x21-\x7e]{1,255}", re.ASCII)


class ApiGuard:
    """Authenticates and validates API requests, and counts them if `limits` are given."""

    def __init__(self, tokens: Tokens, sessions: Sessions, limits: Limits | None) -> None:
        self._tokens = tokens
        self._sessions = sessions
        self._limits = limits

    async def check(self, request: ApiRequest) -> None:
        """Check a request, and store the session of its token in its state.

        Raises:
            TooManyAttempts: the user, or without a token the address, sends too many requests.
            NotSignedIn: the token is missing, invalid or no longer valid.
            UnsupportedMediaType, MalformedJSON: the body is not JSON.
            InvalidInput: a parameter or field is duplicate, or a field is missing, unknown or invalid.
        """
        claims = self._claims(request)
        if self._limits:
            await self._limits.request(claims.user_id if claims else None, address_of(request))
        if not request.route_handler.opt.get("for_everyone"):
            # Before validation, so that clients without a token learn nothing about what a valid request is.
            request.state.session = await self._find_session(claims)
        await _check_request(request)

    async def _find_session(self, claims: Claims | None) -> Session:
        session = await self._sessions.find(claims.session_id, claims.user_id) if claims else None
        if session is None or session.enrolling:
            raise NotSignedIn(reason="token")
        return session

    def _claims(self, request: ApiRequest) -> Claims | None:
        match = BEARER.fullmatch(request.headers.get("authorization", ""))
        return self._tokens.read(match[1], API_AUDIENCE) if match else None


async def _check_request(request: ApiRequest) -> None:
    duplicates = _duplicates(request.query_params.multi_items())
    if duplicates:
        raise InvalidInput(fields=duplicates)
    if request.method not in {"POST", "PATCH"}:
        return
    if request.content_type[0] != "application/json":
        raise UnsupportedMediaType
    body = await request.body()
    try:
        content = msgspec.json.decode(body)
        # With as many colons as names, there is neither a duplicate nor a nested object: skip the slow check.
        simple = isinstance(content, dict) and body.count(b":") == len(content)
        duplicates = {} if simple else _duplicate_names(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedJSON from error
    if not isinstance(content, dict):
        raise InvalidInput(reason="no_object", fields={"body": Message("field.no_object")})
    field = request.route_handler.parsed_data_field
    errors = duplicates or (_field_errors(content, field.annotation) if field else {})
    if errors:
        raise InvalidInput(fields=errors)


def signed_in(request: ApiRequest) -> Session:
    """Return the session of the bearer token; cookies are ignored."""
    session: Session = request.state.session
    return session


def idempotency_key(request: ApiRequest) -> str | None:
    """Return the request's Idempotency-Key without surrounding quotes (RFC 8941 strings have them).

    Raises:
        InvalidInput: it is not 1 to 255 printable ASCII characters without spaces, or is sent twice.
    """
    values = request.headers.getall("idempotency-key", [])
    if not values:
        return None
    if len(values) > 1:
        raise InvalidInput(fields={"Idempotency-Key": Message("field.twice")})
    key = values[0].strip()
    if len(key) > 1 and key[0] == key[-1] == '"':
        key = key[1:-1]
    if not KEY.fullmatch(key):
        raise InvalidInput(fields={"Idempotency-Key": Message("field.idempotency_key")})
    return key


async def fingerprint(request: ApiRequest) -> str:
    """Return a hash of the method, the path and the parsed body; the body's formatting makes no difference."""
    content: Any = msgspec.json.decode(await request.body())
    path = request.url.path.rstrip("/")
    canonical = msgspec.json.encode([request.method, path, content], order="deterministic")
    return hashlib.sha256(canonical).hexdigest()


def _duplicates(pairs: Iterable[tuple[str, Any]]) -> dict[str, Message]:
    return {name: Message("field.twice") for name, times in Counter(name for name, _ in pairs).items() if times > 1}


def _duplicate_names(body: bytes) -> dict[str, Message]:
    """Return the names that an object has twice: parsers disagree on which value counts (RFC 8259, section 4)."""
    found: dict[str, Message] = {}
    json.loads(body, object_pairs_hook=lambda pairs: found.update(_duplicates(pairs)), parse_int=str, parse_float=str)
    return found


@cache
def _fields(struct: type[msgspec.Struct]) -> dict[str, msgspec.structs.FieldInfo]:
    return {field.encode_name: field for field in msgspec.structs.fields(struct)}


def _field_errors(content: dict[str, object], struct: type[msgspec.Struct]) -> dict[str, Message]:
    """Return what is wrong with each field; unlike Litestar's parsing, accept neither "1" nor true as a number."""
    fields = _fields(struct)
    errors = {
        name: Message("field.missing") for name, field in fields.items() if field.required and name not in content
    }
    for name, value in content.items():
        if name not in fields:
            errors[name] = Message("field.unknown")
        elif isinstance(value, str) and "\0" in value:
            errors[name] = Message("field.unusable_text")
        else:
            try:
                msgspec.convert(value, fields[name].type)
            except msgspec.ValidationError as error:
                errors[name] = Message("field.unfit", {"why": str(error).partition(" - at ")[0]})
    return errors
