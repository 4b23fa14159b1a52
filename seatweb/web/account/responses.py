"""What the forms to sign in and to register answer, in all their steps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, Literal, TypeAlias

from litestar.datastructures import Cookie
from litestar.response import Response

from seatweb.accounts.errors import BadCredentials, UsernameTaken
from seatweb.accounts.model import Session, User
from seatweb.accounts.passwords import PasswordRules
from seatweb.accounts.second_factor import SecondFactors
from seatweb.accounts.sessions import Sessions
from seatweb.errors import InvalidInput, Message, TooManyAttempts
from seatweb.http.cookies import Cookies
from seatweb.i18n.catalogue import text_of, texts_of
from seatweb.settings import Settings
from seatweb.web.account.contexts import CredentialsPage, SecondStepPage
from seatweb.web.account.passkey_forms import party_of
from seatweb.web.account.second_factor import PATH as SECOND_FACTOR_PATH
from seatweb.web.account.second_factor import confirmed_cookie
from seatweb.web.map.intents import Intents
from seatweb.web.rendering import Renderer
from seatweb.web.requests import PageRequest, enrolling_of, own_path, query_value, session_of

CredentialsForm: TypeAlias = Literal["account/login.html", "account/register.html"]
SIGN_IN: Final = "account/login.html"
REGISTER: Final = "account/register.html"
FORM_EXPIRED: Final = Message("form_expired")
TAKEN: Final = {
    "": Message("registration.taken"),
    "looks_alike": Message("registration.looks_alike"),
}


class SignInResponses:
    """Shows the forms to sign in and to register, and redirects users once they are signed in."""

    def __init__(
        self,
        settings: Settings,
        renderer: Renderer,
        rules: PasswordRules,
        sessions: Sessions,
        factors: SecondFactors,
        our_cookies: Cookies,
        intents: Intents,
    ) -> None:
        self._settings = settings
        self._renderer = renderer
        self._rules = rules
        self._sessions = sessions
        self._factors = factors
        self._our_cookies = our_cookies
        self._intents = intents

    async def show(self, request: PageRequest, form: CredentialsForm) -> Response[str]:
        """Show an empty form; redirect users who are already signed in."""
        next_path = own_path(query_value(request, "next") or "/")
        if session_of(request):
            return self._renderer.redirect(request, next_path)
        if enrolling_of(request):
            return self._renderer.redirect(request, SECOND_FACTOR_PATH)
        return await self._show(request, form, {"next": next_path}, {})

    async def show_expired(
        self, request: PageRequest, form: CredentialsForm, fields: Mapping[str, str]
    ) -> Response[str]:
        """Show an expired form again."""
        return await self._show(request, form, fields, {"wait": text_of(FORM_EXPIRED)}, status=403)

    async def refuse(
        self,
        request: PageRequest,
        form: CredentialsForm,
        fields: Mapping[str, str],
        error: BadCredentials | UsernameTaken | InvalidInput | TooManyAttempts,
    ) -> Response[str]:
        """Show the form again, with the error."""
        match error:
            case TooManyAttempts():
                errors = {"wait": text_of(error)}
            case InvalidInput():
                errors = texts_of(error.fields)
            case UsernameTaken():
                errors = {"username": text_of(TAKEN[error.reason])}
            case _:
                errors = {"form": text_of(error)}
        return await self._show(request, form, fields, errors, retry_after=error.retry_after)

    async def show_second_step(
        self,
        request: PageRequest,
        user: User,
        next_path: str,
        errors: dict[str, str] | None = None,
        retry_after: int | None = None,
    ) -> Response[str]:
        """Ask the user, whose password was right, for the second factor."""
        found = await self._factors.of(user)
        page = SecondStepPage(
            next=next_path,
            app=found.totp_since is not None,
            passkeys=bool(found.passkeys) and self._offers_passkeys(request),
            intent=await self._intents.find(next_path),
            errors=errors or {},
        )
        return self._page(request, "account/second_step.html", page, retry_after)

    async def redirect_signed_in(
        self,
        request: PageRequest,
        session: Session,
        next_path: str,
        cookies: Iterable[Cookie] = (),
        greeting: Literal["signed_in", "welcome"] = "signed_in",
    ) -> Response[str]:
        """Replace the browser's session by this one, and redirect: to the second-factor page if it is enrolling."""
        await self.end_session(request)
        cookies = [*self._our_cookies.of_session(session), *cookies]
        if session.enrolling:
            cookies.append(confirmed_cookie(self._our_cookies, session, next_path))
            return self._renderer.redirect(request, SECOND_FACTOR_PATH, cookies=cookies)
        notice = await self._intents.notice(next_path, session.user, greeting)
        return self._renderer.redirect(request, next_path, notice=notice, cookies=cookies)

    async def end_session(self, request: PageRequest) -> None:
        """End the browser's session, if it has one."""
        session = session_of(request) or enrolling_of(request)
        if session:
            await self._sessions.end(session.user, session.id)

    def _offers_passkeys(self, request: PageRequest) -> bool:
        return party_of(request, self._settings) is not None

    async def _show(
        self,
        request: PageRequest,
        form: CredentialsForm,
        fields: Mapping[str, str],
        errors: dict[str, str],
        retry_after: int | None = None,
        status: int | None = None,
    ) -> Response[str]:
        """Show a form with what was typed, except for the password."""
        next_path = own_path(fields.get("next", "/"))
        page = CredentialsPage(
            username=fields.get("username", "")[:200],
            next=next_path,
            errors=errors,
            shortest_password=self._rules.shortest,
            names_shown=self._settings.names == "signed-in",
            passkeys=self._offers_passkeys(request),
            intent=await self._intents.find(next_path),
        )
        return self._page(request, form, page, retry_after, status)

    def _page(
        self,
        request: PageRequest,
        template: str,
        page: CredentialsPage | SecondStepPage,
        retry_after: int | None,
        status: int | None = None,
    ) -> Response[str]:
        status = status or (TooManyAttempts.status if retry_after else 422 if page.errors else 200)
        headers = {"retry-after": str(retry_after)} if retry_after else {}
        return self._renderer.page(request, template, page, status=status, headers=headers)
