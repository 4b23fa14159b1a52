"""The pages of administrators: the accounts."""

from __future__ import annotations

from litestar import Controller, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.response import Response

from seatweb.errors import NotAllowed, UserNotFound
from seatweb.model import Role, Session
from seatweb.rights import ROWS, Rights
from seatweb.web.contexts import PeoplePage
from seatweb.web.rendering import Renderer
from seatweb.web.requests import PageRequest, query_value, read_id, signed_in


def administrator(request: PageRequest) -> Session:
    """Return the session of an administrator.

    Raises:
        NotSignedIn: the visitor is not signed in.
        NotAllowed: the user is no administrator.
    """
    session = signed_in(request)
    if session.user.role is not Role.ADMIN:
        raise NotAllowed
    return session


class AdminController(Controller):
    """Who has an account, and who may use it."""

    path = "/admin"

    @get("/people")
    async def people(
        self, request: PageRequest, renderer: NamedDependency[Renderer], rights: NamedDependency[Rights]
    ) -> Response[str]:
        """List the accounts, 50 at a time."""
        session = administrator(request)
        name, after = query_value(request, "name") or "", query_value(request, "after") or ""
        accounts = await rights.accounts(name[:50], after[:200])
        page = PeoplePage(
            name=name,
            accounts=accounts,
            own_id=session.user.id,
            after=accounts[-1].key if len(accounts) == ROWS else None,
        )
        return renderer.page(request, "pages/people.html", page)

    @post("/people/{user_text:str}/disable", status_code=200)
    async def disable(
        self,
        request: PageRequest,
        renderer: NamedDependency[Renderer],
        rights: NamedDependency[Rights],
        user_text: FromPath[str],
    ) -> Response[str]:
        """Disable an account: it is signed out everywhere at once."""
        session = administrator(request)
        await rights.change_disabled(read_id(user_text, UserNotFound), disabled=True, by=session)
        return renderer.redirect(request, "/admin/people", say="account_disabled")

    @post("/people/{user_text:str}/enable", status_code=200)
    async def enable(
        self,
        request: PageRequest,
        renderer: NamedDependency[Renderer],
        rights: NamedDependency[Rights],
        user_text: FromPath[str],
    ) -> Response[str]:
        """Enable an account again."""
        session = administrator(request)
        await rights.change_disabled(read_id(user_text, UserNotFound), disabled=False, by=session)
        return renderer.redirect(request, "/admin/people", say="account_enabled")
