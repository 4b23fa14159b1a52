"""Sign in with a second factor after the password, or with a passkey alone."""

from __future__ import annotations

from urllib.parse import quote
from uuid import UUID

from litestar import Controller, get, post
from litestar.di import NamedDependency
from litestar.response import Response

from seatweb.accounts.errors import BadCode, BadCredentials
from seatweb.accounts.model import Session, User
from seatweb.accounts.passkeys import Passkeys
from seatweb.accounts.passwords import PasswordRules
from seatweb.accounts.second_factor import SecondFactors
from seatweb.accounts.sessions import Sessions
from seatweb.accounts.sign_in import SignInFlow
from seatweb.errors import NotSignedIn, TooManyAttempts
from seatweb.http.client_address import client_of
from seatweb.http.cookies import Cookies
from seatweb.http.tokens import PASSKEY_AUDIENCE, SECOND_FACTOR_AUDIENCE
from seatweb.i18n.catalogue import text_of
from seatweb.settings import Settings
from seatweb.web.account.contexts import SecondStepPage
from seatweb.web.account.passkey_forms import party_here, party_of, read_challenge, send_options
from seatweb.web.account.sign_in import redirect_signed_in, show_sign_in_error
from seatweb.web.map.intents import Intents
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
        settings: NamedDependency[Settings],
        renderer: NamedDependency[Renderer],
        factors: NamedDependency[SecondFactors],
        our_cookies: NamedDependency[Cookies],
        intents: NamedDependency[Intents],
    ) -> Response[str]:
        """Ask for the second factor, if a sign-in is waiting for it."""
        next_path = own_path(query_value(request, "next") or "/")
        try:
            user = await factors.find_waiting(_waiting_id(request, our_cookies))
        except NotSignedIn:
            return renderer.redirect(request, f"/login?next={quote(next_path)}")
        return await _show_form(request, settings, renderer, factors, intents, user, next_path, {})

    @post("/second", status_code=200)
    async def code(
        self,
        request: PageRequest,
        settings: NamedDependency[Settings],
        renderer: NamedDependency[Renderer],
        sessions: NamedDependency[Sessions],
        factors: NamedDependency[SecondFactors],
        sign_in_flow: NamedDependency[SignInFlow],
        our_cookies: NamedDependency[Cookies],
        intents: NamedDependency[Intents],
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
            return await _show_form(
                request,
                settings,
                renderer,
                factors,
                intents,
                user,
                next_path,
                {"code": text_of(error)},
                error.retry_after,
            )
        return await _finish(request, renderer, sessions, our_cookies, intents, session, next_path)

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
        sessions: NamedDependency[Sessions],
        factors: NamedDependency[SecondFactors],
        sign_in_flow: NamedDependency[SignInFlow],
        our_cookies: NamedDependency[Cookies],
        intents: NamedDependency[Intents],
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
            return await _show_form(
                request, settings, renderer, factors, intents, user, next_path, {"form": text_of(error)}
            )
        return await _finish(request, renderer, sessions, our_cookies, intents, session, next_path)

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
        renderer: NamedDependency[Renderer],
        rules: NamedDependency[PasswordRules],
        sessions: NamedDependency[Sessions],
        sign_in_flow: NamedDependency[SignInFlow],
        our_cookies: NamedDependency[Cookies],
        intents: NamedDependency[Intents],
    ) -> Response[str]:
        """Sign in with a passkey alone."""
        fields = await read_form(request)
        challenge = read_challenge(request, our_cookies)
        try:
            credential, client = fields.get("credential", ""), client_of(request)
            session = await sign_in_flow.with_passkey(party_here(request, settings), challenge, credential, client)
        except BadCredentials as error:
            return await show_sign_in_error(request, settings, renderer, rules, intents, fields, text_of(error))
        return await _finish(
            request, renderer, sessions, our_cookies, intents, session, own_path(fields.get("next", "/"))
        )


def _waiting_id(request: PageRequest, our_cookies: Cookies) -> UUID:
    """Return the id of this browser's sign-in that waits for a second factor; an unused id if there is none."""
    return UUID(our_cookies.read_step(request, SECOND_FACTOR_AUDIENCE).get("waiting", "0" * 32))


async def _finish(
    request: PageRequest,
    renderer: Renderer,
    sessions: Sessions,
    our_cookies: Cookies,
    intents: Intents,
    session: Session,
    next_path: str,
) -> Response[str]:
    steps = [our_cookies.of_no_step(audience) for audience in (SECOND_FACTOR_AUDIENCE, PASSKEY_AUDIENCE)]
    return await redirect_signed_in(request, renderer, sessions, our_cookies, intents, session, next_path, steps)


def _redirect_expired(request: PageRequest, renderer: Renderer, our_cookies: Cookies, next_path: str) -> Response[str]:
    step = our_cookies.of_no_step(SECOND_FACTOR_AUDIENCE)
    return renderer.redirect(request, f"/login?next={quote(next_path)}", notice="sign_in_over", cookies=[step])


async def _show_form(
    request: PageRequest,
    settings: Settings,
    renderer: Renderer,
    factors: SecondFactors,
    intents: Intents,
    user: User,
    next_path: str,
    errors: dict[str, str],
    retry_after: int | None = None,
) -> Response[str]:
    found = await factors.of(user)
    page = SecondStepPage(
        next=next_path,
        app=found.totp_since is not None,
        passkeys=bool(found.passkeys) and party_of(request, settings) is not None,
        intent=await intents.find(next_path),
        errors=errors,
    )
    status = 429 if retry_after else 422 if errors else 200
    headers = {"retry-after": str(retry_after)} if retry_after else {}
    return renderer.page(request, "account/second_step.html", page, status=status, headers=headers)
