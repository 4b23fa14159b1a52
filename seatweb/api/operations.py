"""The documentation of each operation that Litestar cannot derive: descriptions, examples, headers and problems."""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct


class OperationDoc(Struct, frozen=True):
    """The documentation of one operation. Examples are (summary, value) by name; those of responses also by status."""

    summary: str
    description: str
    answers: dict[int, str]
    """The description of each response that is not a problem, by status."""
    refusals: tuple[str, ...]
    """The codes of the problems that it can return."""
    requests: dict[str, tuple[str, Any]] = {}
    examples: dict[int, dict[str, tuple[str, Any]]] = {}
    headers: dict[int, tuple[str, ...]] = {}
    parameters: tuple[dict[str, Any], ...] = ()
    """Those that the handler does not declare."""
    public: bool = False
    """Whether it needs no token."""


TODAY: Final = "2026-11-23"
"""The day of the examples. In the document, it is the current day, so that they can be tried as they are."""
TOMORROW: Final = "2026-11-24"
LATER: Final = "2026-11-25"
TOKEN: Final = {
    "access_token": "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiI3In0.c2lnbmF0dXJl",
    "token_type": "bearer",
    "expires_in": 1209600,
    "idle_expires_in": 259200,
}
BOOKING: Final = {
    "id": 4211,
    "seat_id": 1,
    "user_id": 7,
    "booking_date": TODAY,
    "created_at": f"{TODAY}T08:15:04.105721Z",
    "status": "confirmed",
    "seat_details": {"section": "A", "seat_number": "01"},
}
MOVED: Final = BOOKING | {"seat_id": 8, "seat_details": {"section": "A", "seat_number": "08"}}
SEATS: Final = [
    {"id": 1, "section": "A", "seat_number": "01", "is_available": True},
    {"id": 2, "section": "A", "seat_number": "02", "is_available": True},
]
SITE: Final = {"name": "Seatweb", "time_zone": "Europe/Berlin", "today": TODAY, "last_day": "2027-02-21"}
HEALTHY: Final = {"status": "ok", "postgresql": "ok", "redis": "ok", "migrations": "ok"}
CREDENTIALS: Final = {"username": "john", "password": "correct horse battery"}

EVERY: Final = ("malformed_request", "too_many_attempts", "internal_error", "overloaded")
SIGNED_IN: Final = ("not_signed_in", "token_ended")
READ: Final = (*EVERY, *SIGNED_IN, "invalid_input")
WRITE: Final = (*EVERY, "malformed_json", "invalid_input", "too_large", "unsupported_media_type")

IF_NONE_MATCH: Final = {
    "name": "If-None-Match",
    "in": "header",
    "description": "The `ETag` of the response that you already have.",
    "required": False,
    "schema": {"type": "string"},
}

# What the handlers' parameters lack.
PARAMETERS: Final[dict[str, dict[str, Any]]] = {
    "booking_id": {
        "description": "The booking's `id`, from `POST /bookings` or `GET /bookings`.",
        "schema": {"type": "integer", "format": "int64", "minimum": 1},
        "example": BOOKING["id"],
    },
    "booking_date": {"example": TOMORROW},
    "from_date": {"example": TODAY},
    "to_date": {"example": LATER},
    "section": {"example": "A"},
    "Idempotency-Key": {
        "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
        "example": "2f1c9a7e-5d0c-4b7b-9d5e-8a3f6c1e0b42",
    },
}

# Descriptions of response headers.
HEADERS: Final = {
    "ETag": "Identifies this state of the seats. Send it as `If-None-Match` to get a body only if something changed.",
    "Link": 'The URL of the next page: `</bookings?…>; rel="next"`. Absent on the last page.',
    "Idempotency-Replayed": "`true` if this is the first response again: nothing was done this time.",
    "Retry-After": "How many seconds to wait before you try again.",
    "WWW-Authenticate": 'How to sign in (RFC 6750): `Bearer`, with `error="invalid_token"` if a token was sent.',
}

# Descriptions of problems whose class docstring is written for developers.
EXPLANATIONS: Final = {
    "invalid_input": "Some fields or parameters are not valid; `errors` says what is wrong with each.",
    "not_signed_in": "The token is missing, or it is not valid.",
}

# What a client should do about each problem, by code.
ADVICE: Final = {
    "seat_taken": "List the free seats again and choose another one, or book with `any`.",
    "seat_held": "Choose another seat, or repeat the request after `Retry-After`: the seat may be free then.",
    "day_already_booked": "List the bookings of that day. Move that booking, or cancel it first.",
    "seat_closed": "Choose another seat.",
    "no_free_seat": "Try another section or another day.",
    "seat_not_found": "Use the `id` from `GET /seats`, not the number on the seat.",
    "section_not_found": "Use a name from `GET /sections`.",
    "booking_not_found": "List your bookings to find the right `id`. A cancelled booking cannot be moved.",
    "outside_booking_window": "Choose a day between `today` and `last_day`, which `GET /site` returns.",
    "invalid_input": "Correct the fields in `errors`. The same request will fail again.",
    "username_taken": (
        "Choose another username, or sign in if it is yours. Letters that look alike, such as 0 and O, count as the"
        " same, and so do upper and lower case."
    ),
    "bad_credentials": "Ask the user for their username and password again.",
    "second_factor_needed": "Ask the user for a code from their authenticator app, or a recovery code, and send it as "
    "`code`.",
    "second_factor_missing": "Ask the user to sign in on the website, where they can turn on two-step sign-in.",
    "bad_code": (
        "Ask the user for the next code. Each code works once, and only if the clock of their device is right."
    ),
    "not_signed_in": "Get a token from `POST /auth/login`, and send it as `Authorization: Bearer …`.",
    "token_ended": "Get a new token from `POST /auth/login`.",
    "idempotency_key_reused": "Use a new key for each booking or move, and the same key only to repeat a request.",
    "request_in_progress": "Wait for the seconds in `Retry-After`, then repeat the request with the same key.",
    "too_many_attempts": "Wait for the seconds in `Retry-After`. Rejected requests do not count.",
    "overloaded": (
        "Wait for the seconds in `Retry-After`, then repeat the request. With an `Idempotency-Key`, nothing is "
        "done twice."
    ),
    "malformed_request": "Check the URL and the headers. The same request will fail again.",
    "malformed_json": "Check the syntax of the body: UTF-8, double quotes, no comma after the last field.",
    "not_found": "Check the path against this page.",
    "method_not_allowed": "Use one of the methods in the `Allow` header.",
    "too_large": "Send less: no request needs more than a few hundred bytes.",
    "unsupported_media_type": "Send the header `Content-Type: application/json`.",
    "internal_error": "Try again once. If it fails again, send the `request_id` to the site's operator.",
}

OPERATIONS: Final[dict[str, OperationDoc]] = {
    "listSeats": OperationDoc(
        summary="List seats",
        description="Returns the seats that you can book on a day, or with `status=all` every seat, by section. "
        "The response has an `ETag`. Send it as `If-None-Match` next time, and you get 304 without a body if nothing "
        "has changed.",
        answers={200: "The seats.", 304: "Nothing has changed since the `ETag` in `If-None-Match`. There is no body."},
        refusals=(*READ, "section_not_found", "outside_booking_window"),
        examples={200: {"free": ("Two free seats", SEATS)}},
        headers={200: ("ETag",), 304: ("ETag",)},
        parameters=(IF_NONE_MATCH,),
    ),
    "listSections": OperationDoc(
        summary="List sections",
        description="Returns the sections, how many seats each has, and how many of them you can book on a day. `ETag` "
        "and `If-None-Match` work as for `GET /seats`.",
        answers={
            200: "The sections.",
            304: "Nothing has changed since the `ETag` in `If-None-Match`. There is no body.",
        },
        refusals=(*READ, "outside_booking_window"),
        examples={
            200: {
                "sections": (
                    "Two sections",
                    [
                        {"section": "A", "seats": 20, "available": 12},
                        {"section": "B", "seats": 20, "available": 20},
                    ],
                )
            }
        },
        headers={200: ("ETag",), 304: ("ETag",)},
        parameters=(IF_NONE_MATCH,),
    ),
    "createBooking": OperationDoc(
        summary="Book a seat",
        description="Books a seat for a day: either the seat `seat_id`, or with `any` a free seat that Seatweb "
        "chooses. A user can have one booking per day. To change the seat, move the booking.",
        answers={201: "The booking."},
        refusals=(
            *WRITE,
            *SIGNED_IN,
            "seat_taken",
            "seat_held",
            "day_already_booked",
            "no_free_seat",
            "seat_closed",
            "request_in_progress",
            "seat_not_found",
            "section_not_found",
            "outside_booking_window",
            "idempotency_key_reused",
        ),
        requests={
            "seat": ("A seat, today", {"seat_id": 1}),
            "day": ("A seat, tomorrow", {"seat_id": 1, "booking_date": TOMORROW}),
            "any": ("Any free seat of a section", {"any": True, "section": "B", "booking_date": LATER}),
        },
        examples={201: {"booking": ("The booking", BOOKING)}},
        headers={201: ("Idempotency-Replayed",)},
    ),
    "listBookings": OperationDoc(
        summary="List your bookings",
        description="Returns your own bookings, ordered by day, starting today unless you send `from_date`. "
        "If there are more than `limit`, the `Link` header has the URL of the next page.",
        answers={200: "The bookings."},
        refusals=READ,
        examples={200: {"bookings": ("One booking", [BOOKING])}},
        headers={200: ("Link",)},
    ),
    "moveBooking": OperationDoc(
        summary="Move a booking",
        description="Moves a booking to another seat on the same day, in one step: you keep the old seat until the new "
        "one is yours. The booking keeps its `id`.",
        answers={200: "The booking, with its new seat."},
        refusals=(
            *WRITE,
            *SIGNED_IN,
            "booking_not_found",
            "seat_not_found",
            "seat_taken",
            "seat_held",
            "seat_closed",
            "request_in_progress",
            "outside_booking_window",
            "idempotency_key_reused",
        ),
        requests={"seat": ("To seat 8", {"seat_id": 8})},
        examples={200: {"moved": ("The booking, now for A-08", MOVED)}},
        headers={200: ("Idempotency-Replayed",)},
    ),
    "cancelBooking": OperationDoc(
        summary="Cancel a booking",
        description="Cancels a booking for today or a later day. Its seat is free immediately. If you repeat the "
        "request, you get the same response.",
        answers={200: "The booking, now cancelled."},
        refusals=(*READ, "booking_not_found", "outside_booking_window"),
        examples={
            200: {
                "cancelled": (
                    "The cancelled booking",
                    {"message": "Booking cancelled successfully", "booking": BOOKING | {"status": "cancelled"}},
                )
            }
        },
    ),
    "register": OperationDoc(
        summary="Create an account",
        description="Creates an account, and signs in: the response is a token, as from `POST /auth/login`.",
        answers={201: "The account was created; this is its first token."},
        refusals=(*WRITE, "username_taken", "second_factor_missing"),
        requests={"jane": ("A new account", CREDENTIALS | {"username": "jane"})},
        examples={201: {"token": ("A token", TOKEN)}},
        public=True,
    ),
    "login": OperationDoc(
        summary="Sign in",
        description="Returns a token for a username and a password. If the account uses two-step sign-in, send a "
        "`code` too: six digits from the authenticator app, or a recovery code.\n\n"
        "The token works for `expires_in` seconds, but only if it is used at least once every `idle_expires_in` "
        "seconds. It ends earlier if you sign out, if the user ends the session or changes their password on the "
        "website, or if the account is disabled.\n\n"
        "OAuth 2.0 clients can send the same fields as a form (`application/x-www-form-urlencoded`, the password "
        "grant).",
        answers={200: "A token."},
        refusals=(*WRITE, "bad_credentials", "second_factor_needed", "second_factor_missing", "bad_code"),
        requests={
            "john": ("With username and password", CREDENTIALS),
            "code": ("With two-step sign-in", CREDENTIALS | {"code": "492039"}),
        },
        examples={200: {"token": ("A token", TOKEN)}},
        public=True,
    ),
    "getMe": OperationDoc(
        summary="Get the current user",
        description="Returns the user whose token you send.",
        answers={200: "The user."},
        refusals=READ,
        examples={200: {"john": ("John", {"id": 7, "username": "john", "created_at": f"{TODAY}T08:14:51.220419Z"})}},
    ),
    "logout": OperationDoc(
        summary="Sign out",
        description="Ends the session of the token that you send, so that the token no longer works. Other tokens of "
        "the user still work.",
        answers={204: "The session has ended. There is no body."},
        refusals=READ,
    ),
    "getSite": OperationDoc(
        summary="Get the site",
        description="Returns the site's time zone, today's date there, and the last day that can be booked.",
        answers={200: "The site."},
        refusals=("invalid_input", *EVERY),
        examples={200: {"site": ("A site in Berlin", SITE)}},
        public=True,
    ),
    "getHealth": OperationDoc(
        summary="Check whether the site can answer requests",
        description="For load balancers. If only Redis is unavailable, the status is `degraded`, and the response is "
        "still 200: booking works, but seats cannot be held, and maps update a little later.",
        answers={
            200: "The site can answer requests.",
            503: "PostgreSQL does not respond, or migrations are pending. Send requests elsewhere.",
        },
        refusals=("malformed_request", "internal_error"),
        examples={
            200: {
                "ok": ("Everything works", HEALTHY),
                "degraded": ("Redis is unavailable", HEALTHY | {"status": "degraded", "redis": "unavailable"}),
            },
            503: {
                "unavailable": (
                    "PostgreSQL does not respond",
                    {"status": "unavailable", "postgresql": "unavailable", "redis": "ok", "migrations": "unknown"},
                )
            },
        },
        headers={503: ("Retry-After",)},
        public=True,
    ),
    "getLiveness": OperationDoc(
        summary="Check whether the process is running",
        description="Returns 200 while the process runs, whatever the state of PostgreSQL and Redis. For supervisors.",
        answers={200: "The process is running."},
        refusals=("malformed_request", "internal_error"),
        examples={200: {"ok": ("The process is running", {"status": "ok"})}},
        public=True,
    ),
}
