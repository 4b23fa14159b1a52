"""Create signed-in users without hashing passwords, and the requests that their browsers send."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final
from urllib.parse import urlencode
from uuid import UUID

from seatweb.accounts.model import Session, User
from seatweb.http.cookies import Cookies
from seatweb.http.csrf import CSRF_FIELD, Csrf, bound
from seatweb.http.tokens import API_AUDIENCE, Tokens

from benchmarks.load import request
from benchmarks.servers import SECRET, execute

TOKENS: Final = Tokens([SECRET])
OUR_COOKIES: Final = Cookies(TOKENS, secure=False)
CSRF: Final = Csrf([SECRET], OUR_COOKIES, None)
CSRF_SECRET: Final = "0" * 64
NO_PASSWORD: Final = "none"  # noqa: S105 - not a valid hash: nobody can sign in with it
REGISTER: Final = """
    insert into users (username, username_key, password_hash)
    select 'person.' || n, 'person.' || n, $2 from generate_series(1, $1::int) as n
"""
SIGN_IN: Final = """
    with started as (
        insert into sessions (user_id, expires_at)
        select id, now() + interval '1 day' from users order by id limit $1
        returning id, user_id, expires_at
    )
    select users.id, users.username, users.created_at, started.id as session_id, started.expires_at
    from started inner join users on users.id = started.user_id order by users.id
"""


@dataclass(frozen=True, slots=True)
class Person:
    """A signed-in user: in a browser with the cookie, in a program with the token."""

    id: int
    username: str
    session_id: str
    cookie: str
    token: str

    def get(self, path: str, **headers: str) -> bytes:
        """Return the request of this person's browser for a page."""
        return request("GET", path, {"Accept": "text/html", "Cookie": self.cookie, **headers})

    def move(self, booking_id: int, seat_id: int) -> bytes:
        """Return the request of this person's program to move a booking to another seat."""
        body = f'{{"seat_id": {seat_id}}}'.encode()
        return request("PATCH", f"/bookings/{booking_id}", {"Authorization": f"Bearer {self.token}"}, body)

    def book_by_form(self, seat_id: int, day: date, section: str) -> bytes:
        """Return the request that this person's browser sends for a booking, while it shows one section."""
        form = urlencode({CSRF_FIELD: CSRF.token(bound(CSRF_SECRET, UUID(self.session_id)))}).encode()
        headers = {"Cookie": self.cookie, "HX-Request": "true", "Accept-Encoding": "gzip, deflate, br, zstd"}
        path = f"/days/{day}/seats/{seat_id}/book?section={section}"
        return request("POST", path, headers, form, content_type="application/x-www-form-urlencoded")

    def book(self, seat_id: int, day: date) -> bytes:
        """Return the request of this person's program for a booking."""
        body = f'{{"seat_id": {seat_id}, "booking_date": "{day}"}}'.encode()
        return request("POST", "/bookings", {"Authorization": f"Bearer {self.token}"}, body)


def register(database_url: str, count: int, password_hash: str = NO_PASSWORD) -> None:
    """Create `count` users: person.1, person.2, …; without a password unless its hash is given."""
    execute(database_url, REGISTER, count, password_hash)


def sign_in(database_url: str, count: int) -> list[Person]:
    """Create a session for each of the first `count` users, and return them."""
    people = []
    for row in execute(database_url, SIGN_IN, count):
        user = User(id=row["id"], username=row["username"], created_at=row["created_at"])
        session = Session(id=row["session_id"], user=user, expires_at=row["expires_at"])
        cookies = {OUR_COOKIES.session_cookie: TOKENS.issue(session), OUR_COOKIES.csrf_cookie: CSRF_SECRET}
        people.append(
            Person(
                id=user.id,
                username=user.username,
                session_id=str(session.id),
                cookie="; ".join(f"{name}={value}" for name, value in cookies.items()),
                token=TOKENS.issue(session, API_AUDIENCE),
            )
        )
    return people


def sign_in_form(username: str, password: str) -> bytes:
    """Return the request that a browser sends from the sign-in page."""
    token = CSRF.token(CSRF_SECRET)
    form = urlencode({CSRF_FIELD: token, "username": username, "password": password}).encode()
    headers = {"Cookie": f"{OUR_COOKIES.csrf_cookie}={CSRF_SECRET}"}
    return request("POST", "/login", headers, form, content_type="application/x-www-form-urlencoded")


def today() -> date:
    """Return the day that is today for the app."""
    return datetime.now(UTC).date()


def day_ahead(days: int) -> date:
    """Return the day `days` from today; 1 to 89 can be booked even if midnight passes during the run."""
    return today() + timedelta(days=days)
