"""Register, sign in, sign out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from urllib.parse import quote
from uuid import UUID

from litestar import Controller, get, post
from litestar.datastructures import Cookie
from litestar.di import NamedDependency
from litestar.response import Response

from seatweb.accounts.errors import BadCredentials, UsernameTaken
from seatweb.accounts.model import Session
from seatweb.accounts.passwords import PasswordRules
from seatweb.accounts.registration import Accounts
from seatweb.accounts.second_factor import WAITING_SECONDS
from seatweb.accounts.sessions import Sessions
from seatweb.accounts.sign_in import SigningIn
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
from seatweb.web.rendering import Renderer
from seatweb.web.requests import FOR_EVERYONE, PageRequest, enrolling_of, own_path, query_value, read_form, session_of

TAKEN: Final = {
    "": Message("registration.taken"),
    "looks_alike": Message("registration.looks_alike"),
}


class AccountController(Controller):
    """The forms of an account."""

    opt = FOR_EVERYONE

    @get("/login")
    async def login_form(
        self,
        request: PageRequest,
        settings: NamedDependency[Settings],
        renderer: NamedDependency[Renderer],
        rules: NamedDependency[PasswordRules],
    ) -> Response[str]:
        """Show the sign-in form; whoever is signed in goes on at once."""
        return _form(request, settings, renderer, rules, "account/login.html")

    @get("/register")
    async def register_form(
        self,
        request: PageRequest,
        settings: NamedDependency[Settings],
        renderer: NamedDependency[Renderer],
        rules: NamedDependency[PasswordRules],
    ) -> Response[str]:
        """Show the form for a new account; whoever is signed in goes on at once."""
        return _form(request, settings, renderer, rules, "account/register.html")

    @post("/login", status_code=200)
    async def login(
        self,
        request: PageRequest,
        settings: NamedDependency[Settings],
        renderer: NamedDependency[Renderer],
        rules: NamedDependency[PasswordRules],
        sessions: NamedDependency[Sessions],
        signing_in: NamedDependency[SigningIn],
        our_cookies: NamedDependency[Cookies],
    ) -> Response[str]:
        """Sign in, or go on to the second step."""
        fields = await read_form(request)
        try:
            username, password = fields.get("username", ""), fields.get("password", "")
            begun = await signing_in.begin(username, password, client_of(request))
        except BadCredentials as error:
            return sign_in_again(request, settings, renderer, rules, fields, text_of(error))
        except TooManyAttempts as error:
            return _again(
                request, settings, renderer, rules, "account/login.html", fields, {"wait": text_of(error)}, error
            )
        next_path = own_path(fields.get("next", "/"))
        if isinstance(begun, UUID):
            step = our_cookies.of_step(SECOND_FACTOR_AUDIENCE, {"waiting": str(begun)}, WAITING_SECONDS)
            return renderer.redirect(request, f"/login/second?next={quote(next_path)}", cookies=[step])
        return await enter(request, renderer, sessions, our_cookies, begun, next_path)

    @post("/register", status_code=200)
    async def register(
        self,
        request: PageRequest,
        settings: NamedDependency[Settings],
        renderer: NamedDependency[Renderer],
        rules: NamedDependency[PasswordRules],
        accounts: NamedDependency[Accounts],
        sessions: NamedDependency[Sessions],
        our_cookies: NamedDependency[Cookies],
    ) -> Response[str]:
        """Register, which also signs in."""
        fields = await read_form(request)
        try:
            session = await accounts.register(
                fields.get("username", ""), fields.get("password", ""), client_of(request)
            )
        except TooManyAttempts as error:
            return _again(
                request, settings, renderer, rules, "account/register.html", fields, {"wait": text_of(error)}, error
            )
        except InvalidInput as error:
            return _again(request, settings, renderer, rules, "account/register.html", fields, texts_of(error.fields))
        except UsernameTaken as error:
            taken = {"username": text_of(TAKEN[error.reason])}
            return _again(request, settings, renderer, rules, "account/register.html", fields, taken)
        next_path = own_path(fields.get("next", "/"))
        return await enter(request, renderer, sessions, our_cookies, session, next_path, notice="welcome")

    @post("/logout", status_code=200)
    async def logout(
        self,
        request: PageRequest,
        renderer: NamedDependency[Renderer],
        sessions: NamedDependency[Sessions],
        our_cookies: NamedDependency[Cookies],
    ) -> Response[str]:
        """End the session and go to today's map."""
        await _end_current(request, sessions)
        return renderer.redirect(request, "/", notice="signed_out", cookies=our_cookies.of_sign_out())


async def enter(
    request: PageRequest,
    renderer: Renderer,
    sessions: Sessions,
    our_cookies: Cookies,
    session: Session,
    next_path: str,
    cookies: Iterable[Cookie] = (),
    notice: str = "signed_in",
) -> Response[str]:
    """Go on with the new session, to the second factor where it has to be added first; the one before ends."""
    await _end_current(request, sessions)
    cookies = [*our_cookies.of_session(session), *cookies]
    if session.enrolling:
        return renderer.redirect(
            request, SECOND_FACTOR_PATH, cookies=[*cookies, confirmed_cookie(our_cookies, session)]
        )
    return renderer.redirect(request, next_path, notice=notice, cookies=cookies)


def _form(
    request: PageRequest, settings: Settings, renderer: Renderer, rules: PasswordRules, template: str
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
        passkeys=party_of(request, settings) is not None,
    )
    return renderer.page(request, template, page)


def sign_in_again(
    request: PageRequest,
    settings: Settings,
    renderer: Renderer,
    rules: PasswordRules,
    fields: dict[str, str],
    error: str,
) -> Response[str]:
    """Show the sign-in form once more, with what is wrong."""
    return _again(request, settings, renderer, rules, "account/login.html", fields, {"form": error})


def _again(
    request: PageRequest,
    settings: Settings,
    renderer: Renderer,
    rules: PasswordRules,
    template: str,
    fields: dict[str, str],
    errors: dict[str, str],
    too_many: TooManyAttempts | None = None,
) -> Response[str]:
    """Show the form once more, with what was typed (but the password) and what is wrong beside it."""
    page = CredentialsPage(
        username=fields.get("username", "")[:200],
        next=own_path(fields.get("next", "/")),
        errors=errors,
        shortest_password=rules.shortest,
        passkeys=party_of(request, settings) is not None,
    )
    if too_many:
        headers = {"retry-after": str(too_many.retry_after)}
        return renderer.page(request, template, page, status=too_many.status, headers=headers)
    return renderer.page(request, template, page, status=422)


async def _end_current(request: PageRequest, sessions: Sessions) -> None:
    session = session_of(request) or enrolling_of(request)
    if session:
        await sessions.end(session.user, session.id)
