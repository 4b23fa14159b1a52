"""What every API request goes through: the bearer token, and a body that is JSON."""

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


class Clients:
    """Finds out which client sends a request to the API, counts it if `limits` are given, and checks its body."""

    def __init__(self, tokens: Tokens, sessions: Sessions, limits: Limits | None) -> None:
        self._tokens = tokens
        self._sessions = sessions
        self._limits = limits

    async def prepare(self, request: ApiRequest) -> None:
        """Let a request through whose parameters come once, and whose body says it is JSON, is, and holds usable text.

        Raises:
            TooManyAttempts: the user, or the address where no one is signed in, sends too many.
            NotSignedIn: there is no token, or it does not count (any more).
            UnsupportedMediaType, MalformedJSON: the body is not JSON.
            InvalidInput: a parameter comes twice, or a text holds what no text should.
        """
        claims = self._claims(request)
        if self._limits:
            await self._limits.request(claims.user_id if claims else None, address_of(request))
        if not request.route_handler.opt.get("for_everyone"):
            request.state.session = await self._find_session(claims)  # before anything is said of the request itself
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
    twice = _twice(request.query_params.multi_items())
    if twice:
        raise InvalidInput(fields=twice)
    if request.method not in {"POST", "PATCH"}:
        return
    if request.content_type[0] != "application/json":
        raise UnsupportedMediaType
    body = await request.body()
    try:
        content = msgspec.json.decode(body)
        # As many colons as names: none comes twice, and there is nothing inside that could have any.
        twice = {} if isinstance(content, dict) and body.count(b":") == len(content) else _sent_twice(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedJSON from error
    if not isinstance(content, dict):
        raise InvalidInput(reason="no_object", fields={"body": Message("field.no_object")})
    field = request.route_handler.parsed_data_field
    wrong = twice or (_not_fitting(content, field.annotation) if field else {})
    if wrong:
        raise InvalidInput(fields=wrong)


def signed_in(request: ApiRequest) -> Session:
    """Return the session of the bearer token; a cookie counts for nothing here."""
    session: Session = request.state.session
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
        raise InvalidInput(fields={"Idempotency-Key": Message("field.twice")})
    key = values[0].strip()
    if len(key) > 1 and key[0] == key[-1] == '"':
        key = key[1:-1]
    if not KEY.fullmatch(key):
        raise InvalidInput(fields={"Idempotency-Key": Message("field.idempotency_key")})
    return key


async def fingerprint(request: ApiRequest) -> str:
    """Return what tells two requests apart: method, path and the content of the body, however it is written."""
    content: Any = msgspec.json.decode(await request.body())
    path = request.url.path.rstrip("/")
    canonical = msgspec.json.encode([request.method, path, content], order="deterministic")
    return hashlib.sha256(canonical).hexdigest()


def _twice(pairs: Iterable[tuple[str, Any]]) -> dict[str, Message]:
    return {name: Message("field.twice") for name, times in Counter(name for name, _ in pairs).items() if times > 1}


def _sent_twice(body: bytes) -> dict[str, Message]:
    """Return the names that an object has twice: readers would disagree which counts (RFC 8259, section 4)."""
    twice: dict[str, Message] = {}
    json.loads(body, object_pairs_hook=lambda pairs: twice.update(_twice(pairs)), parse_int=str, parse_float=str)
    return twice


@cache
def _fields(wanted: type[msgspec.Struct]) -> dict[str, msgspec.structs.FieldInfo]:
    return {field.encode_name: field for field in msgspec.structs.fields(wanted)}


def _not_fitting(content: dict[str, object], wanted: type[msgspec.Struct]) -> dict[str, Message]:
    """Return what is wrong with each field; unlike the framework's own reading, a "1" or true is no number here."""
    fields = _fields(wanted)
    wrong = {name: Message("field.missing") for name, field in fields.items() if field.required and name not in content}
    for name, value in content.items():
        if name not in fields:
            wrong[name] = Message("field.unknown")
        elif isinstance(value, str) and "\0" in value:
            wrong[name] = Message("field.unusable_text")
        else:
            try:
                msgspec.convert(value, fields[name].type)
            except msgspec.ValidationError as error:
                wrong[name] = Message("field.unfit", {"why": str(error).partition(" - at ")[0]})
    return wrong
