"""The administrators' page of accounts."""

from __future__ import annotations

from collections.abc import Iterable

from litestar import Controller, get, post
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath
from litestar.response import Response

from seatweb.accounts.administration import ROWS, AccountAdministration
from seatweb.accounts.errors import UserNotFound
from seatweb.accounts.model import Account, Role, Session
from seatweb.accounts.password_resets import CODE_HOURS, ResetCodes
from seatweb.accounts.second_factor import SecondFactors
from seatweb.disabled_accounts import DisabledAccounts
from seatweb.errors import NotAllowed
from seatweb.settings import Settings
from seatweb.storage.ids import parse_id
from seatweb.web.account.second_factor import confirmed
from seatweb.web.admin.contexts import ChangedAccount, ConfirmPage, Filter, PeoplePage, PersonRow, ResetCodePage
from seatweb.web.rendering import Renderer
from seatweb.web.requests import PageRequest, query_value, read_form, read_id, signed_in


async def administrator(
    request: PageRequest, settings: NamedDependency[Settings], factors: NamedDependency[SecondFactors]
) -> Session:
    """Return the session of an administrator, who has a second factor if the site requires one.

    Raises:
        NotSignedIn: the visitor is not signed in.
        NotAllowed: the user is not an administrator, or lacks the second factor.
    """
    session = signed_in(request)
    if session.user.role is not Role.ADMIN:
        raise NotAllowed
    if settings.second_factor != "optional" and await factors.missing(session.user):
        raise NotAllowed(reason="needs_second_factor")
    return session


async def confirm_page(
    request: PageRequest,
    settings: NamedDependency[Settings],
    session: NamedDependency[Session],  # noqa: ARG001 - only for administrators
    administration: NamedDependency[AccountAdministration],
    disabled_accounts: NamedDependency[DisabledAccounts],
    user_text: FromPath[str],
) -> ConfirmPage:
    """Return what a page shows that asks before it changes an account.

    Raises:
        UserNotFound: there is no such account.
    """
    account = await administration.account(read_id(user_text, UserNotFound))
    if account is None:
        raise UserNotFound
    (row,) = await _rows(settings, disabled_accounts, [account])
    return ConfirmPage(row, _filter_in_query(request))


class AdminController(Controller):
    """Lists accounts, disables and enables them, cancels their bookings, and creates codes for forgotten passwords."""

    path = "/admin"
    dependencies = {"session": Provide(administrator), "page": Provide(confirm_page)}  # noqa: RUF012 - Litestar declares it so

    @get("/people")
    async def people(
        self,
        request: PageRequest,
        renderer: NamedDependency[Renderer],
        settings: NamedDependency[Settings],
        session: NamedDependency[Session],
        administration: NamedDependency[AccountAdministration],
        disabled_accounts: NamedDependency[DisabledAccounts],
    ) -> Response[str]:
        """List the accounts, 50 at a time; if one was just disabled or enabled, say so, and offer to undo that."""
        shown = _filter_in_query(request)
        accounts = await administration.accounts(shown.name, shown.after)
        changed = await administration.account(parse_id(query_value(request, "changed") or "") or 0)
        rows = await _rows(settings, disabled_accounts, [*accounts, *([changed] if changed else [])])
        page = PeoplePage(
            filter=shown,
            people=rows[: len(accounts)],
            own_id=session.user.id,
            more_href=Filter(shown.name, accounts[-1].key).href() if len(accounts) == ROWS else None,
            changed=_changed(request, rows[-1]) if changed else None,
        )
        return renderer.page(request, "admin/people.html", page)

    @get("/people/{user_text:str}/disable")
    async def confirm_disable(
        self, request: PageRequest, renderer: NamedDependency[Renderer], page: NamedDependency[ConfirmPage]
    ) -> Response[str]:
        """Ask whether to disable an account."""
        return _ask(request, renderer, page, "admin/disable.html", possible=not page.person.disabled)

    @post("/people/{user_text:str}/disable", status_code=200)
    async def disable(
        self,
        request: PageRequest,
        renderer: NamedDependency[Renderer],
        session: NamedDependency[Session],
        disabled_accounts: NamedDependency[DisabledAccounts],
        user_text: FromPath[str],
    ) -> Response[str]:
        """Disable an account; all of its sessions end at once, and its bookings are cancelled unless they are kept."""
        user_id, fields = read_id(user_text, UserNotFound), await read_form(request)
        result = await disabled_accounts.disable(user_id, keep_bookings="keep_bookings" in fields, by=session)
        href = _filter_of(fields).href(changed=user_id, cancelled=result.cancelled, undo="yes")
        return renderer.redirect(request, href, changed=True)

    @post("/people/{user_text:str}/enable", status_code=200)
    async def enable(
        self,
        request: PageRequest,
        renderer: NamedDependency[Renderer],
        session: NamedDependency[Session],
        administration: NamedDependency[AccountAdministration],
        user_text: FromPath[str],
    ) -> Response[str]:
        """Enable a disabled account; bookings that were cancelled stay cancelled."""
        user_id, fields = read_id(user_text, UserNotFound), await read_form(request)
        await administration.enable(user_id, session)
        cancelled = parse_id(fields.get("cancelled", "")) or 0
        href = _filter_of(fields).href(changed=user_id, cancelled=cancelled)
        return renderer.redirect(request, href)

    @get("/people/{user_text:str}/bookings/cancel")
    async def confirm_cancel_bookings(
        self, request: PageRequest, renderer: NamedDependency[Renderer], page: NamedDependency[ConfirmPage]
    ) -> Response[str]:
        """Ask whether to cancel the upcoming bookings of a disabled account."""
        possible = page.person.disabled and page.person.upcoming > 0
        return _ask(request, renderer, page, "admin/cancel_bookings.html", possible=possible)

    @post("/people/{user_text:str}/bookings/cancel", status_code=200)
    async def cancel_bookings(
        self,
        request: PageRequest,
        renderer: NamedDependency[Renderer],
        session: NamedDependency[Session],
        disabled_accounts: NamedDependency[DisabledAccounts],
        user_text: FromPath[str],
    ) -> Response[str]:
        """Cancel the upcoming bookings of a disabled account."""
        user_id, fields = read_id(user_text, UserNotFound), await read_form(request)
        cancelled = await disabled_accounts.cancel_bookings(user_id, session)
        href = _filter_of(fields).href(changed=user_id, cancelled=cancelled)
        return renderer.redirect(request, href, changed=True)

    @post("/people/{user_text:str}/reset-code", status_code=200)
    async def reset_code(
        self,
        request: PageRequest,
        renderer: NamedDependency[Renderer],
        session: NamedDependency[Session],
        reset_codes: NamedDependency[ResetCodes],
        user_text: FromPath[str],
    ) -> Response[str]:
        """Show a code for a forgotten password, once; the administrator must have confirmed their identity."""
        confirmed(request, "people")
        user, code = await reset_codes.make(read_id(user_text, UserNotFound), session)
        shown = _filter_of(await read_form(request))
        page = ResetCodePage(username=user.username, code=code, hours=CODE_HOURS, filter=shown)
        return renderer.page(request, "admin/reset_code.html", page)


def _changed(request: PageRequest, person: PersonRow) -> ChangedAccount:
    cancelled = parse_id(query_value(request, "cancelled") or "") or 0
    return ChangedAccount(person, cancelled, undo=bool(query_value(request, "undo")) and person.disabled)


def _ask(
    request: PageRequest, renderer: Renderer, page: ConfirmPage, template: str, *, possible: bool
) -> Response[str]:
    """Ask before an account is changed; redirect to the list if there is nothing left to change."""
    return renderer.page(request, template, page) if possible else renderer.redirect(request, page.filter.href())


def _filter_in_query(request: PageRequest) -> Filter:
    return _filter_of({name: query_value(request, name) or "" for name in ("name", "after")})


def _filter_of(fields: dict[str, str]) -> Filter:
    return Filter(fields.get("name", "")[:50], fields.get("after", "")[:200])


async def _rows(
    settings: Settings, disabled_accounts: DisabledAccounts, accounts: Iterable[Account]
) -> list[PersonRow]:
    accounts = [*accounts]
    upcoming = await disabled_accounts.upcoming(account.user.id for account in accounts)
    return [
        PersonRow(
            id=account.user.id,
            username=account.user.username,
            administrator=account.user.role is Role.ADMIN,
            disabled=account.disabled,
            member_since=account.user.created_at.astimezone(settings.zone).date(),
            upcoming=upcoming.get(account.user.id, 0),
        )
        for account in accounts
    ]
