"""The documentation of each operation that Litestar cannot derive: descriptions, examples, headers and problems."""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct


class OperationDoc(Struct, frozen=True):
    """The documentation of one operation; examples are (summary, value) by name, those of responses also by status."""

    summary: str
    description: str
    answers: dict[int, str]
    """The description of each response that is not a problem, by status."""
    refusals: tuple[str, ...]
    """The codes of the problems with which it can respond."""
    requests: dict[str, tuple[str, Any]] = {}
    examples: dict[int, dict[str, tuple[str, Any]]] = {}
    headers: dict[int, tuple[str, ...]] = {}
    parameters: tuple[dict[str, Any], ...] = ()
    """Those that the handler does not declare."""
    public: bool = False
    """Whether it needs no token."""


TOKEN: Final = {
    "access_token": "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiI3In0.c2lnbmF0dXJl",
    "token_type": "bearer",
    "expires_in": 1209600,
}
BOOKING: Final = {
    "id": 4211,
    "seat_id": 1,
    "user_id": 7,
    "booking_date": "2026-11-23",
    "created_at": "2026-11-20T08:15:04.105721Z",
    "status": "confirmed",
    "seat_details": {"section": "A", "seat_number": "01"},
}
MOVED: Final = BOOKING | {"seat_id": 8, "seat_details": {"section": "A", "seat_number": "08"}}
SEATS: Final = [
    {"id": 1, "section": "A", "seat_number": "01", "is_available": True},
    {"id": 2, "section": "A", "seat_number": "02", "is_available": True},
]
HEALTHY: Final = {"status": "ok", "postgresql": "ok", "redis": "ok", "migrations": "ok"}
CREDENTIALS: Final = {"username": "john", "password": "secret"}

READ: Final = ("malformed_request", "not_signed_in", "invalid_input", "too_many_attempts", "overloaded")
WRITE: Final = (
    "malformed_request",
    "malformed_json",
    "invalid_input",
    "too_large",
    "unsupported_media_type",
    "too_many_attempts",
    "overloaded",
)

IF_NONE_MATCH: Final = {
    "name": "If-None-Match",
    "in": "header",
    "description": "The `ETag` of an answer that you have.",
    "required": False,
    "schema": {"type": "string"},
}

# Descriptions and examples that the handlers' parameters lack.
PARAMETERS: Final[dict[str, dict[str, Any]]] = {
    "booking_id": {
        "description": "The booking's `id`, as `POST /bookings` and `GET /bookings` give it.",
        "example": "4211",
    },
    "booking_date": {"example": "2026-11-23"},
    "from_date": {"example": "2026-11-23"},
    "to_date": {"example": "2026-12-31"},
    "section": {"example": "A"},
    "Idempotency-Key": {"example": "2f1c9a7e-book"},
}

# Descriptions of response headers.
HEADERS: Final = {
    "ETag": "Names this state of the seats. Send it as `If-None-Match` to be told only of changes.",
    "Link": 'The address of the next page, as `</bookings?…>; rel="next"`; missing on the last.',
    "Idempotency-Replayed": "`true` when this is the first answer to the key, given again.",
    "Retry-After": "Seconds after which asking again makes sense.",
    "WWW-Authenticate": "`Bearer`.",
}

# Descriptions of problems whose class docstring is written for developers.
EXPLANATIONS: Final = {"invalid_input": "What was sent cannot be used; `errors` says why, by field."}

# What a client should do about each problem, by code.
ADVICE: Final = {
    "seat_taken": "Ask for the free seats again and choose another, or book with `any`.",
    "seat_held": "Choose another seat, or ask again after the seconds in `Retry-After`: it may be free then.",
    "day_already_booked": "List the bookings of that day; move that booking, or cancel it first.",
    "seat_closed": "Choose another seat.",
    "no_free_seat": "Try another section or another day.",
    "seat_not_found": "Take the `id` from `GET /seats`; the seat number is something else.",
    "section_not_found": "Take the name from `GET /sections`.",
    "booking_not_found": "List your bookings. Cancelled ones, and those of other users, are not found either.",
    "outside_booking_window": "Choose a day from today, in the site's time zone, to 90 days ahead.",
    "invalid_input": "Read `errors`: each names a field and says what is wrong with it. The same request fails again.",
    "username_taken": (
        "Choose another username, or sign in if it is yours. Case makes no difference, nor do letters that look alike,"
        " such as 0 and O."
    ),
    "bad_credentials": "Ask for username and password again.",
    "second_factor_needed": "Ask for a code of the authenticator app, or a recovery code, and send it too, as `code`.",
    "second_factor_missing": "Send the user to the site's pages: only there a second factor can be added.",
    "bad_code": "Ask for the next code. Each works once; a wrong clock on the device makes all of them wrong.",
    "not_signed_in": "Get a new token from `POST /auth/login` and send it as `Authorization: Bearer …`.",
    "idempotency_key_reused": "Use a new key for each booking; a key goes with one request and its repetitions.",
    "request_in_progress": "Wait the seconds in `Retry-After`, then send the same request with the same key.",
    "forbidden": "Only the pages' forms can meet this; the API never answers it.",
    "too_many_attempts": "Wait the seconds in `Retry-After`. Asking sooner changes nothing, and costs nothing.",
    "not_allowed": "Only the pages of administrators can meet this; the API never answers it.",
    "user_not_found": "Only the pages of administrators can meet this; the API never answers it.",
    "cannot_undo": "Only the pages can meet this; the API never answers it.",
    "too_many_streams": "Only the live map of the pages can meet this; the API never answers it.",
    "overloaded": "Wait the seconds in `Retry-After` and ask again. With an `Idempotency-Key` nothing is done twice.",
    "malformed_request": "Check the address and the headers; the same request fails again.",
    "malformed_json": "Check how the body is written: UTF-8, double quotes, no comma at the end.",
    "not_found": "Check the path against this page.",
    "method_not_allowed": "Use a method that the header `Allow` names.",
    "too_large": "Send less: no request of this API needs more than a few hundred bytes.",
    "unsupported_media_type": "Send the header `Content-Type: application/json`.",
    "internal_error": "Ask again once. If it goes on, tell whoever runs the site the `request_id`.",
}

OPERATIONS: Final[dict[str, OperationDoc]] = {
    "register": OperationDoc(
        summary="Create an account",
        description="Creates an account and signs in: the answer is a token, as from `POST /auth/login`.",
        answers={201: "The account exists; this is its first token."},
        refusals=(*WRITE, "username_taken", "second_factor_missing"),
        requests={"john": ("A new account", CREDENTIALS)},
        examples={201: {"token": ("A token", TOKEN)}},
        public=True,
    ),
    "login": OperationDoc(
        summary="Sign in",
        description="Gives a token for a username and a password. An account with a second factor also needs a `code` "
        "of it: six digits of the authenticator app, or a recovery code. The token works until it ends by itself after "
        "`expires_in` seconds, or until its session is ended.",
        answers={200: "A token."},
        refusals=(*WRITE, "bad_credentials", "second_factor_needed", "second_factor_missing", "bad_code"),
        requests={
            "john": ("A username and its password", CREDENTIALS),
            "code": ("With a second factor", CREDENTIALS | {"code": "492039"}),
        },
        examples={200: {"token": ("A token", TOKEN)}},
        public=True,
    ),
    "me": OperationDoc(
        summary="Who am I",
        description="Tells whose token it is.",
        answers={200: "The user."},
        refusals=READ,
        examples={200: {"john": ("John", {"id": 7, "username": "john", "created_at": "2026-11-20T08:14:51.220419Z"})}},
    ),
    "list_seats": OperationDoc(
        summary="List seats",
        description="Lists the seats of a day that you can book, or every seat with `status=all`, section by section. "
        "The answer carries an `ETag`; asking again with it in `If-None-Match` gives 304 without a body while nothing "
        "changed.",
        answers={200: "The seats.", 304: "Nothing changed since the `ETag` in `If-None-Match`; there is no body."},
        refusals=(*READ, "section_not_found", "outside_booking_window"),
        examples={200: {"free": ("Two free seats", SEATS)}},
        headers={200: ("ETag",), 304: ("ETag",)},
        parameters=(IF_NONE_MATCH,),
    ),
    "list_sections": OperationDoc(
        summary="List sections",
        description="Lists the sections, and how many seats each has and has left on a day. `ETag` and "
        "`If-None-Match` work as with `GET /seats`.",
        answers={200: "The sections.", 304: "Nothing changed since the `ETag` in `If-None-Match`; there is no body."},
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
    "book": OperationDoc(
        summary="Book a seat",
        description="Books the seat `seat_id`, or with `any` a free one that Seatweb chooses, for a day. A user has "
        "one booking a day at most; to take another seat on that day, move the booking.\n\n"
        "Send an `Idempotency-Key` of your own making, such as a UUID. When no answer arrives, send the same request "
        "with the same key: the first answer is given again, and nothing is booked twice, also when the booking has "
        "been cancelled since.",
        answers={201: "The booking."},
        refusals=(
            *WRITE,
            "not_signed_in",
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
            "day": ("A seat, on a day", {"seat_id": 1, "booking_date": "2026-11-23"}),
            "any": ("Any free seat of a section", {"any": True, "section": "A"}),
        },
        examples={201: {"booking": ("The booking", BOOKING)}},
        headers={201: ("Idempotency-Replayed",)},
    ),
    "list_bookings": OperationDoc(
        summary="List my bookings",
        description="Lists your own bookings by day, from today unless `from_date` says otherwise. When there are more "
        "than `limit`, the header `Link` holds the address of the next page.",
        answers={200: "The bookings."},
        refusals=READ,
        examples={200: {"bookings": ("One booking", [BOOKING])}},
        headers={200: ("Link",)},
    ),
    "move": OperationDoc(
        summary="Move a booking",
        description="Gives a booking another seat of the same day, in one step: the first seat is kept until the "
        "second is sure. The booking keeps its `id`.",
        answers={200: "The booking, on its new seat."},
        refusals=(
            *WRITE,
            "not_signed_in",
            "booking_not_found",
            "seat_not_found",
            "seat_taken",
            "seat_held",
            "seat_closed",
            "outside_booking_window",
        ),
        requests={"seat": ("To seat 8", {"seat_id": 8})},
        examples={200: {"moved": ("Now on A-08", MOVED)}},
    ),
    "cancel": OperationDoc(
        summary="Cancel a booking",
        description="Cancels a booking of today or a day to come; its seat is free at once. Cancelling it again gives "
        "404.",
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
    "health": OperationDoc(
        summary="Is it ready",
        description="Tells whether requests can be served. With only Redis away it is `degraded` and still 200: "
        "everything works, a little slower. Made for a load balancer.",
        answers={
            200: "Requests are served.",
            503: "PostgreSQL does not answer, or migrations are pending. Send requests elsewhere.",
        },
        refusals=(),
        examples={
            200: {
                "ok": ("All is well", HEALTHY),
                "degraded": ("Redis is away", HEALTHY | {"status": "degraded", "redis": "unavailable"}),
            },
            503: {
                "unavailable": (
                    "PostgreSQL does not answer",
                    {"status": "unavailable", "postgresql": "unavailable", "redis": "ok", "migrations": "unknown"},
                )
            },
        },
        headers={503: ("Retry-After",)},
        public=True,
    ),
    "health_live": OperationDoc(
        summary="Is it alive",
        description="Answers while the process does; asks neither PostgreSQL nor Redis. Made for whoever restarts it.",
        answers={200: "The process answers."},
        refusals=(),
        examples={200: {"ok": ("Alive", {"status": "ok"})}},
        public=True,
    ),
}
