"""axe on a page, as it looks on a desk and on a phone, in light and in dark colours."""

from __future__ import annotations

from typing import Any, Final

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

DESK: Final = {"width": 1280, "height": 800}
PHONE: Final = {"width": 390, "height": 844}
# Those that ask for colours and sizes, which are all that is different between looks; the others read the document.
RULES_ABOUT_LOOKS: Final = ("color-contrast", "link-in-text-block", "scrollable-region-focusable", "target-size")
# From the colours of the look before. One that ends may begin another further inside, so until there is none.
END_TRANSITIONS: Final = """() => {
    for (let turn = 0; turn < 20; turn++) {
        const running = document.getAnimations().filter((one) => one instanceof CSSTransition);
        if (!running.length) return;
        running.forEach((one) => one.finish());
    }
}"""


def axe_finds_nothing(page: Page, name: str = "") -> None:
    """Ask axe for everything on a desk in light colours, then in the other looks for what is different there."""
    options: dict[str, Any] = {"resultTypes": ["violations", "incomplete"]}
    size, axe = page.viewport_size, Axe()
    for viewport in (DESK, PHONE):
        for scheme in ("light", "dark"):
            page.set_viewport_size({"width": viewport["width"], "height": viewport["height"]})
            page.emulate_media(color_scheme="dark" if scheme == "dark" else "light", reduced_motion="reduce")
            page.evaluate(END_TRANSITIONS)
            results = axe.run(page, options=options)
            look = f"{name or page.url}, {viewport['width']} px, {scheme}"
            assert results.violations_count == 0, f"{look}: {results.generate_report()}"
            options = {**options, "runOnly": {"type": "rule", "values": RULES_ABOUT_LOOKS}}
    if size:
        page.set_viewport_size(size)
    page.emulate_media(color_scheme="light")
