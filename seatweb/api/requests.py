"""Checks of every API request: rate limit, bearer token, query parameters and body."""

from __future__ import annotations

import re
from typing import Any, Final, TypeAlias

from litestar import Request
from litestar.datastructures import State
from litestar.utils.scope.state import ScopeState

from seatweb.accounts.model import Session
from seatweb.accounts.sessions import Sessions
from seatweb.api.problems import TokenEnded, UnsupportedMediaType
from seatweb.api.validation import query_errors, read_form, read_json
from seatweb.errors import InvalidInput, Message, NotSignedIn
from seatweb.http.client_address import address_of
from seatweb.http.forms import FORM
from seatweb.http.tokens import API_AUDIENCE, Tokens
from seatweb.limits.limits import Limits

ApiRequest: TypeAlias = Request[None, None, State]

BEARER: Final = re.compile(r"bearer ([A-Za-z0-9._-]{1,4096})", re.IGNORECASE | re.ASCII)
KEY: Final = re.compile(r"[\x21-\x7e]{1,255}", re.ASCII)
JSON: Final = "application/json"


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
            NotSignedIn, TokenEnded: there is no valid token.
            UnsupportedMediaType, MalformedJSON: the body is not JSON.
            InvalidInput: a parameter or field is duplicate, or a field is missing, unknown or invalid.
        """
        match = BEARER.fullmatch(request.headers.get("authorization", ""))
        claims = self._tokens.read(match[1], API_AUDIENCE) if match else None
        if self._limits:
            await self._limits.request(claims.user_id if claims else None, address_of(request))
        if not request.route_handler.opt.get("for_everyone"):
            # Before validation, so that clients without a token learn nothing about what a valid request is.
            session = await self._sessions.find(claims.session_id, claims.user_id) if claims else None
            if session is None or session.enrolling:
                raise self._why_not_signed_in(request, match[1] if match else None, ended=claims is not None)
            request.state.session = session
        await _check_request(request)

    def _why_not_signed_in(self, request: ApiRequest, token: str | None, *, ended: bool) -> NotSignedIn | TokenEnded:
        """Return the error for a request without a live session. Only for a token that we signed, it says why."""
        if ended:
            return TokenEnded()
        if token and self._tokens.has_expired(token, API_AUDIENCE):
            return TokenEnded(reason="expired")
        if token:
            return NotSignedIn(reason="bad_token")
        sent = request.headers.get("authorization", "").lower()
        return NotSignedIn(reason="bad_header" if sent.startswith("bearer") else "no_token")


async def _check_request(request: ApiRequest) -> None:
    handler = request.route_handler
    if request.url.query and (errors := query_errors(handler, [*request.query_params.multi_items()])):
        raise InvalidInput(fields=errors)
    struct: Any = handler.parsed_data_field.annotation if handler.parsed_data_field else None
    if struct is None:
        return
    media_type = request.content_type[0]
    # Browsers name the origin. A page on another site cannot send JSON, since that takes a preflight request; nor may
    # it send what takes none, which is everything else.
    from_browser = "origin" in request.headers
    if media_type == JSON or (not media_type and not from_browser):
        content = read_json(await request.body(), struct)
    elif media_type == FORM and handler.opt.get("takes_forms") and not from_browser:
        content = read_form(await request.body(), struct)
    else:
        raise UnsupportedMediaType
    ScopeState.from_scope(request.scope).json = content  # what the framework parses the handler's `data` from


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
