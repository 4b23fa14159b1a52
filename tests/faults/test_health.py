"""`/health` tells the truth: it checks what Seatweb does with its servers, not only that they answer."""

from __future__ import annotations

import asyncio
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
import redis
import structlog
from redis.exceptions import OutOfMemoryError, ReadOnlyError
from seatweb.api import health as health_module
from seatweb.server.programs import Programs
from seatweb.settings import Backends
from seatweb.storage import redis as redis_client
from seatweb.storage.redis import REFUSALS_SECONDS, Refusals, check_redis

from tests.faults.support import PATIENT_SECONDS, OwnRedis, held_soon, live, with_redis
from tests.support import Clock, Site, until_definite

ACL = "Redis does not allow its user (ACL) to do what Seatweb needs"
OK = {"status": "ok", "postgresql": "ok", "redis": "ok", "migrations": "ok"}


@pytest.fixture(autouse=True)
def _fresh_answers(patient: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Check anew after a moment, where a test asks again and again."""
    monkeypatch.setattr(health_module, "PROBE_SECONDS", 0.05)


def as_user(own: OwnRedis, *rules: str) -> str:
    """Return the URL for a new user with these rights."""
    own.store.execute_command("ACL", "SETUSER", "seats", "on", ">right", *rules)  # type: ignore[no-untyped-call]
    return f"unix://seats:right@{own.url.partition('@')[2]}"


def replicate(own: OwnRedis) -> str:
    own.store.replicaof("127.0.0.1", 1)
    return own.url


def fill(own: OwnRedis) -> str:
    own.fill()
    return own.url


TROUBLES: dict[str, tuple[Callable[[OwnRedis], str], str]] = {
    "replica": (replicate, "Redis is a read-only replica"),
    "full": (fill, "Redis is out of memory and does not evict keys"),
    "without scripts": (lambda own: as_user(own, "~*", "&*", "+@all", "-eval", "-evalsha"), ACL),
    "without keys": (lambda own: as_user(own, "~view:*", "&*", "+@all"), ACL),
    "without channels": (lambda own: as_user(own, "~*", "resetchannels", "+@all"), ACL),
}


@pytest.mark.parametrize("trouble", TROUBLES)
async def test_a_redis_that_cannot_be_used_is_reported_and_booking_goes_on(
    start_site: Callable[..., Site], backends: Backends, own: OwnRedis, clock: Clock, trouble: str
) -> None:
    cause, reason = TROUBLES[trouble]
    site = start_site(with_backends=with_redis(backends, cause(own)))
    async with site.people(1) as (ada,):
        health = await ada.get("/health")
        assert health.status_code == 200
        assert health.json() == {**OK, "status": "degraded", "redis": "refusing", "reason": reason}
        assert (await ada.book(clock.today, 7)).status_code == 303
        assert (await ada.statuses(clock.today))["A-07"] == "mine"


async def test_the_rights_in_the_deployment_guide_are_enough(
    start_site: Callable[..., Site], backends: Backends, own: OwnRedis, clock: Clock
) -> None:
    guide = (Path(__file__).parents[2] / "docs/deploy.md").read_text()
    (rules,) = re.findall(r"ACL SETUSER seatweb on >… (.*)", guide)
    url = as_user(own, *rules.split())
    await check_redis(url)
    site = start_site(with_backends=with_redis(backends, url))
    async with site.people(1) as (ada,), live(site.visitor(), clock.today) as stream:
        assert (await ada.get("/health")).json() == OK
        await held_soon(ada, clock.today, 7)
        await stream.shows(7, "held")
        assert (await ada.book(clock.today, 7)).status_code == 303
        await stream.shows(7, "taken")
    assert own.store.acl_log() == []  # nothing was refused


async def test_a_redis_that_is_full_is_healthy_again_once_it_has_room(
    start_site: Callable[..., Site], backends: Backends, own: OwnRedis, clock: Clock
) -> None:
    site = start_site(with_backends=with_redis(backends, own.url))
    async with site.people(1) as (ada,):
        assert (await ada.get("/health")).json() == OK
        own.fill()
        await reported(ada, "degraded")
        own.make_room()
        await reported(ada, "ok")
        await held_soon(ada, clock.today, 7)


async def reported(visitor: Any, status: str) -> httpx.Response:
    """Return the first health check that reports this status."""
    async with asyncio.timeout(PATIENT_SECONDS):
        while (found := await visitor.get("/health")).json()["status"] != status:
            await asyncio.sleep(0.02)
    answer: httpx.Response = found
    return answer


@contextmanager
def a_node_of_a_cluster(folder: Path) -> Iterator[str]:
    """Yield the URL of a server that has only a part of a cluster's keys."""
    socket = folder / "valkey.sock"
    options = {"port": "0", "unixsocket": str(socket), "dir": str(folder), "save": "", "cluster-enabled": "yes"}
    options |= {"cluster-require-full-coverage": "no", "cluster-port": "16379"}
    command = [str(Programs.find().valkey), *(word for name, value in options.items() for word in (f"--{name}", value))]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        with redis.Redis(unix_socket_path=str(socket)) as client:
            retry_until_up(client)
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 8000)
        yield f"unix://{socket}"
    finally:
        process.kill()
        process.wait()


def retry_until_up(client: redis.Redis) -> None:
    for _ in range(2000):
        try:
            client.ping()
        except redis.ConnectionError:
            continue
        return
    raise AssertionError("the server did not start")


async def test_a_redis_cluster_is_reported(
    start_site: Callable[..., Site], backends: Backends, clock: Clock, tmp_path: Path
) -> None:
    with a_node_of_a_cluster(tmp_path) as url:
        site = start_site(with_backends=with_redis(backends, url))
        async with site.people(1) as (ada,):
            found = await reported(ada, "degraded")
            assert found.json()["reason"] == "Redis is a cluster; Seatweb needs a single server"
            assert (await ada.book(clock.today, 7)).status_code == 303
        site.stop()


async def test_a_read_only_database_is_unavailable_and_pages_can_still_be_read(
    site: Site, connection: asyncpg.Connection[Any], clock: Clock
) -> None:
    async with site.people(1) as (ada,):
        assert (await ada.get("/health")).json() == OK
        name = await connection.fetchval("select current_database()")
        await connection.execute(f"alter database {name} set default_transaction_read_only = on")
        await connection.fetch(
            "select pg_terminate_backend(pid, 5000) from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid()"
        )
        found = await reported(ada, "unavailable")
        while "read-only" not in found.text:  # at first, the ended connections
            found = await ada.get("/health")
        assert found.status_code == 503
        assert int(found.headers["retry-after"]) > 0
        assert found.json() == {
            **OK, "status": "unavailable", "postgresql": "read-only", "reason": "PostgreSQL is read-only"
        }  # fmt: skip
        assert (await until_definite(lambda: ada.get("/"))).status_code == 200
        assert (await ada.book(clock.today, 7)).status_code == 503


async def test_many_health_checks_ask_the_servers_once(
    start_site: Callable[..., Site], backends: Backends, own: OwnRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health_module, "PROBE_SECONDS", 60)
    async with start_site(with_backends=with_redis(backends, own.url)).people(1) as (ada,):
        found = await asyncio.gather(*(ada.get("/health") for _ in range(50)))
        assert {answer.text for answer in found} == {found[0].text}
    assert own.store.info("commandstats")["cmdstat_mget"]["calls"] == 1


def test_refusals_are_logged_in_redis_own_words_once_a_minute_with_their_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(redis_client, "log", structlog.get_logger())  # the module's own keeps its first configuration
    now = 0.0
    refusals = Refusals(lambda: now)
    with structlog.testing.capture_logs() as lines:
        for _ in range(500):
            refusals.add(OutOfMemoryError("command not allowed when used memory > 'maxmemory'."))
        refusals.add(ReadOnlyError("You can't write against a read only replica."))
        now = REFUSALS_SECONDS
        refusals.add(OutOfMemoryError("command not allowed when used memory > 'maxmemory'."))
        refusals.add(ReadOnlyError("unknown command 'X', with args beginning with: 'a secret'"))
    assert [(line["error"], line["count"]) for line in lines] == [
        ("OutOfMemoryError", 1),
        ("ReadOnlyError", 1),
        ("OutOfMemoryError", 500),
        ("ReadOnlyError", 1),
    ]
    assert lines[0]["said"] == "command not allowed when used memory > 'maxmemory'."
    assert "a secret" not in str(lines)
