"""Templates, and the answers made of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
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
from seatweb.web.assets import fingerprints, integrities
from seatweb.web.notices import notice
from seatweb.web.requests import PageRequest, path_of, session_of, wants_partial
from seatweb.web.shell import Notice, Shell

PAGE_HEADERS: Final = {"cache-control": "no-store", "vary": "Cookie, HX-Request"}
BROTLI_QUALITY: Final = 2  # a page takes less room, and less time, than by gzip at its quickest


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
                    username=session.user.username if session else None,
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


def csrf_field(csrf: Csrf, secret: str) -> Markup:
    """Return the hidden field that every form carries."""
    # Hexadecimal digits: nothing to escape.
    return Markup(f'<input type="hidden" name="{CSRF_FIELD}" value="{csrf.token(secret)}">')  # noqa: S704
