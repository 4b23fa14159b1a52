"""Every text of errors and notices in English, by key.

An error's key is its code, with its reason behind a point if it has one: the code alone is the general text, which the
documentation of the API shows too. Names in braces are filled in; `{seconds:second}` becomes "1 second" or "2 seconds".
"""

from __future__ import annotations

from typing import Final

ANY_REQUEST: Final = {
    "error": "Something went wrong.",
    "forbidden": "This form was open for too long, or was not sent from our pages.",
    "forbidden.not_confirmed": "Enter your password first.",
    "internal_error": "Something broke on our side. Tell us the request id.",
    "invalid_input": "Some of what you sent cannot be used.",
    "invalid_input.bad_address": "The address holds {name} in a form that cannot be used.",
    "invalid_input.field_twice": "The field {name} was sent twice.",
    "invalid_input.form_not_text": "The form holds something that is not text.",
    "invalid_input.no_object": "The body is not a JSON object.",
    "invalid_input.unreadable_form": "The form could not be read.",
    "malformed_json": "The body is not valid JSON.",
    "malformed_request": "The request could not be read.",
    "method_not_allowed": "This address takes no such request; the header Allow names those it takes.",
    "not_allowed": "Only administrators of this site may do that.",
    "not_found": "There is nothing at this address.",
    "not_found.closed_day": "This day cannot be booked, so nothing changes on it.",
    "not_found.day": "There is no such day. Days look like 2026-11-23.",
    "not_found.page": "There is no page at this address.",
    "not_signed_in": "Sign in to go on.",
    "not_signed_in.token": "Send a valid token as Authorization: Bearer …",
    "overloaded": "Too much is going on just now.",
    "too_large": "The request is larger than anything this API takes.",
    "too_many_attempts": "Too many attempts.",
    "too_many_attempts.until": "Too many attempts. Try again {when}.",
    "unsupported_media_type": "Send JSON, with Content-Type: application/json.",
    "unsupported_media_type.form": (
        "Send forms as application/x-www-form-urlencoded. If this was a page of ours, reload it and try again."
    ),
    "when.in_hours": "at {time}, in {count:hour}",
    "when.in_hours_tomorrow": "at {time} tomorrow, in {count:hour}",
    "when.in_minutes": "at {time}, in {count:minute}",
    "when.in_minutes_tomorrow": "at {time} tomorrow, in {count:minute}",
    "when.in_seconds": "in {count:second}",
}
FIELDS: Final = {
    "field.bad_cursor": "This is no cursor of ours.",
    "field.idempotency_key": "1 to 255 printable characters without spaces are needed.",
    "field.missing": "It is missing.",
    "field.no_object": "A JSON object is needed.",
    "field.no_seat": "A seat is needed, or `any`.",
    "field.seat_and_any": "Leave it out with `any`.",
    "field.section_without_any": "It goes with `any` only.",
    "field.twice": "It was sent twice.",
    "field.unfit": "{why}",
    "field.unknown": "There is no such field.",
    "field.unusable": "This value cannot be used.",
    "field.unusable_text": "This text cannot be used.",
}
ACCOUNTS: Final = {
    "bad_code": "That code is not right, or was used already. Wait for the next one, and try again.",
    "bad_code.new_app": "That code is not right. Check the clock of your device, and try the next one.",
    "bad_credentials": "That username and password do not go together.",
    "bad_credentials.passkey_refused": "That passkey was not accepted. Try again, or use another way.",
    "bad_credentials.took_too_long": "That took too long. Try again.",
    "bad_credentials.unknown_passkey": "That passkey is not known here. It may have been removed.",
    "invalid_input.known_passkey": "That passkey was added before.",
    "invalid_input.many_passkeys": "You have {passkeys:passkey}. Remove one first.",
    "invalid_input.no_passkeys_here": "Passkeys do not work at this address.",
    "invalid_input.took_too_long": "That took too long. Try again.",
    "invalid_input.unusable_passkey": "That passkey could not be added. Try again, or take another device.",
    "not_allowed.last_factor": "You need a second factor here. Add another one before you remove this.",
    "not_allowed.needs_second_factor": (
        "Administrators of this site need a second factor. Add one to your account first."
    ),
    "not_allowed.own_account": "You cannot disable your own account.",
    "not_allowed.reset_of_administrator": "An administrator gets a code from who runs the site, by its command.",
    "not_signed_in.took_too_long": "That took too long. Sign in again.",
    "not_signed_in.wrong_codes": "Those were too many wrong codes. Sign in again.",
    "overloaded.sign_in_flow": "Many people are signing in just now. Try again in a moment.",
    "password.changed_meanwhile": "Your password was changed a moment ago. Enter the new one.",
    "password.common": "This is one of the passwords that are tried first. Choose another.",
    "password.like_site": "This is too much like the name of this site. Choose another.",
    "password.like_username": "This is too much like your username. Choose another.",
    "password.missing": "Choose a password.",
    "password.same": "That is your password now. Choose another.",
    "password.too_long": "Use at most {most:character}.",
    "password.too_short": "Use at least {fewest:character}.",
    "password.wrong": "That is not your password.",
    "password_reset.bad_code": "This code does not belong to this username, was used, or is older than a day.",
    "registration.looks_alike": (
        "That username looks the same as one that is taken. Choose another, such as your full name."
    ),
    "registration.taken": "That username is taken. Choose another, or sign in if it is yours.",
    "second_factor_missing": ("Everyone needs a second factor here. Sign in on the site's pages and add one first."),
    "second_factor_needed": "This account has a second factor. Send a code of it as well.",
    "too_many_attempts.wrong_codes": ("There were too many wrong codes. Wait {minutes:minute}, or use a passkey."),
    "user_not_found": "There is no such account.",
    "username.length": "Use {fewest} to {most:character}.",
    "username.missing": "Choose a username.",
    "username.no_letter": "Use at least one letter or digit.",
    "username.unusable_character": (
        "Use letters, digits, spaces, punctuation and emoji only. Remove character {place} ({character})."
    ),
    "username_taken": "That username is taken.",
    "username_taken.looks_alike": "That username looks the same as one that is taken.",
}
BOOKING: Final = {
    "booking_not_found": "You have no such booking.",
    "booking_not_found.none_to_move": "You have no booking on this day that could be moved.",
    "day_already_booked": "You already have a seat on this day.",
    "idempotency_key_reused": "This Idempotency-Key was sent before with another request.",
    "no_free_seat": "No seat is free any more.",
    "outside_booking_window": "That day cannot be booked.",
    "outside_booking_window.booking_past": "That day is over; its booking stays in your history.",
    "outside_booking_window.past": "That day is over.",
    "outside_booking_window.too_far": "Seats can be booked {days:day} ahead, no further.",
    "request_in_progress": "A request with this Idempotency-Key is being answered. Ask again in a moment.",
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
    "lost_race.none_free": "No other seat is free on this day.",
}
NOTICES: Final = {
    "notice.account_deleted": "Your account is deleted.",
    "notice.account_disabled": "The account is disabled, and signed out everywhere.",
    "notice.account_enabled": "The account is enabled again.",
    "notice.app_added": "The authenticator app is added.",
    "notice.app_removed": "The authenticator app is removed.",
    "notice.booked": "{seat} is yours.",
    "notice.cancelled": "Cancelled: {seat} is free again.",
    "notice.confirm_first": "Enter your password first.",
    "notice.confirmed": "Confirmed. You can make changes for ten minutes.",
    "notice.confirmed_for": "Confirmed. You can continue.",
    "notice.moved": "Moved: {seat} is yours now.",
    "notice.passkey_added": "The passkey is added.",
    "notice.passkey_removed": "The passkey is removed.",
    "notice.password_changed": "Your password is changed. Every other device is signed out.",
    "notice.password_reset": "Your password is changed. Sign in with the new one.",
    "notice.released": "{seat} is released.",
    "notice.session_ended": "That device is signed out.",
    "notice.sign_in_over": "That took too long, or there were too many wrong codes. Sign in again.",
    "notice.signed_in": "You are signed in.",
    "notice.signed_out": "You are signed out.",
    "notice.signed_out_everywhere": "You are signed out everywhere.",
    "notice.welcome": "Welcome. Choose a free seat.",
}
# What a page is headed that says what went wrong, and what it says where the error itself does not.
ERROR_PAGES: Final = {
    "error_page.400": "The request could not be read. Go back, reload the page and try again.",
    "error_page.404": "There is no page at this address. It may have been mistyped, or the page is gone.",
    "error_page.405": "This address takes no such request. Go back and use the buttons of the page.",
    "error_page.413": "What was sent is larger than anything Seatweb takes.",
    "error_page.500": (
        "Something broke on our side. Nothing of yours was lost; if it goes on, tell us the number below."
    ),
    "error_page.503": "Too much is going on just now. The page will work again in a moment.",
    "error_page.my_bookings": "My bookings",
    "error_page.today": "Today's map",
    "error_title.400": "That did not make sense",
    "error_title.401": "Sign in first",
    "error_title.403": "This form did not come through",
    "error_title.404": "Nothing here",
    "error_title.405": "Not this way",
    "error_title.409": "That is not possible any more",
    "error_title.413": "Too much at once",
    "error_title.415": "This form cannot be read",
    "error_title.422": "That cannot be used",
    "error_title.429": "Too many tries",
    "error_title.500": "Our mistake",
    "error_title.503": "One moment, please",
    "error_title.not_allowed": "Not allowed",
}

TEXTS: Final = {**ANY_REQUEST, **FIELDS, **ACCOUNTS, **BOOKING, **LOST_RACES, **NOTICES, **ERROR_PAGES}
