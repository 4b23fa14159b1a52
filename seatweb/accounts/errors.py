"""What can be wrong with an account or a sign-in."""

from __future__ import annotations

from functools import partial

from seatweb.errors import Constraints, NotAllowed, SeatwebError


class UsernameTaken(SeatwebError):
    """Someone has this username already, or one that looks the same."""

    code = "username_taken"
    status = 409
    message = "That username is taken."

    def __init__(self, *, looks_alike: bool = False) -> None:
        self.looks_alike = looks_alike
        super().__init__("That username looks the same as one that is taken." if looks_alike else None)


class BadCredentials(SeatwebError):
    """Username and password do not belong together, or the account is disabled."""

    code = "bad_credentials"
    status = 401
    message = "That username and password do not go together."


class SecondFactorNeeded(SeatwebError):
    """The password is right; the account also wants a code of its second factor."""

    code = "second_factor_needed"
    status = 401
    message = "This account has a second factor. Send a code of it as well."


class SecondFactorMissing(SeatwebError):
    """The site asks everyone for a second factor, which programs cannot add."""

    code = "second_factor_missing"
    status = 403
    message = "Everyone needs a second factor here. Sign in on the site's pages and add one first."


class BadCode(SeatwebError):
    """The code of the second factor is not right, too old, or was used before."""

    code = "bad_code"
    status = 401
    message = "That code is not right, or was used already. Wait for the next one, and try again."


class LastFactor(NotAllowed):
    """The site asks everyone for a second factor, and this is the user's last one."""

    message = "You need a second factor here. Add another one before you remove this."


class UserNotFound(SeatwebError):
    """There is no such account."""

    code = "user_not_found"
    status = 404
    message = "There is no such account."


CONSTRAINTS: Constraints = {
    "users_username_key": UsernameTaken,
    "username_skeletons_key": partial(UsernameTaken, looks_alike=True),
}
"""The rule that each constraint of the accounts' tables keeps."""
