"""Sessions are renewed silently, listed, ended one by one or all at once, and expire with age or when idle."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg
import jwt
import pytest
from bs4 import Tag
from seatweb.accounts import session_queries
from seatweb.accounts import sessions as module
from seatweb.accounts.model import Session, SessionSummary
from seatweb.errors import Overloaded
from seatweb.http.tokens import API_AUDIENCE, PAGES_AUDIENCE, RENEWAL_AUDIENCE, key_id
from seatweb.settings import Backends
from seatweb.storage.statements import Statements
from seatweb.web.account import own_account
from seatweb.web.map.day_page import MapReader, VisibleDay
from seatweb.web.map.place import Place

from tests.support import Site, Visitor, one, promised, says, soup, together, until, within

SESSION, RENEWAL = "seatweb_session", "seatweb_renewal"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
OLD, NEW = "an-old-secret-0123456789abcdefghijkl", "the-new-secret-0123456789abcdefghij"


async def is_signed_in(visitor: Visitor) -> bool:
    return (await visitor.get("/account")).status_code == 200


async def until_signed_out(visitor: Visitor, seconds: float = 60) -> None:
    """Return when the visitor is signed out."""

    async def is_signed_out() -> bool:
        return not await is_signed_in(visitor)

    await within(seconds, is_signed_out)


def rows(page: Tag) -> list[str]:
    return [row.get_text(" ", strip=True) for row in page.select(".sign-in")]


# Renewal


async def test_a_token_lasts_ten_minutes_and_is_renewed_silently(site: Site) -> None:
    visitor = site.visitor()
    answer = await visitor.register("ada")
    lifetimes = {
        value.partition("=")[0]: int(value.lower().partition("max-age=")[2].partition(";")[0])
        for value in answer.headers.get_list("set-cookie")
    }
    assert 540 <= lifetimes[SESSION] <= 600
    assert lifetimes[RENEWAL] > 13 * 86400
    first = visitor.http.cookies[SESSION]
    claims = jwt.decode(first, options={"verify_signature": False})
    assert claims["exp"] - claims["iat"] == 600
    for path in ("/account", "/", "/days/2026-11-23", "/days/2026-11-23/live"):
        del visitor.http.cookies[SESSION]  # as the browser does after ten minutes
        async with visitor.http.stream("GET", path) as renewed:
            assert (path, renewed.status_code) == (path, 200)
            new = renewed.cookies[SESSION]
            assert "HttpOnly" in renewed.headers["set-cookie"]
        assert site.tokens.read(new) == site.tokens.read(first)
    assert "set-cookie" not in (await visitor.get("/account")).headers


async def test_a_form_opened_before_the_token_expired_still_works(site: Site) -> None:
    visitor = site.visitor()
    await visitor.register("ada")
    token = await visitor.csrf()
    del visitor.http.cookies[SESSION]
    answer = await visitor.http.post("/days/2026-11-23/seats/7/book", data={"_csrf_token": token})
    assert answer.status_code == 303
    assert (await visitor.statuses(site.clock.today))["A-07"] == "mine"


async def test_an_expired_token_alone_is_refused(site: Site, backends: Backends) -> None:
    visitor = site.visitor()
    await visitor.register("ada")
    claims = jwt.decode(visitor.http.cookies[SESSION], options={"verify_signature": False})
    secret, past = backends.jwt_secret, datetime.now(UTC) - timedelta(seconds=1)
    expired = jwt.encode({**claims, "exp": past}, secret, "HS256", headers={"kid": key_id(secret)})
    assert not await is_signed_in(site.visitor(cookies={SESSION: expired}))
    both = site.visitor(cookies={SESSION: expired, RENEWAL: visitor.http.cookies[RENEWAL]})
    assert await is_signed_in(both)


async def test_each_token_is_accepted_only_for_its_purpose(site: Site) -> None:
    async with site.people(1) as (ada,):
        tokens = {audience: ada.http.cookies[name] for audience, name in
                  ((PAGES_AUDIENCE, SESSION), (RENEWAL_AUDIENCE, RENEWAL))}  # fmt: skip
        answer = await ada.http.post("/auth/login", json={"username": "x", "password": "y"})
        assert answer.status_code == 401
        for audience, token in tokens.items():
            assert await is_signed_in(site.visitor(cookies={SESSION: token})) is (audience == PAGES_AUDIENCE)
            assert await is_signed_in(site.visitor(cookies={RENEWAL: token})) is (audience == RENEWAL_AUDIENCE)
            bearer = {"authorization": f"Bearer {token}"}
            assert (await site.visitor().get("/me", headers=bearer)).status_code == 401
            assert site.tokens.read(token, API_AUDIENCE) is None


async def test_a_signed_out_session_is_not_renewed(site: Site) -> None:
    visitor = site.visitor()
    await visitor.register("ada")
    copied = visitor.http.cookies[RENEWAL]
    await visitor.post("/logout")
    assert RENEWAL not in visitor.http.cookies
    thief = site.visitor(cookies={RENEWAL: copied})
    answer = await thief.get("/account")
    assert (answer.status_code, "set-cookie" in answer.headers) == (303, False)


# The list


async def test_the_account_page_lists_sessions_and_ends_them(site: Site) -> None:
    here, there = site.visitor(headers={"user-agent": FIREFOX}), site.visitor(headers={"user-agent": "curl/8.1"})
    await here.register("ada")
    await there.login("ada")
    page = soup(await here.get("/account"))
    assert len(rows(page)) == 2
    (this_device,) = [row for row in rows(page) if "This device" in row]
    assert "Firefox on Linux" in this_device
    (other,) = [row for row in rows(page) if "This device" not in row]
    assert "curl" in other
    assert "127.0.0.1" in other
    form = one(page, "form[action$='/end']:not([action='/account/sessions/all/end'])")
    answer = await here.post(str(form["action"]))
    assert answer.headers["location"] == "/account"
    assert "signed out" in says(await here.get("/account"))
    await until_signed_out(there)
    assert len(rows(soup(await here.get("/account")))) == 1


async def test_every_user_agent_gets_a_device_name(site: Site, subtests: pytest.Subtests) -> None:
    agents = ("", "\\", "a" * 5000, "<script>alert(1)</script>", "Ünïcode/1")
    for number, agent in enumerate(agents):
        with subtests.test(agent[:30]):
            visitor = site.visitor(headers={"user-agent": agent.encode()})
            await visitor.register(f"ada{number}")
            page = await visitor.get("/account")
            assert page.status_code == 200
            assert "<script>alert" not in page.text
            assert one(soup(page), ".sign-in b").get_text(strip=True)


async def test_users_cannot_end_another_users_session(site: Site, connection: asyncpg.Connection) -> None:
    async with site.people(2) as (ada, eve):
        assert ada.user
        session_id = await connection.fetchval("select id::text from sessions where user_id = $1", ada.user.id)
        for id_ in (session_id, "00000000-0000-0000-0000-000000000000"):
            answer = await eve.post(f"/account/sessions/{id_}/end")
            assert answer.status_code == 303  # the same whether or not the session exists
        for odd in ("nonsense", "", "%2F"):
            assert (await eve.post(f"/account/sessions/{odd}/end")).status_code == 404, odd
        assert await connection.fetchval("select count(*) from sessions where ended_at is not null") == 0
        assert await connection.fetchval("select count(*) from audit where action = 'sign_out'") == 0
        assert await is_signed_in(ada)


@promised(1)
async def test_signing_out_everywhere_takes_effect_in_every_process(
    start_site: Callable[..., Site], connection: asyncpg.Connection, seconds: float
) -> None:
    first, second = start_site(), start_site()
    here = first.visitor()
    await here.register("ada")
    elsewhere = [second.visitor() for _ in range(3)]
    await together(*(visitor.login("ada") for visitor in elsewhere))
    async with second.people(1, prefix="eve") as (eve,):
        for visitor in elsewhere:
            assert await is_signed_in(visitor)  # so the other process remembers the session
        answer = await here.post("/account/sessions/all/end")
        assert answer.headers["location"] == "/login"
        assert not await is_signed_in(here)
        await together(*(until_signed_out(visitor, seconds) for visitor in elsewhere))
        assert await is_signed_in(eve)
    assert await connection.fetchval("select count(*) from audit where action = 'sign_out'") == 4


async def test_a_session_that_a_late_transaction_ends_is_refused(
    site: Site, connection: asyncpg.Connection, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Transactions commit in another order than they begin; the question about changes must not miss the late ones."""
    original, told = session_queries.session_changes, set[int]()

    async def session_changes(sql: Statements, after: int | None) -> session_queries.SessionChanges:
        changes = await original(sql, after)
        told.update(changes.user_ids)
        return changes

    monkeypatch.setattr(session_queries, "session_changes", session_changes)
    async with site.people(3) as (ada, eve, bob):
        assert ada.user
        assert eve.user
        ada_id, eve_id = ada.user.id, eve.user.id
        late = await asyncpg.connect(database_url)
        async with late.transaction():
            await late.execute("update sessions set ended_at = now() where user_id = $1", ada_id)
            await connection.execute("update sessions set ended_at = now() where user_id = $1", eve_id)
            await until(lambda: eve_id in told)
            assert await is_signed_in(ada)
        await late.close()
        await until(lambda: ada_id in told)
        await until_signed_out(ada)
        await until_signed_out(eve)
        assert await is_signed_in(bob)


async def test_a_session_ends_at_once_however_the_database_was_told(site: Site, connection: asyncpg.Connection) -> None:
    """No process asks for a session again until a trigger has noted that it changed."""
    statements = (
        "update sessions set ended_at = now() where user_id = $1",
        "update sessions set expires_at = now() where user_id = $1",
        "update sessions set enrolling = true where user_id = $1",
        "delete from sessions where user_id = $1",
        "update users set disabled_at = now() where id = $1",
    )
    async with site.people(len(statements) + 1) as (*users, eve):
        for user, statement in zip(users, statements, strict=True):
            assert user.user
            assert await is_signed_in(user)
            await connection.execute(statement, user.user.id)
            await until_signed_out(user)
        assert await is_signed_in(eve)


async def test_a_new_username_is_shown_at_once_on_every_page(site: Site, connection: asyncpg.Connection) -> None:
    async with site.people(1) as (ada,):
        assert ada.user

        async def is_shown() -> bool:
            return "Lovelace" in (await ada.get("/account")).text

        assert not await is_shown()
        await connection.execute("update users set username = 'Lovelace' where id = $1", ada.user.id)
        await within(60, is_shown)


async def test_new_rights_count_at_once_whoever_grants_them(site: Site, connection: asyncpg.Connection) -> None:
    async with site.people(1) as (ada,):
        assert ada.user

        async def sees_people() -> bool:
            return (await ada.get("/admin/people")).status_code == 200

        assert not await sees_people()
        await connection.execute("update users set role = 'admin' where id = $1", ada.user.id)
        await within(30, sees_people)
        await connection.execute("update users set role = 'user' where id = $1", ada.user.id)

        async def sees_none() -> bool:
            return not await sees_people()

        await within(30, sees_none)


# Age and idleness


async def test_an_idle_session_expires_for_good(
    site: Site, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with site.people(2) as (ada, eve):
        assert ada.user
        await connection.execute(
            "update sessions set seen_at = now() - interval '72 hours' where user_id = $1", ada.user.id
        )
        await until_signed_out(ada)
        assert await is_signed_in(eve)
        assert not await is_signed_in(ada)  # requests do not revive it
        assert await connection.fetchval("select count(*) from sessions where seen_at < now() - interval '1 day'") == 1


async def test_session_use_is_recorded_from_time_to_time(
    start_site: Callable[..., Site], connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TOUCH_SECONDS", 0.05)
    async with start_site().people(3) as (ada, idle, gone):
        assert ada.user
        assert gone.user
        await connection.execute("update sessions set seen_at = now() - interval '1 hour'")
        await connection.execute(
            "update sessions set seen_at = now() - interval '80 hours' where user_id = $1", gone.user.id
        )
        recently_seen = "select array_agg(user_id) from sessions where seen_at > now() - interval '1 minute'"

        async def is_recorded() -> bool:
            await gone.get("/account")
            await ada.get("/account")
            return bool(await connection.fetchval(recently_seen) == [ada.user.id] if ada.user else None)

        await within(30, is_recorded)
        assert idle.user


# Keys


async def test_sessions_survive_a_new_secret_until_the_old_one_is_removed(
    start_site: Callable[..., Site], backends: Backends
) -> None:
    def with_secret(secret: str) -> Site:
        servers = Backends(database_url=backends.database_url, redis_url=backends.redis_url, jwt_secret=secret)
        return start_site(with_backends=servers)

    before, between, after = with_secret(OLD), with_secret(f"{NEW}, {OLD}"), with_secret(NEW)
    async with before.people(1) as (ada,):
        token = await ada.csrf()
        ada.http.base_url = between.url
        assert await is_signed_in(ada)
        answer = await ada.http.post("/days/2026-11-23/seats/7/book", data={"_csrf_token": token})
        assert answer.status_code == 303
        fresh = between.visitor()
        await fresh.register("grace")
        header = jwt.get_unverified_header(fresh.http.cookies[SESSION])
        assert header["kid"] == key_id(NEW)
        ada.http.base_url = after.url
        assert not await is_signed_in(ada)
        fresh.http.base_url = after.url
        assert await is_signed_in(fresh)


# Forms are bound to the session


async def test_a_csrf_token_is_bound_to_its_session(site: Site, connection: asyncpg.Connection) -> None:
    visitor = site.visitor()
    await visitor.register("ada")
    token = await visitor.csrf()
    await visitor.login("ada")  # another session, in the same browser
    stale = await visitor.http.post("/days/2026-11-23/seats/7/book", data={"_csrf_token": token})
    assert stale.status_code == 403
    assert await connection.fetchval("select count(*) from bookings") == 0
    async with site.people(1) as (eve,):
        eve.http.cookies.set("seatweb_csrf", visitor.http.cookies["seatweb_csrf"])
        theirs = await eve.http.post("/logout", data={"_csrf_token": await visitor.csrf()})
        assert theirs.status_code == 403


async def test_a_user_whose_session_was_ended_can_sign_in_again(site: Site, connection: asyncpg.Connection) -> None:
    visitor = site.visitor()
    await visitor.register("ada")
    open_form = await visitor.csrf()
    await connection.execute("update sessions set ended_at = now()")
    await until_signed_out(visitor)
    answer = await visitor.http.post("/days/2026-11-23/seats/7/book", data={"_csrf_token": open_form})
    assert answer.headers["location"] == "/login?next=/days/2026-11-23/seats/7"
    form = soup(await visitor.get("/login"))
    token = str(form.select("input[name=_csrf_token]")[0]["value"])
    fields = {"_csrf_token": token, "username": "ada", "password": "correct horse battery"}
    assert (await visitor.http.post("/login", data=fields)).status_code == 303
    assert await is_signed_in(visitor)


async def stream_ends_with_its_session(site: Site) -> bool:
    """Return whether signing out everywhere on one device ends the live map on another."""
    here, there = site.visitor(), site.visitor()
    await here.register("ada")
    await there.login("ada")
    async with there.http.stream("GET", "/days/2026-11-23/live") as stream:
        await here.post("/account/sessions/all/end")
        async with asyncio.timeout(30):
            return "event: bye" in [line async for line in stream.aiter_lines()]


async def test_a_stream_ends_with_its_session(site: Site) -> None:
    assert await stream_ends_with_its_session(site)


async def test_a_stream_ends_though_its_session_ended_while_it_was_being_opened(
    site: Site, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    opening, may_open = threading.Event(), threading.Event()
    original = MapReader.read

    async def waiting(reader: MapReader, session: Session | None, place: Place, *, fresh: bool = False) -> VisibleDay:
        opening.set()
        while not may_open.is_set():
            await asyncio.sleep(0.005)
        return await original(reader, session, place, fresh=fresh)

    visitor = site.visitor()
    await visitor.register("ada")
    monkeypatch.setattr(MapReader, "read", waiting)
    request = visitor.http.build_request("GET", "/days/2026-11-23/live")
    opened = asyncio.create_task(visitor.http.send(request, stream=True))
    await until(opening.is_set)
    await connection.execute("update sessions set ended_at = now()")
    await until_signed_out(visitor)  # so this process has asked which sessions ended
    may_open.set()
    stream = await opened
    async with asyncio.timeout(30):
        assert "event: bye" in [line async for line in stream.aiter_lines()]


async def test_a_stream_ends_with_its_session_though_the_database_was_busy_just_then(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, failures = session_queries.live_sessions, iter([Overloaded()])

    async def busy(sql: Statements, ids: set[UUID], idle: timedelta) -> set[UUID]:
        for failure in failures:
            raise failure
        return await original(sql, ids, idle)

    monkeypatch.setattr(session_queries, "live_sessions", busy)
    assert await stream_ends_with_its_session(site)
    assert not [*failures]  # it did fail once


async def test_the_account_page_lists_the_fifty_sessions_used_last(site: Site, connection: asyncpg.Connection) -> None:
    async with site.people(1) as (ada,):
        assert "most recent sessions" not in (await ada.get("/account")).text
        await connection.execute(
            """
            insert into sessions (user_id, expires_at, seen_at, device)
            select user_id, expires_at, now() - n * interval '1 minute', 'Program/' || n
            from sessions, generate_series(1, 300) as n
            """
        )
        page = soup(await ada.get("/account"))
    assert len(rows(page)) == 50
    assert "This device" in rows(page)[0]
    assert "Your 50 most recent sessions" in page.get_text()


async def test_beyond_fifty_sessions_the_least_recently_used_end(site: Site, connection: asyncpg.Connection) -> None:
    ada = site.visitor()
    await ada.register("ada")
    await connection.execute(
        """
        insert into sessions (user_id, expires_at, device, seen_at)
        select id, now() + interval '1 day', 'device ' || n, now() - make_interval(mins => n)
        from users, generate_series(1, 60) as n
        """
    )
    eve = site.visitor()
    await eve.register("eve")
    assert (await site.visitor().login("ada")).status_code == 303
    devices = await connection.fetch("select device from sessions where ended_at is null and device like 'device %'")
    assert {row["device"] for row in devices} == {f"device {number}" for number in range(1, 49)}
    assert await is_signed_in(ada)
    assert await is_signed_in(eve)
    rows = await connection.fetch("select user_id from audit where action = 'sign_out'")
    assert len(rows) == 61 + 1 - 50


async def test_device_names_are_found_off_the_event_loop(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library takes milliseconds for a user agent that it has not seen, and the page shows fifty."""
    on_loop: list[bool] = []
    original = own_account.device_name

    def recorded(session: SessionSummary) -> str:
        on_loop.append(asyncio._get_running_loop() is not None)
        return original(session)

    monkeypatch.setattr(own_account, "device_name", recorded)
    async with site.people(1) as (ada,):
        assert (await ada.get("/account")).status_code == 200
    assert on_loop == [False]


async def test_cookies_of_other_programs_on_the_host_are_ignored(site: Site) -> None:
    async with site.people(1) as (ada,):
        own = "; ".join(f"{name}={value}" for name, value in ada.http.cookies.items())
        other = 'theirs="' + '\\"' * 6000 + '"'
        for cookies in (f"a=b; {own}", f"{own}; a=b", f"{other}; {own}"):
            for path in ("/", "/account"):
                page = await site.visitor().get(path, headers={"Cookie": cookies})
                assert page.status_code == 200
                assert "Sign out" in page.text
