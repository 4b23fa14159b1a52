"""The log holds no password, cookie, token or code after a journey through the whole site."""

from __future__ import annotations

import json
import re
from pathlib import Path

import httpx
import pyotp

from tests.faults.test_serve import Seatweb
from tests.support import Visitor, one, soup

PASSWORD, NEW_PASSWORD = "a very secret battery", "another secret staple"


async def test_no_log_line_holds_a_secret(used: Path) -> None:
    with Seatweb(used, SEATWEB_LOG_FORMAT="json") as site:
        site.ready()
        visitor, secrets = Visitor(f"http://127.0.0.1:{site.port}"), {PASSWORD, NEW_PASSWORD}

        def remember(answer: httpx.Response) -> httpx.Response:
            for cookie in visitor.http.cookies.jar:
                if cookie.value and len(cookie.value) > 8:
                    secrets.update(cookie.value.split("."))
            secrets.update(re.findall(r'name="_csrf_token" value="([0-9a-f]+)"', answer.text))
            return answer

        remember(await visitor.register("ada", PASSWORD))
        for path in ("/", "/account", "/account/password", "/account/second-factor", "/my/bookings", "/nowhere"):
            remember(await visitor.get(path))
        remember(await visitor.post("/days/2020-01-01/seats/7/book"))
        remember(await visitor.post("/account/password", password="wrong secret", new_password=NEW_PASSWORD))
        remember(await visitor.post("/account/password", password=PASSWORD, new_password=NEW_PASSWORD))
        secrets.add("wrong secret")
        remember(await visitor.post("/account/second-factor/confirm", password=NEW_PASSWORD))
        remember(await visitor.post("/account/second-factor/app"))
        page = remember(await visitor.get("/account/second-factor/app"))
        key = re.sub(r"\s", "", one(soup(page), ".enrol-key code").get_text())
        code = pyotp.TOTP(key).now()
        secrets.update({key, code})
        done = remember(await visitor.post("/account/second-factor/app/code", code=code))
        assert done.status_code in {200, 303}
        remember(await visitor.get("/account/data"))
        token = (await visitor.http.post("/auth/login", json={"username": "ada", "password": NEW_PASSWORD})).text
        assert "second_factor_needed" in token
        registered = await visitor.http.post("/auth/register", json={"username": "grace", "password": PASSWORD})
        bearer = registered.json()["access_token"]
        secrets.update(bearer.split("."))
        await visitor.get("/me", headers={"authorization": f"Bearer {bearer}"})
        await visitor.get("/me", headers={"authorization": "Bearer nonsense-but-secret"})
        secrets.add("nonsense-but-secret")
        await visitor.get("/", headers={"x-anything": "a-header-of-mine"})
        await visitor.get("/?q=a-query-of-mine")
        secrets.update({"a-header-of-mine", "a-query-of-mine"})
        await visitor.post("/account/second-factor/confirm", password=NEW_PASSWORD, code="000000")
        remember(await visitor.post("/logout"))
        await visitor.post("/login", username="ada", password="a guessed secret")
        await visitor.post("/login", username="name-or-password", password=PASSWORD)
        await visitor.post("/login/reset", username="ada", code="QWER-TYUI-OPAS-DFGH", new_password="fully new secret")
        secrets.update({"a guessed secret", "name-or-password", "QWER-TYUI-OPAS-DFGH", "fully new secret"})
        await visitor.http.post("/my/bookings/1/cancel", data={"_csrf_token": "made-up-token"})
        secrets.add("made-up-token")
        secrets.add((used / "jwt_secret").read_text().strip())
        site.ends(by=site.terminate)
        log = site.err.read_text()
        assert log.count('"path":"/account/password"') >= 3  # this is the right log
        events = [json.loads(line) for line in log.splitlines() if '"event"' in line]
        refused = [(line["event"], line.get("user_id")) for line in events if "refused" in line["event"]]
        assert refused == [
            ("password refused", 1),
            ("code refused", 1),
            ("sign-in refused", 1),
            ("sign-in refused", None),
            ("password reset refused", None),
        ]
        assert len(secrets) > 20
        assert [secret for secret in secrets if len(secret) > 5 and secret in log] == []
