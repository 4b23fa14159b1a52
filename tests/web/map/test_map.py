"""The map and its actions, as full pages and as the partials that htmx swaps."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import asyncpg
import httpx
import pytest

from tests.support import HTMX, Clock, Site, one, promised, says, seats, soup, together, within

DAY = "2026-11-23"


async def test_everyone_sees_todays_map(site: Site) -> None:
    page = await site.visitor().get("/")
    assert page.status_code == 200
    assert seats(page) == {f"{name}-{n:02}": "free" for name in "ABCD" for n in range(1, 21)}
    html = soup(page)
    for name in "ABCD":
        section = one(html, f"#section-{name}")
        assert int(str(section["data-generation"])) == 20  # its seats were added one by one
        assert "20" in section.get_text()
    seat = one(html, "#seat-7")
    assert (seat["data-seat-id"], seat["data-status"]) == ("7", "free")
    assert seat["href"] == f"/days/{DAY}/seats/7"


async def test_booking_moving_and_cancelling_without_scripts(site: Site, clock: Clock) -> None:
    async with site.people(2) as (ada, grace):
        panel = soup(await ada.get(f"/days/{DAY}/seats/7"))
        form = one(panel, f"#panel form[action='/days/{DAY}/seats/7/book']")
        assert form["method"] == "post"
        booked = await ada.book(clock.today, 7)
        assert (booked.status_code, booked.headers["location"]) == (303, f"/days/{DAY}/seats/7")
        page = await ada.get(booked.headers["location"])
        assert "A-07 is yours" in says(page)
        assert seats(page)["A-07"] == "mine"
        assert (await grace.statuses(clock.today))["A-07"] == "taken"

        moved = await ada.post(f"/days/{DAY}/seats/43/move")
        page = await ada.get(moved.headers["location"])
        assert "C-03 is yours now" in says(page)
        assert (seats(page)["A-07"], seats(page)["C-03"]) == ("free", "mine")

        listed = soup(await ada.get("/my/bookings"))
        cancel = one(listed, "form[action$='/cancel']")
        assert "C-03" in listed.get_text()
        answer = await ada.post(str(cancel["action"]))
        assert (answer.status_code, answer.headers["location"]) == (303, "/my/bookings")
        listing = await ada.get("/my/bookings")
        assert "C-03 is free again" in says(listing)
        assert soup(listing).select("form[action$='/cancel']") == []
        assert (await grace.statuses(clock.today))["C-03"] == "free"


async def test_booking_with_htmx_swaps_the_day_and_the_panel(site: Site, clock: Clock) -> None:
    async with site.people(1) as (ada,):
        panel = await ada.get(f"/days/{DAY}/seats/7", headers=HTMX)
        assert one(soup(panel), "#panel")["data-seat-id"] == "7"
        assert seats(panel)["A-07"] == "free"  # with the current map
        booked = await ada.post_htmx(f"/days/{DAY}/seats/7/book")
        assert booked.status_code == 200
        assert booked.headers["hx-push-url"] == f"/days/{DAY}/seats/7"
        assert seats(booked)["A-07"] == "mine"
        assert "A-07 is yours" in says(booked)
        assert "<html" not in booked.text
        cancel = one(soup(booked), "#panel form[action$='/cancel']")
        cancelled = await ada.post_htmx(str(cancel["action"]), back="day")
        assert seats(cancelled)["A-07"] == "free"
        assert cancelled.headers["hx-push-url"] == f"/days/{DAY}"
        assert one(soup(cancelled), "#panel").has_attr("hidden")


async def test_cancelling_in_the_list_with_htmx_swaps_the_list(site: Site, clock: Clock) -> None:
    async with site.people(1) as (ada,):
        await ada.book(clock.today, 7)
        form = one(soup(await ada.get("/my/bookings")), "form[action$='/cancel']")
        answer = await ada.post_htmx(str(form["action"]))
        assert answer.status_code == 200
        assert one(soup(answer), "#my_bookings")
        assert "A-07 is free again" in says(answer)


@pytest.mark.parametrize("htmx", [False, True])
async def test_a_lost_race_says_so_and_offers_the_nearest_seat(site: Site, clock: Clock, *, htmx: bool) -> None:
    async with site.people(2) as (ada, grace):
        await grace.book(clock.today, 7)
        post = ada.post_htmx if htmx else ada.post
        answer = await post(f"/days/{DAY}/seats/7/book")
        assert answer.status_code == 409
        alert = one(soup(answer), "[role=alert]").get_text(" ", strip=True)
        assert alert == "Seat A-07 was booked a moment ago. A-06 is free."
        assert seats(answer)["A-07"] == "taken"
        offer = one(soup(answer), f"#panel form[action='/days/{DAY}/seats/6/book']")
        assert "A-06" in offer.get_text()
        assert ("<html" in answer.text) is not htmx


async def test_booking_a_second_seat_offers_to_move(site: Site, clock: Clock) -> None:
    async with site.people(1) as (ada,):
        await ada.book(clock.today, 7)
        panel = soup(await ada.get(f"/days/{DAY}/seats/43"))
        form = one(panel, f"#panel form[action='/days/{DAY}/seats/43/move']")
        assert "A-07" in form.get_text() or "A-07" in one(panel, "#panel").get_text()
        refused = await ada.post(f"/days/{DAY}/seats/43/book")
        assert refused.status_code == 409
        assert "already have a seat" in says(refused)
        assert one(soup(refused), f"#panel form[action='/days/{DAY}/seats/43/move']")
        assert seats(refused)["A-07"] == "mine"


async def test_a_second_click_on_the_same_seat_is_no_error(
    site: Site, clock: Clock, connection: asyncpg.Connection
) -> None:
    async with site.people(1) as (ada,):
        answers = [await ada.book(clock.today, 7), await ada.book(clock.today, 7)]
        assert [answer.headers["location"] for answer in answers] == [f"/days/{DAY}/seats/7"] * 2
        assert await connection.fetchval("select count(*) from bookings") == 1


async def test_a_refused_move_keeps_the_first_seat(site: Site, clock: Clock) -> None:
    async with site.people(2) as (ada, grace):
        await ada.book(clock.today, 7)
        await grace.book(clock.today, 8)
        answer = await ada.post(f"/days/{DAY}/seats/8/move")
        assert answer.status_code == 409
        assert "A-08 was booked a moment ago" in says(answer)
        assert (seats(answer)["A-07"], seats(answer)["A-08"]) == ("mine", "taken")
        assert one(soup(answer), "#panel form[action$='/move']")["action"] == f"/days/{DAY}/seats/9/move"


async def test_any_free_seat_books_the_first_free_one(site: Site, clock: Clock) -> None:
    async with site.people(3) as (ada, grace, eve):
        page = soup(await ada.get(f"/days/{DAY}"))
        assert one(page, f"form[action='/days/{DAY}/any']")
        booked = await ada.post(f"/days/{DAY}/any")
        assert booked.headers["location"] == f"/days/{DAY}/seats/1"
        in_c = await grace.post_htmx(f"/days/{DAY}/any", section="C")
        assert in_c.headers["hx-push-url"] == f"/days/{DAY}/seats/41?section=C"
        assert seats(in_c)["C-01"] == "mine"
        assert (await eve.post(f"/days/{DAY}/any", section="Z")).status_code == 404
        again = await ada.post(f"/days/{DAY}/any")
        assert again.status_code == 409


async def test_only_signed_in_users_see_names(site: Site, clock: Clock) -> None:
    async with site.people(2, prefix="Hypatia") as (ada, grace):
        await ada.book(clock.today, 7)
        shown = await grace.get(f"/days/{DAY}/seats/7")
        assert "Hypatia1" in one(soup(shown), "#panel").get_text()
        for path in (f"/days/{DAY}", f"/days/{DAY}/seats/7", "/"):
            page = await site.visitor().get(path)
            assert seats(page)["A-07"] == "taken"
            assert "Hypatia1" not in page.text
            assert one(soup(page), "#seat-7").get_text(strip=True) == "07"
        clock.today += timedelta(days=1)
        past = await grace.get(f"/days/{DAY}/seats/7")
        assert "Hypatia1" not in past.text


async def test_one_section_is_shown_alone(site: Site) -> None:
    page = await site.visitor().get(f"/days/{DAY}?section=B")
    assert set(seats(page)) == {f"B-{n:02}" for n in range(1, 21)}
    seat = one(soup(page), "#seat-27")
    assert seat["href"] == f"/days/{DAY}/seats/27?section=B"
    assert (await site.visitor().get(f"/days/{DAY}?section=Z")).status_code == 404


async def test_a_past_day_can_be_seen_but_not_booked(site: Site, clock: Clock) -> None:
    async with site.people(2) as (ada, grace):
        await ada.book(clock.today, 7)
        clock.today += timedelta(days=1)
        page = await ada.get(f"/days/{DAY}/seats/7")
        assert page.status_code == 200
        assert seats(page)["A-07"] == "mine"
        assert soup(page).select("#panel form") == []
        refused = await grace.post(f"/days/{DAY}/seats/8/book")
        assert refused.status_code == 422
        assert "over" in refused.text


async def test_a_day_beyond_the_booking_window_names_the_last_bookable_day(site: Site) -> None:
    async with site.people(1) as (ada,):
        page = await ada.get("/days/2027-02-22")
        assert page.status_code == 422
        assert "21 February" in page.text
        assert (await ada.get("/days/2027-02-21")).status_code == 200
        assert (await ada.post("/days/2027-02-22/seats/7/book")).status_code == 422


async def test_today_is_in_the_sites_time_zone(start_site: Callable[..., Site]) -> None:
    """These two time zones are 25 hours apart, so they never share a date."""
    shown = set()
    for zone in ("Pacific/Kiritimati", "Pacific/Pago_Pago"):
        site = start_site(with_clock=None, SEATWEB_TIME_ZONE=zone)
        day = one(soup(await site.visitor().get("/")), "#day")["data-day"]
        assert day == str(datetime.now(ZoneInfo(zone)).date())
        shown.add(day)
    assert len(shown) == 2


async def test_another_users_booking_can_be_neither_seen_nor_cancelled(
    site: Site, clock: Clock, connection: asyncpg.Connection
) -> None:
    async with site.people(2) as (ada, eve):
        await ada.book(clock.today, 7)
        booking = await connection.fetchval("select id from bookings")
        assert (await eve.post(f"/my/bookings/{booking}/cancel")).status_code == 404
        assert "A-07" not in (await eve.get("/my/bookings")).text
        assert await connection.fetchval("select status from bookings") == "confirmed"


async def test_the_account_page_shows_the_username_and_a_sign_out_button(site: Site, clock: Clock) -> None:
    async with site.people(1, prefix="Ada") as (ada,):
        await ada.book(clock.today, 7)
        page = soup(await ada.get("/account"))
        assert "Ada1" in page.get_text()
        assert one(page, "main form[action='/logout']")


# Errors


BAD_ADDRESSES = {
    "/nowhere": 404, "/days/tomorrow": 404, "/days/2026-02-30": 404, "/days/20261123": 404, "/days/2026-W48-1": 404,
    "/days/2026-11-23/seats/99999999999999999999999": 404, "/days/2026-11-23/seats/0": 404,
    "/days/2026-11-23/seats/-1": 404, "/days/2026-11-23/seats/seven": 404, "/days/2026-11-23/seats/81": 404,
    "/days/2026-11-23?section=A&section=B": 422, "/days/2026-11-23?section=%00": 422,
    "/days/2026-11-23?section=" + "A" * 500: 404, "/days/9999-12-31": 422, "/days/0001-01-01": 200,
    "/days/%F0%9F%98%80": 404, "/%00": 404, "/days/２０２６-11-23": 404, "/static/none.css": 404,
    "/static/../pyproject.toml": 404, "/my/bookings/": 303,
}  # fmt: skip


async def test_bad_addresses_are_answered_with_a_page(site: Site, subtests: pytest.Subtests) -> None:
    for path, status in BAD_ADDRESSES.items():
        with subtests.test(path):
            answer = await site.visitor().get(path)
            assert answer.status_code == status
            if status >= 400:
                assert "Traceback" not in answer.text
                assert soup(answer).select("a[href='/']")
                assert "x-request-id" in answer.headers


async def test_users_can_open_the_first_and_last_days_of_the_calendar(site: Site) -> None:
    async with site.people(1) as (ada,):
        for day, status in (("9999-12-31", 422), ("9999-12-27", 422), ("0001-01-01", 200)):
            assert (await ada.get(f"/days/{day}")).status_code == status, day
            assert (await ada.post(f"/days/{day}/seats/7/book")).status_code == 422, day


async def test_a_wrong_method_is_answered_with_the_allowed_ones(site: Site) -> None:
    answer = await site.visitor().http.delete("/login")
    assert answer.status_code == 405
    assert {name.strip() for name in answer.headers["allow"].split(",")} >= {"GET", "POST"}
    assert soup(answer).select("a[href='/']")


async def test_an_error_for_htmx_is_announced_and_keeps_the_page(site: Site) -> None:
    async with site.people(1) as (ada,):
        answer = await ada.post_htmx(f"/days/{DAY}/seats/999/book")
        assert answer.status_code == 404
        assert answer.headers["hx-retarget"] == "#announcement"
        assert "no such seat" in says(answer)
        assert "<html" not in answer.text


async def test_an_internal_error_shows_the_request_id_and_no_traceback(
    capfd: pytest.CaptureFixture[str], site: Site, connection: asyncpg.Connection
) -> None:
    async with site.people(1) as (ada,):
        await connection.execute("alter view booking_details rename to elsewhere")
        answer = await ada.get("/my/bookings")
        assert answer.status_code == 500
        request_id = answer.headers["x-request-id"]
        assert request_id in answer.text
        for secret in ("Traceback", "elsewhere", "asyncpg", "select "):
            assert secret not in answer.text
        logged = capfd.readouterr().err
        assert request_id in logged
        assert "UndefinedTableError" in logged
        assert str(ada.http.cookies.get("seatweb_session")) not in logged


@promised(5)
@pytest.mark.usefixtures("impatient_with_database")
async def test_a_blocked_query_is_answered_with_503(site: Site, connection: asyncpg.Connection, seconds: float) -> None:
    async with site.people(1) as (ada,):
        async with connection.transaction(), asyncio.timeout(seconds):
            await connection.execute("lock table bookings in access exclusive mode")
            answer = await ada.get("/my/bookings")
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) > 0
        assert soup(answer).select("a[href='/']")
        assert (await ada.get("/my/bookings")).status_code == 200


@promised(5)
@pytest.mark.usefixtures("impatient_with_database")
async def test_an_exhausted_pool_is_answered_with_503(
    start_site: Callable[..., Site], connection: asyncpg.Connection, seconds: float
) -> None:
    site = start_site(SEATWEB_DATABASE_POOL=1)
    async with site.people(6) as people:
        async with connection.transaction(), asyncio.timeout(seconds):
            await connection.execute("lock table bookings in access exclusive mode")
            answers = await together(*(visitor.get("/my/bookings") for visitor in people))
        assert {answer.status_code for answer in answers} == {503}
        assert (await people[0].get("/my/bookings")).status_code == 200


async def test_terminated_database_connections_are_answered_with_503_not_500(
    site: Site, connection: asyncpg.Connection
) -> None:
    async with site.people(4) as people:
        answers = []
        for _ in range(8):
            running = [asyncio.ensure_future(visitor.get("/my/bookings")) for visitor in people]
            await connection.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where application_name = 'seatweb' and datname = current_database()"
            )
            answers += await asyncio.gather(*running)
        assert {answer.status_code for answer in answers} <= {200, 503}
        async with asyncio.timeout(30):
            while (await people[0].get("/my/bookings")).status_code != 200:
                pass


async def test_a_read_only_database_gives_a_503_page(site: Site, clock: Clock, connection: asyncpg.Connection) -> None:
    name = await connection.fetchval("select current_database()")
    await connection.execute(f"alter database {name} set default_transaction_read_only = on")
    await connection.execute("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'seatweb'"
                             " and datname = current_database()")  # fmt: skip
    visitor = site.visitor()
    answers = [await visitor.register("ada") for _ in range(3)]
    assert {answer.status_code for answer in answers} == {503}


@pytest.mark.usefixtures("impatient_with_database")
async def test_stuck_bookings_in_one_section_do_not_block_other_pages(
    site: Site, clock: Clock, connection: asyncpg.Connection
) -> None:
    async with site.people(14) as people:
        await people[0].book(clock.ahead(9), 1)
        async with connection.transaction():
            await connection.execute("select * from generations for update")
            stuck = [asyncio.ensure_future(visitor.book(clock.ahead(9), seat))
                     for seat, visitor in enumerate(people[1:], 2)]  # fmt: skip
            await asyncio.sleep(0)
            views = await together(*(visitor.get(f"/days/{clock.ahead(3)}") for visitor in people[:4]))
            assert {view.status_code for view in views} == {200}
            assert {answer.status_code for answer in await asyncio.gather(*stuck)} == {503}


async def test_a_malformed_host_is_refused_with_security_headers(site: Site, subtests: pytest.Subtests) -> None:
    for host in ("a:b", "a:99999", "a b", "[::1", "a/b", "ü", "a\tb"):
        with subtests.test(host), suppress(httpx.LocalProtocolError):  # httpx does not send some of them
            answer = await site.visitor().get("/", headers={"Host": host.encode("latin-1")})
            assert answer.status_code == 400
            if answer.text == "Bad Host header":  # otherwise the server's parser refused it
                assert "content-security-policy" in answer.headers


async def test_an_http_1_0_probe_without_a_host_is_answered(site: Site) -> None:
    for path in (b"/health/live", b"/login"):
        reader, writer = await asyncio.open_connection(*site.url.removeprefix("http://").split(":"))
        writer.write(b"GET " + path + b" HTTP/1.0\r\n\r\n")
        assert b" 200 " in await reader.readline()
        writer.close()


async def test_invalid_static_paths_are_not_found(site: Site) -> None:
    for path in ("%00", "a" * 300, "a/" * 300, "css", "%2e%2e/pyproject.toml"):
        assert (await site.visitor().get(f"/static/{path}")).status_code == 404, path


async def test_an_invalid_section_is_refused_before_anything_changes(
    site: Site, clock: Clock, connection: asyncpg.Connection
) -> None:
    """Promise 3: a refusal leaves nothing behind."""
    async with site.people(2) as (ada, grace):
        await grace.book(clock.today, 30)
        booking = await connection.fetchval("select id from bookings")
        for query in ("section=ZZ", "section=A&section=B", "section=%00"):
            for post in (ada.post, ada.post_htmx):
                for action in ("seats/7/book", "any"):
                    answer = await post(f"/days/{DAY}/{action}?{query}")
                    assert 400 <= answer.status_code < 500
            for post in (grace.post, grace.post_htmx):
                for path in (f"/days/{DAY}/seats/8/move", f"/my/bookings/{booking}/cancel"):
                    assert 400 <= (await post(f"{path}?{query}", back="day", day=DAY)).status_code < 500
        rows = await connection.fetch("select seat_id, status from bookings")
        assert [tuple(row) for row in rows] == [(30, "confirmed")]


async def test_a_failed_action_shows_the_current_state(site: Site, clock: Clock) -> None:
    async with site.people(1) as (ada,):
        await ada.book(clock.today, 7)
        cancel = str(one(soup(await ada.get("/my/bookings")), "form[action$='/cancel']")["action"])
        await ada.post(cancel)
        again = await ada.post_htmx(cancel, back="day", day=DAY)
        assert again.status_code == 200
        assert seats(again)["A-07"] == "free"
        assert "This booking is already cancelled." in says(again)
        moved = await ada.post_htmx(f"/days/{DAY}/seats/8/move")
        assert moved.status_code == 404
        assert one(soup(moved), f"#panel form[action='/days/{DAY}/seats/8/book']")
        clock.today += timedelta(days=1)
        late = await ada.post_htmx(f"/days/{DAY}/seats/8/book")
        assert late.status_code == 422
        assert one(soup(late), "#day")["data-state"] == "past"
        assert soup(late).select("#panel form") == []


@promised(1)
async def test_a_closed_seat_is_shown(site: Site, clock: Clock, connection: asyncpg.Connection, seconds: float) -> None:
    async with site.people(1) as (ada,):
        assert (await ada.statuses(clock.today))["A-19"] == "free"
        await connection.execute("update seats set closed = true where id = 19")

        async def is_closed() -> bool:
            return (await ada.statuses(clock.today))["A-19"] == "closed"

        await within(seconds, is_closed)


async def test_a_site_without_sections_says_so(site: Site, connection: asyncpg.Connection) -> None:
    await connection.execute("truncate seats, sections cascade")
    async with site.people(1) as (ada,):
        for visitor in (ada, ada, site.visitor()):
            assert one(soup(await visitor.get("/")), "#map .empty-words").get_text() == "No sections yet"


@promised(1)
async def test_a_section_that_is_renamed_by_sql_has_its_new_name_on_every_day(
    site: Site, clock: Clock, connection: asyncpg.Connection, seconds: float
) -> None:
    async with site.people(1) as (ada,):
        for day in (clock.today, clock.ahead(1)):
            assert (await ada.statuses(day))["A-19"] == "free"
        await connection.execute("update sections set name = 'ATTIC' where name = 'A'")

        async def is_renamed() -> bool:
            shown = [await ada.statuses(day) for day in (clock.today, clock.ahead(1))]
            return all("ATTIC-19" in each and "A-19" not in each for each in shown)

        await within(seconds, is_renamed)


async def test_opening_the_address_of_an_action_redirects_to_its_page(site: Site) -> None:
    visitor = site.visitor()
    for action, place in (("seats/7/book", "/seats/7"), ("seats/7/move", "/seats/7"), ("any", "")):
        answer = await visitor.get(f"/days/{DAY}/{action}?section=A")
        assert (answer.status_code, answer.headers["location"]) == (303, f"/days/{DAY}{place}?section=A")


async def test_signing_in_keeps_the_section(site: Site) -> None:
    answer = await site.visitor().post(f"/days/{DAY}/seats/7/book?section=A")
    assert answer.headers["location"] == f"/login?next=/days/{DAY}/seats/7%3Fsection%3DA"


async def test_a_next_path_with_other_characters_than_ascii_is_percent_encoded(site: Site) -> None:
    await site.visitor().register("ada")
    visitor = site.visitor()
    answer = await visitor.post_htmx("/login", username="ada", password="correct horse battery", next="/日?a=é")
    assert answer.headers["hx-redirect"] == "/%E6%97%A5?a=%C3%A9"


async def test_an_oversized_form_is_refused(site: Site, connection: asyncpg.Connection) -> None:
    async with site.people(1) as (ada,):
        answer = await ada.post(f"/days/{DAY}/seats/7/book", note="x" * 100_000)
        assert answer.status_code == 413
        assert await connection.fetchval("select count(*) from bookings") == 0


async def test_malformed_forms_change_nothing(
    site: Site, connection: asyncpg.Connection, subtests: pytest.Subtests
) -> None:
    async with site.people(1) as (ada,):
        for body in (
            b"_csrf_token={token}&username=a%00b&password=long enough",
            b"_csrf_token={token}&username=ada&username=eve&password=long enough",
            b"_csrf_token={token}&username=%ED%A0%80abc&password=%FF%FE",
            b"_csrf_token={token}&username=%E2%80%AEabc&password=" + b"p" * 200,
            b"_csrf_token={token}",
            b"_csrf_token={token}&_csrf_token={token}",
            b"=" * 2000,
            b"&" * 5000,
            b"\x00\xff\xfe",
            b"",
        ):
            with subtests.test(body=body[:60]):
                answer = await ada.http.post(
                    "/register",
                    content=body.replace(b"{token}", ada.token.encode()),
                    headers={"Content-Type": "application/x-www-form-urlencoded"},
                )
                assert 400 <= answer.status_code < 500
                assert await connection.fetchval("select count(*) from users") == 1


async def test_bad_content_types_change_nothing(site: Site, connection: asyncpg.Connection) -> None:
    kinds = ("multipart/form-data; boundary=x", "multipart/form-data", "text/plain", "application/json", "\x7f", "")
    async with site.people(1) as (ada,):
        for kind in kinds:
            answer = await ada.http.post(
                "/register",
                content=b'--x\r\nContent-Disposition: form-data; name="username"; filename="a"\r\n\r\nb\r\n--x--',
                headers={"Content-Type": kind},
            )
            assert 400 <= answer.status_code < 500, kind
            assert await connection.fetchval("select count(*) from users") == 1, kind


# Every answer


async def test_social_cards_have_an_absolute_address(start_site: Callable[..., Site]) -> None:
    for settings, origin in (
        ({}, None),
        ({"SEATWEB_PUBLIC_URL": "https://seats.example.org"}, "https://seats.example.org"),
    ):
        site = start_site(**settings)
        visitor = site.visitor()
        for path in ("/", "/", f"/days/{DAY}", f"/days/{DAY}/seats/7", "/login", "/nowhere"):
            card = str(one(soup(await visitor.get(path)), "meta[property='og:image']")["content"])
            assert card.startswith(f"{origin or site.url}/static/icons/card.png?"), path
        port = site.url.rpartition(":")[2]
        page = await visitor.get("/", headers={"Host": f"localhost:{port}"})  # the same cached page by another name
        card = str(one(soup(page), "meta[property='og:image']")["content"])
        assert card.startswith(f"{origin or f'http://localhost:{port}'}/static/")


async def test_head_is_answered_like_get_without_the_body(site: Site) -> None:
    for path in ("/", "/login", "/health/live", "/static/css/seatweb.css"):
        answer = await site.visitor().http.head(path)
        assert (path, answer.status_code, answer.content) == (path, 200, b"")


async def test_pages_are_not_cached_and_static_files_are(site: Site) -> None:
    visitor = site.visitor()
    page = await visitor.get("/")
    assert page.headers["cache-control"] == "no-store"
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "HX-Request" in page.headers["vary"]
    path = str(one(soup(page), "link[rel=stylesheet]")["href"])
    sheet = await visitor.get(path)
    assert "immutable" in sheet.headers["cache-control"]
    assert sheet.headers["content-encoding"] == "br"
    zipped = await visitor.get(path, headers={"accept-encoding": "gzip"})
    assert zipped.headers["content-encoding"] == "gzip"
    assert zipped.text == sheet.text
    assert "immutable" not in (await visitor.get(path.partition("?")[0])).headers["cache-control"]


@pytest.mark.parametrize("cached", [False, True])
async def test_pages_are_compressed_with_an_encoding_that_the_browser_accepts(site: Site, *, cached: bool) -> None:
    """Cached pages too, which are sent before the framework sees the request."""
    async with site.people(1) as (ada,):
        for accepted, coding in {
            "gzip, deflate, br, zstd": "br",
            "gzip": "gzip",
            "identity": None,
            "zstd": None,
        }.items():
            if cached:
                await ada.get("/")  # fills the caches
            for path in ("/", "/my/bookings"):
                page = await ada.get(path, headers={"accept-encoding": accepted})
                # Cached pages are joined from pieces that were compressed with gzip.
                joined = {"gzip"} if path == "/" and coding else set()
                assert page.headers.get("content-encoding") in {coding, *joined}, (path, accepted)
                assert page.text.rstrip().endswith("</html>")


async def test_the_health_check_reports_every_part(site: Site) -> None:
    visitor = site.visitor()
    assert (await visitor.get("/health")).json() == {
        "status": "ok",
        "postgresql": "ok",
        "redis": "ok",
        "migrations": "ok",
    }
    assert (await visitor.get("/health/live")).json() == {"status": "ok"}
