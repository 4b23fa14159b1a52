"""The notices that actions show on the next page."""

from __future__ import annotations

import re
from typing import Final

from seatweb.booking.model import Booking, OwnBooking
from seatweb.booking.undo import Act
from seatweb.errors import Message
from seatweb.i18n.catalogue import text_of
from seatweb.storage.ids import parse_id
from seatweb.web.shell import Notice

# A cookie carries a notice's name, a seat's label and what can be undone to the next page; never its text.
SEAT_NOTICES: Final = frozenset(
    {"already_yours", "booked", "moved", "cancelled", "released", "undone_booked", "undone_moved", "undone_cancelled"}
    | {"signed_in_book", "signed_in_late", "welcome_book", "welcome_late"}
)
NOTICES: Final = frozenset(
    {
        "already_cancelled",
        "already_undone",
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


NOTICE_VALUE: Final = re.compile(
    r"([a-z_]{1,24})(?:\.([A-Z][A-Z0-9]{0,7}-[0-9]{2,4})((?:\.[0-9]{1,19}){2,3})?)?", re.ASCII
)


def undo_notice(act: Act, booking: Booking | OwnBooking) -> str:
    """Return the value of the notice that says what the user did, and offers to undo it, such as `booked.A-07.12.7`."""
    ids = (act.booking_id, act.seat_id, act.from_seat_id)
    return ".".join([act.did, booking.seat.label, *(str(id_) for id_ in ids if id_ is not None)])


def parse_notice(value: str) -> Notice | None:
    """Return the notice for a value such as `booked.A-07`; None if it is not one of ours."""
    match = NOTICE_VALUE.fullmatch(value)
    if not match:
        return None
    name, seat = match[1], match[2]
    if name not in (SEAT_NOTICES if seat else NOTICES):
        return None
    text = text_of(Message(f"notice.{name}", {"seat": seat} if seat else {}))
    return Notice(kind="status", text=text, undo=parse_act(name, *match[3].split(".")[1:]) if match[3] else None)


def parse_act(did: str, booking: str, seat: str, from_seat: str | None = None) -> Act | None:
    """Return the act with these ids in decimal digits; None if there is none such."""
    booking_id, seat_id = parse_id(booking), parse_id(seat)
    from_seat_id = parse_id(from_seat) if from_seat is not None else None
    if booking_id is None or seat_id is None:
        return None
    match did:
        case "moved" if from_seat_id is not None:
            return Act(did, booking_id, seat_id, from_seat_id)
        case "booked" | "cancelled" if from_seat is None:
            return Act(did, booking_id, seat_id)
    return None
