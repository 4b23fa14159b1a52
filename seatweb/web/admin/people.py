"""The administrators' page of accounts."""

from __future__ import annotations

from litestar import Controller, get, post
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath
from litestar.response import Response

from seatweb.accounts.administration import ROWS, AccountAdministration
from seatweb.accounts.errors import UserNotFound
from seatweb.accounts.model import Role, Session
from seatweb.accounts.password_resets import CODE_HOURS, ResetCodes
from seatweb.accounts.second_factor import SecondFactors
from seatweb.errors import NotAllowed
from seatweb.settings import Settings
from seatweb.web.account.second_factor import confirmed
from seatweb.web.admin.contexts import PeoplePage, ResetCodePage
from seatweb.web.rendering import Renderer
from seatweb.web.requests import PageRequest, query_value, read_id, signed_in


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


class AdminController(Controller):
    """Lists accounts, disables and enables them, and creates codes for forgotten passwords."""

    path = "/admin"
    dependencies = {"session": Provide(administrator)}  # noqa: RUF012 - Litestar declares it so

    @get("/people")
    async def people(
        self,
        request: PageRequest,
        renderer: NamedDependency[Renderer],
        session: NamedDependency[Session],
        administration: NamedDependency[AccountAdministration],
    ) -> Response[str]:
        """List the accounts, 50 at a time."""
        name, after = query_value(request, "name") or "", query_value(request, "after") or ""
        accounts = await administration.accounts(name[:50], after[:200])
        page = PeoplePage(
            name=name,
            accounts=accounts,
            own_id=session.user.id,
            after=accounts[-1].key if len(accounts) == ROWS else None,
        )
        return renderer.page(request, "admin/people.html", page)

    @post("/people/{user_text:str}/disable", status_code=200)
    async def disable(
        self,
        request: PageRequest,
        renderer: NamedDependency[Renderer],
        session: NamedDependency[Session],
        administration: NamedDependency[AccountAdministration],
        user_text: FromPath[str],
    ) -> Response[str]:
        """Disable an account; all of its sessions end at once."""
        await administration.change_disabled(read_id(user_text, UserNotFound), disabled=True, by=session)
        return renderer.redirect(request, "/admin/people", notice="account_disabled")

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
        page = ResetCodePage(username=user.username, code=code, hours=CODE_HOURS)
        return renderer.page(request, "admin/reset_code.html", page)

    @post("/people/{user_text:str}/enable", status_code=200)
    async def enable(
        self,
        request: PageRequest,
        renderer: NamedDependency[Renderer],
        session: NamedDependency[Session],
        administration: NamedDependency[AccountAdministration],
        user_text: FromPath[str],
    ) -> Response[str]:
        """Enable a disabled account."""
        await administration.change_disabled(read_id(user_text, UserNotFound), disabled=False, by=session)
        return renderer.redirect(request, "/admin/people", notice="account_enabled")
