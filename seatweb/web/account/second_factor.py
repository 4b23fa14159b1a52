"""The user's second factors: show, add, remove. To change anything, users first confirm their identity."""

from __future__ import annotations

from datetime import date, datetime
from typing import Final, Literal

import segno
from litestar import Controller, get, post
from litestar.datastructures import Cookie
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.response import Response
from markupsafe import Markup

from seatweb.accounts.codes import grouped
from seatweb.accounts.errors import BadCode, BadCredentials
from seatweb.accounts.model import Session
from seatweb.accounts.passkeys import Passkeys
from seatweb.accounts.second_factor import Enrolment, SecondFactors
from seatweb.accounts.sessions import Sessions
from seatweb.accounts.sign_in import SignInFlow
from seatweb.errors import InvalidInput, TooManyAttempts
from seatweb.http.client_address import client_of
from seatweb.http.cookies import Cookies, set_cookie
from seatweb.http.tokens import CONFIRMED_AUDIENCE, PASSKEY_AUDIENCE
from seatweb.i18n.catalogue import text_of, texts_of
from seatweb.settings import Settings
from seatweb.web.account.contexts import EnrolmentPage, FactorsPage, PasskeyRow, RecoveryCodesPage
from seatweb.web.account.passkey_forms import party_here, party_of, read_challenge, send_options
from seatweb.web.rendering import Renderer
from seatweb.web.requests import (
    NotConfirmed,
    PageNotFound,
    PageRequest,
    is_confirmed,
    query_value,
    read_form,
    read_id,
    signed_in,
)

PATH: Final = "/account/second-factor"
CONFIRMED_SECONDS: Final = 600
AFTERWARDS: Final = {"password": "/account/password", "delete": "/account/delete", "people": "/admin/people"}
"""Where users continue after confirming their identity, by the name in the URL's query (`for`)."""


def confirmed_cookie(our_cookies: Cookies, session: Session, next_path: str = PATH) -> Cookie:
    """Return the cookie that says that the session's user has confirmed their identity; it lasts ten minutes.

    An enrolling user continues to `next_path` once they have a second factor.
    """
    return our_cookies.of_step(CONFIRMED_AUDIENCE, {"session": str(session.id), "next": next_path}, CONFIRMED_SECONDS)


async def confirmed_where_needed(request: PageRequest, factors: SecondFactors, afterwards: str) -> Session:
    """Return the session of a user who has confirmed their identity recently, or has no second factor.

    Raises:
        NotSignedIn, NotConfirmed
    """
    session = signed_in(request)
    if not is_confirmed(request) and not await factors.missing(session.user):
        raise NotConfirmed(afterwards)
    return session


class SecondFactorController(Controller):
    """The user's passkeys, authenticator app and recovery codes."""

    path = PATH

    @get("/")
    async def overview(
        self,
        request: PageRequest,
        renderer: NamedDependency[Renderer],
        settings: NamedDependency[Settings],
        factors: NamedDependency[SecondFactors],
    ) -> Response[str]:
        """Show the user's second factors."""
        return await _show(request, renderer, settings, factors, afterwards=query_value(request, "for"))

    @post("/confirm", status_code=200)
    async def confirm(
        self,
        request: PageRequest,
        renderer: NamedDependency[Renderer],
        settings: NamedDependency[Settings],
        factors: NamedDependency[SecondFactors],
        sign_in_flow: NamedDependency[SignInFlow],
        our_cookies: NamedDependency[Cookies],
    ) -> Response[str]:
        """Confirm the user's identity by password, and by a code if they have a second factor."""
        session, fields = signed_in(request), await read_form(request)
        afterwards = fields.get("for")
        try:
            await sign_in_flow.confirm(session, fields.get("password", ""), fields.get("code", ""), client_of(request))
        except InvalidInput as error:
            return await _show(request, renderer, settings, factors, texts_of(error.fields), afterwards=afterwards)
        except (BadCode, TooManyAttempts) as error:
            errors = {"code": text_of(error)}
            return await _show(request, renderer, settings, factors, errors, error.retry_after, afterwards=afterwards)
        return _redirect_confirmed(request, renderer, our_cookies, session, afterwards)

    @post("/confirm/options", status_code=200)
    async def confirm_options(
        self,
        request: PageRequest,
        settings: NamedDependency[Settings],
        passkeys: NamedDependency[Passkeys],
        our_cookies: NamedDependency[Cookies],
    ) -> Response[bytes]:
        """Return the options to confirm the user's identity by one of their passkeys."""
        user = signed_in(request).user
        return send_options(our_cookies, await passkeys.options_to_use(party_here(request, settings), "confirm", user))

    @post("/confirm/passkey", status_code=200)
    async def confirm_with_passkey(
        self,
        request: PageRequest,
        renderer: NamedDependency[Renderer],
        settings: NamedDependency[Settings],
        factors: NamedDependency[SecondFactors],
        sign_in_flow: NamedDependency[SignInFlow],
        our_cookies: NamedDependency[Cookies],
    ) -> Response[str]:
        """Confirm the user's identity by a passkey, which is both factors at once."""
        session, fields = signed_in(request), await read_form(request)
        challenge = read_challenge(request, our_cookies)
        try:
            await sign_in_flow.confirm_with_passkey(
                session, party_here(request, settings), challenge, fields.get("credential", "")
            )
        except BadCredentials as error:
            errors = {"form": text_of(error)}
            return await _show(request, renderer, settings, factors, errors, afterwards=fields.get("for"))
        return _redirect_confirmed(request, renderer, our_cookies, session, fields.get("for"))

    # The authenticator app

    @post("/app", status_code=200)
    async def begin_app(
        self, request: PageRequest, renderer: NamedDependency[Renderer], factors: NamedDependency[SecondFactors]
    ) -> Response[str]:
        """Create a secret for an authenticator app."""
        created = await factors.begin_totp(confirmed(request))
        return renderer.redirect(request, f"{PATH}/app" if created else PATH)

    @get("/app")
    async def show_app(
        self, request: PageRequest, renderer: NamedDependency[Renderer], factors: NamedDependency[SecondFactors]
    ) -> Response[str]:
        """Show the secret, as long as no code has confirmed it."""
        enrolment = await factors.enrolment(confirmed(request).user)
        if enrolment is None:
            return renderer.redirect(request, PATH)
        return renderer.page(request, "account/authenticator_app.html", _enrolment_page(enrolment, {}))

    @post("/app/code", status_code=200)
    async def confirm_app(
        self,
        request: PageRequest,
        our_cookies: NamedDependency[Cookies],
        sessions: NamedDependency[Sessions],
        renderer: NamedDependency[Renderer],
        factors: NamedDependency[SecondFactors],
    ) -> Response[str]:
        """Activate the secret, if the code proves that the app has it."""
        session, fields = confirmed(request), await read_form(request)
        try:
            await factors.confirm_totp(session, fields.get("code", ""))
        except BadCode as error:
            enrolment = await factors.enrolment(session.user)
            if enrolment is None:
                return renderer.redirect(request, PATH)
            page = _enrolment_page(enrolment, {"code": text_of(error)})
            return renderer.page(request, "account/authenticator_app.html", page, status=422)
        return await _show_added(request, renderer, our_cookies, sessions, factors, session, "app")

    @post("/app/remove", status_code=200)
    async def remove_app(
        self, request: PageRequest, renderer: NamedDependency[Renderer], factors: NamedDependency[SecondFactors]
    ) -> Response[str]:
        """Remove the authenticator app."""
        await factors.remove_totp(confirmed(request))
        return renderer.redirect(request, PATH, notice="app_removed")

    # Passkeys

    @post("/passkeys/options", status_code=200)
    async def passkey_options(
        self,
        request: PageRequest,
        settings: NamedDependency[Settings],
        passkeys: NamedDependency[Passkeys],
        our_cookies: NamedDependency[Cookies],
    ) -> Response[bytes]:
        """Return the options to create a passkey."""
        user = confirmed(request).user
        return send_options(our_cookies, await passkeys.options_to_add(party_here(request, settings), user))

    @post("/passkeys", status_code=200)
    async def add_passkey(
        self,
        request: PageRequest,
        sessions: NamedDependency[Sessions],
        renderer: NamedDependency[Renderer],
        settings: NamedDependency[Settings],
        factors: NamedDependency[SecondFactors],
        passkeys: NamedDependency[Passkeys],
        our_cookies: NamedDependency[Cookies],
    ) -> Response[str]:
        """Add the passkey that the browser created."""
        session, fields = confirmed(request), await read_form(request)
        challenge = read_challenge(request, our_cookies)
        party, credential, name = party_here(request, settings), fields.get("credential", ""), fields.get("name", "")
        try:
            await passkeys.add(session, party, challenge, credential, name)
        except InvalidInput as error:
            return await _show(request, renderer, settings, factors, {"passkey": text_of(error)})
        return await _show_added(request, renderer, our_cookies, sessions, factors, session, "passkey")

    @post("/passkeys/{passkey_text:str}/remove", status_code=200)
    async def remove_passkey(
        self,
        request: PageRequest,
        renderer: NamedDependency[Renderer],
        factors: NamedDependency[SecondFactors],
        passkey_text: FromPath[str],
    ) -> Response[str]:
        """Remove a passkey."""
        session = confirmed(request)
        await factors.remove_passkey(session, read_id(passkey_text, PageNotFound))
        return renderer.redirect(request, PATH, notice="passkey_removed")

    # Recovery codes

    @post("/recovery-codes", status_code=200)
    async def new_recovery_codes(
        self, request: PageRequest, renderer: NamedDependency[Renderer], factors: NamedDependency[SecondFactors]
    ) -> Response[str]:
        """Create new recovery codes and show them, once."""
        session = confirmed(request)
        if await factors.missing(session.user):
            return renderer.redirect(request, PATH)
        page = RecoveryCodesPage(codes=await factors.new_recovery_codes(session), added=None, next=PATH)
        return renderer.page(request, "account/recovery_codes.html", page)


def confirmed(request: PageRequest, afterwards: str = "") -> Session:
    """Return the session of a user who has confirmed their identity recently; for `afterwards`, see `NotConfirmed`.

    Raises:
        NotSignedIn, NotConfirmed
    """
    session = signed_in(request)
    if not is_confirmed(request):
        raise NotConfirmed(afterwards)
    return session


def _redirect_confirmed(
    request: PageRequest, renderer: Renderer, our_cookies: Cookies, session: Session, afterwards: str | None
) -> Response[str]:
    cookies = [confirmed_cookie(our_cookies, session), our_cookies.of_no_step(PASSKEY_AUDIENCE)]
    path = AFTERWARDS.get(afterwards or "")
    return renderer.redirect(request, path or PATH, notice="confirmed_for" if path else "confirmed", cookies=cookies)


async def _show_added(
    request: PageRequest,
    renderer: Renderer,
    our_cookies: Cookies,
    sessions: Sessions,
    factors: SecondFactors,
    session: Session,
    factor: Literal["app", "passkey"],
) -> Response[str]:
    """Show the recovery codes that come with the first factor, or return to the overview."""
    next_path = PATH
    if session.enrolling:
        next_path = our_cookies.read_step(request, CONFIRMED_AUDIENCE).get("next", PATH)
        session = await _finish_enrolling(request, our_cookies, sessions, session)
    codes = await factors.first_recovery_codes(session)
    if not codes:
        return renderer.redirect(request, next_path, notice=f"{factor}_added")
    page = RecoveryCodesPage(codes=codes, added=factor, next=next_path)
    return renderer.page(request, "account/recovery_codes.html", page)


async def _finish_enrolling(
    request: PageRequest, our_cookies: Cookies, sessions: Sessions, session: Session
) -> Session:
    """Replace the enrolling session by one with full access, now that the user has a second factor."""
    request.state.session = new = await sessions.finish_enrolling(session, client_of(request))
    for cookie in (*our_cookies.of_session(new), confirmed_cookie(our_cookies, new)):
        set_cookie(request, cookie)
    return new


def _enrolment_page(enrolment: Enrolment, errors: dict[str, str]) -> EnrolmentPage:
    # The library generates the SVG; the user's data is in it only as squares.
    drawing = Markup(segno.make_qr(enrolment.uri, error="m").svg_inline(omitsize=True, border=4))  # noqa: S704
    return EnrolmentPage(secret=" ".join(grouped(enrolment.secret)), uri=enrolment.uri, drawing=drawing, errors=errors)


async def _show(
    request: PageRequest,
    renderer: Renderer,
    settings: Settings,
    factors: SecondFactors,
    errors: dict[str, str] | None = None,
    retry_after: int | None = None,
    afterwards: str | None = None,
) -> Response[str]:
    session = signed_in(request)
    found = await factors.of(session.user)

    def day(moment: datetime | None) -> date | None:
        return moment.astimezone(settings.zone).date() if moment else None

    page = FactorsPage(
        confirmed=is_confirmed(request),
        app_since=day(found.totp_since),
        passkeys=[
            PasskeyRow(
                id=passkey.id,
                name=passkey.name,
                added=passkey.created_at.astimezone(settings.zone).date(),
                last_used=day(passkey.last_used_at),
            )
            for passkey in found.passkeys
        ],
        recovery_made=found.recovery_made,
        recovery_left=found.recovery_left,
        passkeys_here=party_of(request, settings) is not None,
        local_address=_local_address(request, settings),
        afterwards=afterwards if afterwards in AFTERWARDS else None,
        needed=factors.needed,
        errors=errors or {},
    )
    status = 429 if retry_after else 422 if errors else 200
    headers = {"retry-after": str(retry_after)} if retry_after else {}
    return renderer.page(request, "account/second_factor.html", page, status=status, headers=headers)


def _local_address(request: PageRequest, settings: Settings) -> str | None:
    """Return the URL of this page at `localhost`, if the browser requested it at `127.0.0.1`."""
    host, _, port = request.headers.get("host", "").partition(":")
    if host != "127.0.0.1" or settings.public_url or not port.isdecimal():
        return None
    return f"http://localhost:{port}{PATH}"
