"""Check pages with axe, on a desktop and on a phone, in light and in dark colours."""

from __future__ import annotations

from typing import Any, Final

from axe_playwright_python.base import AXE_SCRIPT, AxeResults
from playwright.sync_api import Page

DESKTOP: Final = {"width": 1280, "height": 800}
PHONE: Final = {"width": 390, "height": 844}
# Only colours and sizes differ between these looks; all other rules check the document, so they run once.
COLOUR_RULES: Final = ("color-contrast", "link-in-text-block")
VISUAL_RULES: Final = (*COLOUR_RULES, "scrollable-region-focusable", "target-size")
LOOKS: Final = (("light", DESKTOP, None), ("dark", DESKTOP, COLOUR_RULES), ("dark", PHONE, VISUAL_RULES))
# Removes what the documentation repeats. Contrast is slow to check, so only the first look checks all of it.
REMOVE_REPEATED: Final = """() => document
    .querySelectorAll(".api-operation ~ .api-operation, .api-problems > div ~ div")
    .forEach((one) => one.remove())"""
# Ends transitions from the previous look's colours. Finishing one may start one in a child, hence the loop.
END_TRANSITIONS: Final = """() => {
    for (let turn = 0; turn < 20; turn++) {
        const running = document.getAnimations().filter((one) => one instanceof CSSTransition);
        if (!running.length) return;
        running.forEach((one) => one.finish());
    }
}"""
RUN: Final = "(options) => axe.run(options).then(({violations}) => ({violations}))"


def axe_finds_nothing(page: Page, name: str = "") -> None:
    """Fail if axe finds a problem: all rules run on a light desktop page, only the visual rules in the other looks."""
    size = page.viewport_size
    page.evaluate(AXE_SCRIPT)
    for scheme, viewport, rules in LOOKS:
        if rules:
            page.evaluate(REMOVE_REPEATED)
        page.set_viewport_size({"width": viewport["width"], "height": viewport["height"]})
        page.emulate_media(color_scheme="dark" if scheme == "dark" else "light", reduced_motion="reduce")
        page.evaluate(END_TRANSITIONS)
        options: dict[str, Any] = {"resultTypes": ["violations"]}
        if rules:
            options["runOnly"] = {"type": "rule", "values": rules}
        results = AxeResults(page.evaluate(RUN, options))
        look = f"{name or page.url}, {viewport['width']} px, {scheme}"
        assert results.violations_count == 0, f"{look}: {results.generate_report()}"
    if size:
        page.set_viewport_size(size)
    page.emulate_media(color_scheme="light")
