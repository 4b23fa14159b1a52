"""Registering, signing in and signing out, in a browser without scripts."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import asyncpg
import jwt
import pytest
from seatweb.accounts.passwords import HASHER
from seatweb.http.tokens import key_id
from seatweb.settings import Backends

from tests.support import HTMX, Site, one, promised, says, soup, together, within


async def test_registering_signs_the_user_in_and_welcomes_them(site: Site) -> None:
    visitor = site.visitor()
    answer = await visitor.register("Ada Lovelace")
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers.get_list("set-cookie")
    session = next(value for value in cookie if value.startswith("seatweb_session="))
    assert "HttpOnly" in session
    assert "SameSite=lax" in session
    page = await visitor.get("/")
    assert "Ada Lovelace" in page.text
    assert "Welcome" in says(page)
    assert "Welcome" not in says(await visitor.get("/"))


async def test_signing_out_also_invalidates_copied_cookies(site: Site) -> None:
    visitor = site.visitor()
    await visitor.register("ada")
    copied = visitor.http.cookies.get("seatweb_session")
    assert copied
    answer = await visitor.post("/logout")
    assert answer.status_code == 303
    assert visitor.http.cookies.get("seatweb_session") is None
    assert "signed out" in says(await visitor.get("/"))
    thief = site.visitor(cookies={"seatweb_session": copied})
    assert (await thief.get("/account")).headers["location"] == "/login?next=/account"


async def test_signing_in_returns_to_the_requested_page(site: Site) -> None:
    await site.visitor().register("ada")
    visitor = site.visitor()
    asked = await visitor.get("/my/bookings")
    assert (asked.status_code, asked.headers["location"]) == (303, "/login?next=/my/bookings")
    form = soup(await visitor.get(asked.headers["location"]))
    assert one(form, "input[name=next]")["value"] == "/my/bookings"
    answer = await visitor.post("/login", username="ADA ", password="correct horse battery", next="/my/bookings")
    assert (answer.status_code, answer.headers["location"]) == (303, "/my/bookings")
    assert (await visitor.get("/login")).status_code == 303


async def test_signing_in_never_redirects_to_another_host(site: Site) -> None:
    visitor = site.visitor()
    await visitor.register("ada")
    for elsewhere in ("https://evil.example", "//evil.example", "/\\evil.example", "/\t/evil.example"):
        await visitor.post("/logout")
        assert 'value="/"' in (await visitor.get("/login", params={"next": elsewhere})).text, elsewhere
        answer = await visitor.post("/login", username="ada", password="correct horse battery", next=elsewhere)
        assert answer.headers["location"] == "/", elsewhere


async def test_all_wrong_credentials_get_the_same_message(site: Site, subtests: pytest.Subtests) -> None:
    await site.visitor().register("ada")
    for username, password in (("ada", "wrong"), ("nobody", "correct horse battery"), ("", ""), ("a", "b")):
        with subtests.test(username=username, password=password):
            visitor = site.visitor()
            answer = await visitor.login(username, password)
            assert answer.status_code == 422
            assert "Wrong username or password." in answer.text
            form = soup(answer)
            assert one(form, "input[name=username]")["value"] == username
            assert not one(form, "input[name=password]").get("value")
            assert (await visitor.get("/account")).status_code == 303


async def test_usernames_are_unique_regardless_of_case(site: Site) -> None:
    await site.visitor().register("Ada")
    for again in ("ada", "ADA", "Ada", " ada ", "ａｄａ"):
        answer = await site.visitor().register(again)
        assert answer.status_code == 422, again
        assert "taken" in one(soup(answer), "#username-error").get_text(), again


LOOK_ALIKES = ["ada\u3164", "ad\u034fa", "ada\ufe0f", "a\u17b4da", "\u2800ada", "ada\U000e0100", "ad\u115fa"]


async def test_usernames_ignore_invisible_characters_and_extra_spaces(site: Site, subtests: pytest.Subtests) -> None:
    for username in ("ada", "ada lovelace"):
        assert (await site.visitor().register(username)).status_code == 303
    for again in (*LOOK_ALIKES, "Ada  Lovelace"):
        with subtests.test(ascii(again)):
            assert (await site.visitor().register(again)).status_code == 422
            assert (await site.visitor().login(again)).status_code == 303  # it still signs in the owner


@pytest.mark.timing
@pytest.mark.parametrize("path", ["/auth/login", "/auth/register"])
@pytest.mark.parametrize("field", ["username", "password"])
async def test_thousands_of_combining_marks_are_refused_quickly(site: Site, path: str, field: str) -> None:
    marks = "a" + "\u0301" * 3_800 + "\u0323" * 3_800  # normalising these takes quadratic time
    body = json.dumps({"username": "ada", "password": "correct horse battery"} | {field: marks}, ensure_ascii=False)
    began = time.perf_counter()
    answer = await site.visitor().http.post(path, content=body.encode(), headers={"content-type": "application/json"})
    assert time.perf_counter() - began < 0.8
    assert answer.status_code in {401, 422}


async def test_concurrent_registrations_create_one_account(site: Site, connection: asyncpg.Connection) -> None:
    visitors = [site.visitor() for _ in range(6)]
    answers = await together(*(visitor.register("ada") for visitor in visitors))
    assert sorted(answer.status_code for answer in answers) == [303, 422, 422, 422, 422, 422]
    assert await connection.fetchval("select count(*) from users") == 1


async def test_invalid_input_is_explained_beside_its_field(
    site: Site, connection: asyncpg.Connection, subtests: pytest.Subtests
) -> None:
    for username, password, field in (
        ("a", "long enough", "username"),
        ("a" * 51, "long enough", "username"),
        ("", "long enough", "username"),
        ("   ", "long enough", "username"),
        ("ada\u200c", "long enough", "username"),
        ("---", "long enough", "username"),
        ("\u3164\u3164\u3164", "long enough", "username"),
        ("a" + "\u0301" * 49, "long enough", "username"),
        ("ada", "", "password"),
        ("ada", "x" * 129, "password"),
    ):
        with subtests.test(username=ascii(username), password=password):
            answer = await site.visitor().register(username, password)
            assert answer.status_code == 422
            form = soup(answer)
            wrong = one(form, f"input[name={field}]")
            assert wrong["aria-invalid"] == "true"
            described_by = str(wrong["aria-describedby"]).split()
            assert any(one(form, f"[id='{name}']").get_text(strip=True) for name in described_by)
            assert one(form, "input[name=username]")["value"] == username
            assert not one(form, "input[name=password]").get("value")
            assert await connection.fetchval("select count(*) from users") == 0


async def test_passwords_are_stored_as_argon2id(
    start_site: Callable[..., Site], connection: asyncpg.Connection
) -> None:
    site = start_site(with_hasher=HASHER)
    await site.visitor().register("ada", "pässwörd 密码")
    stored = await connection.fetchval("select password_hash from users")
    assert stored.startswith("$argon2id$v=19$m=47104,t=1,p=1$")
    # The same password in Unicode's decomposed form
    answer = await site.visitor().login("ada", "pa\u0308sswo\u0308rd 密码")
    assert answer.status_code == 303


async def test_passwords_below_the_configured_length_are_refused(start_site: Callable[..., Site]) -> None:
    in_production = start_site(SEATWEB_PASSWORD_MIN_LENGTH=8)
    answer = await in_production.visitor().register("ada", "1234567")
    assert answer.status_code == 422
    assert "at least 8 characters" in answer.text
    assert (await in_production.visitor().register("ada", "12345678")).status_code == 303


@promised(1)
async def test_a_disabled_account_is_signed_out(site: Site, connection: asyncpg.Connection, seconds: float) -> None:
    visitor = site.visitor()
    await visitor.register("ada")
    assert (await visitor.get("/account")).status_code == 200
    await connection.execute("update users set disabled_at = now()")

    async def is_signed_out() -> bool:
        return (await visitor.get("/account")).status_code == 303

    await within(seconds, is_signed_out)
    assert (await site.visitor().login("ada")).status_code == 422


async def test_an_expired_session_is_refused(site: Site, connection: asyncpg.Connection) -> None:
    visitor = site.visitor()
    await visitor.register("ada")
    await connection.execute("update sessions set expires_at = now() - interval '1 second'")
    assert (await visitor.get("/account")).status_code == 303


async def test_signing_in_again_ends_the_previous_session(site: Site, connection: asyncpg.Connection) -> None:
    visitor = site.visitor()
    await visitor.register("ada")
    await visitor.login("ada")
    assert await connection.fetchval("select count(*) from sessions where ended_at is null") == 1
    actions = await connection.fetch("select action from audit order by id")
    assert [row["action"] for row in actions] == ["register", "sign_in", "sign_in", "sign_out"]


def forged(site: Site, backends: Backends, user_id: int, session_id: str) -> dict[str, str]:
    now = datetime.now(UTC)
    claims = {
        "iss": "seatweb", "aud": "seatweb:pages", "sub": str(user_id), "sid": session_id,
        "iat": now, "exp": now + timedelta(hours=1),
    }  # fmt: skip
    secret = backends.jwt_secret

    def token(key: str = secret, algorithm: str = "HS256", kid: str = key_id(secret), **changes: object) -> str:
        changed = {name: value for name, value in {**claims, **changes}.items() if value is not None}
        return jwt.encode(changed, key, algorithm, headers={"kid": kid} if kid else None)

    other = "another-secret-another-secret-another"
    good = token()
    return {
        "valid": good,
        "another key": token("another-secret-another-secret-another"),
        "another key with its own id": token(other, kid=key_id(other)),
        "no key id": token(kid=""),
        "no algorithm": token("", "none"),
        "another algorithm": token("another-secret" * 5, "HS512"),
        "expired": token(exp=now - timedelta(seconds=1)),
        "another issuer": token(iss="elsewhere"),
        "another audience": token(aud="seatweb:api"),
        "a list of audiences": token(aud=["seatweb:pages"]),
        "no session": token(sid=None),
        "no subject": token(sub=None),
        "no expiry": token(exp=None),
        "another user": token(sub=str(user_id + 1)),
        "an unknown session": token(sid=str(uuid4())),
        "a malformed session id": token(sid="1"),
        "a subject that is not a number": token(sub="ada"),
        "changed": good[:-4] + ("AAAA" if not good.endswith("AAAA") else "BBBB"),
        "no signature": good.rsplit(".", 1)[0] + ".",
        "rubbish": "a.b.c",
        "long": "a" * 4000,
    }


async def test_only_valid_tokens_are_accepted(site: Site, backends: Backends, connection: asyncpg.Connection) -> None:
    await site.visitor().register("eve")
    visitor = site.visitor()
    await visitor.register("ada")
    row = await connection.fetchrow("select user_id, id::text from sessions order by created_at limit 1")
    assert row
    for name, token in forged(site, backends, *row).items():
        answer = await site.visitor(cookies={"seatweb_session": token}).get("/account")
        assert (name, answer.status_code) == (name, 200 if name == "valid" else 303)


async def test_https_makes_the_cookies_secure_and_bound_to_the_host(start_site: Callable[..., Site]) -> None:
    site: Site = start_site(SEATWEB_PUBLIC_URL="https://seats.example.org")
    answer = await site.visitor().get("/login")
    (cookie,) = answer.headers.get_list("set-cookie")
    assert cookie.startswith("__Host-seatweb_csrf=")
    assert "Secure" in cookie
    assert "Path=/" in cookie
    assert "Domain" not in cookie
    assert "max-age" in answer.headers["strict-transport-security"]


# Forged forms


FORMS = ("/login", "/register", "/logout", "/days/2026-11-23/seats/7/book", "/days/2026-11-23/seats/7/move",
         "/days/2026-11-23/any", "/my/bookings/1/cancel", "/login/second", "/login/second/options",
         "/login/second/passkey", "/login/passkey", "/login/passkey/options",
         *(f"/account/second-factor/{path}" for path in (
             "confirm", "confirm/options", "confirm/passkey", "app", "app/code", "app/remove", "passkeys",
             "passkeys/options", "passkeys/1/remove", "recovery-codes")))  # fmt: skip


async def test_every_form_requires_a_valid_csrf_token(
    site: Site, connection: asyncpg.Connection, subtests: pytest.Subtests
) -> None:
    async with site.people(2) as (ada, eve):
        fields = {"username": "mallory", "password": "long enough"}
        token = await ada.csrf()
        signed = {**fields, "_csrf_token": token}
        eve.http.cookies.set("seatweb_csrf", "1" * 64)
        for path in FORMS:
            with subtests.test(path):
                wrong = ("", "ü" * 96, token[:-1] + ("0" if token[-1] != "0" else "1"))
                attempts = [
                    await ada.http.post(path, data=fields),
                    *[await ada.http.post(path, data={**fields, "_csrf_token": value}) for value in wrong],
                    await eve.http.post(path, data=signed),
                    await ada.http.post(path, data=signed, headers={"Origin": "https://evil.example"}),
                    await ada.http.post(path, data=signed, headers={"Origin": "null"}),
                    await ada.http.post(path, data=signed, headers={"Origin": "http://[bad"}),
                    await ada.http.post(path, data=signed, headers={"Sec-Fetch-Site": "cross-site"}),
                    await ada.http.post(path, data=signed, headers={"Sec-Fetch-Site": "same-site"}),
                    await ada.http.post(path, json=signed),
                ]
                assert [attempt.status_code for attempt in attempts] == [403] * (len(attempts) - 1) + [415]
                assert await connection.fetchval("select count(*) from bookings") == 0
                assert await connection.fetchval("select count(*) from users") == 2
                assert await connection.fetchval("select count(*) from sessions where ended_at is null") == 2


async def test_a_form_from_our_own_page_is_accepted(site: Site) -> None:
    visitor = site.visitor(headers={"Origin": site.url, "Sec-Fetch-Site": "same-origin"})
    assert (await visitor.register("ada")).status_code == 303


async def test_htmx_is_redirected_to_the_sign_in_page(site: Site, clock: object) -> None:
    visitor = site.visitor()
    answer = await visitor.post_htmx("/days/2026-11-23/seats/7/book")
    assert answer.status_code == 200
    assert answer.headers["hx-redirect"] == "/login?next=/days/2026-11-23/seats/7"
    plain = await visitor.post("/days/2026-11-23/seats/7/book")
    assert plain.headers["location"] == "/login?next=/days/2026-11-23/seats/7"
    assert (await visitor.get("/my/bookings", headers=HTMX)).headers["hx-redirect"] == "/login?next=/my/bookings"
