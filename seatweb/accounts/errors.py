"""Errors about accounts and signing in."""

from __future__ import annotations

from functools import partial

from seatweb.errors import Constraints, NotAllowed, SeatwebError


class UsernameTaken(SeatwebError):
    """Another account has this username, or one that looks the same."""

    code = "username_taken"
    status = 409


class BadCredentials(SeatwebError):
    """The username or password is wrong, or the account is disabled."""

    code = "bad_credentials"
    status = 401


class SecondFactorNeeded(SeatwebError):
    """The password is correct, but the account uses two-step sign-in, so a code is needed too."""

    code = "second_factor_needed"
    status = 401


class SecondFactorMissing(SeatwebError):
    """The site requires two-step sign-in, which can only be turned on on the website."""

    code = "second_factor_missing"
    status = 403


class BadCode(SeatwebError):
    """The code for two-step sign-in is wrong, expired or already used."""

    code = "bad_code"
    status = 401


class LastFactor(NotAllowed):
    """The site requires a second factor, and this is the user's only one."""

    reason = "last_factor"


class UserNotFound(SeatwebError):
    """There is no such account."""

    code = "user_not_found"
    status = 404


CONSTRAINTS: Constraints = {
    "users_username_key": UsernameTaken,
    "username_skeletons_key": partial(UsernameTaken, reason="looks_alike"),
}
"""The error that a violation of each constraint of the accounts' tables raises."""
