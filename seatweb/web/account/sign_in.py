"""The forms to register and sign in, and signing out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal
from urllib.parse import quote
from uuid import UUID

from litestar import Controller, get, post
from litestar.datastructures import Cookie
from litestar.di import NamedDependency
from litestar.response import Response

from seatweb.accounts.errors import BadCredentials, UsernameTaken
from seatweb.accounts.model import Session
from seatweb.accounts.passwords import PasswordRules
from seatweb.accounts.registration import Registration
from seatweb.accounts.second_factor import WAITING_SECONDS
from seatweb.accounts.sessions import Sessions
from seatweb.accounts.sign_in import SignInFlow
from seatweb.errors import InvalidInput, Message, TooManyAttempts
from seatweb.http.client_address import client_of
from seatweb.http.cookies import Cookies
from seatweb.http.tokens import SECOND_FACTOR_AUDIENCE
from seatweb.i18n.catalogue import text_of, texts_of
from seatweb.settings import Settings
from seatweb.web.account.contexts import CredentialsPage
from seatweb.web.account.passkey_forms import party_of
from seatweb.web.account.second_factor import PATH as SECOND_FACTOR_PATH
from seatweb.web.account.second_factor import confirmed_cookie
from seatweb.web.map.intents import Intents
from seatweb.web.rendering import Renderer
from seatweb.web.requests import (
    FOR_EVERYONE,
    SHOWS_EXPIRED_FORM,
    PageRequest,
    enrolling_of,
    is_expired,
    own_path,
    query_value,
    read_form,
    session_of,
)

FORM_EXPIRED: Final = Message("form_expired")
TAKEN: Final = {
    "": Message("registration.taken"),
    "looks_alike": Message("registration.looks_alike"),
}


class SignInController(Controller):
    """Registers users, signs them in, and signs them out."""

    opt = FOR_EVERYONE

    @get("/login")
    async def login_form(
        self,
        request: PageRequest,
        settings: NamedDependency[Settings],
        renderer: NamedDependency[Renderer],
        rules: NamedDependency[PasswordRules],
        intents: NamedDependency[Intents],
    ) -> Response[str]:
        """Show the sign-in form; redirect users who are already signed in."""
        return await _show_form(request, settings, renderer, rules, intents, "account/login.html")

    @get("/register")
    async def register_form(
        self,
        request: PageRequest,
        settings: NamedDependency[Settings],
        renderer: NamedDependency[Renderer],
        rules: NamedDependency[PasswordRules],
        intents: NamedDependency[Intents],
    ) -> Response[str]:
        """Show the registration form; redirect users who are already signed in."""
        return await _show_form(request, settings, renderer, rules, intents, "account/register.html")

    @post("/login", status_code=200, opt=SHOWS_EXPIRED_FORM)
    async def login(
        self,
        request: PageRequest,
        settings: NamedDependency[Settings],
        renderer: NamedDependency[Renderer],
        rules: NamedDependency[PasswordRules],
        intents: NamedDependency[Intents],
        sessions: NamedDependency[Sessions],
        sign_in_flow: NamedDependency[SignInFlow],
        our_cookies: NamedDependency[Cookies],
    ) -> Response[str]:
        """Sign in, or continue to the second step."""
        fields = await read_form(request)
        if is_expired(request):
            return await _show_expired(request, settings, renderer, rules, intents, "account/login.html", fields)
        try:
            username, password = fields.get("username", ""), fields.get("password", "")
            result = await sign_in_flow.begin(username, password, client_of(request))
        except BadCredentials as error:
            return await show_sign_in_error(request, settings, renderer, rules, intents, fields, text_of(error))
        except TooManyAttempts as error:
            return await _show_errors(
                request,
                settings,
                renderer,
                rules,
                intents,
                "account/login.html",
                fields,
                {"wait": text_of(error)},
                error,
            )
        next_path = own_path(fields.get("next", "/"))
        if isinstance(result, UUID):
            step = our_cookies.of_step(SECOND_FACTOR_AUDIENCE, {"waiting": str(result)}, WAITING_SECONDS)
            return renderer.redirect(request, f"/login/second?next={quote(next_path)}", cookies=[step])
        return await redirect_signed_in(request, renderer, sessions, our_cookies, intents, result, next_path)

    @post("/register", status_code=200, opt=SHOWS_EXPIRED_FORM)
    async def register(
        self,
        request: PageRequest,
        settings: NamedDependency[Settings],
        renderer: NamedDependency[Renderer],
        rules: NamedDependency[PasswordRules],
        intents: NamedDependency[Intents],
        registration: NamedDependency[Registration],
        sessions: NamedDependency[Sessions],
        our_cookies: NamedDependency[Cookies],
    ) -> Response[str]:
        """Register a user, and sign them in."""
        fields = await read_form(request)
        if is_expired(request):
            return await _show_expired(request, settings, renderer, rules, intents, "account/register.html", fields)
        try:
            session = await registration.register(
                fields.get("username", ""), fields.get("password", ""), client_of(request)
            )
        except TooManyAttempts as error:
            return await _show_errors(
                request,
                settings,
                renderer,
                rules,
                intents,
                "account/register.html",
                fields,
                {"wait": text_of(error)},
                error,
            )
        except InvalidInput as error:
            return await _show_errors(
                request, settings, renderer, rules, intents, "account/register.html", fields, texts_of(error.fields)
            )
        except UsernameTaken as error:
            taken = {"username": text_of(TAKEN[error.reason])}
            return await _show_errors(
                request, settings, renderer, rules, intents, "account/register.html", fields, taken
            )
        next_path = own_path(fields.get("next", "/"))
        return await redirect_signed_in(
            request, renderer, sessions, our_cookies, intents, session, next_path, greeting="welcome"
        )

    @post("/logout", status_code=200)
    async def logout(
        self,
        request: PageRequest,
        renderer: NamedDependency[Renderer],
        sessions: NamedDependency[Sessions],
        our_cookies: NamedDependency[Cookies],
    ) -> Response[str]:
        """End the session, and redirect to today's map."""
        await _end_current_session(request, sessions)
        return renderer.redirect(request, "/", notice="signed_out", cookies=our_cookies.of_sign_out())


async def redirect_signed_in(
    request: PageRequest,
    renderer: Renderer,
    sessions: Sessions,
    our_cookies: Cookies,
    intents: Intents,
    session: Session,
    next_path: str,
    cookies: Iterable[Cookie] = (),
    greeting: Literal["signed_in", "welcome"] = "signed_in",
) -> Response[str]:
    """Replace the browser's session by this one, and redirect: to the second-factor page if it is enrolling."""
    await _end_current_session(request, sessions)
    cookies = [*our_cookies.of_session(session), *cookies]
    if session.enrolling:
        cookies.append(confirmed_cookie(our_cookies, session, next_path))
        return renderer.redirect(request, SECOND_FACTOR_PATH, cookies=cookies)
    notice = await intents.notice(next_path, session.user, greeting)
    return renderer.redirect(request, next_path, notice=notice, cookies=cookies)


async def _show_form(
    request: PageRequest,
    settings: Settings,
    renderer: Renderer,
    rules: PasswordRules,
    intents: Intents,
    template: str,
) -> Response[str]:
    next_path = own_path(query_value(request, "next") or "/")
    if session_of(request):
        return renderer.redirect(request, next_path)
    if enrolling_of(request):
        return renderer.redirect(request, SECOND_FACTOR_PATH)
    page = CredentialsPage(
        username="",
        next=next_path,
        errors={},
        shortest_password=rules.shortest,
        names_shown=settings.names == "signed-in",
        passkeys=party_of(request, settings) is not None,
        intent=await intents.find(next_path),
    )
    return renderer.page(request, template, page)


async def show_sign_in_error(
    request: PageRequest,
    settings: Settings,
    renderer: Renderer,
    rules: PasswordRules,
    intents: Intents,
    fields: dict[str, str],
    error: str,
) -> Response[str]:
    """Show the sign-in form again, with an error."""
    return await _show_errors(
        request, settings, renderer, rules, intents, "account/login.html", fields, {"form": error}
    )


async def _show_errors(
    request: PageRequest,
    settings: Settings,
    renderer: Renderer,
    rules: PasswordRules,
    intents: Intents,
    template: str,
    fields: dict[str, str],
    errors: dict[str, str],
    too_many: TooManyAttempts | None = None,
    status: int = 422,
) -> Response[str]:
    """Show the form again, with the errors and what was typed, except for the password."""
    next_path = own_path(fields.get("next", "/"))
    page = CredentialsPage(
        username=fields.get("username", "")[:200],
        next=next_path,
        errors=errors,
        shortest_password=rules.shortest,
        names_shown=settings.names == "signed-in",
        passkeys=party_of(request, settings) is not None,
        intent=await intents.find(next_path),
    )
    if too_many:
        headers = {"retry-after": str(too_many.retry_after)}
        return renderer.page(request, template, page, status=too_many.status, headers=headers)
    return renderer.page(request, template, page, status=status)


async def _show_expired(
    request: PageRequest,
    settings: Settings,
    renderer: Renderer,
    rules: PasswordRules,
    intents: Intents,
    template: str,
    fields: dict[str, str],
) -> Response[str]:
    """Show an expired form again."""
    errors = {"wait": text_of(FORM_EXPIRED)}
    return await _show_errors(request, settings, renderer, rules, intents, template, fields, errors, status=403)


async def _end_current_session(request: PageRequest, sessions: Sessions) -> None:
    session = session_of(request) or enrolling_of(request)
    if session:
        await sessions.end(session.user, session.id)
