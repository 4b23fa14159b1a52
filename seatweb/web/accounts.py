"""Register, sign in, sign out, and the account's page."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import quote
from uuid import UUID

from litestar import Controller, get, post
from litestar.datastructures import Cookie
from litestar.di import NamedDependency
from litestar.response import Response

from seatweb.accounts import Accounts
from seatweb.bookings import Bookings
from seatweb.errors import BadCredentials, InvalidInput, UsernameTaken
from seatweb.model import Session
from seatweb.second_factor import WAITING_SECONDS, SecondFactors
from seatweb.security import SECOND_FACTOR_AUDIENCE, Security, own_path
from seatweb.settings import Settings
from seatweb.signing_in import SigningIn
from seatweb.web.contexts import AccountPage, CredentialsPage
from seatweb.web.passkey_forms import party_of
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
        signing_in: NamedDependency[SigningIn],
        security: NamedDependency[Security],
    ) -> Response[str]:
        """Sign in, or go on to the second step."""
        fields = await read_form(request)
        try:
            begun = await signing_in.begin(fields.get("username", ""), fields.get("password", ""))
        except BadCredentials as error:
            return sign_in_again(request, renderer, settings, fields, error.text)
        next_path = own_path(fields.get("next", "/"))
        if isinstance(begun, UUID):
            step = security.step_cookie(SECOND_FACTOR_AUDIENCE, {"waiting": str(begun)}, WAITING_SECONDS)
            return renderer.redirect(request, f"/login/second?next={quote(next_path)}", cookies=[step])
        return await enter(request, renderer, accounts, security, begun, next_path)

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
            session = await accounts.register(fields.get("username", ""), fields.get("password", ""))
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
        factors: NamedDependency[SecondFactors],
    ) -> Response[str]:
        """Show who is signed in."""
        session = signed_in(request)
        page = AccountPage(
            user=session.user,
            here_since=session.user.created_at.astimezone(settings.zone).date(),
            signed_in_until=session.expires_at.astimezone(settings.zone).date(),
            coming_count=len(await bookings.coming(session.user)),
            second_factor=not await factors.missing(session.user),
        )
        return renderer.page(request, "pages/account.html", page)


async def enter(
    request: PageRequest,
    renderer: Renderer,
    accounts: Accounts,
    security: Security,
    session: Session,
    next_path: str,
    cookies: Iterable[Cookie] = (),
) -> Response[str]:
    """Go on with the new session; the one before ends."""
    await _end_current(request, accounts)
    cookie = security.sign_in_cookie(session)
    return renderer.redirect(request, next_path, say="signed_in", cookies=[cookie, *cookies])


def _form(request: PageRequest, renderer: Renderer, settings: Settings, template: str) -> Response[str]:
    next_path = own_path(query_value(request, "next") or "/")
    if session_of(request):
        return renderer.redirect(request, next_path)
    page = CredentialsPage(
        username="",
        next=next_path,
        errors={},
        shortest_password=settings.shortest_password,
        passkeys=party_of(request) is not None,
    )
    return renderer.page(request, template, page)


def sign_in_again(
    request: PageRequest, renderer: Renderer, settings: Settings, fields: dict[str, str], error: str
) -> Response[str]:
    """Show the sign-in form once more, with what is wrong."""
    return _again(request, renderer, settings, "pages/login.html", fields, {"form": error})


def _again(
    request: PageRequest,
    renderer: Renderer,
    settings: Settings,
    template: str,
    fields: dict[str, str],
    errors: dict[str, str],
) -> Response[str]:
    """Show the form once more, with what was typed (but the password) and what is wrong beside it."""
    page = CredentialsPage(
        username=fields.get("username", "")[:200],
        next=own_path(fields.get("next", "/")),
        errors=errors,
        shortest_password=settings.shortest_password,
        passkeys=party_of(request) is not None,
    )
    return renderer.page(request, template, page, status=422)


async def _end_current(request: PageRequest, accounts: Accounts) -> None:
    session = session_of(request)
    if session:
        await accounts.end_session(session)
