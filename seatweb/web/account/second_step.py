"""Signing in, after the password or without one: a code, or a passkey."""

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
from seatweb.accounts.sign_in import SigningIn
from seatweb.errors import NotSignedIn, TooManyAttempts
from seatweb.http.client_address import client_of
from seatweb.http.cookies import Cookies
from seatweb.http.tokens import PASSKEY_AUDIENCE, SECOND_FACTOR_AUDIENCE
from seatweb.i18n.catalogue import text_of
from seatweb.settings import Settings
from seatweb.web.account.contexts import SecondStepPage
from seatweb.web.account.passkey_forms import options, party_here, party_of, read_challenge
from seatweb.web.account.sign_in import enter, sign_in_again
from seatweb.web.rendering import Renderer
from seatweb.web.requests import FOR_EVERYONE, PageRequest, own_path, query_value, read_form


class SecondStepController(Controller):
    """The second step of a sign-in, and the only one with a passkey."""

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
    ) -> Response[str]:
        """Ask for the second factor, where a sign-in waits for it."""
        next_path = own_path(query_value(request, "next") or "/")
        try:
            user = await factors.find_waiting(_waiting(request, our_cookies))
        except NotSignedIn:
            return renderer.redirect(request, f"/login?next={quote(next_path)}")
        return await _ask(request, settings, renderer, factors, user, next_path, {})

    @post("/second", status_code=200)
    async def code(
        self,
        request: PageRequest,
        settings: NamedDependency[Settings],
        renderer: NamedDependency[Renderer],
        sessions: NamedDependency[Sessions],
        factors: NamedDependency[SecondFactors],
        signing_in: NamedDependency[SigningIn],
        our_cookies: NamedDependency[Cookies],
    ) -> Response[str]:
        """Go on with a code."""
        fields = await read_form(request)
        waiting, next_path = _waiting(request, our_cookies), own_path(fields.get("next", "/"))
        try:
            session = await signing_in.finish(waiting, fields.get("code", ""), client_of(request))
        except NotSignedIn:
            return _over(request, renderer, our_cookies, next_path)
        except (BadCode, TooManyAttempts) as error:
            user = await factors.find_waiting(waiting)
            return await _ask(
                request, settings, renderer, factors, user, next_path, {"code": text_of(error)}, error.retry_after
            )
        return await _enter(request, renderer, sessions, our_cookies, session, next_path)

    @post("/second/options", status_code=200)
    async def second_options(
        self,
        request: PageRequest,
        settings: NamedDependency[Settings],
        factors: NamedDependency[SecondFactors],
        passkeys: NamedDependency[Passkeys],
        our_cookies: NamedDependency[Cookies],
    ) -> Response[bytes]:
        """Tell the browser which passkeys may be the second factor."""
        user = await factors.find_waiting(_waiting(request, our_cookies))
        return options(our_cookies, await passkeys.options_to_use(party_here(request, settings), "second", user))

    @post("/second/passkey", status_code=200)
    async def second_passkey(
        self,
        request: PageRequest,
        settings: NamedDependency[Settings],
        renderer: NamedDependency[Renderer],
        sessions: NamedDependency[Sessions],
        factors: NamedDependency[SecondFactors],
        signing_in: NamedDependency[SigningIn],
        our_cookies: NamedDependency[Cookies],
    ) -> Response[str]:
        """Go on with a passkey."""
        fields = await read_form(request)
        waiting, next_path = _waiting(request, our_cookies), own_path(fields.get("next", "/"))
        challenge = read_challenge(request, our_cookies)
        try:
            session = await signing_in.finish_with_passkey(
                waiting, party_here(request, settings), challenge, fields.get("credential", ""), client_of(request)
            )
        except NotSignedIn:
            return _over(request, renderer, our_cookies, next_path)
        except BadCredentials as error:
            user = await factors.find_waiting(waiting)
            return await _ask(request, settings, renderer, factors, user, next_path, {"form": text_of(error)})
        return await _enter(request, renderer, sessions, our_cookies, session, next_path)

    @post("/passkey/options", status_code=200)
    async def passkey_options(
        self,
        request: PageRequest,
        settings: NamedDependency[Settings],
        passkeys: NamedDependency[Passkeys],
        our_cookies: NamedDependency[Cookies],
    ) -> Response[bytes]:
        """Let the browser look for a passkey of anyone."""
        return options(our_cookies, await passkeys.options_to_use(party_here(request, settings), "sign_in"))

    @post("/passkey", status_code=200)
    async def passkey(
        self,
        request: PageRequest,
        settings: NamedDependency[Settings],
        renderer: NamedDependency[Renderer],
        rules: NamedDependency[PasswordRules],
        sessions: NamedDependency[Sessions],
        signing_in: NamedDependency[SigningIn],
        our_cookies: NamedDependency[Cookies],
    ) -> Response[str]:
        """Sign in with a passkey alone."""
        fields = await read_form(request)
        challenge = read_challenge(request, our_cookies)
        try:
            answer, client = fields.get("credential", ""), client_of(request)
            session = await signing_in.with_passkey(party_here(request, settings), challenge, answer, client)
        except BadCredentials as error:
            return sign_in_again(request, settings, renderer, rules, fields, text_of(error))
        return await _enter(request, renderer, sessions, our_cookies, session, own_path(fields.get("next", "/")))


def _waiting(request: PageRequest, our_cookies: Cookies) -> UUID:
    """Return the id of the sign-in that waits in this browser; one that nothing has where none does."""
    return UUID(our_cookies.read_step(request, SECOND_FACTOR_AUDIENCE).get("waiting", "0" * 32))


async def _enter(
    request: PageRequest, renderer: Renderer, sessions: Sessions, our_cookies: Cookies, session: Session, next_path: str
) -> Response[str]:
    steps = [our_cookies.of_no_step(audience) for audience in (SECOND_FACTOR_AUDIENCE, PASSKEY_AUDIENCE)]
    return await enter(request, renderer, sessions, our_cookies, session, next_path, steps)


def _over(request: PageRequest, renderer: Renderer, our_cookies: Cookies, next_path: str) -> Response[str]:
    step = our_cookies.of_no_step(SECOND_FACTOR_AUDIENCE)
    return renderer.redirect(request, f"/login?next={quote(next_path)}", notice="sign_in_over", cookies=[step])


async def _ask(
    request: PageRequest,
    settings: Settings,
    renderer: Renderer,
    factors: SecondFactors,
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
        errors=errors,
    )
    status = 429 if retry_after else 422 if errors else 200
    headers = {"retry-after": str(retry_after)} if retry_after else {}
    return renderer.page(request, "account/second_step.html", page, status=status, headers=headers)
