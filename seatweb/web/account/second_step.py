"""Sign in with a second factor after the password, or with a passkey alone."""

from __future__ import annotations

from urllib.parse import quote
from uuid import UUID

from litestar import Controller, get, post
from litestar.di import NamedDependency
from litestar.response import Response

from seatweb.accounts.errors import BadCode, BadCredentials
from seatweb.accounts.model import Session
from seatweb.accounts.passkeys import Passkeys
from seatweb.accounts.second_factor import SecondFactors
from seatweb.accounts.sign_in import SignInFlow
from seatweb.errors import NotSignedIn, TooManyAttempts
from seatweb.http.client_address import client_of
from seatweb.http.cookies import Cookies
from seatweb.http.tokens import PASSKEY_AUDIENCE, SECOND_FACTOR_AUDIENCE
from seatweb.i18n.catalogue import text_of
from seatweb.settings import Settings
from seatweb.web.account.passkey_forms import party_here, read_challenge, send_options
from seatweb.web.account.responses import SIGN_IN, SignInResponses
from seatweb.web.rendering import Renderer
from seatweb.web.requests import FOR_EVERYONE, PageRequest, own_path, query_value, read_form


class SecondStepController(Controller):
    """The second step of a sign-in, and the sign-in with a passkey alone, which has no second step."""

    opt = FOR_EVERYONE

    path = "/login"

    @get("/second")
    async def second_step(
        self,
        request: PageRequest,
        renderer: NamedDependency[Renderer],
        factors: NamedDependency[SecondFactors],
        sign_in_responses: NamedDependency[SignInResponses],
        our_cookies: NamedDependency[Cookies],
    ) -> Response[str]:
        """Ask for the second factor, if a sign-in is waiting for it."""
        next_path = own_path(query_value(request, "next") or "/")
        try:
            user = await factors.find_waiting(_waiting_id(request, our_cookies))
        except NotSignedIn:
            return renderer.redirect(request, f"/login?next={quote(next_path)}")
        return await sign_in_responses.show_second_step(request, user, next_path)

    @post("/second", status_code=200)
    async def code(
        self,
        request: PageRequest,
        renderer: NamedDependency[Renderer],
        factors: NamedDependency[SecondFactors],
        sign_in_flow: NamedDependency[SignInFlow],
        sign_in_responses: NamedDependency[SignInResponses],
        our_cookies: NamedDependency[Cookies],
    ) -> Response[str]:
        """Finish the sign-in with a code."""
        fields = await read_form(request)
        waiting_id, next_path = _waiting_id(request, our_cookies), own_path(fields.get("next", "/"))
        try:
            session = await sign_in_flow.finish(waiting_id, fields.get("code", ""), client_of(request))
        except NotSignedIn:
            return _redirect_expired(request, renderer, our_cookies, next_path)
        except (BadCode, TooManyAttempts) as error:
            user = await factors.find_waiting(waiting_id)
            return await sign_in_responses.show_second_step(
                request, user, next_path, {"code": text_of(error)}, error.retry_after
            )
        return await _finish(request, sign_in_responses, our_cookies, session, next_path)

    @post("/second/options", status_code=200)
    async def second_options(
        self,
        request: PageRequest,
        settings: NamedDependency[Settings],
        factors: NamedDependency[SecondFactors],
        passkeys: NamedDependency[Passkeys],
        our_cookies: NamedDependency[Cookies],
    ) -> Response[bytes]:
        """Return the options to use one of the user's passkeys as the second factor."""
        user = await factors.find_waiting(_waiting_id(request, our_cookies))
        return send_options(our_cookies, await passkeys.options_to_use(party_here(request, settings), "second", user))

    @post("/second/passkey", status_code=200)
    async def second_passkey(
        self,
        request: PageRequest,
        settings: NamedDependency[Settings],
        renderer: NamedDependency[Renderer],
        factors: NamedDependency[SecondFactors],
        sign_in_flow: NamedDependency[SignInFlow],
        sign_in_responses: NamedDependency[SignInResponses],
        our_cookies: NamedDependency[Cookies],
    ) -> Response[str]:
        """Finish the sign-in with a passkey."""
        fields = await read_form(request)
        waiting_id, next_path = _waiting_id(request, our_cookies), own_path(fields.get("next", "/"))
        challenge = read_challenge(request, our_cookies)
        try:
            session = await sign_in_flow.finish_with_passkey(
                waiting_id, party_here(request, settings), challenge, fields.get("credential", ""), client_of(request)
            )
        except NotSignedIn:
            return _redirect_expired(request, renderer, our_cookies, next_path)
        except BadCredentials as error:
            user = await factors.find_waiting(waiting_id)
            return await sign_in_responses.show_second_step(request, user, next_path, {"form": text_of(error)})
        return await _finish(request, sign_in_responses, our_cookies, session, next_path)

    @post("/passkey/options", status_code=200)
    async def passkey_options(
        self,
        request: PageRequest,
        settings: NamedDependency[Settings],
        passkeys: NamedDependency[Passkeys],
        our_cookies: NamedDependency[Cookies],
    ) -> Response[bytes]:
        """Return the options to sign in with any passkey."""
        return send_options(our_cookies, await passkeys.options_to_use(party_here(request, settings), "sign_in"))

    @post("/passkey", status_code=200)
    async def passkey(
        self,
        request: PageRequest,
        settings: NamedDependency[Settings],
        sign_in_flow: NamedDependency[SignInFlow],
        sign_in_responses: NamedDependency[SignInResponses],
        our_cookies: NamedDependency[Cookies],
    ) -> Response[str]:
        """Sign in with a passkey alone."""
        fields = await read_form(request)
        challenge = read_challenge(request, our_cookies)
        try:
            credential, client = fields.get("credential", ""), client_of(request)
            session = await sign_in_flow.with_passkey(party_here(request, settings), challenge, credential, client)
        except BadCredentials as error:
            return await sign_in_responses.refuse(request, SIGN_IN, fields, error)
        return await _finish(request, sign_in_responses, our_cookies, session, own_path(fields.get("next", "/")))


def _waiting_id(request: PageRequest, our_cookies: Cookies) -> UUID:
    """Return the id of this browser's sign-in that waits for a second factor; an unused id if there is none."""
    return UUID(our_cookies.read_step(request, SECOND_FACTOR_AUDIENCE).get("waiting", "0" * 32))


async def _finish(
    request: PageRequest,
    sign_in_responses: SignInResponses,
    our_cookies: Cookies,
    session: Session,
    next_path: str,
) -> Response[str]:
    steps = [our_cookies.of_no_step(audience) for audience in (SECOND_FACTOR_AUDIENCE, PASSKEY_AUDIENCE)]
    return await sign_in_responses.redirect_signed_in(request, session, next_path, steps)


def _redirect_expired(request: PageRequest, renderer: Renderer, our_cookies: Cookies, next_path: str) -> Response[str]:
    step = our_cookies.of_no_step(SECOND_FACTOR_AUDIENCE)
    return renderer.redirect(request, f"/login?next={quote(next_path)}", notice="sign_in_over", cookies=[step])
