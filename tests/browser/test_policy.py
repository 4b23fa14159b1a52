"""Defences in the browser: no page breaks the content security policy, and injected markup does not run."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any

from playwright.sync_api import APIResponse, BrowserContext, Page, Route, expect

from tests.browser.conftest import Guard
from tests.browser.test_journeys import DAY

MARK = '<p class="panel-status">'  # in the response that opens a seat's panel; attacks are injected before it

# What htmx logs about a refusal, and Chromium about attributes that it parses where nothing can run.
REFUSED = ("in a response", "violates the following Content Security Policy", "POLICY")

ATTACKS = {
    "an image that fails to load": '<img src="/nowhere" onerror="window.hacked = 1">',
    "an image that loads": '<img src="/static/icons/favicon.svg" onload="window.hacked = 1">',
    "a script": "<script>window.hacked = 1</script>",
    "one of our own scripts": '<script src="/static/js/hold.js"></script>',
    "a module": '<script type="module">window.hacked = 1</script>',
    "htmx inline code": '<p hx-on:htmx:after:process="window.hacked = 1">.</p>',
    "htmx inline code, short form": '<p hx-on::after:process="window.hacked = 1">.</p>',
    "htmx inline code, data prefix": '<p data-hx-on:click="window.hacked = 1">.</p>',
    "a trigger filter": '<p hx-get="/" hx-trigger="load[window.hacked = 1]">.</p>',
    "code in hx-vals": '<p hx-get="/" hx-trigger="load" hx-vals="js:{a: window.hacked = 1}">.</p>',
    "code in hx-get": '<p hx-get="js:window.hacked = 1" hx-trigger="load">.</p>',
    "a javascript: URL": '<a href="javascript:window.hacked = 1" autofocus>.</a>',
    "an obfuscated javascript: URL": '<a href=" java&#9;script:window.hacked = 1">.</a>',
    "a form to another host": '<form action="https://elsewhere.example/"><input name="password"></form>',
    "a button to another host": '<form><button formaction="//elsewhere.example/">.</button></form>',
    "a disguised link to another host": '<a href="/&#9;/elsewhere.example">.</a>',
    "a request to another host": '<p hx-get="https://elsewhere.example/" hx-trigger="load">.</p>',
    "a frame": '<iframe srcdoc="<script>parent.hacked = 1</script>"></iframe>',
    "a frame with a javascript: URL": '<iframe src="javascript:parent.hacked = 1"></iframe>',
    "an object": '<object data="data:text/html,<script>1</script>"></object>',
    "a base element": '<base href="https://elsewhere.example/">',
    "a redirect": '<meta http-equiv="refresh" content="0;url=/nowhere">',
    "a style element": "<style>body { display: none }</style>",
    "a style attribute": '<p style="position: fixed; inset: 0">.</p>',
    "a style sheet": '<link rel="stylesheet" href="/static/css/docs.css">',
    "an SVG animation": '<svg><animate onbegin="window.hacked = 1" attributeName="x" dur="1s"/></svg>',
    "an SVG link that becomes code": '<svg><a><set attributeName="href" to="javascript:window.hacked = 1"/></a></svg>',
    "a foreign object": '<svg><foreignObject><img src="x" onerror="window.hacked = 1"></foreignObject></svg>',
    "an SVG in a data: URL": '<svg><use href="data:image/svg+xml,<svg id=x/>#x"/></svg>',
    "in a template": '<template><img src="x" onerror="window.hacked = 1"></template>',
    "in a closed shadow root": '<p><template shadowrootmode="closed"><img onerror="window.hacked = 1"></template></p>',
    "in an open shadow root": '<div><template shadowrootmode="open"><img onerror="window.hacked = 1"></template></div>',
    "in a comment": '<math><mtext><table><mglyph><style><!--</style><img title="--&gt;&lt;img onerror=1&gt;">',
    "in noscript": '<noscript><p title="</noscript><img src=x onerror=1>"></noscript>',
    "in capital letters": '<IMG SRC="x" ONERROR="window.hacked = 1">',
    "a custom element": '<p is="x-y">.</p><x-y></x-y>',
}  # fmt: skip


def inject(markup: str, html: str) -> str:
    assert MARK in html
    return html.replace(MARK, markup + MARK, 1)


def alter(target: BrowserContext | Page, path: str, change: Callable[[str], str]) -> None:
    """Alter every response to htmx from this path, as if our server had been tricked into sending it."""

    def fulfill_changed(route: Route) -> None:
        if route.request.headers.get("hx-request") != "true":
            route.fallback()
            return
        answer = route.fetch()
        route.fulfill(response=answer, body=change(answer.text()))

    target.route(re.compile(re.escape(path)), fulfill_changed)


def test_no_page_breaks_the_policy(
    open_browser: Callable[..., Page], sign_in: Callable[..., Any], book: Callable[..., str]
) -> None:
    """Every test checks this (see Guard), and test_for_everyone.py opens every page; here the scripts do the most."""
    for signed_in in (False, True):
        page = open_browser()
        if signed_in:
            sign_in(page)
            page.goto(f"{DAY}/seats/7")
            page.get_by_role("button", name="Book A-07").click()
            page.get_by_role("link", name="Seat A-07, yours").wait_for()
        page.goto("/")
        page.locator(".live[data-live=live]").wait_for()
        book(44 + signed_in)  # the map updates by itself
        page.locator(f"#seat-{44 + signed_in}[data-status=taken]").wait_for()
        page.locator("#seat-10").click()
        page.locator("#panel[data-seat-id='10']").wait_for()
        page.locator("#step-next").click()
        page.locator("#day[data-day='2026-11-30']").wait_for()
        page.go_back()  # htmx requests the whole page and swaps in its body
        page.locator("#panel[data-seat-id='10']").wait_for()
        if signed_in:
            page.route(re.compile("/move"), lambda route: route.continue_(post_data="token=none"))
            page.get_by_role("button", name=re.compile("^Move from")).click()  # a refusal
            page.locator("#say-alert > p").wait_for()


def test_a_policy_violation_would_be_noticed(page: Page, guard: Guard) -> None:
    """The test above can fail."""
    page.goto("/")
    with page.expect_console_message(lambda message: message.text.startswith("POLICY img-src https://elsewhere")):
        page.evaluate("document.body.append(Object.assign(new Image(), {src: 'https://elsewhere.example/x.png'}))")
    assert any("POLICY" in problem for problem in guard.problems)
    guard.problems.clear()


# Opens the seat, waits for the alert or the panel, reports what the page shows, and closes the alert.
OPEN_AND_REPORT = """() => new Promise((done) => {
    const alert = document.querySelector("#say-alert");
    const report = () => {
        observer.disconnect();
        const panels = document.querySelectorAll("#panel[data-seat-id]").length;
        done({ alert: alert.textContent, panels, path: location.pathname, hacked: window.hacked });
        alert.querySelector(".say-dismiss")?.click();
    };
    const reportable = () => document.querySelector(".say-dismiss, #panel[data-seat-id]");
    const observer = new MutationObserver(() => reportable() && report());
    observer.observe(document.body, { childList: true, subtree: true, attributes: true });
    setTimeout(report, 30_000);
    document.querySelector("#seat-8").click();
})"""


def test_a_response_with_injected_markup_is_refused_whole(page: Page, guard: Guard) -> None:
    guard.expected = REFUSED
    page.goto(DAY)
    page.evaluate("window.hacked = 0")
    attack = ""
    answers: list[APIResponse] = []

    def change(route: Route) -> None:
        if not answers:
            answers.append(route.fetch())
        route.fulfill(response=answers[0], body=inject(attack, answers[0].text()))

    page.route(f"**{DAY}/seats/8", change)
    for name, attack in ATTACKS.items():  # noqa: B007 - `change` uses it
        report = page.evaluate(OPEN_AND_REPORT)
        assert "was blocked because it looked tampered with" in report.pop("alert"), name
        assert report == {"panels": 0, "path": DAY, "hacked": 0}, name  # no part of it is shown
    page.unroute_all()
    page.locator("#seat-8").click()
    page.locator("#panel[data-seat-id='8']").wait_for()  # the page still works
    assert page.evaluate("window.hacked") == 0


def test_a_response_with_harmless_markup_is_accepted(page: Page) -> None:
    """The test above can fail: the same route lets harmless markup through."""
    page.goto(DAY)
    harmless = '<p id="injected" class="x" title="&lt;script&gt;">a <b>b</b> <a href="/docs">c</a></p>'
    alter(page, f"{DAY}/seats/8", partial(inject, harmless))
    page.locator("#seat-8").click()
    expect(page.locator("#panel #injected")).to_have_text("a b c")


def test_markup_injected_into_the_stream_is_refused(page: Page, guard: Guard) -> None:
    guard.expected = REFUSED
    image = '<img id="injected" src="x" onerror="window.hacked = 1">'
    attack = f'<hx-partial hx-target="#side" hx-swap="beforeend">{image}</hx-partial>'
    streams: list[str] = []

    def stream(route: Route) -> None:
        streams.append(route.request.url)
        event = f"id: 2026-11-23//A:99\ndata: {attack}\n\n" if len(streams) == 1 else ": nothing\n\n"
        route.fulfill(status=200, content_type="text/event-stream; charset=utf-8", body=event)

    page.route(re.compile(r"/live\?"), stream)
    with page.expect_console_message(lambda message: "in a response" in message.text):
        page.goto("/")
    assert page.locator("#injected").count() == 0
    assert page.evaluate("window.hacked") is None


SINKS = [
    "document.body.innerHTML = '<p>'",
    "document.body.insertAdjacentHTML('beforeend', '<p>')",
    "document.write('<p>')",
    "new DOMParser().parseFromString('<p>', 'text/html')",
    "document.createRange().createContextualFragment('<p>')",
    "Object.assign(document.createElement('iframe'), {srcdoc: '<p>'})",
    "Object.assign(document.createElement('script'), {src: '/static/js/hold.js'})",
    "Object.assign(document.createElement('script'), {text: 'window.hacked = 1'})",
    "document.body.setAttribute('onclick', 'window.hacked = 1')",
    "eval('window.hacked = 1')",
    "new Function('window.hacked = 1')()",
    "setTimeout('window.hacked = 1')",
    "trustedTypes.createPolicy('default', {createHTML: (text) => text})",
    "trustedTypes.createPolicy('seatweb', {createHTML: (text) => text})",
    "window.seatweb.parse('<img onerror=1>')",
    "window.seatweb.script('https://elsewhere.example/static/js/x.js?v=1')",
    "window.seatweb.script('/static/js/../../elsewhere.js?v=1')",
]


def test_no_other_sink_turns_text_into_code(page: Page, guard: Guard) -> None:
    guard.expected = ("POLICY", "Content Security Policy", "TrustedHTML", "TrustedScript", "violates the following")
    page.goto("/")
    for sink in SINKS:
        # In a timer, since DevTools allow eval in the code that they run directly.
        outcome = page.evaluate(
            "new Promise((done) => setTimeout(() => { try {"
            f" {sink}; done('done') }} catch (error) {{ done(`${{error}}`) }} }}))"
        )
        assert re.search("Trusted|[Pp]olicy|in a response", outcome), f"{sink}: {outcome}"
        assert page.evaluate("window.hacked") is None, sink


def test_the_check_works_without_trusted_types(page: Page, guard: Guard) -> None:
    """As in browsers older than Firefox 148 and Safari 26, where htmx gets the same check."""
    guard.expected = REFUSED

    def without_trusted_types(route: Route) -> None:
        answer = route.fetch()
        headers = dict(answer.headers)
        headers["content-security-policy"] = headers["content-security-policy"].partition("; require-trusted")[0]
        route.fulfill(response=answer, headers=headers)

    page.route(re.compile(f"{DAY}$"), without_trusted_types)
    page.add_init_script("delete window.trustedTypes; window.hacked = 0")
    page.goto(DAY)
    assert page.evaluate("typeof trustedTypes") == "undefined"
    page.locator("#seat-9").click()
    page.locator("#panel[data-seat-id='9']").wait_for()
    alter(page, f"{DAY}/seats/8", partial(inject, ATTACKS["an image that fails to load"]))
    page.locator("#seat-8").click()
    expect(page.locator("#say-alert")).to_contain_text("was blocked because it looked tampered with")
    assert page.evaluate("window.hacked") == 0


def test_a_modified_script_is_not_run(page: Page, guard: Guard) -> None:
    guard.expected = ("integrity",)
    page.route(
        re.compile("/static/js/hold.js|/static/js/live.js"),
        lambda route: route.fulfill(content_type="text/javascript", body="window.hacked = 1"),
    )
    page.goto("/", wait_until="load")
    assert page.evaluate("window.hacked") is None
