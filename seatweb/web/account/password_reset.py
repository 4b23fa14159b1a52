"""The page on which users replace a forgotten password."""

from __future__ import annotations

from litestar import Controller, get, post
from litestar.di import NamedDependency
from litestar.response import Response

from seatweb.accounts.errors import BadCredentials
from seatweb.accounts.password_resets import PasswordResets
from seatweb.accounts.passwords import PasswordRules
from seatweb.errors import InvalidInput, Message, TooManyAttempts
from seatweb.http.client_address import client_of
from seatweb.i18n.catalogue import text_of, texts_of
from seatweb.web.account.contexts import PasswordResetPage
from seatweb.web.account.responses import FORM_EXPIRED
from seatweb.web.rendering import Renderer
from seatweb.web.requests import FOR_EVERYONE, SHOWS_EXPIRED_FORM, PageRequest, is_expired, read_form


class PasswordResetController(Controller):
    """Replaces a forgotten password, given a code from an administrator or the operator."""

    opt = FOR_EVERYONE

    path = "/login/reset"

    @get("/")
    async def form(
        self, request: PageRequest, renderer: NamedDependency[Renderer], rules: NamedDependency[PasswordRules]
    ) -> Response[str]:
        """Show the form."""
        return _show(request, renderer, rules, "", {})

    @post("/", status_code=200, opt=SHOWS_EXPIRED_FORM)
    async def replace(
        self,
        request: PageRequest,
        renderer: NamedDependency[Renderer],
        rules: NamedDependency[PasswordRules],
        password_resets: NamedDependency[PasswordResets],
    ) -> Response[str]:
        """Replace the password; all of the user's sessions end."""
        fields = await read_form(request)
        username, status, headers = fields.get("username", ""), 422, {}
        if is_expired(request):
            return _show(request, renderer, rules, username, {"wait": text_of(FORM_EXPIRED)}, status=403)
        try:
            await password_resets.use(
                username, fields.get("code", ""), fields.get("new_password", ""), client_of(request)
            )
        except InvalidInput as error:
            errors = texts_of(error.fields)
        except BadCredentials:
            errors = {"form": text_of(Message("password_reset.bad_code"))}
        except TooManyAttempts as error:
            errors, status, headers = {"wait": text_of(error)}, error.status, {"retry-after": str(error.retry_after)}
        else:
            return renderer.redirect(request, "/login", notice="password_reset")
        return _show(request, renderer, rules, username, errors, status, headers)


def _show(
    request: PageRequest,
    renderer: Renderer,
    rules: PasswordRules,
    username: str,
    errors: dict[str, str],
    status: int = 200,
    headers: dict[str, str] | None = None,
) -> Response[str]:
    page = PasswordResetPage(username=username[:200], shortest=rules.shortest, errors=errors)
    return renderer.page(request, "account/password_reset.html", page, status=status, headers=headers)
