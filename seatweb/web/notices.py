"""The notices that actions show on the next page."""

from __future__ import annotations

import re
from typing import Final

from seatweb.errors import Message
from seatweb.i18n.catalogue import text_of
from seatweb.web.shell import Notice

# A cookie carries a notice's name, and a seat's label, to the next page; never its text.
SEAT_NOTICES: Final = frozenset(
    {"booked", "moved", "cancelled", "signed_in_book", "signed_in_late", "welcome_book", "welcome_late"}
)
NOTICES: Final = frozenset(
    {
        "welcome",
        "signed_in",
        "signed_out",
        "signed_out_everywhere",
        "account_deleted",
        "session_ended",
        "password_changed",
        "sign_in_over",
        "confirm_first",
        "confirmed",
        "confirmed_for",
        "password_reset",
        "app_added",
        "app_removed",
        "passkey_added",
        "passkey_removed",
    }
)


NOTICE_VALUE: Final = re.compile(r"([a-z_]{1,24})(?:\.([A-Z][A-Z0-9]{0,7}-[0-9]{2,4}))?")


def parse_notice(value: str) -> Notice | None:
    """Return the notice for a value such as `booked.A-07`; None if it is not one of ours."""
    match = NOTICE_VALUE.fullmatch(value)
    if not match:
        return None
    name, seat = match[1], match[2]
    if name not in (SEAT_NOTICES if seat else NOTICES):
        return None
    return Notice(kind="status", text=text_of(Message(f"notice.{name}", {"seat": seat} if seat else {})))
