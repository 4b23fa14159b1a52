"""Templates, and the answers made of them."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from litestar.datastructures import Cookie
from litestar.response import Redirect, Response
from markupsafe import Markup
from msgspec import Struct

from seatweb.http.cookies import Cookies
from seatweb.http.csrf import CSRF_FIELD, Csrf
from seatweb.storage import resources
from seatweb.web.map.contexts import Notice, Shell
from seatweb.web.requests import PageRequest, path_of, session_of, wants_partial

# What an action says on the page that follows it. A cookie carries only the name and a seat's label, never text.
NOTICES: Final = {
    "booked": "{seat} is yours.",
    "moved": "Moved: {seat} is yours now.",
    "cancelled": "Cancelled: {seat} is free again.",
    "welcome": "Welcome. Choose a free seat.",
    "signed_in": "You are signed in.",
    "signed_out": "You are signed out.",
    "signed_out_everywhere": "You are signed out everywhere.",
    "account_deleted": "Your account is deleted.",
    "account_disabled": "The account is disabled, and signed out everywhere.",
    "account_enabled": "The account is enabled again.",
    "session_ended": "That device is signed out.",
    "password_changed": "Your password is changed. Every other device is signed out.",
    "sign_in_over": "That took too long, or there were too many wrong codes. Sign in again.",
    "confirm_first": "Enter your password first.",
    "confirmed": "Confirmed. You can make changes for ten minutes.",
    "confirmed_for": "Confirmed. You can continue.",
    "password_reset": "Your password is changed. Sign in with the new one.",
    "app_added": "The authenticator app is added.",
    "app_removed": "The authenticator app is removed.",
    "passkey_added": "The passkey is added.",
    "passkey_removed": "The passkey is removed.",
}
PAGE_HEADERS: Final = {"cache-control": "no-store", "vary": "Cookie, HX-Request"}
BROTLI_QUALITY: Final = 2  # a page takes less room, and less time, than by gzip at its quickest
NOTICE_VALUE: Final = re.compile(r"([a-z_]{1,24})(?:\.([A-Z][A-Z0-9]{0,7}-[0-9]{2,4}))?")


def notice(value: str) -> Notice | None:
    """Return what a notice's value, such as `booked.A-07`, says; None for a value that is not one of ours."""
    match = NOTICE_VALUE.fullmatch(value)
    text = NOTICES.get(match[1]) if match else None
    if not match or not text or ("{seat}" in text) != bool(match[2]):
        return None
    return Notice(kind="status", text=text.format(seat=match[2]))


class Renderer:
    """Renders templates with what surrounds every page."""

    def __init__(self, our_cookies: Cookies, csrf: Csrf, site_name: str, public_url: str | None = None) -> None:
        self._our_cookies = our_cookies
        self._csrf = csrf
        self.site_name = site_name
        self.addresses = fingerprints(resources.folder("static"))
        self.environment = Environment(
            loader=FileSystemLoader(resources.folder("templates")),
            autoescape=True,
            undefined=StrictUndefined,
            auto_reload=False,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.environment.globals["static"] = self.addresses.__getitem__
        self.environment.globals["integrity"] = integrities(resources.folder("static")).__getitem__
        self.environment.globals["origin"] = public_url or ""  # social cards need a whole address
        for name in self.environment.list_templates():  # compiled now, not while the first rush waits
            self.environment.get_template(name)

    def page(
        self,
        request: PageRequest,
        template: str,
        page: Struct | None = None,
        *,
        status: int = 200,
        say: Notice | None = None,
        headers: dict[str, str] | None = None,
        changed: bool = False,
    ) -> Response[str]:
        """Return the answer that a template makes of its page's struct; a waiting notice is shown once.

        With `changed` the next views of this browser are fresh ones, whichever process answers them.
        """
        waiting = self.waiting(request) if not wants_partial(request) else None
        say = say or (notice(waiting) if waiting else None)
        session = session_of(request)

        def render(csrf_secret: str) -> str:
            return self.environment.get_template(template).render(
                page=page,
                shell=Shell(
                    site_name=self.site_name,
                    user=session.user if session else None,
                    path=path_of(request),
                    notice=say,
                ),
                csrf_field=partial(csrf_field, self._csrf, csrf_secret),
            )

        cookies = [self._our_cookies.of_change()] if changed else []
        if waiting:
            cookies.append(self._our_cookies.of_notice(""))
        return self.answer(request, render, status=status, headers=headers, cookies=cookies)

    def waiting(self, request: PageRequest) -> str | None:
        """Return the notice that waits for the next page of this browser."""
        return request.cookies.get(self._our_cookies.notice_cookie)

    def answer(
        self,
        request: PageRequest,
        render: Callable[[str], str],
        *,
        status: int = 200,
        headers: dict[str, str] | None = None,
        cookies: Iterable[Cookie] = (),
    ) -> Response[str]:
        """Return the answer whose text `render` makes, given the browser's secret for the tokens of forms."""
        session = session_of(request)
        secret, csrf_cookie = self._csrf.secret(request, session.id if session else None)
        return Response(
            render(secret),
            status_code=status,
            media_type="text/html",
            headers={**PAGE_HEADERS, **(headers or {})},
            cookies=[*cookies, csrf_cookie] if csrf_cookie else [*cookies],
        )

    def redirect(
        self,
        request: PageRequest,
        path: str,
        *,
        say: str | None = None,
        cookies: Iterable[Cookie] = (),
        changed: bool = False,
    ) -> Response[str]:
        """Send the visitor to another page of ours (303), with a notice for it; htmx loads it whole."""
        all_cookies = [*cookies]
        if changed:
            all_cookies.append(self._our_cookies.of_change())
        if say:
            all_cookies.append(self._our_cookies.of_notice(say))
        headers = {"cache-control": "no-store"}
        path = quote(path, safe="/?&=%:#+,;@!$'()*~")  # headers hold ASCII only
        if wants_partial(request):
            return Response("", status_code=200, headers={**headers, "hx-redirect": path}, cookies=all_cookies)
        answer: Response[str] = Redirect(path, status_code=303, headers=headers, cookies=all_cookies)
        return answer


def fingerprints(root: Path) -> dict[str, str]:
    """Return the address of every static file with a hash of its content, so that browsers may keep it for ever."""
    return {
        (name := path.relative_to(root).as_posix()): (
            f"/static/{name}?v={hashlib.sha256(path.read_bytes()).hexdigest()[:12]}"
        )
        for path in root.rglob("*")
        if path.is_file()
    }


def integrities(root: Path) -> dict[str, str]:
    """Return what browsers compare every script and style sheet with before they use it (Subresource Integrity)."""
    return {
        path.relative_to(root).as_posix(): (
            "sha256-" + base64.b64encode(hashlib.sha256(path.read_bytes()).digest()).decode()
        )
        for path in root.rglob("*")
        if path.suffix in {".js", ".css"}
    }


def csrf_field(csrf: Csrf, secret: str) -> Markup:
    """Return the hidden field that every form carries."""
    # Hexadecimal digits: nothing to escape.
    return Markup(f'<input type="hidden" name="{CSRF_FIELD}" value="{csrf.token(secret)}">')  # noqa: S704
