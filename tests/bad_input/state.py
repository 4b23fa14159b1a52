"""A site with users in every step of every flow, and a dump of all its data."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import asyncpg
import redis
from seatweb.http.csrf import Csrf
from seatweb.http.tokens import API_AUDIENCE, CONFIRMED_AUDIENCE, PASSKEY_AUDIENCE, SECOND_FACTOR_AUDIENCE
from webauthn.helpers import bytes_to_base64url

from tests.api.conftest import user_and_session
from tests.bad_input import forms
from tests.bad_input.requests import Person
from tests.support import Clock, Site, Visitor
from tests.web.admin.test_people import make_admin

# Columns that may change: the use of a session is recorded once a minute.
TOUCHED: Final = {("sessions", "seen_at")}
# Keys in Redis that no decision depends on: cached section views, and what the health check writes.
UNIMPORTANT: Final = (b"view:", b"seatweb:health:")


async def senders(
    site: Site, connection: asyncpg.Connection, ada: Visitor, grace: Visitor, root: Visitor
) -> dict[str, Person]:
    """Return all senders, in every step of every flow."""
    our_cookies, csrf, tokens = site.our_cookies, site.csrf, site.tokens
    await make_admin(connection, root)
    site.confirm(root)
    assert ada.user
    assert grace.user
    user, session = user_and_session(site, ada)
    waiting = await connection.fetchval(
        "insert into waiting_sign_ins (user_id, password_hash, created_at)"
        " values ($1, 'none', now() + interval '1 day') returning id",
        grace.user.id,
    )

    def challenge(purpose: str, user_id: object = "") -> bytes:
        words = {"purpose": purpose, "challenge": bytes_to_base64url(bytes(32)), "user": str(user_id)}
        return step(PASSKEY_AUDIENCE, {**words, "handle": "0" * 32 if purpose == "add" else ""})

    def step(audience: str, content: dict[str, str]) -> bytes:
        cookie = our_cookies.of_step(audience, content, 10**6)
        return f"{cookie.key}={cookie.value}".encode()

    def person(visitor: Visitor, *cookies: bytes, bearer: str = "") -> Person:
        session_cookies = (f"{name}={value}".encode() for name, value in visitor.http.cookies.items())
        return Person((*session_cookies, *cookies), visitor.token.encode(), bearer.encode())

    secret = "1" * 64
    nobody = Person((f"{our_cookies.csrf_cookie}={secret}".encode(),), csrf.token(secret).encode())
    confirmed = step(CONFIRMED_AUDIENCE, {"session": str(session.id)})
    other_site = Csrf(["another-secret-another-secret-another"], our_cookies, None)
    in_sign_in = (step(SECOND_FACTOR_AUDIENCE, {"waiting": str(waiting)}), challenge("second", grace.user.id))
    return {
        "nobody": nobody,
        "unlocking": nobody._replace(cookies=(*nobody.cookies, challenge("sign_in"))),
        "waiting": nobody._replace(cookies=(*nobody.cookies, *in_sign_in)),
        "user": person(ada, bearer=tokens.issue(session, API_AUDIENCE)),
        "confirmed": person(ada, confirmed, challenge("add", user.id)),
        "confirming": person(ada, challenge("confirm", user.id)),
        "admin": person(root),
        "stranger": Person((), other_site.token(f"{'0' * 64}:{session.id}").encode()),
    }


@asynccontextmanager
async def populated(site: Site, connection: asyncpg.Connection, clock: Clock) -> AsyncIterator[dict[str, Person]]:
    """Yield senders with bookings, a passkey and an authenticator app, with ids that are not among the bad values."""
    for name, first in (
        ("users", forms.FIRST_USER),
        ("bookings", forms.FIRST_BOOKING),
        ("passkeys", forms.FIRST_PASSKEY),
    ):
        await connection.execute(f"alter table {name} alter column id restart with {first}")
    async with site.people(3, "eve") as (grace, ada, root):
        found = await senders(site, connection, ada, grace, root)
        assert grace.user
        assert ada.user
        for visitor, days, seat_id in ((grace, 0, forms.TAKEN), (grace, 1, forms.TAKEN), (ada, 1, b"8")):
            assert (await visitor.book(clock.ahead(days), int(seat_id))).status_code == 303
        await connection.execute(
            "insert into passkeys (user_id, user_handle, credential_id, public_key, sign_count, transports, name)"
            " values ($1, gen_random_uuid(), 'id', 'key', 0, '{}', 'Phone')",
            grace.user.id,
        )
        totp = "insert into totp_secrets (user_id, secret, confirmed_at) values ($1, repeat('JBSWY3DP', 4), $2)"
        await connection.execute(totp, ada.user.id, None)
        await connection.execute(totp, grace.user.id, ada.user.created_at)
        yield found


async def everything(connection: asyncpg.Connection, redis_url: str) -> dict[str, list[str]]:
    """Return all data: every row of every table, and all holds."""
    columns = await connection.fetch(
        "select table_schema, table_name, column_name from information_schema.columns"
        " join information_schema.tables using (table_schema, table_name)"
        " where table_type = 'BASE TABLE' and table_schema not in ('pg_catalog', 'information_schema')"
    )
    tables: dict[str, list[str]] = {}
    for schema, name, column in columns:
        if (name, column) not in TOUCHED:
            tables.setdefault(f'"{schema}"."{name}"', []).append(f'"{column}"')
    assert len(tables) > 12
    found = {}
    for name, names in tables.items():
        rows = await connection.fetch(f"select r::text from (select {', '.join(names)} from {name}) r order by 1")  # noqa: S608
        found[name] = [row[0] for row in rows]
    with redis.Redis.from_url(redis_url) as client:
        found["Redis"] = sorted(key.decode() for key in client.scan_iter() if not key.startswith(UNIMPORTANT))
    return found
