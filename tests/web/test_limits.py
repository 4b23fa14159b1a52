"""Limits on pages: a refusal says when to try again and keeps what was typed; signed-in users stay signed in."""

from __future__ import annotations

import asyncio
import re
import threading
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import asyncpg
import httpx
import pytest
from argon2 import PasswordHasher
from seatweb.accounts.fair_queue import FairQueue, Requester
from seatweb.settings import Backends

from tests.support import CHEAP, HTMX, NO_LIMITS, Clock, Site, Visitor, one, says, soup, together, until

DAY = "2026-11-23"
MESSAGE = re.compile(r"Too many attempts\. Try again at (\d\d:\d\d)( tomorrow)?, in (\d+) (minute|hour)s?\.")


def refused(answer: httpx.Response, seconds: int = 3600) -> str:
    """Return the message of a 429, after checking that it and Retry-After say when to try again."""
    assert answer.status_code == 429, answer.text
    wait = int(answer.headers["retry-after"])
    assert 0 < wait <= seconds
    message = says(answer)
    if wait < 60:
        assert re.search(r"Too many attempts\. Try again in \d+ seconds?\.", message), message
        return message
    match = MESSAGE.search(message)
    assert match, message
    end = datetime.now(UTC) + timedelta(seconds=wait)
    assert match[1] in {f"{end + timedelta(minutes=n):%H:%M}" for n in (0, 1)}
    return message


@pytest.mark.usefixtures("short_retries")
@pytest.mark.parametrize("name", ["ada", "nobody at all"])
async def test_a_username_has_ten_failed_sign_ins_an_hour_whether_it_exists_or_not(site: Site, name: str) -> None:
    ada, guesser = site.visitor(), site.visitor()
    await ada.register("ada")
    await guesser.csrf()
    answers = await together(*(guesser.login(name, "wrong") for _ in range(25)))
    assert Counter(answer.status_code for answer in answers) == {422: 10, 429: 15}
    for answer in answers:
        if answer.status_code == 429:
            refused(answer)
    page = await guesser.login(name.upper())  # even with the right password
    refused(page)
    form = soup(page)
    assert one(form, "form[action='/login'] input[name=username]")["value"] == name.upper()
    assert not one(form, "input[name=password]").get("value")
    assert not form.select("[aria-invalid]")  # the input is valid
    assert page.headers["cache-control"] == "no-store"
    refused(await guesser.http.post("/login", data={"_csrf_token": guesser.token, "username": name}, headers=HTMX))
    assert len(soup(page).select("[role=alert]")) >= 1
    # Signed-in users and other names are not limited.
    assert (await ada.get("/account")).status_code == 200
    assert (await ada.post(f"/days/{DAY}/seats/7/book")).status_code == 303
    assert (await site.visitor().register("grace")).status_code == 303


@pytest.mark.usefixtures("short_retries")
@pytest.mark.parametrize("pattern", ["{}", "\x01{}", "user {}"])
async def test_no_username_exhausts_another_users_password_confirmations(
    site: Site, connection: asyncpg.Connection, pattern: str
) -> None:
    ada, guesser = site.visitor(), site.visitor()
    await ada.register("ada")
    name = pattern.format(await connection.fetchval("select id from users"))
    assert {(await guesser.login(name, "wrong")).status_code for _ in range(12)} == {422, 429}
    fields = {"password": "correct horse battery", "new_password": "another horse battery"}
    assert (await ada.post("/account/password", **fields)).status_code == 303


@pytest.mark.usefixtures("short_retries")
async def test_known_and_unknown_usernames_get_the_same_refusal(site: Site) -> None:
    await site.visitor().register("ada")
    pages = []
    for name in ("ada", "eve"):
        visitor = site.visitor()
        for _ in range(10):
            await visitor.login(name, "wrong")
        page = await visitor.login(name, "wrong")
        assert page.status_code == 429
        text = re.sub(r"[0-9a-f]{96}", "", page.text).replace(f'value="{name}"', "")
        pages.append((re.sub(r"at \d\d:\d\d", "at", text), sorted(page.headers)))
    assert pages[0] == pages[1]


@pytest.mark.usefixtures("short_retries")
async def test_an_address_has_thirty_failed_sign_ins_a_minute(site: Site) -> None:
    visitor = site.visitor()
    await visitor.csrf()
    answers = [await visitor.login(f"user {n}", "wrong") for n in range(31)]
    assert [answer.status_code for answer in answers] == [422] * 30 + [429]
    refused(answers[-1], 60)


@pytest.mark.usefixtures("short_retries")
async def test_a_correct_password_neither_counts_nor_resets_the_count(site: Site) -> None:
    await site.visitor().register("ada")
    for _ in range(9):
        assert (await site.visitor().login("ada", "wrong")).status_code == 422
    for _ in range(12):
        assert (await site.visitor().login("ada")).status_code == 303
    assert (await site.visitor().login("ada", "wrong")).status_code == 422
    refused(await site.visitor().login("ada"))


async def test_registrations_are_limited_by_address(
    start_site: Callable[..., Site], connection: asyncpg.Connection
) -> None:
    site = start_site(SEATWEB_LIMIT_REGISTRATIONS="3/day", SEATWEB_TRUSTED_PROXIES="127.0.0.1")
    visitor = site.visitor()
    assert (await visitor.register("x")).status_code == 422  # invalid input does not count
    for n in range(3):
        assert (await site.visitor().register(f"user {n}")).status_code == 303
    page = await visitor.register("ada")
    assert "tomorrow" in refused(page, 86_400)
    assert one(soup(page), "form[action='/register'] input[name=username]")["value"] == "ada"
    assert await connection.fetchval("select count(*) from users") == 3
    elsewhere = site.visitor(headers={"x-forwarded-for": "198.51.100.7"})
    assert (await elsewhere.register("ada")).status_code == 303


async def test_x_forwarded_for_from_an_untrusted_peer_is_ignored(start_site: Callable[..., Site]) -> None:
    site = start_site(SEATWEB_LIMIT_REGISTRATIONS="1/day")
    assert (await site.visitor(headers={"x-forwarded-for": "198.51.100.1"}).register("ada")).status_code == 303
    for header in ("198.51.100.2", "", ",,,", "unknown", "a" * 5000, "::1, ::2"):
        refused(await site.visitor(headers={"x-forwarded-for": header}).register("eve"), 86_400)


@pytest.mark.parametrize("how", ["plain", "htmx"])
async def test_bookings_and_moves_are_limited_by_user(
    start_site: Callable[..., Site], connection: asyncpg.Connection, clock: Clock, how: str
) -> None:
    site = start_site(SEATWEB_LIMIT_BOOKINGS="3/hour")
    async with site.people(2) as (ada, grace):
        post = ada.post if how == "plain" else ada.post_htmx
        success = 303 if how == "plain" else 200
        assert (await post(f"/days/{DAY}/seats/7/book")).status_code == success
        assert (await post(f"/days/{DAY}/seats/8/move")).status_code == success
        assert (await post(f"/days/{clock.ahead(1)}/any")).status_code == success
        for path in (
            f"/days/{clock.ahead(2)}/seats/9/book",
            f"/days/{DAY}/seats/9/move",
            f"/days/{clock.ahead(2)}/any",
        ):
            answer = await post(path)
            refused(answer)
            assert one(soup(answer), "#say-alert").get_text(strip=True).startswith("Too many attempts.")
            assert ("<html" in answer.text) == (how == "plain")
            assert len(soup(answer).select("[data-seat-id]")) >= 80  # the current map
        assert await connection.fetchval("select count(*) from bookings where status = 'confirmed'") == 2
        # The user's other actions and other users are not limited.
        booking = await connection.fetchval("select id from bookings where seat_id = 8")
        assert (await ada.post(f"/my/bookings/{booking}/cancel")).status_code == 303
        assert (await grace.book(clock.today, 7)).status_code == 303


async def test_holds_are_limited_by_user(start_site: Callable[..., Site]) -> None:
    """The panel is not swapped, so it does not request the hold again; booking needs no hold."""
    site = start_site(SEATWEB_LIMIT_HOLDS="2/minute")
    async with site.people(1) as (ada,):
        for seat_id in (7, 8):
            assert (await ada.post_htmx(f"/days/{DAY}/seats/{seat_id}/hold")).status_code == 200
        answer = await ada.post_htmx(f"/days/{DAY}/seats/9/hold")
        refused(answer, 60)
        assert (answer.headers["hx-retarget"], answer.headers["hx-reswap"]) == ("#announcement", "outerMorph")
        assert not soup(answer).select("#panel, #hold")
        plain = await ada.post(f"/days/{DAY}/seats/9/hold")
        assert plain.status_code == 429
        assert "Too many attempts" in plain.text
        assert plain.text.count("Try again") == 1
        assert (await ada.post(f"/days/{DAY}/seats/9/book")).status_code == 303


async def test_one_click_per_user_is_never_limited(site: Site, clock: Clock) -> None:
    """100 users behind one address want 80 seats, with one click each."""
    async with site.people(100) as people:
        answers = await together(*(visitor.book(clock.today, n % 80 + 1) for n, visitor in enumerate(people)))
        assert set(Counter(answer.status_code for answer in answers)) <= {303, 409, 503}


async def guess_sixty_times(sites: list[Site], visitors: list[Visitor], name: str) -> Counter[int]:
    guesses = [visitors[n % len(sites)].login(name, "wrong") for n in range(60)]
    return Counter(answer.status_code for answer in await together(*guesses))


@pytest.mark.usefixtures("short_retries")
async def test_four_replicas_share_the_limit_of_ten_failed_sign_ins(start_site: Callable[..., Site]) -> None:
    sites = [start_site(SEATWEB_WORKERS=4) for _ in range(4)]
    visitors = [site.visitor() for site in sites]
    await asyncio.gather(*(visitor.csrf() for visitor in visitors))
    assert await guess_sixty_times(sites, visitors, "ada") == {422: 10, 429: 50}


@pytest.mark.usefixtures("short_retries")
async def test_without_redis_failed_sign_ins_are_counted_exactly_and_everything_works(
    start_site: Callable[..., Site], backends: Backends
) -> None:
    without_redis = Backends(
        database_url=backends.database_url, redis_url="redis://127.0.0.1:1/0", jwt_secret=backends.jwt_secret
    )
    sites = [start_site(with_backends=without_redis, SEATWEB_WORKERS=4) for _ in range(4)]
    visitors = [site.visitor() for site in sites]
    await visitors[0].register("ada")
    assert (await visitors[0].get("/account")).status_code == 200
    guessers = [site.visitor() for site in sites]
    await asyncio.gather(*(visitor.csrf() for visitor in guessers))
    assert await guess_sixty_times(sites, guessers, "ada") == {422: 10, 429: 50}
    assert (await visitors[0].book(sites[0].clock.today, 7)).status_code == 303
    assert (await visitors[0].get("/account")).status_code == 200


class Gate(PasswordHasher):
    """A cheap hasher that records which hashes it verifies, and finishes only once it is open."""

    def __init__(self) -> None:
        super().__init__(CHEAP.time_cost, CHEAP.memory_cost, CHEAP.parallelism)
        self.verified: list[str | bytes] = []
        self.open = threading.Event()

    def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:  # noqa: A002 - the library's name
        self.verified.append(hash)
        self.open.wait(60)
        return super().verify(hash, password)


@pytest.fixture
def queued(monkeypatch: pytest.MonkeyPatch) -> list[Requester]:
    """Return a list of those for whom a password was or is to be verified or hashed, in the order of their requests."""
    askers: list[Requester] = []
    run = FairQueue.run

    async def recorded(queue: FairQueue, asker: Requester, job: Callable[[], Any]) -> Any:
        askers.append(asker)
        return await run(queue, asker, job)

    monkeypatch.setattr(FairQueue, "run", recorded)
    return askers


async def test_many_correct_sign_ins_from_elsewhere_lock_nobody_out(
    start_site: Callable[..., Site], connection: asyncpg.Connection, queued: list[Requester]
) -> None:
    """Two addresses with two accounts each send ten correct sign-ins per account at once."""
    gate = Gate()
    site = start_site(with_hasher=gate, SEATWEB_TRUSTED_PROXIES="127.0.0.1", **NO_LIMITS)

    def visitor_at(address: str) -> Visitor:
        return site.visitor(headers={"X-Forwarded-For": address})

    ada = visitor_at("192.0.2.9")
    for name in ("ada", "greedy 1", "greedy 2", "greedy 3", "greedy 4"):
        await visitor_at("192.0.2.9").register(name)
    greedy = [(visitor_at(f"192.0.2.{number % 2}"), f"greedy {number}") for number in (1, 2, 3, 4)]
    for visitor, _ in [(ada, ""), *greedy]:
        await visitor.csrf()
    rush = [asyncio.ensure_future(visitor.login(name)) for visitor, name in greedy for _ in range(10)]
    await until(lambda: len(queued) == 5 + 40)
    signing_in = asyncio.ensure_future(ada.login("ada"))
    await until(lambda: len(queued) == 5 + 41)
    gate.open.set()
    assert (await signing_in).status_code == 303
    statuses = Counter(answer.status_code for answer in await asyncio.gather(*rush))
    assert set(statuses) <= {303, 503}
    hash_of_ada = await connection.fetchval("select password_hash from users where username = 'ada'")
    assert gate.verified.index(hash_of_ada) < len(gate.verified) / 2  # first come, first served would put her last
