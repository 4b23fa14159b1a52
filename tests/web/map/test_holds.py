"""Choosing a seat holds it for its user for a while, so others cannot book it; the database still decides."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from datetime import timedelta

import asyncpg
import pytest
import redis
from seatweb.settings import Backends

from tests.faults.support import at, hold, tag_of, with_redis
from tests.support import HTMX, Clock, Site, Visitor, one, says, seats, soup, until, until_blocked

DAY = "2026-11-23"
KEY = "holds:{2026-11-23}"


@pytest.fixture
def store(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        yield client


def held_seats(store: redis.Redis) -> set[str]:
    """Return the ids of the seats that are held on any day."""
    return {str(seat_id) for key in store.keys("holds:*") for seat_id in store.hkeys(key)}


async def status(visitor: Visitor, label: str) -> str:
    return seats(await visitor.get(f"/days/{DAY}"))[label]


async def test_a_held_seat_is_free_for_its_holder_and_on_hold_for_others(site: Site, clock: Clock) -> None:
    async with site.people(2) as (ada, grace):
        panel = soup(await ada.get(f"/days/{DAY}/seats/7"))
        form = one(panel, "#panel #hold")
        assert (form["action"], form["hx-trigger"]) == (f"/days/{DAY}/seats/7/hold", "load")
        answer = soup(await ada.post_htmx(f"/days/{DAY}/seats/7/hold"))
        box = one(answer, "#hold")
        assert len(str(box["data-token"])) >= 16
        assert 85 < int(str(one(box, ".clock")["data-seconds"])) <= 90
        for other in (grace, site.visitor()):
            page = await other.get(f"/days/{DAY}")
            assert one(soup(page), "#seat-7")["aria-label"] == "Seat A-07, on hold"
            assert seats(page)["A-07"] == "held"
            assert one(soup(page), "#section-A-count").get_text() == "19 free"
            assert one(soup(page), "#tally")["data-free"] == "79"
            assert seats(await other.get(f"/days/{DAY}/sections/A"))["A-07"] == "held"
        page = await ada.get(f"/days/{DAY}")
        assert seats(page)["A-07"] == "free"
        assert one(soup(page), "#tally")["data-free"] == "80"
        assert seats(await grace.get(f"/days/{clock.ahead(1)}"))["A-07"] == "free"


@pytest.mark.parametrize("htmx", [False, True])
async def test_others_cannot_book_a_held_seat_and_its_holder_can(
    site: Site, clock: Clock, connection: asyncpg.Connection, store: redis.Redis, *, htmx: bool
) -> None:
    async with site.people(2) as (ada, grace):
        await hold(ada, clock.today, 7)
        post = grace.post_htmx if htmx else grace.post
        answer = await post(f"/days/{DAY}/seats/7/book")
        assert answer.status_code == 409
        assert 85 < int(answer.headers["retry-after"]) <= 90
        alert = one(soup(answer), "[role=alert]").get_text(" ", strip=True)
        assert alert == "Seat A-07 is on hold for someone else. A-06 is free."
        panel = one(soup(answer), "#panel")
        assert (panel["data-status"], seats(answer)["A-07"]) == ("held", "held")
        assert 85 < int(str(one(panel, ".clock")["data-seconds"])) <= 90
        assert one(panel, f"form[action='/days/{DAY}/seats/6/book']")
        assert await connection.fetchval("select count(*) from bookings") == 0
        assert await connection.fetchval("select count(*) from generations") == 0
        assert (await ada.book(clock.today, 7)).status_code == 303
        await until(lambda: held_seats(store) == set())
        assert (await status(ada, "A-07"), await status(grace, "A-07")) == ("mine", "taken")


async def test_the_alternative_on_offer_is_not_held_by_anyone_else(site: Site, clock: Clock) -> None:
    async with site.people(4) as (ada, grace, eve, joan):
        for visitor, seat_id in ((ada, 7), (grace, 6), (eve, 8)):
            await hold(visitor, clock.today, seat_id)
        refused = await joan.book(clock.today, 7)
        assert says(refused) == "Seat A-07 is on hold for someone else. A-02 is free."
        assert says(await grace.book(clock.today, 7)) == "Seat A-07 is on hold for someone else. A-06 is free."


async def test_any_free_seat_skips_seats_that_others_hold(
    site: Site, clock: Clock, connection: asyncpg.Connection
) -> None:
    async with site.people(21) as people:
        ada, grace = people[:2]
        await connection.execute("update seats set closed = id not in (61, 62)")
        await hold(ada, clock.today, 61)
        assert (await grace.post(f"/days/{DAY}/any")).headers["location"] == f"/days/{DAY}/seats/62"
        for query in ("", "?section=D"):
            full = await people[2].post(f"/days/{DAY}/any{query}")
            assert (full.status_code, says(full)) == (409, "There are no free seats left.")
        assert (await ada.post(f"/days/{DAY}/any")).headers["location"] == f"/days/{DAY}/seats/61"


async def test_a_holder_whose_hold_has_expired_can_lose_the_seat(site: Site, clock: Clock, store: redis.Redis) -> None:
    async with site.people(2) as (ada, grace):
        await hold(ada, clock.today, 7)
        store.delete(KEY)  # as if it had expired
        assert (await grace.book(clock.today, 7)).status_code == 303
        late = await ada.book(clock.today, 7)
        assert (late.status_code, says(late)) == (409, "Seat A-07 was booked a moment ago. A-06 is free.")


async def test_the_unique_index_decides_when_a_hold_expires_during_a_booking(
    site: Site, clock: Clock, connection: asyncpg.Connection, database_url: str, store: redis.Redis
) -> None:
    """The hold expires while its holder's booking is running, and someone else's booking commits first."""
    async with site.people(2) as (ada, grace):
        assert grace.user
        await hold(ada, clock.today, 7)
        async with connection.transaction():
            await connection.execute("insert into generations values (1, $1, 1)", clock.today)
            await connection.execute(
                "insert into bookings (day, seat_id, user_id) values ($1, 7, $2)", clock.today, grace.user.id
            )
            booking = asyncio.create_task(ada.book(clock.today, 7))
            await until_blocked(database_url, booking)
            store.delete(KEY)
        answer = await booking
        assert (answer.status_code, says(answer)) == (409, "Seat A-07 was booked a moment ago. A-06 is free.")
        assert await connection.fetchval("select count(*) from bookings") == 1


async def test_a_hold_that_arrives_during_its_users_booking_is_released(
    site: Site, clock: Clock, connection: asyncpg.Connection, database_url: str, store: redis.Redis
) -> None:
    """Two tabs: the hold arrives after the booking has checked the holds and before it commits."""
    async with site.people(2) as (ada, grace):
        async with connection.transaction():
            await connection.execute("insert into generations values (1, $1, 1)", clock.today)
            booking = asyncio.create_task(ada.book(clock.today, 7))
            await until_blocked(database_url, booking)
            await hold(ada, clock.today, 7)
        assert (await booking).status_code == 303
        await until(lambda: held_seats(store) == set())
        # Choosing the seat again after booking it holds nothing either.
        assert await hold(ada, clock.today, 7) == ""
        await until(lambda: held_seats(store) == set())
        cancel = one(soup(await ada.get(f"/days/{DAY}/seats/7")), "#panel form[action$='/cancel']")
        await ada.post(str(cancel["action"]))
        assert await status(grace, "A-07") == "free"


async def test_a_move_respects_holds_and_releases_the_users_own(site: Site, clock: Clock, store: redis.Redis) -> None:
    async with site.people(2) as (ada, grace):
        await ada.book(clock.today, 8)
        await hold(grace, clock.today, 7)
        refused = await ada.post(f"/days/{DAY}/seats/7/move")
        assert (refused.status_code, seats(refused)["A-08"], seats(refused)["A-07"]) == (409, "mine", "held")
        assert "A-07 is on hold for someone else" in says(refused)
        await hold(ada, clock.today, 43)
        assert (await ada.post(f"/days/{DAY}/seats/43/move")).status_code == 303
        await until(lambda: held_seats(store) == {"7"})
        assert (await status(grace, "A-08"), await status(grace, "C-03")) == ("free", "taken")


async def test_a_user_has_one_hold_per_day(site: Site, clock: Clock, store: redis.Redis) -> None:
    async with site.people(2) as (ada, grace):
        await hold(ada, clock.today, 7)
        await hold(ada, clock.ahead(1), 7)
        await hold(ada, clock.today, 8)
        assert (await status(grace, "A-07"), await status(grace, "A-08")) == ("free", "held")
        assert seats(await grace.get(f"/days/{clock.ahead(1)}"))["A-07"] == "held"


async def test_a_hold_is_renewed_with_its_token(site: Site, clock: Clock, store: redis.Redis) -> None:
    async with site.people(2) as (ada, grace):
        token = await hold(ada, clock.today, 7)
        assert await hold(ada, clock.today, 7, token=token) == token
        for invalid in ("short", "x" * 65, "with space in it", "ü" * 20):
            new = await hold(ada, clock.today, 7, token=invalid)
            assert new not in {token, invalid}
        refused = await grace.post_htmx(f"/days/{DAY}/seats/7/hold", token=new)
        assert refused.status_code == 409
        assert len(held_seats(store)) == 1


@pytest.mark.parametrize("htmx", [False, True])
async def test_a_refused_hold_holds_nothing(
    site: Site, clock: Clock, connection: asyncpg.Connection, store: redis.Redis, *, htmx: bool
) -> None:
    async with site.people(2) as (ada, grace):
        await connection.execute("update seats set closed = true where id = 9")
        await grace.book(clock.today, 7)
        for path, refusal in (
            ("2026-11-23/seats/7/hold", 409), ("2026-11-23/seats/9/hold", 409), ("2026-11-22/seats/1/hold", 422),
            ("2027-02-22/seats/1/hold", 422), ("2026-11-23/seats/999/hold", 404), ("2026-11-23/seats/0/hold", 404),
            (f"2026-11-23/seats/{'9' * 19}/hold", 404), ("2026-11-23/seats/x/hold", 404), ("today/seats/1/hold", 404),
            ("2026-11-23/seats/1/hold?section=ZZ", 404),
        ):  # fmt: skip
            answer = await (ada.post_htmx if htmx else ada.post)(f"/days/{path}")
            assert (answer.status_code, held_seats(store)) == (refusal, set()), path
            if htmx and refusal != 404:
                assert (answer.headers["hx-retarget"], answer.headers["hx-reswap"]) == ("#day", "outerMorph")
                assert one(soup(answer), "#day")
                assert one(soup(answer), "[role=alert]").get_text(strip=True)


async def test_holding_a_held_seat_is_refused_and_keeps_the_users_own_hold(site: Site, clock: Clock) -> None:
    async with site.people(3) as (ada, grace, eve):
        await hold(ada, clock.today, 7)
        await hold(grace, clock.today, 8)
        answer = await grace.post_htmx(f"/days/{DAY}/seats/7/hold")
        assert answer.status_code == 409
        assert (answer.headers["hx-retarget"], answer.headers["hx-reswap"]) == ("#day", "outerMorph")
        assert 85 < int(answer.headers["retry-after"]) <= 90
        assert "A-07 is on hold for someone else" in says(answer)
        seen = await eve.statuses(clock.today)
        assert (seen["A-07"], seen["A-08"]) == ("held", "held")


async def test_holding_requires_a_csrf_token_and_a_signed_in_user(site: Site, store: redis.Redis) -> None:
    async with site.people(1) as (ada,):
        for action in ("hold", "release"):
            path = f"/days/{DAY}/seats/7/{action}"
            assert (await ada.http.post(path)).status_code == 403
            assert (await ada.http.post(path, headers={**HTMX, "sec-fetch-site": "cross-site"})).status_code == 403
            visitor = site.visitor()
            answer = await visitor.post(path)
            assert (answer.status_code, answer.headers["location"]) == (303, f"/login?next=/days/{DAY}/seats/7")
            assert (await visitor.post_htmx(path)).headers["hx-redirect"] == f"/login?next=/days/{DAY}/seats/7"
        assert held_seats(store) == set()


async def test_releasing_a_hold_frees_the_seat(site: Site, clock: Clock, store: redis.Redis) -> None:
    async with site.people(2) as (ada, grace):
        token = await hold(ada, clock.today, 7)
        assert await status(grace, "A-07") == "held"
        answer = await ada.post_htmx(f"/days/{DAY}/seats/7/release?section=A", token=token)
        assert (answer.status_code, answer.headers["hx-push-url"]) == (200, f"/days/{DAY}?section=A")
        assert one(soup(answer), "#panel").has_attr("hidden")
        assert await status(grace, "A-07") == "free"
        token = await hold(ada, clock.today, 7)
        form = {"_csrf_token": ada.token, "token": token}
        quiet = await ada.http.post(f"/days/{DAY}/seats/7/release", data=form, headers={"Seatweb-Quiet": "1"})
        assert (quiet.status_code, quiet.content) == (204, b"")
        assert held_seats(store) == set()


async def test_only_the_holders_token_releases_a_hold(site: Site, clock: Clock, store: redis.Redis) -> None:
    async with site.people(2) as (ada, grace):
        token, other = await hold(ada, clock.today, 7), await hold(grace, clock.today, 8)
        for visitor, fields in (
            (grace, {"token": other}), (grace, {}), (grace, {"token": ""}), (grace, {"token": "x" * 22}),
            (grace, {"token": token}), (ada, {"token": other}), (ada, {}),
        ):  # fmt: skip
            assert (await visitor.post_htmx(f"/days/{DAY}/seats/7/release", **fields)).status_code == 200
            assert held_seats(store) == {"7", "8"}, fields
        await ada.post(f"/days/{DAY}/seats/7/release", token=token)
        assert held_seats(store) == {"8"}


async def test_holding_and_releasing_without_scripts(site: Site, clock: Clock, store: redis.Redis) -> None:
    async with site.people(2) as (ada, grace):
        answer = await ada.post(f"/days/{DAY}/seats/7/hold?section=A")
        assert (answer.status_code, answer.headers["location"]) == (303, f"/days/{DAY}/seats/7?section=A")
        assert await status(grace, "A-07") == "held"
        answer = await ada.post(f"/days/{DAY}/seats/7/release?section=A", token=str(store.hget(KEY, "7")).split()[1])
        assert (answer.status_code, answer.headers["location"]) == (303, f"/days/{DAY}?section=A")
        assert await status(grace, "A-07") == "free"
        for action in ("hold", "release"):
            opened = await ada.get(f"/days/{DAY}/seats/7/{action}")
            assert (opened.status_code, opened.headers["location"]) == (303, f"/days/{DAY}/seats/7")


async def test_no_answer_reveals_the_holder(site: Site, clock: Clock) -> None:
    async with site.people(1, prefix="Zoltan") as (zoltan,), site.people(1) as (grace,):
        token = await hold(zoltan, clock.today, 7)
        for other in (grace, site.visitor()):
            answers = [
                *[
                    await other.get(path)
                    for path in (f"/days/{DAY}", f"/days/{DAY}/seats/7", f"/days/{DAY}/sections/A")
                ],
                await other.get(f"/days/{DAY}/seats/7", headers=HTMX),
                await other.post_htmx(f"/days/{DAY}/seats/7/book"),
                await other.post_htmx(f"/days/{DAY}/seats/7/hold"),
            ]
            for answer in answers:
                assert not {"Zoltan", ">ZO<", token} & {
                    word for word in ("Zoltan", ">ZO<", token) if word in answer.text
                }


async def test_the_tag_of_a_map_does_not_identify_holders(site: Site, clock: Clock) -> None:
    """Two holds by the same user give different tags, so others cannot link them."""
    async with site.people(2) as (ada, grace):
        tags = []
        for _ in range(2):
            token = await hold(ada, clock.today, 7)
            tags.append(await tag_of(grace, clock.today))
            await ada.post(f"/days/{DAY}/seats/7/release", token=token)
        assert len({*tags}) == 2
        assert await tag_of(grace, clock.today) not in tags


async def test_holds_end_when_their_day_is_over(site: Site, clock: Clock) -> None:
    async with site.people(2) as (ada, grace):
        await hold(ada, clock.today, 7)
        clock.today += timedelta(days=1)
        grace.http.cookies.set("seatweb_changed", "1")  # bypasses the in-memory cache
        assert (await grace.statuses(clock.ahead(-1)))["A-07"] == "free"
        assert (await ada.post_htmx(f"/days/{DAY}/seats/7/hold")).status_code == 422


async def test_without_redis_there_are_no_holds_and_booking_works(
    start_site: Callable[..., Site], backends: Backends, clock: Clock
) -> None:
    site = start_site(with_backends=with_redis(backends, "redis://127.0.0.1:1/0"))
    async with site.people(2) as (ada, grace):
        box = one(soup(await ada.post_htmx(f"/days/{DAY}/seats/7/hold")), "#hold")
        assert not box.has_attr("data-token")
        assert box.get_text(strip=True) == ""
        assert (await status(grace, "A-07")) == "free"
        assert (await grace.book(clock.today, 7)).status_code == 303
        assert (await ada.post_htmx(f"/days/{DAY}/seats/7/hold")).status_code == 409
        assert (await ada.post_htmx(f"/days/{DAY}/seats/8/release", token="x" * 22)).status_code == 200


async def test_a_hold_counts_in_every_process_at_once(start_site: Callable[..., Site], clock: Clock) -> None:
    first, second = start_site(), start_site()
    async with first.people(2) as (ada, grace):
        await at(second, grace).get(f"/days/{DAY}")  # fills its cache, which must not decide
        token = await hold(ada, clock.today, 7)
        assert (await grace.book(clock.today, 7)).status_code == 409
        await at(second, ada).post_htmx(f"/days/{DAY}/seats/7/release", token=token)
        assert (await at(first, grace).book(clock.today, 7)).status_code == 303
