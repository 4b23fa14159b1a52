"""Register, sign in, sign out, and the account's page."""

from __future__ import annotations

from litestar import Controller, get, post
from litestar.di import NamedDependency
from litestar.response import Response

from seatweb.accounts import Accounts
from seatweb.bookings import Bookings
from seatweb.errors import BadCredentials, InvalidInput, TooManyAttempts, UsernameTaken
from seatweb.proxies import address_of
from seatweb.security import Security, own_path
from seatweb.settings import Settings
from seatweb.web.contexts import AccountPage, CredentialsPage
from seatweb.web.rendering import Renderer
from seatweb.web.requests import PageRequest, query_value, read_form, session_of, signed_in


class AccountController(Controller):
    """The forms of an account."""

    @get("/login")
    async def login_form(
        self, request: PageRequest, renderer: NamedDependency[Renderer], settings: NamedDependency[Settings]
    ) -> Response[str]:
        """Show the sign-in form; whoever is signed in goes on at once."""
        return _form(request, renderer, settings, "pages/login.html")

    @get("/register")
    async def register_form(
        self, request: PageRequest, renderer: NamedDependency[Renderer], settings: NamedDependency[Settings]
    ) -> Response[str]:
        """Show the form for a new account; whoever is signed in goes on at once."""
        return _form(request, renderer, settings, "pages/register.html")

    @post("/login", status_code=200)
    async def login(
        self,
        request: PageRequest,
        renderer: NamedDependency[Renderer],
        settings: NamedDependency[Settings],
        accounts: NamedDependency[Accounts],
        security: NamedDependency[Security],
    ) -> Response[str]:
        """Sign in."""
        fields = await read_form(request)
        try:
            session = await accounts.sign_in(
                fields.get("username", ""), fields.get("password", ""), address_of(request)
            )
        except BadCredentials as error:
            return _again(request, renderer, settings, "pages/login.html", fields, {"form": error.text})
        except TooManyAttempts as error:
            return _again(request, renderer, settings, "pages/login.html", fields, {"wait": error.text}, error)
        await _end_current(request, accounts)
        cookie = security.sign_in_cookie(session)
        return renderer.redirect(request, own_path(fields.get("next", "/")), say="signed_in", cookies=[cookie])

    @post("/register", status_code=200)
    async def register(
        self,
        request: PageRequest,
        renderer: NamedDependency[Renderer],
        settings: NamedDependency[Settings],
        accounts: NamedDependency[Accounts],
        security: NamedDependency[Security],
    ) -> Response[str]:
        """Register, which also signs in."""
        fields = await read_form(request)
        try:
            session = await accounts.register(
                fields.get("username", ""), fields.get("password", ""), address_of(request)
            )
        except TooManyAttempts as error:
            return _again(request, renderer, settings, "pages/register.html", fields, {"wait": error.text}, error)
        except InvalidInput as error:
            return _again(request, renderer, settings, "pages/register.html", fields, error.fields)
        except UsernameTaken:
            taken = {"username": "That username is taken. Choose another, or sign in if it is yours."}
            return _again(request, renderer, settings, "pages/register.html", fields, taken)
        await _end_current(request, accounts)
        cookie = security.sign_in_cookie(session)
        return renderer.redirect(request, own_path(fields.get("next", "/")), say="welcome", cookies=[cookie])

    @post("/logout", status_code=200)
    async def logout(
        self,
        request: PageRequest,
        renderer: NamedDependency[Renderer],
        accounts: NamedDependency[Accounts],
        security: NamedDependency[Security],
    ) -> Response[str]:
        """End the session and go to today's map."""
        await _end_current(request, accounts)
        return renderer.redirect(request, "/", say="signed_out", cookies=[security.sign_out_cookie()])

    @get("/account")
    async def account(
        self,
        request: PageRequest,
        renderer: NamedDependency[Renderer],
        settings: NamedDependency[Settings],
        bookings: NamedDependency[Bookings],
    ) -> Response[str]:
        """Show who is signed in."""
        session = signed_in(request)
        page = AccountPage(
            user=session.user,
            here_since=session.user.created_at.astimezone(settings.zone).date(),
            signed_in_until=session.expires_at.astimezone(settings.zone).date(),
            coming_count=len(await bookings.coming(session.user)),
        )
        return renderer.page(request, "pages/account.html", page)


def _form(request: PageRequest, renderer: Renderer, settings: Settings, template: str) -> Response[str]:
    next_path = own_path(query_value(request, "next") or "/")
    if session_of(request):
        return renderer.redirect(request, next_path)
    page = CredentialsPage(username="", next=next_path, errors={}, shortest_password=settings.shortest_password)
    return renderer.page(request, template, page)


def _again(
    request: PageRequest,
    renderer: Renderer,
    settings: Settings,
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
        shortest_password=settings.shortest_password,
    )
    if too_many:
        headers = {"retry-after": str(too_many.retry_after)}
        return renderer.page(request, template, page, status=too_many.status, headers=headers)
    return renderer.page(request, template, page, status=422)


async def _end_current(request: PageRequest, accounts: Accounts) -> None:
    session = session_of(request)
    if session:
        await accounts.end_session(session)
