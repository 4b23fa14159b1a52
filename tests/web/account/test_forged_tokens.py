"""Two hundred forged, expired, foreign and malformed tokens are refused, by the pages and by the API."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import jwt
import pytest
from seatweb.http.tokens import API_AUDIENCE, ISSUER, PAGES_AUDIENCE, RENEWAL_AUDIENCE, key_id
from seatweb.settings import Backends

from tests.support import Site, together

OTHER = "another-secret-another-secret-another"
WRONG: dict[str, tuple[object, ...]] = {
    "iss": (None, "", "elsewhere", "SEATWEB", ["seatweb"], 7),
    "aud": (None, "", "seatweb", "seatweb:admin", ["seatweb:pages"], ["seatweb:api"],
            ["seatweb:pages", "seatweb:api"], 7),
    "sub": (None, "", "0", "-1", "ada", "1e3", " 1", "1 or 1=1", [1], {"id": 1}, True, 10**30),
    "sid": (None, "", "1", "0" * 32, "not-a-uuid", [], {}, 7, "' or true --"),
    "iat": (None, "soon", [], time.time() + 7200),
    "exp": (None, 0, -1, 1, "never", [], time.time() - 1, time.time() - 86400),
    "nbf": (time.time() + 3600, "later"),
}  # fmt: skip


def encode(part: object) -> str:
    text = part if isinstance(part, str) else json.dumps(part)
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def forged(secret: str, claims: dict[str, Any]) -> Iterator[tuple[str, str]]:  # noqa: C901 - it is a list
    """Yield names and tokens; each token differs from a valid one in something that matters."""
    kid = key_id(secret)

    def token(claims: dict[str, Any], key: str = secret, algorithm: str = "HS256", **header: Any) -> str:
        return jwt.encode(claims, key, algorithm, headers={"kid": kid, **header})

    good = token(claims)
    head, body, signature = good.split(".")
    for name, values in WRONG.items():
        for value in values:
            changed = {**claims, name: value}
            if value is None:
                del changed[name]
            encoded = f"{head}.{encode(changed)}"
            # Signed with the right key: values that the library would not write must not be read either.
            yield f"{name}={value!r}", f"{encoded}.{sign(encoded, secret)}"
    for algorithm in (
        "none",
        "None",
        "NONE",
        "nOnE",
        "HS384",
        "HS512",
        "RS256",
        "ES256",
        "EdDSA",
        "PS256",
        "",
        "hs256",
    ):
        for ending in ("", signature, encode("x")):
            yield (
                f"alg {algorithm} {ending[:3]}",
                f"{encode({'alg': algorithm, 'typ': 'JWT', 'kid': kid})}.{body}.{ending}",
            )
    for name in ("HS384", "HS512"):
        yield f"{name} with our key", token(claims, algorithm=name)
    for key in (OTHER, "x" * 64, secret[::-1], secret.upper(), f"{secret} "):
        yield f"key {key[:5]}", token(claims, key)
        yield f"key {key[:5]}, named", token(claims, key, kid=key_id(key))
    for kid_ in ("", "0", "../../etc/passwd", "' or 1=1 --", kid.upper(), kid[:-1], secret):
        yield f"kid {kid_[:8]}", token(claims, kid=kid_)
    foreign: tuple[dict[str, Any], ...] = (
        {"jku": "http://127.0.0.1/keys"},
        {"x5u": "http://127.0.0.1/c"},
        {"jwk": {"kty": "oct", "k": encode("x" * 32)}},
    )
    for header in foreign:
        yield f"header {sorted(header)}", token(claims, OTHER, **header)
    for place in range(len(signature) - 1):  # two bits of the last letter are padding
        letter = "A" if signature[place] != "A" else "B"
        yield f"signature letter {place}", f"{head}.{body}.{signature[:place]}{letter}{signature[place + 1 :]}"
    for place in range(0, len(body), 3):
        letter = "A" if body[place] != "A" else "B"
        yield f"body letter {place}", f"{head}.{body[:place]}{letter}{body[place + 1 :]}.{signature}"
    for cut in ("", ".", "..", "...", head, f"{head}.{body}", f"{head}.{body}.", f".{body}.{signature}",
                f"{head}..{signature}", good + ".", good + "A" * 40, good * 2, "a.b.c", "A" * 3000):  # fmt: skip
        yield f"cut {cut[:12]}", cut


def sign(encoded: str, secret: str) -> str:
    signature = jwt.get_algorithm_by_name("HS256").sign(encoded.encode(), secret.encode())
    return base64.urlsafe_b64encode(signature).decode().rstrip("=")


async def is_accepted(http: httpx.AsyncClient, cookie: str, token: str) -> bool:
    """Return whether the token is accepted, in this cookie or (if there is none) as a bearer token."""
    http.cookies.clear()
    if cookie:
        answer = await http.get("/account", headers={"cookie": f"{cookie}={token}"})
    else:
        answer = await http.get("/me", headers={"authorization": f"Bearer {token}".strip()})
    return answer.status_code == 200


@pytest.mark.filterwarnings("ignore:The HMAC key")
async def test_two_hundred_forged_tokens_are_refused(
    site: Site, backends: Backends, connection: asyncpg.Connection
) -> None:
    async with site.people(1) as (ada,), site.visitor().http as http:
        assert ada.user
        session_id = await connection.fetchval("select id::text from sessions")
        audiences = {PAGES_AUDIENCE: "seatweb_session", RENEWAL_AUDIENCE: "seatweb_renewal", API_AUDIENCE: ""}
        for audience, cookie in audiences.items():
            claims = {
                "iss": ISSUER, "aud": audience, "sub": str(ada.user.id), "sid": session_id,
                "iat": time.time() - 1, "exp": time.time() + 600,
            }  # fmt: skip

            good = jwt.encode(claims, backends.jwt_secret, "HS256", headers={"kid": key_id(backends.jwt_secret)})
            assert await is_accepted(http, cookie, good)
            tokens = [pair for pair in forged(backends.jwt_secret, claims) if "\n" not in pair[1]]
            assert len(tokens) >= 200
            answers = await together(*(is_accepted(http, cookie, token) for _, token in tokens), at_a_time=20)
            assert [name for (name, _), accepted in zip(tokens, answers, strict=True) if accepted] == []
            assert not await is_accepted(
                http,
                cookie,
                jwt.encode(
                    {**claims, "sid": str(uuid4())}, backends.jwt_secret, "HS256", {"kid": key_id(backends.jwt_secret)}
                ),
            )


async def test_a_token_of_a_replica_whose_clock_is_ahead_is_accepted_and_no_token_outlives_its_end(
    site: Site, backends: Backends, connection: asyncpg.Connection
) -> None:
    async with site.people(1) as (ada,), site.visitor().http as http:
        assert ada.user
        session_id = await connection.fetchval("select id::text from sessions")
        for audience, cookie in {PAGES_AUDIENCE: "seatweb_session", API_AUDIENCE: ""}.items():
            for (issued, expires), accepted in {
                (3, 600): True,
                (25, 600): True,
                (60, 600): False,
                (-600, -1): False,
            }.items():
                claims = {
                    "iss": ISSUER, "aud": audience, "sub": str(ada.user.id), "sid": session_id,
                    "iat": int(time.time()) + issued, "exp": int(time.time()) + expires,
                }  # fmt: skip
                token = jwt.encode(claims, backends.jwt_secret, headers={"kid": key_id(backends.jwt_secret)})
                assert await is_accepted(http, cookie, token) is accepted, (audience, issued, expires)
