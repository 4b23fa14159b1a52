"""Check pages with axe, on a desktop and on a phone, in light and in dark colours."""

from __future__ import annotations

from typing import Any, Final

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

DESKTOP: Final = {"width": 1280, "height": 800}
PHONE: Final = {"width": 390, "height": 844}
# Only colours and sizes differ between these looks; all other rules check the document, so they run once.
VISUAL_RULES: Final = ("color-contrast", "link-in-text-block", "scrollable-region-focusable", "target-size")
# Ends transitions from the previous look's colours. Finishing one may start one in a child, hence the loop.
END_TRANSITIONS: Final = """() => {
    for (let turn = 0; turn < 20; turn++) {
        const running = document.getAnimations().filter((one) => one instanceof CSSTransition);
        if (!running.length) return;
        running.forEach((one) => one.finish());
    }
}"""


def axe_finds_nothing(page: Page, name: str = "") -> None:
    """Fail if axe finds a problem: all rules run on a light desktop page, only the visual rules in the other looks."""
    options: dict[str, Any] = {"resultTypes": ["violations", "incomplete"]}
    size, axe = page.viewport_size, Axe()
    for viewport in (DESKTOP, PHONE):
        for scheme in ("light", "dark"):
            page.set_viewport_size({"width": viewport["width"], "height": viewport["height"]})
            page.emulate_media(color_scheme="dark" if scheme == "dark" else "light", reduced_motion="reduce")
            page.evaluate(END_TRANSITIONS)
            results = axe.run(page, options=options)
            look = f"{name or page.url}, {viewport['width']} px, {scheme}"
            assert results.violations_count == 0, f"{look}: {results.generate_report()}"
            options = {**options, "runOnly": {"type": "rule", "values": VISUAL_RULES}}
    if size:
        page.set_viewport_size(size)
    page.emulate_media(color_scheme="light")
