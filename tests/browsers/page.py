"""What a person sees in a browser and does there. Whatever is looked for may come late: everything waits for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from selenium.common.exceptions import (
    ElementClickInterceptedException,
    ElementNotInteractableException,
    NoSuchElementException,
    StaleElementReferenceException,
)
from selenium.webdriver import ActionChains, Remote
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from tests.browsers.drivers import resize, wait_until

# The page may be swapped, or something may lie over it for a moment: then look again.
PASSING = (
    ElementClickInterceptedException,
    ElementNotInteractableException,
    NoSuchElementException,
    StaleElementReferenceException,
)


def link(name: str) -> str:
    """Say where a link of this name is."""
    return f"//a[@aria-label='{name}' or normalize-space()='{name}']"


def button(name: str) -> str:
    """Say where a button is whose name begins so."""
    return f"//button[starts-with(normalize-space(), '{name}')]"


def seat(label: str, status: str) -> str:
    """Say where a seat is on the map, while it has this status."""
    return link(f"Seat {label}, {status}")


def field(label: str) -> str:
    """Say where the field is that has this label."""
    return f"//input[@id=//label[normalize-space()='{label}']/@for]"


def in_main(place: str) -> str:
    """Say that it is in the main part of the page."""
    return f"//main{place}"


def says(text: str) -> str:
    """Say where words are that the page announces."""
    return f"//*[@role='status' or @role='alert']/p[contains(normalize-space(), '{text}')]"


class Page:
    """The page in one person's browser. A place is an XPath if it begins with `//`, else a CSS selector."""

    def __init__(self, driver: Remote, site: str) -> None:
        self.driver = driver
        self.site = site

    def open(self, path: str) -> None:
        """Type an address."""
        self.driver.get(self.site + path)

    def back(self) -> None:
        """Press the browser's back button."""
        self.driver.back()

    def resize(self, width: int, height: int) -> None:
        """Give the page another size."""
        resize(self.driver, width, height)

    def run(self, script: str, *values: Any) -> Any:
        """Run a script in the page, and return what it returns."""
        return self.driver.execute_script(script, *values)

    def take_picture(self, file: Path) -> None:
        """Keep what the page looks like."""
        file.write_bytes(self.driver.get_screenshot_as_png())

    def all(self, place: str) -> list[WebElement]:
        """Return everything in this place, seen or not."""
        return self.driver.find_elements(By.XPATH if place.startswith("//") else By.CSS_SELECTOR, place)

    def shown(self, place: str) -> list[WebElement]:
        """Return what can be seen in this place."""
        return [element for element in self.all(place) if element.is_displayed()]

    def wait(self, condition: Callable[[], Any], what: str) -> Any:
        """Return what the condition gives once it is true."""

        hindrance: list[object] = [""]

        def holds() -> Any:
            try:
                return condition()
            except PASSING as error:
                hindrance[0] = error
                return None

        try:
            return wait_until(holds, what)
        except TimeoutError as error:
            words = " | ".join(element.text for element in self.all("body"))
            raise AssertionError(f"{error}, at {self.driver.current_url} {hindrance[0]}: {words}") from None

    def sees(self, place: str) -> WebElement:
        """Wait until it is seen, and return it."""
        found: WebElement = self.wait(lambda: next(iter(self.shown(place)), None), f"{place} is seen")
        return found

    def has(self, place: str) -> WebElement:
        """Wait until it is in the page, seen or not, and return it."""
        found: WebElement = self.wait(lambda: next(iter(self.all(place)), None), f"{place} is there")
        return found

    def sees_no(self, place: str) -> None:
        """Wait until it is not seen."""
        self.wait(lambda: not self.shown(place), f"{place} is not seen")

    def reads(self, place: str, text: str) -> None:
        """Wait until this text is seen there."""
        self.wait(lambda: any(text in element.text for element in self.shown(place)), f"{place} says {text}")

    def is_at(self, path: str) -> None:
        """Wait until the address is this."""
        self.wait(lambda: self.driver.current_url == self.site + path, f"the address is {path}")

    def has_focus(self, place: str) -> None:
        """Wait until the keyboard is there."""
        self.wait(lambda: self._focused() in self.all(place), f"the focus is on {place}")

    def _focused(self) -> WebElement:
        return self.driver.switch_to.active_element

    def click(self, place: str) -> None:
        """Click it as soon as that is possible."""

        def clicked() -> bool:
            shown = self.shown(place)
            if shown:
                shown[0].click()
            return bool(shown)

        self.wait(clicked, f"{place} can be clicked")

    def fill(self, place: str, text: str) -> None:
        """Write this into a field, in place of what is there."""
        target = self.sees(place)
        target.clear()
        target.send_keys(text)

    def press(self, *keys: str) -> None:
        """Press keys one after the other, wherever the focus is."""
        ActionChains(self.driver).send_keys(*keys).perform()

    def tab_to(self, place: str, *, back: bool = False, presses: int = 40) -> None:
        """Press Tab until the focus is there."""
        for _ in range(presses):
            if self._focused() in self.all(place):
                return
            keys = ActionChains(self.driver)
            if back:
                keys.key_down(Keys.SHIFT).send_keys(Keys.TAB).key_up(Keys.SHIFT).perform()
            else:
                keys.send_keys(Keys.TAB).perform()
        raise AssertionError(f"{presses} presses of Tab do not reach {place}")
