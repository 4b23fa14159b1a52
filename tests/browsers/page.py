"""What a person sees and does in a browser. Elements may appear late, so every method waits for them."""

from __future__ import annotations

from collections.abc import Callable
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

# Errors while the page is being swapped, or something briefly covers the element: then try again.
TEMPORARY = (
    ElementClickInterceptedException,
    ElementNotInteractableException,
    NoSuchElementException,
    StaleElementReferenceException,
)


def link(name: str) -> str:
    """Return the locator of the link with this name."""
    return f"//a[@aria-label='{name}' or normalize-space()='{name}']"


def button(name: str) -> str:
    """Return the locator of a button whose name starts with this."""
    return f"//button[starts-with(normalize-space(), '{name}')]"


def seat(label: str, status: str) -> str:
    """Return the locator of a seat on the map while it has this status; the name of a taken one may say by whom."""
    name = f"Seat {label}, {status}"
    return f"//a[@aria-label='{name}' or starts-with(@aria-label, '{name} by ')]"


def field(label: str) -> str:
    """Return the locator of the field with this label."""
    return f"//input[@id=//label[normalize-space()='{label}']/@for]"


def in_main(locator: str) -> str:
    """Return the locator restricted to the main part of the page."""
    return f"//main{locator}"


def says(text: str) -> str:
    """Return the locator of an announcement that contains this text."""
    return f"//*[@role='status' or @role='alert']//p[contains(normalize-space(), '{text}')]"


class Page:
    """The page in one person's browser. A locator is an XPath if it starts with `//`, else a CSS selector."""

    def __init__(self, driver: Remote, site: str) -> None:
        self.driver = driver
        self.site = site

    def open(self, path: str) -> None:
        """Go to a path of the site."""
        self.driver.get(self.site + path)

    def back(self) -> None:
        """Press the browser's back button."""
        self.driver.back()

    def resize(self, width: int, height: int) -> None:
        """Set the size of the page."""
        resize(self.driver, width, height)

    def run(self, script: str, *values: Any) -> Any:
        """Run a script in the page, and return its result."""
        return self.driver.execute_script(script, *values)

    def all(self, locator: str) -> list[WebElement]:
        """Return all matching elements, visible or not."""
        return self.driver.find_elements(By.XPATH if locator.startswith("//") else By.CSS_SELECTOR, locator)

    def shown(self, locator: str) -> list[WebElement]:
        """Return all matching elements that are visible."""
        return [element for element in self.all(locator) if element.is_displayed()]

    def wait(self, condition: Callable[[], Any], what: str) -> Any:
        """Return the condition's value once it is true."""
        last_error: list[object] = [""]

        def holds() -> Any:
            try:
                return condition()
            except TEMPORARY as error:
                last_error[0] = error
                return None

        try:
            return wait_until(holds, what)
        except TimeoutError as error:
            words = " | ".join(element.text for element in self.all("body"))
            raise AssertionError(f"{error}, at {self.driver.current_url} {last_error[0]}: {words}") from None

    def sees(self, locator: str) -> WebElement:
        """Wait until an element is visible, and return it."""
        found: WebElement = self.wait(lambda: next(iter(self.shown(locator)), None), f"{locator} is visible")
        return found

    def has(self, locator: str) -> WebElement:
        """Wait until an element is in the page, visible or not, and return it."""
        found: WebElement = self.wait(lambda: next(iter(self.all(locator)), None), f"{locator} is in the page")
        return found

    def sees_no(self, locator: str) -> None:
        """Wait until no such element is visible."""
        self.wait(lambda: not self.shown(locator), f"{locator} is not visible")

    def reads(self, locator: str, text: str) -> None:
        """Wait until such an element shows this text."""
        self.wait(lambda: any(text in element.text for element in self.shown(locator)), f"{locator} shows {text}")

    def is_at(self, path: str) -> None:
        """Wait until the page has this path."""
        self.wait(lambda: self.driver.current_url == self.site + path, f"the address is {path}")

    def has_focus(self, locator: str) -> None:
        """Wait until such an element has the focus."""
        self.wait(lambda: self._focused() in self.all(locator), f"the focus is on {locator}")

    def _focused(self) -> WebElement:
        return self.driver.switch_to.active_element

    def click(self, locator: str) -> None:
        """Click the element as soon as possible."""

        def clicked() -> bool:
            shown = self.shown(locator)
            if shown:
                shown[0].click()
            return bool(shown)

        self.wait(clicked, f"{locator} can be clicked")

    def fill(self, locator: str, text: str) -> None:
        """Replace the content of a field with this text."""
        target = self.sees(locator)
        target.clear()
        target.send_keys(text)

    def press(self, *keys: str) -> None:
        """Press keys one after the other, wherever the focus is."""
        ActionChains(self.driver).send_keys(*keys).perform()

    def tab_to(self, locator: str, *, back: bool = False, presses: int = 40) -> None:
        """Press Tab until such an element has the focus."""
        for _ in range(presses):
            if self._focused() in self.all(locator):
                return
            keys = ActionChains(self.driver)
            if back:
                keys.key_down(Keys.SHIFT).send_keys(Keys.TAB).key_up(Keys.SHIFT).perform()
            else:
                keys.send_keys(Keys.TAB).perform()
        raise AssertionError(f"{presses} presses of Tab do not reach {locator}")
