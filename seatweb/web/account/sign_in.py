"""The forms to register and sign in, and signing out."""

from __future__ import annotations

from urllib.parse import quote
from uuid import UUID

from litestar import Controller, get, post
from litestar.di import NamedDependency
from litestar.response import Response

from seatweb.accounts.errors import BadCredentials, UsernameTaken
from seatweb.accounts.registration import Registration
from seatweb.accounts.second_factor import WAITING_SECONDS
from seatweb.accounts.sign_in import SignInFlow
from seatweb.errors import InvalidInput, TooManyAttempts
from seatweb.http.client_address import client_of
from seatweb.http.cookies import Cookies
from seatweb.http.tokens import SECOND_FACTOR_AUDIENCE
from seatweb.web.account.responses import REGISTER, SIGN_IN, SignInResponses
from seatweb.web.rendering import Renderer
from seatweb.web.requests import FOR_EVERYONE, SHOWS_EXPIRED_FORM, PageRequest, is_expired, own_path, read_form


class SignInController(Controller):
    """Registers users, signs them in, and signs them out."""

    opt = FOR_EVERYONE

    @get("/login")
    async def login_form(
        self, request: PageRequest, sign_in_responses: NamedDependency[SignInResponses]
    ) -> Response[str]:
        """Show the sign-in form; redirect users who are already signed in."""
        return await sign_in_responses.show(request, SIGN_IN)

    @get("/register")
    async def register_form(
        self, request: PageRequest, sign_in_responses: NamedDependency[SignInResponses]
    ) -> Response[str]:
        """Show the registration form; redirect users who are already signed in."""
        return await sign_in_responses.show(request, REGISTER)

    @post("/login", status_code=200, opt=SHOWS_EXPIRED_FORM)
    async def login(
        self,
        request: PageRequest,
        renderer: NamedDependency[Renderer],
        sign_in_flow: NamedDependency[SignInFlow],
        sign_in_responses: NamedDependency[SignInResponses],
        our_cookies: NamedDependency[Cookies],
    ) -> Response[str]:
        """Sign in, or continue to the second step."""
        fields = await read_form(request)
        if is_expired(request):
            return await sign_in_responses.show_expired(request, SIGN_IN, fields)
        username, password = fields.get("username", ""), fields.get("password", "")
        try:
            result = await sign_in_flow.begin(username, password, client_of(request))
        except (BadCredentials, TooManyAttempts) as error:
            return await sign_in_responses.refuse(request, SIGN_IN, fields, error)
        next_path = own_path(fields.get("next", "/"))
        if isinstance(result, UUID):
            step = our_cookies.of_step(SECOND_FACTOR_AUDIENCE, {"waiting": str(result)}, WAITING_SECONDS)
            return renderer.redirect(request, f"/login/second?next={quote(next_path)}", cookies=[step])
        return await sign_in_responses.redirect_signed_in(request, result, next_path)

    @post("/register", status_code=200, opt=SHOWS_EXPIRED_FORM)
    async def register(
        self,
        request: PageRequest,
        registration: NamedDependency[Registration],
        sign_in_responses: NamedDependency[SignInResponses],
    ) -> Response[str]:
        """Register a user, and sign them in."""
        fields = await read_form(request)
        if is_expired(request):
            return await sign_in_responses.show_expired(request, REGISTER, fields)
        username, password = fields.get("username", ""), fields.get("password", "")
        try:
            session = await registration.register(username, password, client_of(request))
        except (InvalidInput, TooManyAttempts, UsernameTaken) as error:
            return await sign_in_responses.refuse(request, REGISTER, fields, error)
        next_path = own_path(fields.get("next", "/"))
        return await sign_in_responses.redirect_signed_in(request, session, next_path, greeting="welcome")

    @post("/logout", status_code=200)
    async def logout(
        self,
        request: PageRequest,
        renderer: NamedDependency[Renderer],
        sign_in_responses: NamedDependency[SignInResponses],
        our_cookies: NamedDependency[Cookies],
    ) -> Response[str]:
        """End the session, and redirect to today's map."""
        await sign_in_responses.end_session(request)
        return renderer.redirect(request, "/", notice="signed_out", cookies=our_cookies.of_sign_out())
