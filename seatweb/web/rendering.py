"""Renders templates, and creates responses from them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import partial
from typing import Final
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from litestar.datastructures import Cookie
from litestar.response import Redirect, Response
from litestar.types import Scope
from markupsafe import Markup
from msgspec import Struct

from seatweb.http.cookies import Cookies
from seatweb.http.csrf import CSRF_FIELD, Csrf
from seatweb.i18n.catalogue import plural
from seatweb.storage import resources
from seatweb.web.assets import fingerprints, integrity_hashes
from seatweb.web.notices import parse_notice
from seatweb.web.requests import PageRequest, path_of, session_of, wants_partial
from seatweb.web.shell import Notice, Shell
from seatweb.web.sub_path import SubPathLoader

PAGE_HEADERS: Final = {"cache-control": "no-store", "vary": "Cookie, HX-Request"}
BROTLI_QUALITY: Final = 2  # smaller and faster for a page than gzip at its fastest level


class Renderer:
    """Renders templates, with the `Shell` around every page."""

    def __init__(
        self,
        our_cookies: Cookies,
        csrf: Csrf,
        site_name: str,
        public_url: str | None = None,
        base: str = "",
        zone: tzinfo = UTC,
    ) -> None:
        self._our_cookies = our_cookies
        self._csrf = csrf
        self.site_name = site_name
        self._public_url = public_url
        self.addresses = fingerprints(resources.folder("static"))
        templates = resources.folder("templates")
        self.environment = Environment(
            loader=SubPathLoader(templates, base) if base else FileSystemLoader(templates),
            autoescape=True,
            undefined=StrictUndefined,
            auto_reload=False,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.environment.globals["static"] = self.addresses.__getitem__
        self.environment.globals["integrity"] = integrity_hashes(resources.folder("static")).__getitem__
        self.environment.globals["plural"] = plural
        self.environment.globals["midnight_after"] = partial(_midnight_after, zone)
        for name in self.environment.list_templates():  # compile now, not during the first requests
            self.environment.get_template(name)

    def origin(self, scope: Scope) -> str:
        """Return what precedes paths in URLs that must be absolute: the public URL, or else the request's origin."""
        if self._public_url:
            return self._public_url
        host = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), None)
        return f"{scope['scheme']}://{host}" if host else ""

    def page(
        self,
        request: PageRequest,
        template: str,
        page: Struct | None = None,
        *,
        status: int = 200,
        notice: Notice | None = None,
        headers: dict[str, str] | None = None,
        changed: bool = False,
    ) -> Response[str]:
        """Return a response with the template rendered for `page`; a pending notice is shown, once.

        With `changed`, the next views of this browser are fresh, whichever process handles its requests.
        """
        pending = self.pending_notice(request) if not wants_partial(request) else None
        notice = notice or (parse_notice(pending) if pending else None)
        session = session_of(request)

        def render(csrf_secret: str) -> str:
            return self.environment.get_template(template).render(
                page=page,
                shell=Shell(
                    site_name=self.site_name,
                    username=session.user.username if session else None,
                    path=path_of(request),
                    notice=notice,
                    origin=self.origin(request.scope),
                ),
                csrf_field=partial(csrf_field, self._csrf, csrf_secret),
            )

        cookies = [self._our_cookies.of_change()] if changed else []
        if pending:
            cookies.append(self._our_cookies.of_notice(""))
        return self.respond(request, render, status=status, headers=headers, cookies=cookies)

    def pending_notice(self, request: PageRequest) -> str | None:
        """Return the value of the notice that this browser's next page is to show; None if there is none."""
        return request.cookies.get(self._our_cookies.notice_cookie)

    def respond(
        self,
        request: PageRequest,
        render: Callable[[str], str],
        *,
        status: int = 200,
        headers: dict[str, str] | None = None,
        cookies: Iterable[Cookie] = (),
    ) -> Response[str]:
        """Return a response with the HTML from `render`, which is passed the browser's secret for CSRF tokens."""
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
        notice: str | None = None,
        cookies: Iterable[Cookie] = (),
        changed: bool = False,
    ) -> Response[str]:
        """Redirect to another page of ours (303), which shows the notice; htmx loads the whole page."""
        all_cookies = [*cookies]
        if changed:
            all_cookies.append(self._our_cookies.of_change())
        if notice:
            all_cookies.append(self._our_cookies.of_notice(notice))
        headers = {"cache-control": "no-store"}
        path = quote(path, safe="/?&=%:#+,;@!$'()*~")  # headers hold ASCII only
        if wants_partial(request):
            return Response("", status_code=200, headers={**headers, "hx-redirect": path}, cookies=all_cookies)
        answer: Response[str] = Redirect(path, status_code=303, headers=headers, cookies=all_cookies)
        return answer


def _midnight_after(zone: tzinfo, day: date) -> int:
    """Return when the day ends in the time zone, in milliseconds since 1970 as scripts count them."""
    return 1000 * int(datetime.combine(day + timedelta(days=1), time(), zone).timestamp())


def csrf_field(csrf: Csrf, secret: str) -> Markup:
    """Return the hidden field with a CSRF token, which every form has."""
    # Hexadecimal digits: nothing to escape.
    return Markup(f'<input type="hidden" name="{CSRF_FIELD}" value="{csrf.token(secret)}">')  # noqa: S704
