"""Firefox and WebKit as Debian packages them. Each person gets their own browser process, stopped by its ID."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from selenium.common.exceptions import WebDriverException
from selenium.webdriver import FirefoxOptions, Remote, WebKitGTKOptions
from selenium.webdriver.remote.client_config import ClientConfig
from selenium.webdriver.remote.remote_connection import RemoteConnection

from tests.browsers.marionette import MarionetteConnection

TIMEOUT_SECONDS = 30  # for any action of a browser; generous, since the machine may be busy
# MiniBrowser's window cannot be narrower than its toolbar, 447 pixels, but a phone has 390. This narrows the toolbar.
NARROW_TOOLBAR = "* { padding: 0; margin: 0; min-width: 0; border-width: 0; }"
# Firefox's window is at least 450 pixels wide, unless the page that its interface consists of says otherwise.
NARROW_WINDOW = "document.documentElement.style.setProperty('min-width', '0', 'important')"
EXPECTED = re.compile("RSLoader")  # Firefox asks Mozilla about experiments
PREFERENCES = {
    "devtools.console.stdout.content": True,  # write console messages from scripts to the log
    "marionette.port": 0,  # any free port; Firefox writes its number into the profile
    "services.settings.server": "data:,",  # contact no host except the site
    "datareporting.policy.dataSubmissionEnabled": False,
    "app.update.disabledForTesting": True,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
}


def wait_until(condition: Callable[[], Any], what: str) -> Any:
    """Return the condition's value once it is true; raise TimeoutError if that takes too long."""
    end = time.monotonic() + TIMEOUT_SECONDS
    while not (value := condition()):
        if time.monotonic() > end:
            raise TimeoutError(f"not within {TIMEOUT_SECONDS} seconds: {what}")
        time.sleep(0.02)
    return value


def resize(driver: Remote, width: int, height: int) -> None:
    """Resize the window so that the page in it has this size."""
    border = [0, 0]

    def has_size() -> bool:
        driver.set_window_rect(0, 0, width + border[0], height + border[1])
        inner = driver.execute_script("return [innerWidth, innerHeight]")
        outer = driver.get_window_rect()
        border[:] = outer["width"] - inner[0], outer["height"] - inner[1]
        return bool(inner == [width, height])

    wait_until(has_size, f"a page of {width} by {height} pixels")


@contextmanager
def running(*command: str, log: Path, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program in its own process group, and end the group when the block ends."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True, **options
        )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


class Firefox:
    """Starts a stock Firefox without a window."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextmanager
    def open(self, *, javascript: bool = True) -> Iterator[Remote]:
        """Start a browser with its own profile."""
        self.folder.mkdir()
        preferences = {**PREFERENCES, "javascript.enabled": javascript}
        lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in preferences.items()]
        (self.folder / "user.js").write_text("".join(lines))
        port = self.folder / "MarionetteActivePort"
        command = (
            *(firefox(), "--headless", "--no-remote", "--profile", str(self.folder)),
            *("--marionette", "--remote-allow-system-access"),
        )
        environment = {**os.environ, "MOZ_CRASHREPORTER_DISABLE": "1", "HOME": str(self.folder)}
        with running(*command, log=self.folder / "log", env=environment) as process:

            def chosen_port() -> str:
                assert process.poll() is None, (self.folder / "log").read_text()
                return port.read_text() if port.exists() else ""

            connection = MarionetteConnection(int(wait_until(chosen_port, "Firefox started")), TIMEOUT_SECONDS)
            driver = Remote(connection, options=FirefoxOptions())
            try:
                self._in_interface(driver, NARROW_WINDOW)
                yield driver
            finally:
                driver.quit()

    def problems(self, driver: Remote) -> list[str]:
        """Return the errors in Firefox's console that are about pages; the others are about Firefox itself.

        Warnings are left out: most say that something loaded late.
        """
        script = """
            return Services.console.getMessageArray()
                .filter((one) => one instanceof Ci.nsIScriptError && one.logLevel === Ci.nsIConsoleMessage.error)
                .map((one) => [one.sourceName, one.errorMessage, one.category]);
        """
        messages = self._in_interface(driver, script)
        found = [f"{kind}: {text} ({source})" for source, text, kind in messages if "http://" in source + text]
        lines = (self.folder / "log").read_text(errors="replace").splitlines()
        return found + [line for line in lines if line.startswith("console.error: ") and not EXPECTED.search(line)]

    def _in_interface(self, driver: Remote, script: str) -> Any:
        """Run a script in the page that Firefox's interface consists of, and return its result."""
        connection: Any = driver.command_executor
        connection.send("Marionette:SetContext", {"value": "chrome"})
        error, answer = connection.send("WebDriver:ExecuteScript", {"script": script, "args": []})
        connection.send("Marionette:SetContext", {"value": "content"})
        assert not error, error
        return answer["value"]


class WebKit:
    """Starts WebKitGTK's MiniBrowser on a virtual display."""

    def __init__(self, folder: Path, display: str) -> None:
        self.folder = folder

        self.log = folder / "log"
        self.environment = {
            **os.environ,
            "DISPLAY": display,
            "GDK_BACKEND": "x11",
            "LIBGL_ALWAYS_SOFTWARE": "1",
            "HOME": str(folder),
            "XDG_CONFIG_HOME": str(folder),
        }

    @contextmanager
    def open(self, *, javascript: bool = True) -> Iterator[Remote]:
        """Start a browser that stores nothing, and a driver for it; a driver can control only one browser."""
        style = self.folder / "gtk-3.0" / "gtk.css"
        style.parent.mkdir(parents=True)
        style.write_text(NARROW_TOOLBAR)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        with running("WebKitWebDriver", f"--port={port}", log=self.log, env=self.environment) as process:

            def answers() -> bool:
                assert process.poll() is None, self.log.read_text()
                with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_SECONDS):
                    return True
                return False

            wait_until(answers, "WebKitWebDriver started")
            options = WebKitGTKOptions()
            options.binary_location = mini_browser()
            options.overlay_scrollbars_enabled = False
            options.add_argument("--automation")
            options.add_argument(f"--enable-javascript={str(javascript).lower()}")
            address = ClientConfig(f"http://127.0.0.1:{port}", timeout=4 * TIMEOUT_SECONDS)
            driver = Remote(RemoteConnection(client_config=address), options=options)
            try:
                yield driver
            finally:
                with suppress(WebDriverException):
                    driver.quit()

    def problems(self, _driver: Remote) -> list[str]:
        """Return nothing: the console of a WebKit under automation cannot be read. `load` can read it."""
        return []

    def load(self, address: str) -> str:
        """Load a page in a browser without automation, and return what it wrote to its console while loading."""
        self.folder.mkdir(exist_ok=True)
        command = (mini_browser(), "--enable-write-console-messages-to-stdout=true", "--exit-after-load", address)
        with running(*command, log=self.log, env=self.environment) as process:
            process.wait(TIMEOUT_SECONDS)
        return self.log.read_text(errors="replace")


def firefox() -> str:
    """Return the name of Firefox's command: Debian packages the extended support release."""
    return next(name for name in ("firefox-esr", "firefox") if shutil.which(name))


def mini_browser() -> str:
    """Return the path of WebKitGTK's MiniBrowser, which is not on the PATH."""
    found = sorted(
        path for folder in ("lib", "libexec", "lib64") for path in Path("/usr", folder).glob("**/MiniBrowser")
    )
    if not found:
        raise FileNotFoundError("There is no MiniBrowser; `make test-browsers` installs it or says what is missing.")
    return str(found[-1])


@contextmanager
def display(folder: Path) -> Iterator[str]:
    """Run a virtual display (Xvfb), and yield its name."""
    if sys.platform != "linux":
        raise OSError("WebKitGTK runs on Linux only.")
    reading, writing = os.pipe()
    command = ("Xvfb", "-displayfd", str(writing), "-screen", "0", "1600x1400x24", "-nolisten", "tcp")
    with running(*command, log=folder / "xvfb.log", pass_fds=(writing,)), os.fdopen(reading) as number:
        os.close(writing)
        yield f":{number.readline().strip()}"
