"""Selenium's commands for a stock Firefox, without geckodriver, which Debian does not package.

Firefox itself speaks Marionette: WebDriver's commands as JSON over a socket, each message prefixed with its length.
geckodriver only translates from HTTP to Marionette; this module sends Selenium's commands as Marionette directly.
"""

from __future__ import annotations

import json
import socket
from typing import Any

from selenium.webdriver.remote.client_config import ClientConfig
from selenium.webdriver.remote.command import Command
from selenium.webdriver.remote.remote_connection import RemoteConnection

COMMANDS = {
    Command.ADD_COOKIE: "AddCookie",
    Command.CLEAR_ELEMENT: "ElementClear",
    Command.CLICK_ELEMENT: "ElementClick",
    Command.DELETE_SESSION: "DeleteSession",
    Command.FIND_ELEMENTS: "FindElements",
    Command.GET: "Navigate",
    Command.GET_CURRENT_URL: "GetCurrentURL",
    Command.GET_ELEMENT_ARIA_LABEL: "GetComputedLabel",
    Command.GET_ELEMENT_ATTRIBUTE: "GetElementAttribute",
    Command.GET_ELEMENT_PROPERTY: "GetElementProperty",
    Command.GET_ELEMENT_TEXT: "GetElementText",
    Command.GET_TITLE: "GetTitle",
    Command.GO_BACK: "Back",
    Command.NEW_SESSION: "NewSession",
    Command.NEW_WINDOW: "NewWindow",
    Command.QUIT: "DeleteSession",
    Command.SCREENSHOT: "TakeScreenshot",
    Command.SEND_KEYS_TO_ELEMENT: "ElementSendKeys",
    Command.SWITCH_TO_WINDOW: "SwitchToWindow",
    Command.W3C_ACTIONS: "PerformActions",
    Command.GET_WINDOW_RECT: "GetWindowRect",
    Command.SET_WINDOW_RECT: "SetWindowRect",
    Command.W3C_EXECUTE_SCRIPT: "ExecuteScript",
    Command.W3C_GET_ACTIVE_ELEMENT: "GetActiveElement",
    Command.W3C_GET_WINDOW_HANDLES: "GetWindowHandles",
}
REQUEST, ANSWER = 0, 1


class MarionetteConnection(RemoteConnection):
    """Sends one Selenium driver's commands to one Firefox."""

    def __init__(self, port: int, timeout: float) -> None:
        super().__init__(client_config=ClientConfig(remote_server_addr=""))
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self._file = self._socket.makefile("rb")
        self._count = 0
        self._read()  # Firefox's greeting

    def execute(self, command: str, params: dict[str, Any]) -> dict[str, Any]:
        """Send a Selenium command, and return the answer in the form that Selenium expects."""
        fields = {name: value for name, value in params.items() if name != "sessionId"}
        if command == Command.NEW_SESSION:
            fields = {}
        elif command == Command.SCREENSHOT:
            fields = {"full": False}
        error, value = self.send(f"WebDriver:{COMMANDS[command]}", fields)
        if error:
            return {"status": 500, "value": json.dumps({"value": error})}
        return {"value": value["value"] if isinstance(value, dict) and value.keys() == {"value"} else value}

    def send(self, command: str, fields: dict[str, Any]) -> tuple[dict[str, Any] | None, Any]:
        """Send a Marionette command, and return the error, if any, and the value."""
        self._count += 1
        message = json.dumps([REQUEST, self._count, command, fields]).encode()
        self._socket.sendall(b"%d:%b" % (len(message), message))
        kind, number, error, value = self._read()
        assert (kind, number) == (ANSWER, self._count)
        return error, value

    def _read(self) -> Any:
        length = b""
        while (character := self._file.read(1)) != b":":
            if not character:
                raise ConnectionError("Firefox closed the connection")
            length += character
        return json.loads(self._file.read(int(length)))

    def close(self) -> None:
        """Close the connection."""
        self._file.close()
        self._socket.close()
