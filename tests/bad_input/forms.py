"""The parameters of every route, with base requests that must not change anything."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

TODAY, LONG_AGO, TOMORROW = b"2026-11-23", b"2020-01-01", b"2026-11-24"
TAKEN, NO_SEAT = b"7", b"999999"  # another user has booked seat 7 today and tomorrow
# Ids start at these numbers, which are not among the bad values.
FIRST_USER, FIRST_BOOKING, FIRST_PASSKEY = 5_000_000_011, 7_000_000_013, 6_000_000_017
OTHERS_BOOKING, OWN_BOOKING = (b"%d" % (FIRST_BOOKING + n) for n in (0, 2))


class Base(NamedTuple):
    """A well-formed request that is refused or changes nothing; the fuzzer replaces parts of it."""

    status: int
    """The expected status."""
    path: Mapping[str, bytes] = MappingProxyType({})
    fields: Mapping[str, bytes | None] = MappingProxyType({})
    """Form fields, or JSON texts; None leaves a field out."""
    spoilers: tuple[frozenset[str], ...] = ()
    """Groups of parts that cause the refusal: at least one group stays unchanged. If empty, no change can make the
    request succeed."""
    sender: str = "user"
    """The sender, see `state.senders`."""

    def is_still_refused(self, changed: frozenset[str]) -> bool:
        """Return whether the request is still refused if these parts are changed."""
        return not self.spoilers or any(not spoiler & changed for spoiler in self.spoilers)


class Form(NamedTuple):
    """A route's parameters."""

    bases: tuple[Base, ...]
    only_forged: str = ""
    """Why every form with a valid CSRF token succeeds; if set, only forged forms are sent."""
    avoid: str = "$^"
    """A pattern of values that could be valid by chance."""
    reset_sql: str = ""
    """SQL to run every few requests, to reset a counter of attempts."""


def _form(status: int, sender: str = "user", /, **fields: bytes | None) -> Form:
    return Form((Base(status, {}, fields, sender=sender),))


def _person(status: int, **fields: bytes) -> Form:
    """Return the form of an administrator's action on an account that does not exist."""
    listed = {"name": b"a", "after": b"ada"}  # the list to return to
    return Form((Base(status, {"user_text": b"1"}, listed | fields, sender="admin"),))


def _each(*names: str) -> tuple[frozenset[str], ...]:
    """Return spoilers of one part each."""
    return tuple(frozenset({name}) for name in names)


def _seat(past_status: int, taken_status: int, day: bytes = TODAY, **fields: bytes) -> Form:
    """Return a seat action's form, for a missing seat on a past day and for another user's seat."""
    return Form(
        (
            Base(past_status, {"day_text": LONG_AGO, "seat_text": NO_SEAT}, {**fields}, _each("day_text", "seat_text")),
            Base(
                taken_status,
                {"day_text": day, "seat_text": TAKEN},
                {**fields},
                (frozenset({"day_text", "seat_text"}),),
            ),
        )
    )


REGISTER: Final[dict[str, bytes | None]] = {"username": b"x", "password": b""}  # both too short
UNDO: Final[dict[str, bytes | None]] = {"did": b"booked", "seat": TAKEN, "from": None, "kept": b"1-2", "back": None}
FORGET_TRIES: Final = "update waiting_sign_ins set tries = 0; delete from code_tries"
SECOND: Final = "/account/second-factor"

FORMS: Final[dict[str, Form]] = {
    "POST /register": Form((Base(422, {}, {**REGISTER, "next": b"/"}, _each("username", "password"), "nobody"),)),
    # The fuzzer cannot guess eve's password: rate limits prevent that.
    "POST /login": _form(422, "nobody", username=b"eve1", password=b"wrong", next=b"/"),
    "POST /logout": Form((Base(303),), only_forged="it signs out"),
    "POST /login/reset": _form(
        422, "nobody", username=b"eve1", code=b"AAAA-BBBB", new_password=b"correct horse battery"
    ),
    "POST /login/second": Form(
        (Base(422, {}, {"code": b"12345", "next": b"/"}, sender="waiting"),),
        avoid=r"(\d[\s-]*){6}",
        reset_sql=FORGET_TRIES,
    ),
    "POST /login/second/options": _form(200, "waiting"),  # the challenge is only in a cookie
    "POST /login/second/passkey": _form(422, "waiting", credential=b"{}", next=b"/"),
    "POST /login/passkey/options": _form(200, "nobody"),
    "POST /login/passkey": _form(422, "unlocking", credential=b"{}", next=b"/"),
    # Test users have no password, so every password is wrong.
    "POST /account/password": _form(422, password=b"wrong", new_password=b"correct horse battery"),
    "POST /account/delete": _form(422, password=b"wrong"),
    "POST /account/sessions/all/end": Form((Base(303),), only_forged="it ends every session"),
    "POST /account/sessions/{session_text}/end": Form((Base(303, {"session_text": b"0" * 32}),)),
    f"POST {SECOND}/confirm": _form(422, password=b"wrong", code=b"12345", **{"for": b"password"}),
    f"POST {SECOND}/confirm/options": _form(200),
    f"POST {SECOND}/confirm/passkey": _form(422, "confirming", credential=b"{}", **{"for": b"delete"}),
    f"POST {SECOND}/app": _form(303),  # without confirming the password first
    f"POST {SECOND}/app/code": Form((Base(422, {}, {"code": b"12345"}, sender="confirmed"),), avoid=r"(\d[\s-]*){6}"),
    f"POST {SECOND}/app/remove": _form(303),
    f"POST {SECOND}/passkeys/options": _form(200, "confirmed"),
    f"POST {SECOND}/passkeys": _form(422, "confirmed", credential=b"{}", name=b"Phone"),
    f"POST {SECOND}/passkeys/{{passkey_text}}/remove": Form(
        (Base(303, {"passkey_text": b"%d" % FIRST_PASSKEY}, sender="confirmed"),)
    ),
    f"POST {SECOND}/recovery-codes": _form(303),
    "POST /admin/people/{user_text}/disable": _person(303, keep_bookings=b"yes"),
    "POST /admin/people/{user_text}/enable": _person(303, cancelled=b"2"),
    "POST /admin/people/{user_text}/bookings/cancel": _person(303),
    "POST /admin/people/{user_text}/reset-code": _person(404),
    "POST /my/bookings/{booking_text}/cancel": Form(
        (Base(404, {"booking_text": OTHERS_BOOKING}, {"back": b"day", "kept": b"1-2"}),)
    ),
    "POST /my/bookings/{booking_text}/undo": Form(
        (
            Base(404, {"booking_text": OTHERS_BOOKING}, UNDO | {"back": b"day"}),
            Base(409, {"booking_text": OWN_BOOKING}, UNDO, _each("seat")),
        )
    ),
    "POST /days/{day_text}/any": Form(
        (
            Base(404, {"day_text": LONG_AGO}, {"section": b"ZZ"}, _each("day_text", "section")),
            Base(422, {"day_text": LONG_AGO}, {"section": b"A"}, _each("day_text")),
        )
    ),
    "POST /days/{day_text}/seats/{seat_text}/book": _seat(404, 409),
    "POST /days/{day_text}/seats/{seat_text}/move": _seat(404, 409, TOMORROW),
    "POST /days/{day_text}/seats/{seat_text}/hold": _seat(404, 409, token=b"no-token"),
    "POST /days/{day_text}/seats/{seat_text}/release": _seat(303, 303, token=b"no-token"),
    # Pages that not everyone may see
    "GET /admin/people": Form((Base(200, sender="admin"), Base(403))),
    "GET /admin/people/{user_text}/disable": Form((Base(404, {"user_text": b"1"}, sender="admin"),)),
    "GET /admin/people/{user_text}/bookings/cancel": Form((Base(404, {"user_text": b"1"}, sender="admin"),)),
    "GET /login/second": Form((Base(200, sender="waiting"), Base(303, sender="nobody"))),
    f"GET {SECOND}/app": Form((Base(200, sender="confirmed"), Base(303))),
    # The JSON API
    "POST /auth/register": Form(
        (Base(422, {}, {"username": b'"x"', "password": b'""'}, _each("username", "password"), "nobody"),)
    ),
    "POST /auth/login": _form(401, "nobody", username=b'"eve1"', password=b'"wrong"', code=None),
    "POST /auth/logout": Form((Base(401, sender="nobody"),)),
    "POST /bookings": Form(
        (
            Base(
                422,
                {},
                {"seat_id": NO_SEAT, "booking_date": b'"2020-01-01"', "section": None, "any": None},
                _each("seat_id", "booking_date"),
            ),
            Base(
                409,
                {},
                {"seat_id": TAKEN, "booking_date": b'"2026-11-23"', "section": None, "any": None},
                (frozenset({"seat_id", "booking_date"}),),
            ),
        ),
    ),
    "PATCH /bookings/{booking_id}": Form(
        (
            Base(404, {"booking_id": OTHERS_BOOKING}, {"seat_id": NO_SEAT}, _each("booking_id", "seat_id")),
            Base(404, {"booking_id": OWN_BOOKING}, {"seat_id": NO_SEAT}, _each("seat_id")),
        )
    ),
    "DELETE /bookings/{booking_id}": Form((Base(404, {"booking_id": OTHERS_BOOKING}),)),
    **{
        f"{method} /{{path}}": Form((Base(404, {"path": b"nowhere"}),)) for method in ("POST", "PUT", "PATCH", "DELETE")
    },
}

# Path parameters of read-only routes.
READ: Final[dict[str, bytes]] = {
    "day_text": TODAY, "month_text": TODAY[:7], "seat_text": TAKEN, "booking_text": OWN_BOOKING, "name": b"A",
    "path": b"nowhere/at/all",
    "file_path": b"icons/favicon.svg",
}  # fmt: skip
