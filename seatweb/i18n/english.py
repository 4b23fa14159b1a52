"""Every text of errors and notices in English, by key.

An error's key is its code, with its reason behind a point if it has one: the code alone is the general text, which the
documentation of the API shows too. Names in braces are filled in; `{seconds:second}` becomes "1 second" or "2 seconds".
"""

from __future__ import annotations

from typing import Final

ANY_REQUEST: Final = {
    "error": "Something went wrong.",
    "forbidden": "This page has expired. Reload it and try again.",
    "forbidden.no_cookie": (
        "This page has expired, or your browser does not accept cookies from this site. Reload the page and try again."
    ),
    "forbidden.not_https": "This site works over HTTPS only. Open {url} and try again.",
    "forbidden.other_host": (
        "The form was sent from {sender}, but the server was reached as {host}. If you operate this site, have the "
        "proxy forward the Host header, or set SEATWEB_PUBLIC_URL."
    ),
    "forbidden.other_site": "The form was sent from another site.",
    "forbidden.not_confirmed": "Confirm it's you first.",
    "internal_error": "Something went wrong on our side. If it keeps happening, report the request ID.",
    "invalid_input": "Some fields or parameters are not valid.",
    "invalid_input.bad_address": "The address contains an invalid value for {name}.",
    "invalid_input.field_twice": "The field {name} was sent twice.",
    "invalid_input.form_not_text": "The form contains data that is not text.",
    "invalid_input.no_object": "The body must be a JSON object.",
    "invalid_input.unreadable_form": "The form could not be read.",
    "malformed_json": "The body is not valid JSON.",
    "malformed_request": "The request could not be read.",
    "method_not_allowed": "This URL does not support this method. The Allow header lists the methods it supports.",
    "not_allowed": "Only administrators of this site can do that.",
    "not_found": "There is nothing at this address.",
    "not_found.closed_day": "This day cannot be booked, so it has no live updates.",
    "not_found.day": "This date does not exist. Dates look like 2026-11-23.",
    "not_found.page": "There is no page at this address.",
    "not_signed_in": "Sign in to continue.",
    "not_signed_in.bad_header": "The Authorization header must be: Bearer, a space, and the token.",
    "not_signed_in.bad_token": "This token is not valid. Sign in to get one.",
    "not_signed_in.no_token": "Send a token in the Authorization header: Bearer, a space, and the token.",
    "overloaded": "The site is busy. Try again in a moment.",
    "token_ended": "This token no longer works, because its session has ended. Sign in again to get a new one.",
    "token_ended.expired": "This token has expired. Sign in again to get a new one.",
    "too_large": "The request is too large.",
    "too_many_attempts": "Too many attempts. Try again later.",
    "too_many_attempts.until": "Too many attempts. Try again {when}.",
    "unsupported_media_type": "Send the body as JSON, with Content-Type: application/json.",
    "unsupported_media_type.form": (
        "Send forms as application/x-www-form-urlencoded. If you used a page of this site, reload it and try again."
    ),
    "when.in_hours": "at {time}, in {count:hour}",
    "when.in_hours_tomorrow": "at {time} tomorrow, in {count:hour}",
    "when.in_minutes": "at {time}, in {count:minute}",
    "when.in_minutes_tomorrow": "at {time} tomorrow, in {count:minute}",
    "when.in_seconds": "in {count:second}",
}
FIELDS: Final = {
    "field.bad_cursor": "Not a valid cursor. Use the URL in the Link header of the previous page, unchanged.",
    "field.date": "Not a valid date; use YYYY-MM-DD.",
    "field.idempotency_key": "Must be 1 to 255 printable ASCII characters, without spaces.",
    "field.missing": "Required.",
    "field.no_object": "Must be a JSON object.",
    "field.no_seat": "Required, unless `any` is true.",
    "field.number_between": "Must be a whole number from {least} to {most}.",
    "field.one_of": "Must be one of: {values}.",
    "field.seat_and_any": "Leave this out if `any` is true.",
    "field.section_without_any": "Only allowed if `any` is true.",
    "field.text": "Must be text.",
    "field.true_or_false": "Must be true or false.",
    "field.twice": "Sent more than once.",
    "field.unknown": "Unknown field.",
    "field.unknown_parameter": "Unknown parameter.",
    "field.unusable_text": "Must not contain the character U+0000.",
    "field.whole_number": "Must be a whole number.",
}
ACCOUNTS: Final = {
    "bad_code": "Wrong code, or one that was already used. Wait for the next code and try again.",
    "bad_code.new_app": "Wrong code. Check that your device's clock is right, then enter the next code.",
    "bad_credentials": "Wrong username or password.",
    "bad_credentials.passkey_refused": "The passkey was not accepted. Try again, or sign in another way.",
    "bad_credentials.took_too_long": "That took too long. Try again.",
    "bad_credentials.unknown_passkey": "This passkey is not registered on this site. It may have been removed.",
    "invalid_input.known_passkey": "You have already added this passkey.",
    "invalid_input.many_passkeys": "You already have {passkeys:passkey}, which is the maximum. Remove one first.",
    "invalid_input.no_passkeys_here": "Passkeys don't work at this address.",
    "invalid_input.took_too_long": "That took too long. Try again.",
    "invalid_input.unusable_passkey": "The passkey could not be added. Try again, or use another device.",
    "not_allowed.bookings_of_others": "You can only cancel the bookings of disabled accounts.",
    "not_allowed.last_factor": (
        "This site requires two-step sign-in. Before you remove this, add another passkey or an authenticator app."
    ),
    "not_allowed.needs_second_factor": (
        "Administrators of this site need two-step sign-in. Turn it on in your account first."
    ),
    "not_allowed.own_account": "You can't disable your own account.",
    "not_allowed.reset_of_administrator": (
        "You can't create a reset code for an administrator. The operator of this site can, with “seatweb user reset”."
    ),
    "not_signed_in.took_too_long": "That took too long. Sign in again.",
    "not_signed_in.wrong_codes": "Too many wrong codes. Sign in again.",
    "overloaded.sign_in_flow": "Many people are signing in right now. Try again in a moment.",
    "password.changed_meanwhile": "Your password was changed a moment ago. Enter the new one.",
    "password.common": "This password is too common. Choose another.",
    "password.like_site": "This password is too similar to the name of this site. Choose another.",
    "password.like_username": "This password is too similar to your username. Choose another.",
    "password.missing": "Enter a password.",
    "password.same": "This is already your password. Choose another.",
    "password.too_long": "Use at most {most:character}.",
    "password.too_short": "Use at least {fewest:character}.",
    "password.wrong": "Wrong password.",
    "password_reset.bad_code": "Wrong username or code, or the code has expired or was already used.",
    "form_expired": "This page had expired. Enter your password and try again.",
    "registration.looks_alike": (
        "This username looks the same as one that is taken. Choose another, such as your full name."
    ),
    "registration.taken": "This username is taken. Choose another, or sign in if it's yours.",
    "second_factor_missing": "This site requires two-step sign-in. Sign in on the website and turn it on first.",
    "second_factor_needed": "This account uses two-step sign-in. Enter your code too.",
    "too_many_attempts.wrong_codes": "Too many wrong codes. Wait {minutes:minute}, or use a passkey if you have one.",
    "user_not_found": "There is no such account.",
    "username.length": "Use {fewest} to {most:character}.",
    "username.missing": "Enter a username.",
    "username.no_letter": "Use at least one letter or digit.",
    "username.unusable_character": (
        "Remove character {place} ({character}). Use letters, digits, spaces, punctuation and emoji only."
    ),
    "username_taken": "This username is taken.",
    "username_taken.looks_alike": "This username looks the same as one that is taken.",
}
BOOKING: Final = {
    "booking_not_found": "You have no such booking.",
    "booking_not_found.already_cancelled": "This booking is already cancelled.",
    "booking_not_found.none_to_move": "You have no booking to move on this day.",
    "cannot_undo": "This booking has changed since then, so nothing was undone.",
    "cannot_undo.already": "This has already been undone.",
    "day_already_booked": "You already have a seat on this day.",
    "idempotency_key_reused": "This Idempotency-Key was used before, for a different request.",
    "no_free_seat": "There are no free seats left.",
    "outside_booking_window": "That day cannot be booked.",
    "outside_booking_window.booking_past": "That day is over, so its booking stays as it is.",
    "outside_booking_window.past": "That day is over.",
    "outside_booking_window.too_far": "You can book up to {days:day} ahead.",
    "undo.stays_cancelled": "{why} The booking stays cancelled.",
    "request_in_progress": "A request with this Idempotency-Key is still running. Try again in a moment.",
    "seat_closed": "This seat is closed.",
    "seat_held": "That seat is on hold for someone else.",
    "seat_held.seconds_left": "That seat is on hold for someone else for {seconds:more second}.",
    "seat_not_found": "There is no such seat.",
    "seat_taken": "That seat was booked a moment ago.",
    "section_not_found": "There is no such section.",
    "too_many_streams": "The live map is open in too many places.",
}
LOST_RACES: Final = {
    "lost_race.held": "Seat {seat} is on hold for someone else.",
    "lost_race.taken": "Seat {seat} was booked a moment ago.",
    "lost_race.free_again": "It is free again.",
    "lost_race.nearest": "{seat} is free.",
    "lost_race.still_yours": "You still have {seat}.",
    "lost_race.none_free": "No other seat is free on this day.",
}
NOTICES: Final = {
    "notice.account_deleted": "Your account has been deleted.",
    "notice.already_cancelled": "This booking is already cancelled.",
    "notice.already_undone": "This has already been undone.",
    "notice.already_yours": "You already have {seat}.",
    "notice.app_added": "Authenticator app added.",
    "notice.app_removed": "Authenticator app removed.",
    "notice.booked": "{seat} is yours.",
    "notice.cancelled": "Cancelled: {seat} is free again.",
    "notice.confirm_first": "Confirm it's you before you make changes.",
    "notice.confirmed": "Confirmed. You can make changes for 10 minutes.",
    "notice.confirmed_for": "Confirmed. You can continue.",
    "notice.moved": "Moved: {seat} is yours now.",
    "notice.passkey_added": "Passkey added.",
    "notice.passkey_removed": "Passkey removed.",
    "notice.password_changed": "Your password has been changed, and your other devices have been signed out.",
    "notice.password_reset": "Your password has been changed. Sign in with the new one.",
    "notice.released": "{seat} is released.",
    "notice.session_ended": "The device has been signed out.",
    "notice.sign_in_over": "That took too long, or there were too many wrong codes. Sign in again.",
    "notice.signed_in": "You are signed in.",
    "notice.signed_out": "You are signed out.",
    "notice.signed_out_everywhere": "You are signed out everywhere.",
    "notice.signed_in_book": "You are signed in. You can book {seat} now.",
    "notice.signed_in_late": "You are signed in, but {seat} is no longer free.",
    "notice.undone_booked": "Undone: {seat} is free again.",
    "notice.undone_cancelled": "Undone: {seat} is yours again.",
    "notice.undone_moved": "Undone: {seat} is yours again.",
    "notice.welcome": "Welcome. Your account is ready.",
    "notice.welcome_book": "Welcome. Your account is ready, and you can book {seat} now.",
    "notice.welcome_late": "Welcome. Your account is ready, but {seat} is no longer free.",
}
# What a page is headed that says what went wrong, and what it says where the error itself does not.
ERROR_PAGES: Final = {
    "error_page.400": "The request could not be read. Go back, reload the page and try again.",
    "error_page.404": "Check the address. The page may have been moved or removed.",
    "error_page.405": "Go back and use the buttons on the page.",
    "error_page.413": "The form contains too much text. Shorten it and try again.",
    "error_page.500": "Try again. If it keeps happening, give your administrator the request ID below.",
    "error_page.503": "Try again in a moment.",
    "error_page.back": "Back to the page",
    "error_page.my_bookings": "My bookings",
    "error_page.today": "Today's map",
    "error_title.400": "Bad request",
    "error_title.401": "Sign in first",
    "error_title.403": "This page has expired",
    "error_title.refused_form": "This form was not accepted",
    "error_title.404": "Not found",
    "error_title.405": "That action isn't available here",
    "error_title.409": "That is no longer possible",
    "error_title.413": "Too much data",
    "error_title.415": "This form could not be read",
    "error_title.422": "Please check your input",
    "error_title.429": "Too many attempts",
    "error_title.500": "Something went wrong on our side",
    "error_title.503": "The site is busy",
    "error_title.not_allowed": "Not allowed",
}

TEXTS: Final = {**ANY_REQUEST, **FIELDS, **ACCOUNTS, **BOOKING, **LOST_RACES, **NOTICES, **ERROR_PAGES}
