"""Every failed sign-in does the same work, whether or not the account exists, and whatever its state is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Literal, NamedTuple

import asyncpg
import httpx
import pytest
import redis
from argon2 import PasswordHasher
from seatweb.accounts import sessions
from seatweb.accounts.passwords import HASHER

from tests.support import Site, Visitor, says

RIGHT, WRONG = "correct horse battery", "wrong horse battery"
# Usernames as typed, and passwords.
ATTEMPTS = {
    "unknown": ("nobody", WRONG),
    "unknown, in capitals": ("NO ONE", WRONG),
    "known": ("ada", WRONG),
    "known, in capitals": ("EVE", WRONG),
    "disabled": ("bob", WRONG),
    "disabled, with its password": ("bobby", RIGHT),
    "with a second factor": ("carol", WRONG),
    "administrator": ("dora", WRONG),
}


class Work(NamedTuple):
    """What Seatweb did for one sign-in."""

    statements: list[str]
    commands: list[str]
    """Redis commands, also those in scripts: the name and the number of arguments, which are hashes and times."""
    hashes: list[str]
    """The parameters of the hashes that the password was verified against."""


class Watch:
    """Records what a site sends to PostgreSQL and Redis, and which hashes it verifies."""

    def __init__(self, store: redis.Redis, hashes: list[str]) -> None:
        self.statements: list[str] = []
        self.hashes = hashes
        self._store = store
        self._database = store.connection_pool.connection_kwargs["db"]
        self._monitor = store.monitor()  # type: ignore[no-untyped-call]
        self._monitor.__enter__()

    async def connected(self, connection: asyncpg.Connection) -> None:
        connection.add_query_logger(lambda sent: self.statements.append(sent.query))

    def work(self) -> Work:
        """Return the work since the last call."""
        work = Work([*self.statements], [*self._commands()], [*self.hashes])
        self.statements.clear()
        self.hashes.clear()
        return work

    def _commands(self) -> Iterator[str]:
        self._store.echo("until here")
        while not (entry := self._monitor.next_command())["command"].startswith("ECHO"):
            name, *arguments = entry["command"].split()
            if entry["db"] == self._database and name != "PING":  # an idle subscription sends it
                yield f"{name} with {len(arguments)}"


class Watched(PasswordHasher):
    """The current hasher, which also records the hashes that it verifies."""

    def __init__(self, hashes: list[str]) -> None:
        super().__init__(HASHER.time_cost, HASHER.memory_cost, HASHER.parallelism)
        self._hashes = hashes

    def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:  # noqa: A002 - the base class's name
        self._hashes.append(str(hash).rsplit("$", 2)[0])
        return super().verify(hash, password)


@pytest.fixture
def watch(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    """Record the work of the sites that are started after this fixture."""
    monkeypatch.setattr(sessions, "FOLLOW_SECONDS", 600.0)  # nothing else uses the database meanwhile
    hashes = list[str]()
    with redis.Redis.from_url(redis_url) as store:
        watch = Watch(store, hashes)
        monkeypatch.setattr(asyncpg, "create_pool", partial(asyncpg.create_pool, init=watch.connected))
        yield watch


async def by_page(visitor: Visitor, username: str, password: str) -> httpx.Response:
    answer = await visitor.login(username, password)
    assert answer.status_code == 422
    assert says(answer) == "Wrong username or password."
    return answer


async def by_api(visitor: Visitor, username: str, password: str) -> httpx.Response:
    answer = await visitor.http.post("/auth/login", json={"username": username, "password": password})
    assert answer.status_code == 401
    assert answer.json()["code"] == "bad_credentials"
    return answer


@pytest.mark.parametrize("sign_in", [by_page, by_api])
async def test_every_failed_sign_in_does_the_same_work(
    watch: Watch,
    start_site: Callable[..., Site],
    connection: asyncpg.Connection,
    sign_in: Callable[[Visitor, str, str], Any],
) -> None:
    await connection.execute(
        """
        insert into users (username, username_key, password_hash, disabled_at, role)
        select
            name, name, $1, case when name ~ 'bob' then now() end, case when name = 'dora' then 'admin' else 'user' end
        from unnest(array['ada', 'eve', 'bob', 'bobby', 'carol', 'dora']) as given (name)
        """,
        HASHER.hash(RIGHT),
    )
    await connection.execute(
        """
        insert into totp_secrets (user_id, secret, confirmed_at)
        select id, 'A', now() from users where username = 'carol'
        """
    )
    site = start_site(with_hasher=Watched(watch.hashes), SEATWEB_TRUSTED_PROXIES="127.0.0.1")
    works, lengths = {}, set()
    for number, (what, (username, password)) in enumerate([("first", ("warm", WRONG)), *ATTEMPTS.items()]):
        visitor = site.visitor(headers={"x-forwarded-for": f"192.0.2.{number}"})
        await visitor.csrf()
        watch.work()
        answer = await sign_in(visitor, username, password)
        works[what] = watch.work()
        if number:
            lengths.add(len(answer.content) - len(username) * (sign_in is by_page))
        await visitor.http.aclose()
    del works["first"]  # it prepared the statements

    expected = works["unknown"]
    # Check the limits, count the attempt, prune old counters, look up the account.
    assert [sent.split()[0] for sent in expected.statements] == ["select", "with", "with", "select"]
    assert expected.commands == []
    assert expected.hashes == ["$argon2id$v=19$m=47104,t=1,p=1"]
    assert {what: work for what, work in works.items() if work != expected} == {}
    assert len(lengths) == 1
