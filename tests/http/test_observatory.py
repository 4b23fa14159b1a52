"""The score that Mozilla's HTTP Observatory would give, computed from our responses.

The criteria and their points are those of https://github.com/mdn/mdn-http-observatory (src/analyzer/tests and
src/grader, as of 20 August 2026), reimplemented for the responses that Seatweb can give. The score starts at 100; bonus
points count only if no penalty exceeds 10. COOP and COEP were added later, with ten points each; `CLASSIC` leaves them
out, so that its maximum is 145. The last five points need an entry in the browsers' HSTS preload list, which an
operator can request (https://hstspreload.org).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from http.cookies import SimpleCookie
from typing import Final

import httpx
import pytest
from bs4 import BeautifulSoup

from tests.support import Site

HTTPS: Final = "https://seats.example.org"
SIX_MONTHS: Final = 15_552_000  # seconds; 180 days, as the Observatory counts them
BROAD: Final = {"ftp:", "http:", "https:", "*", "http://*", "http://*.*", "https://*", "https://*.*"}
PLAIN: Final = ("http:", "ftp:")
INLINE: Final = {"'unsafe-inline'", "data:"}
MAXIMUM: Final = {
    "content-security-policy": 10, "cookies": 5, "cors": 0, "redirection": 0, "referrer-policy": 5,
    "strict-transport-security": 5, "subresource-integrity": 5, "x-content-type-options": 0, "x-frame-options": 5,
    "cross-origin-resource-policy": 10, "cross-origin-opener-policy": 10, "cross-origin-embedder-policy": 10,
}  # fmt: skip
CLASSIC: Final = MAXIMUM.keys() - {"cross-origin-opener-policy", "cross-origin-embedder-policy"}

Points = dict[str, int]


def directives(headers: httpx.Headers) -> dict[str, set[str]]:
    parts = [part.split() for part in headers.get("content-security-policy", "").split(";")]
    return {part[0].lower(): {source.lower() for source in part[1:]} for part in parts if part}


def content_security_policy(headers: httpx.Headers) -> int:
    policy = directives(headers)
    if not policy:
        return -25
    script, style, objects = (
        policy.get(name, policy.get("default-src", {"*"})) for name in ("script-src", "style-src", "object-src")
    )
    passive = {"img-src", "media-src"}
    active = [source for name, sources in policy.items() if name not in passive for source in sources]
    if script & (BROAD | INLINE) or objects & BROAD or any(source.startswith(PLAIN) for source in active):
        return -20
    passive_sources = [source for name in passive for source in policy.get(name, policy.get("default-src", set()))]
    if "'unsafe-eval'" in script | style or any(source.startswith(PLAIN) for source in passive_sources):
        return -10
    if style & (BROAD | INLINE):
        return 0
    return 10 if policy.get("default-src") == {"'none'"} else 5


def strict_transport_security(headers: httpx.Headers) -> int:
    value = headers.get("strict-transport-security")
    ages = [part.strip()[8:] for part in (value or "").lower().split(";") if part.strip().startswith("max-age=")]
    if value is None or "," in value or not ages or not ages[-1].isdecimal():
        return -20
    return 0 if int(ages[-1]) >= SIX_MONTHS else -10  # 5 for preloaded hosts


def cookies(headers: httpx.Headers) -> int:
    hsts = strict_transport_security(headers) >= 0
    found = [morsel for line in headers.get_list("set-cookie") for morsel in SimpleCookie(line).values()]
    if not found:
        return 0
    worst = 5 if all(morsel["samesite"] for morsel in found) else 0
    for morsel in found:
        session = any(word in morsel.key.lower() for word in ("login", "sess"))
        if morsel["samesite"].lower() not in {"", "lax", "strict", "none"}:
            worst = min(worst, -20)
        if morsel["samesite"].lower() == "none" and not morsel["secure"]:
            worst = min(worst, -20)
        if "csrf" in morsel.key.lower() and not morsel["samesite"]:
            worst = min(worst, -20)
        if not morsel["secure"]:
            worst = min(worst, (-10 if session else -5) if hsts else (-40 if session else -20))
        if session and not morsel["httponly"]:
            worst = min(worst, -30)
    return worst


def cors(headers: httpx.Headers, origin: str) -> int:
    allowed = headers.get("access-control-allow-origin")
    return -50 if allowed == origin and headers.get("access-control-allow-credentials") == "true" else 0


def referrer_policy(headers: httpx.Headers) -> int:
    private = {"no-referrer", "same-origin", "strict-origin", "strict-origin-when-cross-origin"}
    known = private | {"origin", "origin-when-cross-origin", "unsafe-url", "no-referrer-when-downgrade"}
    if "referrer-policy" not in headers:
        return 0
    named = [name for part in headers["referrer-policy"].split(",") if (name := part.strip().lower()) in known]
    return 5 if named and named[-1] in private else -5


@cache
def subresource_integrity(html: str) -> int:
    scripts = BeautifulSoup(html, "html5lib").select("script[src]")
    worst = 5 if any(script.get("integrity") for script in scripts) else 0
    for script in scripts:
        source, known = str(script["src"]), bool(script.get("integrity"))
        secure = source.startswith("https:") and not source.startswith("//")
        if source.startswith(("http:", "//")) or (secure and not source.startswith(HTTPS)):
            worst = min(worst, (5 if known else -5) if secure else (-20 if known else -50))
    return worst


def x_frame_options(headers: httpx.Headers) -> int:
    if "frame-ancestors" in directives(headers):
        return 5
    value = headers.get("x-frame-options", "").strip().lower()
    return 5 if value in {"deny", "sameorigin"} else 0 if value.startswith("allow-from") else -20


def one_of(headers: httpx.Headers, name: str, better: set[str], usual: set[str]) -> int:
    value = headers.get(name, "").partition(";")[0].strip().lower()
    return 10 if value in better else 0 if not value or value in usual else -5


def points(answer: httpx.Response, origin: str = "https://observatory.example") -> Points:
    """Return each criterion's bonus or penalty for the response to a request with this origin."""
    headers = answer.headers
    return {
        "content-security-policy": content_security_policy(headers),
        "cookies": cookies(headers),
        "cors": cors(headers, origin),
        "redirection": 0,  # from http to https, which is the reverse proxy's job (docs/deploy.md)
        "referrer-policy": referrer_policy(headers),
        "strict-transport-security": strict_transport_security(headers),
        "subresource-integrity": subresource_integrity(answer.text),
        "x-content-type-options": 0 if headers.get("x-content-type-options", "").lower() == "nosniff" else -5,
        "x-frame-options": x_frame_options(headers),
        "cross-origin-resource-policy": one_of(
            headers, "cross-origin-resource-policy", {"same-origin", "same-site"}, {"cross-origin"}
        ),
        "cross-origin-opener-policy": one_of(
            headers,
            "cross-origin-opener-policy",
            {"same-origin", "same-origin-allow-popups", "noopener-allow-popups"},
            {"unsafe-none"},
        ),
        "cross-origin-embedder-policy": one_of(
            headers, "cross-origin-embedder-policy", {"require-corp", "credentialless"}, {"unsafe-none"}
        ),
    }


def score(earned: Points) -> int:
    penalized = 100 + sum(value for value in earned.values() if value < 0)
    return max(0, 100 + sum(earned.values()) if penalized >= 90 else penalized)


async def get(site: Site, path: str) -> httpx.Response:
    return await site.visitor().get(path, headers={"Origin": "https://observatory.example"})


async def test_pages_get_the_full_score_except_for_preloading(
    start_site: Callable[..., Site], subtests: pytest.Subtests
) -> None:
    site = start_site(SEATWEB_PUBLIC_URL=HTTPS, SEATWEB_CORS_ORIGINS="https://intranet.example.org")
    for path in ("/", "/days/2026-11-23/seats/8", "/login", "/register", "/docs"):
        with subtests.test(path):
            answer = await get(site, path)
            assert answer.status_code == 200
            earned = points(answer)
            assert [name for name, most in MAXIMUM.items() if earned[name] < most] == ["strict-transport-security"]
            assert score({name: earned[name] for name in CLASSIC}) == 140  # of 145
            assert score(earned) == 160  # of 165


async def test_pages_for_returning_visitors_keep_the_score(start_site: Callable[..., Site]) -> None:
    site = start_site(SEATWEB_PUBLIC_URL=HTTPS)
    async with site.people(1) as (ada,):
        for path in ("/", "/account", "/my/bookings"):
            answer = await ada.get(path)
            assert score(points(answer)) >= 155, path  # no cookie is set, so its five points are missing


WEAKER: Final = [
    ("content-security-policy", None, 55),  # and nothing else forbids frames
    ("content-security-policy", "default-src 'self'; frame-ancestors 'none'", 155),
    ("content-security-policy", "default-src 'none'; script-src 'self' 'unsafe-inline'; frame-ancestors 'none'", 80),
    ("content-security-policy", "default-src 'none'; script-src 'self' 'unsafe-eval'; frame-ancestors 'none'", 140),
    ("content-security-policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'", 150),
    ("content-security-policy", "default-src 'none'; script-src https:; frame-ancestors 'none'", 80),
    ("content-security-policy", "default-src 'none'; connect-src http://a.example; frame-ancestors 'none'", 80),
    ("content-security-policy", "default-src 'none'; img-src http://a.example; frame-ancestors 'none'", 140),
    ("content-security-policy", "script-src 'self'; frame-ancestors 'none'", 80),
    ("content-security-policy", "default-src 'none'", 80),
    ("strict-transport-security", None, 80),
    ("strict-transport-security", "max-age=600", 150),
    ("strict-transport-security", "includeSubDomains", 80),
    ("set-cookie", "__Host-seatweb_csrf=1; Secure; HttpOnly", 80),
    ("set-cookie", "seatweb_csrf=1; HttpOnly; SameSite=Lax", 150),
    ("set-cookie", "seatweb_session=1; Secure; SameSite=Lax", 70),
    ("set-cookie", "seatweb_session=1; HttpOnly; SameSite=Lax", 145),
    ("set-cookie", "theme=1; Secure", 155),
    ("set-cookie", "theme=1; Secure; SameSite=Whatever", 80),
    ("access-control-allow-origin", "https://observatory.example", 160),
    ("referrer-policy", None, 155),
    ("referrer-policy", "unsafe-url", 150),
    ("x-content-type-options", None, 155),
    ("cross-origin-resource-policy", "cross-origin", 150),
    ("cross-origin-resource-policy", "all", 145),
    ("cross-origin-opener-policy", None, 150),
    ("cross-origin-embedder-policy", "unsafe-none", 150),
]


async def test_weaker_headers_lower_the_score(start_site: Callable[..., Site]) -> None:
    answer = await get(start_site(SEATWEB_PUBLIC_URL=HTTPS), "/")
    headers = answer.headers
    for header, value, expected in WEAKER:
        answer.headers = headers.copy()
        answer.headers.pop(header, None)
        if value is not None:
            answer.headers[header] = value
        assert score(points(answer)) == expected, (header, value)
    answer.headers = headers.copy()
    for_everyone = {"origin": "https://observatory.example", "credentials": "true"}
    answer.headers.update({f"access-control-allow-{name}": value for name, value in for_everyone.items()})
    assert score(points(answer)) == 50


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ('<script src="/a.js"></script>', 0),
        ('<script src="/a.js" integrity="sha256-x"></script>', 5),
        ('<script src="https://cdn.example/a.js" integrity="sha256-x"></script>', 5),
        ('<script src="https://cdn.example/a.js"></script>', -5),
        ('<script src="http://cdn.example/a.js" integrity="sha256-x"></script>', -20),
        ('<script src="//cdn.example/a.js"></script>', -50),
    ],
)
def test_scripts_from_other_origins_lower_the_score(script: str, expected: int) -> None:
    assert subresource_integrity(f"<!doctype html><title>.</title>{script}") == expected
