"""Register, sign in, sign out."""

from __future__ import annotations

from litestar import Controller, get, post
from litestar.di import NamedDependency
from litestar.response import Response

from seatweb.accounts import Accounts
from seatweb.errors import BadCredentials, InvalidInput, UsernameTaken
from seatweb.passwords import PasswordRules
from seatweb.security import Security, client_of, own_path
from seatweb.sessions import Sessions
from seatweb.web.contexts import CredentialsPage
from seatweb.web.rendering import Renderer
from seatweb.web.requests import PageRequest, query_value, read_form, session_of


class AccountController(Controller):
    """The forms of an account."""

    @get("/login")
    async def login_form(
        self, request: PageRequest, renderer: NamedDependency[Renderer], rules: NamedDependency[PasswordRules]
    ) -> Response[str]:
        """Show the sign-in form; whoever is signed in goes on at once."""
        return _form(request, renderer, rules, "pages/login.html")

    @get("/register")
    async def register_form(
        self, request: PageRequest, renderer: NamedDependency[Renderer], rules: NamedDependency[PasswordRules]
    ) -> Response[str]:
        """Show the form for a new account; whoever is signed in goes on at once."""
        return _form(request, renderer, rules, "pages/register.html")

    @post("/login", status_code=200)
    async def login(
        self,
        request: PageRequest,
        renderer: NamedDependency[Renderer],
        rules: NamedDependency[PasswordRules],
        accounts: NamedDependency[Accounts],
        sessions: NamedDependency[Sessions],
        security: NamedDependency[Security],
    ) -> Response[str]:
        """Sign in."""
        fields = await read_form(request)
        try:
            session = await accounts.sign_in(fields.get("username", ""), fields.get("password", ""), client_of(request))
        except BadCredentials as error:
            return _again(request, renderer, rules, "pages/login.html", fields, {"form": error.text})
        await _end_current(request, sessions)
        cookies = security.session_cookies(session)
        return renderer.redirect(request, own_path(fields.get("next", "/")), say="signed_in", cookies=cookies)

    @post("/register", status_code=200)
    async def register(
        self,
        request: PageRequest,
        renderer: NamedDependency[Renderer],
        rules: NamedDependency[PasswordRules],
        accounts: NamedDependency[Accounts],
        sessions: NamedDependency[Sessions],
        security: NamedDependency[Security],
    ) -> Response[str]:
        """Register, which also signs in."""
        fields = await read_form(request)
        try:
            session = await accounts.register(
                fields.get("username", ""), fields.get("password", ""), client_of(request)
            )
        except InvalidInput as error:
            return _again(request, renderer, rules, "pages/register.html", fields, error.fields)
        except UsernameTaken:
            taken = {"username": "That username is taken. Choose another, or sign in if it is yours."}
            return _again(request, renderer, rules, "pages/register.html", fields, taken)
        await _end_current(request, sessions)
        cookies = security.session_cookies(session)
        return renderer.redirect(request, own_path(fields.get("next", "/")), say="welcome", cookies=cookies)

    @post("/logout", status_code=200)
    async def logout(
        self,
        request: PageRequest,
        renderer: NamedDependency[Renderer],
        sessions: NamedDependency[Sessions],
        security: NamedDependency[Security],
    ) -> Response[str]:
        """End the session and go to today's map."""
        await _end_current(request, sessions)
        return renderer.redirect(request, "/", say="signed_out", cookies=security.sign_out_cookies())


def _form(request: PageRequest, renderer: Renderer, rules: PasswordRules, template: str) -> Response[str]:
    next_path = own_path(query_value(request, "next") or "/")
    if session_of(request):
        return renderer.redirect(request, next_path)
    page = CredentialsPage(username="", next=next_path, errors={}, shortest_password=rules.shortest)
    return renderer.page(request, template, page)


def _again(
    request: PageRequest,
    renderer: Renderer,
    rules: PasswordRules,
    template: str,
    fields: dict[str, str],
    errors: dict[str, str],
) -> Response[str]:
    """Show the form once more, with what was typed (but the password) and what is wrong beside it."""
    page = CredentialsPage(
        username=fields.get("username", "")[:200],
        next=own_path(fields.get("next", "/")),
        errors=errors,
        shortest_password=rules.shortest,
    )
    return renderer.page(request, template, page, status=422)


async def _end_current(request: PageRequest, sessions: Sessions) -> None:
    session = session_of(request)
    if session:
        await sessions.end(session.user, session.id)
