"""The second factor in a browser without scripts; passkeys come from a software authenticator."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

import asyncpg
import httpx
import jwt
import pyotp
import pytest
from seatweb.http.tokens import key_id
from seatweb.settings import Backends

from tests.authenticator import Authenticator
from tests.support import Site, Visitor, one, says, soup
from tests.web.test_html import check_html

PAGE = "/account/second-factor"
PASSWORD = "correct horse battery"


@pytest.fixture
async def ada(site: Site) -> Visitor:
    visitor = site.visitor()
    await visitor.register("ada", PASSWORD)
    return visitor


async def confirm(visitor: Visitor, code: str = "") -> httpx.Response:
    return await visitor.post(f"{PAGE}/confirm", password=PASSWORD, code=code)


async def add_app(visitor: Visitor) -> tuple[pyotp.TOTP, list[str]]:
    """Add an authenticator app on the pages; return it and the recovery codes."""
    assert (await confirm(visitor)).status_code == 303
    assert (await visitor.post(f"{PAGE}/app")).headers["location"] == f"{PAGE}/app"
    page = soup(await visitor.get(f"{PAGE}/app"))
    app = pyotp.TOTP(one(page, ".enrol-key code").get_text().replace(" ", ""))
    answer = await visitor.post(f"{PAGE}/app/code", code=app.at(int(time.time()) - 30))
    assert answer.status_code == 200
    check_html(answer, "recovery codes")
    return app, [code.get_text() for code in soup(answer).select(".codes code")]


@pytest.mark.parametrize(
    ("path", "name", "fields"),
    [
        ("/account/password", "password", {"new_password": "a staple for the battery"}),
        ("/account/delete", "delete", {}),
    ],
)
async def test_with_a_second_factor_the_password_alone_changes_or_deletes_nothing(
    site: Site, connection: asyncpg.Connection, ada: Visitor, path: str, name: str, fields: dict[str, str]
) -> None:
    app, _ = await add_app(ada)
    thief = site.visitor()  # knows the password, and found an open session
    for cookie in ada.http.cookies.jar:
        if "confirmed" not in cookie.name:
            thief.http.cookies.jar.set_cookie(cookie)
    confirmation = f"{PAGE}?for={name}"
    assert (await thief.get(path)).headers["location"] == confirmation
    assert (await thief.post(path, password=PASSWORD, **fields)).headers["location"] == confirmation
    rows = await connection.fetch("select 1 from audit where action in ('password_change', 'delete_account')")
    assert not rows
    asked = await thief.get(confirmation)
    check_html(asked, f"confirmation, {name}")
    assert [section["aria-labelledby"] for section in soup(asked).select("main section")] == ["confirm-name"]
    assert one(soup(asked), ".confirm-form input[name=for]")["value"] == name
    refused = await thief.post(f"{PAGE}/confirm", password=PASSWORD, code="000000", **{"for": name})
    assert refused.status_code == 422
    assert one(soup(refused), ".confirm-form input[name=for]")["value"] == name
    confirmed = await thief.post(f"{PAGE}/confirm", password=PASSWORD, code=app.now(), **{"for": name})
    assert confirmed.headers["location"] == path
    assert "Confirmed. You can continue." in says(await thief.get(path))
    assert (await thief.post(path, password=PASSWORD, **fields)).status_code == 303
    actions = {row["action"] for row in await connection.fetch("select action from audit")}
    assert actions & {"password_change", "delete_account"}


async def test_an_unknown_action_to_confirm_is_ignored(ada: Visitor) -> None:
    await add_app(ada)
    ada.http.cookies.delete(next(cookie.name for cookie in ada.http.cookies.jar if "confirmed" in cookie.name))
    page = soup(await ada.get(f"{PAGE}?for=//elsewhere.example"))
    assert one(page, "h1").get_text() == "Two-step sign-in"
    assert not page.select("input[name=for]")


async def after_password(site: Site, **fields: str) -> Visitor:
    """Return a visitor who has entered the right password and is asked for the second factor."""
    visitor = site.visitor()
    answer = await visitor.post("/login", username="ada", password=PASSWORD, **fields)
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/login/second?next=/")
    return visitor


async def is_signed_in(visitor: Visitor) -> bool:
    return (await visitor.get("/account")).status_code == 200


async def test_adding_an_app_and_signing_in_with_it(site: Site, ada: Visitor) -> None:
    assert one(soup(await ada.get("/account")), f"a[href='{PAGE}']").get_text() == "Turn on"
    check_html(await ada.get(PAGE), "without a factor")
    assert not soup(await ada.get(PAGE)).select(f"form[action='{PAGE}/app']")
    app, codes = await add_app(ada)
    assert len(codes) == 10
    check_html(await ada.get(PAGE), "with an app")
    assert one(soup(await ada.get("/account")), f"a[href='{PAGE}']").get_text() == "On"

    visitor = await after_password(site, next="/my/bookings")
    assert not await is_signed_in(visitor)
    page = await visitor.get("/login/second?next=/my/bookings")
    check_html(page, "second step")
    field = one(soup(page), "input[name=code]")
    assert (field["autocomplete"], field["inputmode"]) == ("one-time-code", "numeric")
    wrong = await visitor.post("/login/second", code="000 00", next="/my/bookings")
    assert wrong.status_code == 422
    check_html(wrong, "a wrong code")
    assert one(soup(wrong), "input[name=code]")["aria-invalid"] == "true"
    answer = await visitor.post("/login/second", code=app.now(), next="/my/bookings")
    assert (answer.status_code, answer.headers["location"]) == (303, "/my/bookings")
    assert "seatweb_second_factor" not in visitor.http.cookies
    assert await is_signed_in(visitor)
    replay = await after_password(site)
    assert (await replay.post("/login/second", code=app.now())).status_code == 422


async def test_a_recovery_code_works_once(site: Site, ada: Visitor) -> None:
    _, codes = await add_app(ada)
    for expected in (303, 422):
        visitor = await after_password(site)
        assert (await visitor.post("/login/second", code=f" {codes[0]} ")).status_code == expected
        assert await is_signed_in(visitor) is (expected == 303)
    assert "9 of 10 left" in soup(await ada.get(PAGE)).get_text()
    answer = await ada.post(f"{PAGE}/recovery-codes")
    new = [code.get_text() for code in soup(answer).select(".codes code")]
    assert len({*new, *codes}) == 20
    assert answer.headers["cache-control"] == "no-store"
    visitor = await after_password(site)
    assert (await visitor.post("/login/second", code=codes[1])).status_code == 422
    assert (await visitor.post("/login/second", code=new[1])).status_code == 303


async def test_five_wrong_codes_end_the_sign_in(site: Site, ada: Visitor) -> None:
    app, _ = await add_app(ada)
    visitor = await after_password(site)
    tries = [await visitor.post("/login/second", code="1") for _ in range(6)]
    assert [answer.status_code for answer in tries] == [422] * 5 + [303]
    assert tries[-1].headers["location"] == "/login?next=/"
    assert "too many wrong codes" in says(await visitor.get("/login"))
    assert (await visitor.post("/login/second", code=app.now())).headers["location"] == "/login?next=/"
    assert not await is_signed_in(visitor)
    visitor = await after_password(site)
    tries = [await visitor.post("/login/second", code="1") for _ in range(4)]
    assert await is_signed_in(ada)  # existing sessions are not affected
    visitor = await after_password(site)
    assert (await visitor.post("/login/second", code="1")).status_code == 422
    late = await visitor.post("/login/second", code=app.now())
    assert late.status_code == 429
    assert 3500 < int(late.headers["retry-after"]) <= 3600
    assert "Wait 60 minutes" in one(soup(late), "#code-error").get_text()
    check_html(late, "too many codes")
    assert not await is_signed_in(visitor)


async def test_the_second_step_requires_the_first(site: Site, backends: Backends, ada: Visitor) -> None:
    app, _ = await add_app(ada)
    good = (await after_password(site)).http.cookies["seatweb_second_factor"]
    session = ada.http.cookies["seatweb_session"]
    claims = jwt.decode(good, backends.jwt_secret, ["HS256"], audience="seatweb:second-factor")
    assert claims["exp"] == pytest.approx(time.time() + 300, abs=10)

    def token(claims: dict[str, Any], secret: str = backends.jwt_secret, algorithm: str = "HS256") -> str:
        return jwt.encode(claims, secret, algorithm, headers={"kid": key_id(backends.jwt_secret)})

    tokens = {
        "empty": "",
        "another sign-in": token({**claims, "waiting": "1" * 32}),
        "another key": token(claims, "x" * 40),
        "another audience": token({**claims, "aud": "seatweb:passkey"}),
        "another issuer": token({**claims, "iss": "elsewhere"}),
        "no expiry": token({key: claims[key] for key in claims if key != "exp"}),
        "no algorithm": token(claims, "", "none"),
        "expired": token({**claims, "exp": time.time() - 1}),
        "a session": session,
        "not a string": token({**claims, "waiting": 7}),
        "truncated": good[:-2],
    }
    for name, value in tokens.items():
        visitor = site.visitor(cookies={"seatweb_second_factor": value})
        assert (await visitor.get("/login/second")).headers["location"] == "/login?next=/", name
        assert (await visitor.post("/login/second", code=app.now())).headers["location"] == "/login?next=/", name
        assert not await is_signed_in(visitor)
    thief = site.visitor(cookies={"seatweb_session": good})  # a waiting sign-in is no session
    assert not await is_signed_in(thief)
    same = token(claims)  # unchanged, so it works
    answer = await site.visitor(cookies={"seatweb_second_factor": same}).get("/login/second?next=//evil.example")
    assert one(soup(answer), "input[name=next]")["value"] == "/"


async def test_changing_factors_requires_the_password(site: Site, ada: Visitor, connection: asyncpg.Connection) -> None:
    changes = (
        "app", "app/code", "app/remove", "recovery-codes", "passkeys", "passkeys/options", "passkeys/1/remove"
    )  # fmt: skip
    for path in changes:
        answer = await ada.post(f"{PAGE}/{path}", code="1")
        assert (answer.status_code, answer.headers["location"]) == (303, PAGE), path
    assert (await ada.get(f"{PAGE}/app")).headers["location"] == PAGE
    assert "Confirm it's you" in says(await ada.get(PAGE))
    wrong = await ada.post(f"{PAGE}/confirm", password="wrong")
    assert wrong.status_code == 422
    check_html(wrong, "a wrong password")
    assert "Wrong password" in one(soup(wrong), "#password-error").get_text()
    for path in (*changes, "confirm", "confirm/options", "confirm/passkey"):
        answer = await site.visitor().post(f"{PAGE}/{path}")
        assert answer.headers["location"].startswith("/login"), path
    assert (await confirm(ada)).status_code == 303
    confirmed = ada.http.cookies["seatweb_confirmed"]
    assert (await ada.post(f"{PAGE}/app")).headers["location"] == f"{PAGE}/app"
    other = site.visitor()
    await other.register("eve", PASSWORD)
    other.http.cookies.set("seatweb_confirmed", confirmed)  # from another session
    assert (await other.post(f"{PAGE}/app")).headers["location"] == PAGE
    assert await connection.fetchval("select count(*) from totp_secrets") == 1


async def test_with_a_second_factor_the_password_alone_cannot_remove_it(site: Site, ada: Visitor) -> None:
    app, codes = await add_app(ada)
    await ada.post("/logout")
    visitor = await after_password(site)
    await visitor.post("/login/second", code=app.now())
    refused = await confirm(visitor)
    assert refused.status_code == 422
    assert one(soup(refused), "#code-error")
    check_html(refused, "no code")
    assert (await confirm(visitor, codes[0])).status_code == 303
    answer = await visitor.post(f"{PAGE}/app/remove")
    assert answer.headers["location"] == PAGE
    assert "removed" in says(await visitor.get(PAGE))
    assert (await site.visitor().login("ada", PASSWORD)).headers["location"] == "/"


async def test_the_secret_is_shown_as_qr_code_and_text_until_it_is_confirmed(ada: Visitor) -> None:
    await confirm(ada)
    await ada.post(f"{PAGE}/app")
    answer = await ada.get(f"{PAGE}/app")
    check_html(answer, "a new app")
    assert answer.headers["cache-control"] == "no-store"
    page = soup(answer)
    assert one(page, ".qr > svg > path")
    assert not re.search(r"<svg[^>]*style=|<style|<script(?![^>]*src)", answer.text)
    secret = one(page, ".enrol-key code").get_text().replace(" ", "")
    assert re.fullmatch(r"[A-Z2-7]{32}", secret)
    assert f"secret={secret}&issuer=Seatweb" in str(one(page, "a[href^=otpauth]")["href"])
    wrong = await ada.post(f"{PAGE}/app/code", code="12345")
    assert wrong.status_code == 422
    check_html(wrong, "a wrong first code")
    assert secret in wrong.text.replace(" ", "")
    assert (await ada.post(f"{PAGE}/app/code", code=pyotp.TOTP(secret).now())).status_code == 200
    assert (await ada.get(f"{PAGE}/app")).headers["location"] == PAGE
    assert secret not in (await ada.get(PAGE)).text.replace(" ", "")
    assert (await ada.post(f"{PAGE}/app")).headers["location"] == PAGE


# Passkeys


async def test_where_passkeys_do_not_work_the_page_says_so(site: Site, ada: Visitor) -> None:
    page = soup(await ada.get(PAGE))
    port = site.url.rpartition(":")[2]
    assert one(page, ".factor-note a")["href"] == f"http://localhost:{port}{PAGE}"
    assert not soup(await site.visitor().get("/login")).select("[data-passkey], script[src*=passkeys]")
    assert (await site.visitor().post("/login/passkey/options")).status_code == 422


@pytest.fixture
async def local(site: Site) -> Visitor:
    """Return a user who opened the site as `localhost`, where passkeys work."""
    visitor = Visitor(site.url.replace("127.0.0.1", "localhost"))
    await visitor.register("ada", PASSWORD)
    return visitor


def authenticator_for(visitor: Visitor) -> Authenticator:
    return Authenticator(origin=str(visitor.http.base_url).rstrip("/"))


async def passkey_options(visitor: Visitor, path: str) -> str:
    answer = await visitor.post(path)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json"), answer.text
    cookie = next(one for one in answer.headers.get_list("set-cookie") if one.startswith("seatweb_passkey="))
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert "Max-Age=300" in cookie
    return answer.text


async def add_passkey(visitor: Visitor) -> Authenticator:
    device = authenticator_for(visitor)
    asked = await passkey_options(visitor, f"{PAGE}/passkeys/options")
    answer = await visitor.post(f"{PAGE}/passkeys", credential=device.create(asked), name="My <phone>")
    assert answer.status_code in {200, 303}, answer.text
    return device


async def test_signing_in_with_a_passkey_instead_of_a_password(site: Site, local: Visitor) -> None:
    await confirm(local)
    device = await add_passkey(local)
    page = await local.get(PAGE)
    check_html(page, "with a passkey")
    assert one(soup(page), ".factor-name b").get_text() == "My <phone>"
    visitor = Visitor(str(local.http.base_url))
    form = one(soup(await visitor.get("/login?next=/account")), "form[data-passkey]")
    assert form.has_attr("hidden")  # until the script shows it
    asked = await passkey_options(visitor, str(form["data-options"]))
    answer, challenge = device.get(asked), visitor.http.cookies["seatweb_passkey"]
    elsewhere = Visitor(str(local.http.base_url))  # another browser, without the challenge
    assert (await elsewhere.post("/login/passkey", credential=answer)).status_code == 422
    done = await visitor.post(str(form["action"]), credential=answer, next="/account")
    assert (done.status_code, done.headers["location"]) == (303, "/account")
    assert await is_signed_in(visitor)
    visitor.http.cookies.set("seatweb_passkey", challenge)
    again = await visitor.post("/login/passkey", credential=answer)
    assert again.status_code == 422
    check_html(again, "a passkey used twice")


async def test_a_passkey_as_second_factor_and_for_confirmation(site: Site, local: Visitor) -> None:
    await confirm(local)
    device = await add_passkey(local)
    visitor = Visitor(str(local.http.base_url))
    assert (await visitor.login("ada", PASSWORD)).headers["location"] == "/login/second?next=/"
    page = await visitor.get("/login/second")
    check_html(page, "second step with a passkey")
    wrong = await visitor.post("/login/second/passkey", credential="{}")
    assert wrong.status_code == 422
    check_html(wrong, "an invalid passkey")
    asked = await passkey_options(visitor, "/login/second/options")
    done = await visitor.post("/login/second/passkey", credential=device.get(asked))
    assert done.status_code == 303
    assert await is_signed_in(visitor)
    assert (await visitor.post("/login/second/passkey", credential="{}")).headers["location"] == "/login?next=/"
    asked = await passkey_options(visitor, f"{PAGE}/confirm/options")
    done = await visitor.post(f"{PAGE}/confirm/passkey", credential=device.get(asked))
    assert (done.status_code, done.headers["location"]) == (303, PAGE)
    remove = one(soup(await visitor.get(PAGE)), "form[action$=remove]")
    assert (await visitor.post(str(remove["action"]))).status_code == 303
    assert not soup(await visitor.get(PAGE)).select(".line.factor")
    assert (await visitor.post(f"{PAGE}/passkeys/x/remove")).status_code == 404
    refused = await visitor.post(f"{PAGE}/passkeys", credential="{}")
    assert refused.status_code == 422
    check_html(refused, "a passkey that cannot be added")


async def test_behind_https_the_cookies_are_bound_to_the_host(start_site: Callable[..., Site]) -> None:
    site = start_site(SEATWEB_PUBLIC_URL="https://seats.example.org")
    headers: dict[str, Any] = {"Host": "seats.example.org", "Origin": "https://seats.example.org"}
    async with httpx.AsyncClient(base_url=site.url, headers=headers) as http:
        page = await http.get("/login")
        secret = page.cookies["__Host-seatweb_csrf"]
        form = {"_csrf_token": str(soup(page).select("input[name=_csrf_token]")[0]["value"])}
        cookies = {"Cookie": f"__Host-seatweb_csrf={secret}"}
        answer = await http.post("/login/passkey/options", data=form, headers=cookies)
        assert answer.json()["rpId"] == "seats.example.org"
        (cookie,) = answer.headers.get_list("set-cookie")
        assert cookie.startswith("__Host-seatweb_passkey=")
        assert "Secure" in cookie
        elsewhere = await http.post("/login/passkey/options", data=form, headers={**cookies, "Host": "10.0.0.7"})
        assert elsewhere.status_code == 422
