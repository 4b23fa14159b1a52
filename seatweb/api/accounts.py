"""Register, sign in, sign out, and get the current user."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from litestar import Controller, get, post
from litestar.di import NamedDependency
from litestar.params import Body
from litestar.response import Response

from seatweb.accounts.errors import SecondFactorMissing
from seatweb.accounts.model import Session
from seatweb.accounts.registration import Registration
from seatweb.accounts.second_factor import SecondFactors
from seatweb.accounts.sessions import Sessions
from seatweb.accounts.sign_in import SignInFlow
from seatweb.api.problems import REFUSED
from seatweb.api.requests import ApiRequest, signed_in
from seatweb.api.schemas import Credentials, SignInCredentials, Token, UserOut
from seatweb.http.client_address import client_of
from seatweb.http.tokens import API_AUDIENCE, Tokens

JSON = Annotated[Credentials, Body(description="Username and password.")]
SIGN_IN = Annotated[SignInCredentials, Body(description="Username, password and, for two-step sign-in, a code.")]


class AuthController(Controller):
    """Create accounts and tokens."""

    path = "/auth"
    tags = ["Accounts"]  # noqa: RUF012 - Litestar declares it so
    security = []  # noqa: RUF012
    opt = {"for_everyone": True}  # noqa: RUF012

    @post("/register", operation_id="register", responses=REFUSED)
    async def register(
        self,
        request: ApiRequest,
        data: JSON,
        registration: NamedDependency[Registration],
        factors: NamedDependency[SecondFactors],
        tokens: NamedDependency[Tokens],
        sessions: NamedDependency[Sessions],
    ) -> Response[Token]:
        """Create an account and return a token."""
        if factors.needed:
            raise SecondFactorMissing
        session = await registration.register(data.username, data.password, client_of(request))
        return _token(tokens, sessions, session, 201)

    @post("/login", operation_id="login", status_code=200, responses=REFUSED, opt={"takes_forms": True})
    async def login(
        self,
        request: ApiRequest,
        data: SIGN_IN,
        sign_in_flow: NamedDependency[SignInFlow],
        tokens: NamedDependency[Tokens],
        sessions: NamedDependency[Sessions],
    ) -> Response[Token]:
        """Sign in and return a token."""
        session = await sign_in_flow.in_one_step(data.username, data.password, data.code, client_of(request))
        return _token(tokens, sessions, session, 200)


class MeController(Controller):
    """Return the current user, and sign out."""

    tags = ["Accounts"]  # noqa: RUF012

    @post("/auth/logout", operation_id="logout", status_code=204, responses=REFUSED)
    async def logout(self, request: ApiRequest, sessions: NamedDependency[Sessions]) -> None:
        """End the session of the token."""
        session = signed_in(request)
        await sessions.end(session.user, session.id)

    @get("/me", operation_id="getMe", responses=REFUSED)
    async def me(self, request: ApiRequest) -> UserOut:
        """Return the user whose token it is."""
        return UserOut.of(signed_in(request).user)


def _token(tokens: Tokens, sessions: Sessions, session: Session, status: int) -> Response[Token]:
    left = session.expires_at - datetime.now(UTC)
    token = Token(
        access_token=tokens.issue(session, API_AUDIENCE),
        token_type="bearer",  # noqa: S106
        expires_in=int(left.total_seconds()),
        idle_expires_in=int(min(left, sessions.idle).total_seconds()),
    )
    return Response(token, status_code=status, headers={"cache-control": "no-store"})
