"""Users can download their personal data, and delete their account."""

from __future__ import annotations

import json
import re
from datetime import timedelta

import asyncpg
from seatweb.storage import resources

from tests.faults.support import live
from tests.support import Site, says, together, within


async def test_the_download_contains_the_users_own_data_and_nobody_elses(
    site: Site, connection: asyncpg.Connection
) -> None:
    async with site.people(1, prefix="Zoe Other ") as (zoe,):
        ada = site.visitor(headers={"user-agent": "curl/8.1"})
        await ada.register("Ada Lovelace")
        await ada.book(site.clock.today, 7)
        await ada.post("/days/2026-11-23/seats/9/move")
        await zoe.book(site.clock.today, 8)
        answer = await ada.get("/account/data")
        assert "attachment" in answer.headers["content-disposition"]
        assert answer.headers["cache-control"] == "no-store"
        data = json.loads(answer.text)
        assert data["username"] == "Ada Lovelace"
        assert [(booking["day"], booking["seat"], booking["status"]) for booking in data["bookings"]] == [
            ("2026-11-23", "A-09", "confirmed")
        ]
        assert [sign_in["device"] for sign_in in data["sign_ins"]] == ["curl/8.1"]
        assert [action["action"] for action in data["actions"]] == ["register", "sign_in", "book", "move"]
        assert "Zoe" not in answer.text
        assert "argon2" not in answer.text
    assert (await site.visitor().get("/account/data")).headers["location"].startswith("/login")


async def test_a_deleted_account_leaves_no_name(site: Site, connection: asyncpg.Connection) -> None:
    here, there = site.visitor(), site.visitor()
    await here.register("Ada Lovelace")
    await there.login("Ada Lovelace")
    today = site.clock.today
    for day, seat in ((today, 7), (today + timedelta(days=1), 27), (today + timedelta(days=2), 7)):
        assert (await here.book(day, seat)).status_code == 303
    await connection.execute("update bookings set day = day - 10 where day = $1", today + timedelta(days=2))
    watcher = site.visitor()
    async with live(watcher, today) as stream:
        refused = await here.post("/account/delete", password="wrong")
        assert refused.status_code == 422
        assert (await here.get("/account")).status_code == 200
        answer = await here.post("/account/delete", password="correct horse battery")
        assert answer.headers["location"] == "/"
        await stream.shows(7, "free")
    assert "deleted" in says(await here.get("/"))

    async def is_signed_out() -> bool:
        return (await there.get("/account")).status_code == 303

    await within(30, is_signed_out)
    assert (await here.login("Ada Lovelace")).status_code == 422
    rows = await connection.fetch("select day, status from bookings order by day")
    assert [row["status"] for row in rows] == ["confirmed", "cancelled", "cancelled"]
    assert rows[0]["day"] < today
    for table in ("users", "sessions", "bookings", "audit", "idempotency_keys"):
        for row in await connection.fetch(f"select to_jsonb({table})::text as text from {table}"):  # noqa: S608
            assert "ovelace" not in row["text"].lower()
            assert "argon2" not in row["text"]
    assert await connection.fetchval("select count(*) from sessions") == 0
    actions = [row["action"] for row in await connection.fetch("select action from audit order by id")]
    assert actions.count("cancel") == 2
    assert actions[-1] == "delete_account"
    # The name is free again, and a new account with it has none of the old data.
    newcomer = site.visitor()
    assert (await newcomer.register("Ada Lovelace")).status_code == 303
    assert json.loads((await newcomer.get("/account/data")).text)["bookings"] == []


async def test_deleting_while_booking_leaves_no_booking_behind(site: Site, connection: asyncpg.Connection) -> None:
    for round_ in range(4):
        ada = site.visitor()
        await ada.register(f"ada{round_}")
        days = [site.clock.ahead(number) for number in range(6)]
        answers = await together(
            *(ada.book(day, 7) for day in days[:3]),
            ada.post("/account/delete", password="correct horse battery"),
            *(ada.book(day, 7) for day in days[3:]),
        )
        assert answers[3].status_code == 303
        assert answers[3].headers["location"] == "/"
    assert await connection.fetchval("select count(*) from bookings where status = 'confirmed'") == 0


async def test_every_table_with_user_data_is_accounted_for(connection: asyncpg.Connection) -> None:
    """Whoever adds a table with a user's data decides here what happens to it when the account is deleted."""
    rows = await connection.fetch(
        "select distinct table_name from information_schema.columns"
        " where table_schema = 'public' and column_name = 'user_id' order by table_name"
    )
    assert [row["table_name"] for row in rows] == [
        "audit",  # kept: numbers only
        "booking_details",  # a view
        "bookings",  # past ones are kept: numbers only
        "code_tries",  # deleted
        "idempotency_keys",  # deleted
        "passkeys",  # deleted
        "password_resets",  # deleted
        "recovery_codes",  # deleted
        "session_changes",  # deleted after an hour: numbers only
        "sessions",  # deleted
        "totp_secrets",  # deleted
        "username_skeletons",  # deleted
        "waiting_sign_ins",  # deleted
    ]
    queries = "".join(path.read_text() for path in (resources.folder("sql") / "queries").glob("*.sql"))
    deleted = {row["table_name"] for row in rows} - {"audit", "booking_details", "bookings"}
    assert deleted <= set(re.findall(r"delete from (\w+)", queries))
