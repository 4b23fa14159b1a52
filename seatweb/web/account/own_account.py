"""The user's own account: sessions, password, personal data, and deletion."""

from __future__ import annotations

import asyncio
from uuid import UUID

import msgspec
import ua_parser
from litestar import Controller, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.response import Response

from seatweb.accounts.model import SessionSummary
from seatweb.accounts.password_checks import PasswordChecks
from seatweb.accounts.passwords import PasswordRules
from seatweb.accounts.second_factor import SecondFactors
from seatweb.accounts.sessions import LISTED, Sessions
from seatweb.booking.bookings import Bookings
from seatweb.booking.window import BookingWindow
from seatweb.errors import InvalidInput
from seatweb.http.client_address import client_of
from seatweb.http.cookies import Cookies
from seatweb.i18n.catalogue import texts_of
from seatweb.personal_data import PersonalData
from seatweb.settings import Settings
from seatweb.web.account.contexts import AccountPage, DeletePage, PasswordPage, SignInRow
from seatweb.web.account.second_factor import confirmed_where_needed
from seatweb.web.rendering import Renderer
from seatweb.web.requests import PageNotFound, PageRequest, read_form, signed_in


class AccountController(Controller):
    """Shows users their own account, and changes or deletes it."""

    path = "/account"

    @get("/")
    async def account(
        self,
        request: PageRequest,
        renderer: NamedDependency[Renderer],
        settings: NamedDependency[Settings],
        bookings: NamedDependency[Bookings],
        sessions: NamedDependency[Sessions],
        factors: NamedDependency[SecondFactors],
        window: NamedDependency[BookingWindow],
    ) -> Response[str]:
        """Show the user's account and sessions."""
        session, zone = signed_in(request), settings.zone
        sign_ins = await sessions.of(session.user)
        # In a thread: the library tries a thousand patterns on each user agent that it has not cached.
        devices = await asyncio.to_thread(lambda: [device_name(sign_in) for sign_in in sign_ins])
        page = AccountPage(
            user=session.user,
            today=window.today(),
            member_since=session.user.created_at.astimezone(zone).date(),
            upcoming=len(await bookings.upcoming(session.user)),
            second_factor=not await factors.missing(session.user),
            sign_ins=[
                SignInRow(
                    id=str(sign_in.id),
                    device=device,
                    address=sign_in.client.address,
                    seen_at=sign_in.seen_at.astimezone(zone),
                    here=sign_in.id == session.id,
                )
                for sign_in, device in zip(sign_ins, devices, strict=True)
            ],
            more_sign_ins=len(sign_ins) == LISTED,
        )
        return renderer.page(request, "account/account.html", page)

    @post("/sessions/{session_text:str}/end", status_code=200)
    async def end_session(
        self,
        request: PageRequest,
        renderer: NamedDependency[Renderer],
        sessions: NamedDependency[Sessions],
        session_text: FromPath[str],
    ) -> Response[str]:
        """End one of the user's sessions."""
        session = signed_in(request)
        try:
            session_id = UUID(session_text)
        except ValueError:
            raise PageNotFound from None
        await sessions.end(session.user, session_id)
        return renderer.redirect(request, "/account", notice="session_ended")

    @post("/sessions/all/end", status_code=200)
    async def end_sessions(
        self,
        request: PageRequest,
        renderer: NamedDependency[Renderer],
        sessions: NamedDependency[Sessions],
        our_cookies: NamedDependency[Cookies],
    ) -> Response[str]:
        """End all of the user's sessions, including this one."""
        await sessions.end_all(signed_in(request).user)
        return renderer.redirect(request, "/login", notice="signed_out_everywhere", cookies=our_cookies.of_sign_out())

    @get("/password")
    async def password_form(
        self,
        request: PageRequest,
        renderer: NamedDependency[Renderer],
        rules: NamedDependency[PasswordRules],
        factors: NamedDependency[SecondFactors],
    ) -> Response[str]:
        """Show the form to change the password."""
        await confirmed_where_needed(request, factors, "password")
        return renderer.page(request, "account/password.html", PasswordPage(shortest=rules.shortest, errors={}))

    @post("/password", status_code=200)
    async def change_password(
        self,
        request: PageRequest,
        renderer: NamedDependency[Renderer],
        password_checks: NamedDependency[PasswordChecks],
        rules: NamedDependency[PasswordRules],
        factors: NamedDependency[SecondFactors],
    ) -> Response[str]:
        """Change the password; all other sessions end."""
        session = await confirmed_where_needed(request, factors, "password")
        fields = await read_form(request)
        try:
            await password_checks.change(
                session, fields.get("password", ""), fields.get("new_password", ""), client_of(request)
            )
        except InvalidInput as error:
            page = PasswordPage(shortest=rules.shortest, errors=texts_of(error.fields))
            return renderer.page(request, "account/password.html", page, status=422)
        return renderer.redirect(request, "/account", notice="password_changed")

    @get("/data")
    async def data(self, request: PageRequest, personal_data: NamedDependency[PersonalData]) -> Response[bytes]:
        """Return everything that is stored about the user, as a file."""
        content = msgspec.json.format(msgspec.json.encode(await personal_data.export(signed_in(request).user)))
        headers = {"cache-control": "no-store", "content-disposition": 'attachment; filename="seatweb.json"'}
        return Response(content, media_type="application/json", headers=headers)

    @get("/delete")
    async def delete_form(
        self,
        request: PageRequest,
        renderer: NamedDependency[Renderer],
        bookings: NamedDependency[Bookings],
        factors: NamedDependency[SecondFactors],
    ) -> Response[str]:
        """Show the form to delete the account."""
        session = await confirmed_where_needed(request, factors, "delete")
        page = DeletePage(upcoming=len(await bookings.upcoming(session.user)), errors={})
        return renderer.page(request, "account/delete_account.html", page)

    @post("/delete", status_code=200)
    async def delete(
        self,
        request: PageRequest,
        renderer: NamedDependency[Renderer],
        bookings: NamedDependency[Bookings],
        personal_data: NamedDependency[PersonalData],
        our_cookies: NamedDependency[Cookies],
        factors: NamedDependency[SecondFactors],
    ) -> Response[str]:
        """Delete the account."""
        session = await confirmed_where_needed(request, factors, "delete")
        fields = await read_form(request)
        try:
            await personal_data.delete(session, fields.get("password", ""), client_of(request))
        except InvalidInput as error:
            page = DeletePage(upcoming=len(await bookings.upcoming(session.user)), errors=texts_of(error.fields))
            return renderer.page(request, "account/delete_account.html", page, status=422)
        cookies = our_cookies.of_sign_out()
        return renderer.redirect(request, "/", notice="account_deleted", cookies=cookies, changed=True)


def device_name(session: SessionSummary) -> str:
    """Return a readable name of a session's device, such as "Firefox on Linux"."""
    device = session.client.device
    found = ua_parser.parse(device)
    browser = found.user_agent.family if found.user_agent else device.partition("/")[0].partition(" ")[0]
    system = found.os.family if found.os else ""
    return " on ".join(part for part in (browser, system) if part) or "Unknown device"
