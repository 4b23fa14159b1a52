"""What an action says on the page that follows it."""

from __future__ import annotations

import re
from typing import Final

from seatweb.web.shell import Notice

# What an action says on the page that follows it. A cookie carries only the name and a seat's label, never text.
NOTICES: Final = {
    "booked": "{seat} is yours.",
    "moved": "Moved: {seat} is yours now.",
    "cancelled": "Cancelled: {seat} is free again.",
    "welcome": "Welcome. Choose a free seat.",
    "signed_in": "You are signed in.",
    "signed_out": "You are signed out.",
    "signed_out_everywhere": "You are signed out everywhere.",
    "account_deleted": "Your account is deleted.",
    "account_disabled": "The account is disabled, and signed out everywhere.",
    "account_enabled": "The account is enabled again.",
    "session_ended": "That device is signed out.",
    "password_changed": "Your password is changed. Every other device is signed out.",
    "sign_in_over": "That took too long, or there were too many wrong codes. Sign in again.",
    "confirm_first": "Enter your password first.",
    "confirmed": "Confirmed. You can make changes for ten minutes.",
    "confirmed_for": "Confirmed. You can continue.",
    "password_reset": "Your password is changed. Sign in with the new one.",
    "app_added": "The authenticator app is added.",
    "app_removed": "The authenticator app is removed.",
    "passkey_added": "The passkey is added.",
    "passkey_removed": "The passkey is removed.",
}


NOTICE_VALUE: Final = re.compile(r"([a-z_]{1,24})(?:\.([A-Z][A-Z0-9]{0,7}-[0-9]{2,4}))?")


def notice(value: str) -> Notice | None:
    """Return what a notice's value, such as `booked.A-07`, says; None for a value that is not one of ours."""
    match = NOTICE_VALUE.fullmatch(value)
    text = NOTICES.get(match[1]) if match else None
    if not match or not text or ("{seat}" in text) != bool(match[2]):
        return None
    return Notice(kind="status", text=text.format(seat=match[2]))
