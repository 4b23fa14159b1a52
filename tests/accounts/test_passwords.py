"""Passwords are hashed outside the event loop, and hashing jobs never pile up."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Iterator
from typing import Literal

import pytest
from argon2 import PasswordHasher
from seatweb.accounts import passwords as module
from seatweb.accounts.fair_queue import Requester
from seatweb.accounts.passwords import HASHER, Passwords
from seatweb.errors import Overloaded

from tests.support import CHEAP, until

ADA = Requester("192.0.2.1", "ada")


@pytest.fixture
def passwords() -> Iterator[Passwords]:
    passwords = Passwords(threads=1)
    yield passwords
    passwords.close()


@pytest.fixture
def cheap_passwords() -> Iterator[Passwords]:
    passwords = Passwords(threads=1, hasher=CHEAP)
    yield passwords
    passwords.close()


async def test_only_the_right_password_matches_a_hash(passwords: Passwords) -> None:
    stored = await passwords.hash("correct horse", ADA)
    assert stored.startswith("$argon2id$v=19$m=47104,t=1,p=1$")
    assert await passwords.verify("correct horse", stored, ADA)
    assert not await passwords.verify("correct horsf", stored, ADA)
    assert not await passwords.verify("correct horse", None, ADA)
    assert not await passwords.verify("correct horse", "not a hash", ADA)
    assert await passwords.hash("correct horse", ADA) != stored


async def test_hashing_leaves_the_event_loop_free(passwords: Passwords, monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    monkeypatch.setattr(module, "_normalize", lambda password: release.wait(10) and password)
    working = asyncio.ensure_future(passwords.hash("correct horse", ADA))
    for _ in range(100):  # the loop runs while the hash is blocked in its thread
        await asyncio.sleep(0)
    assert not working.done()
    release.set()
    assert await working


async def test_an_unknown_username_takes_a_full_verification() -> None:
    verified: list[str | bytes] = []

    class Watched(PasswordHasher):
        def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:  # noqa: A002 - as the library names it
            verified.append(hash)
            return super().verify(hash, password)

    hasher = Watched(HASHER.time_cost, HASHER.memory_cost, HASHER.parallelism)
    passwords = Passwords(threads=1, hasher=hasher)
    assert not await passwords.verify("anything", None, ADA)
    passwords.close()
    assert not HASHER.check_needs_rehash(verified[0])
    assert len(verified) == 1


async def test_an_outdated_cheap_hash_takes_as_long_as_a_current_one(passwords: Passwords) -> None:
    old = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1).hash("correct horse")
    current = await passwords.hash("correct horse", ADA)
    for stored in (current, None, current, None):
        await passwords.verify("wrong horse", stored, ADA)
    least = min(passwords._times)
    assert len(passwords._times) == 4
    for stored, password in itertools.product((old, "not a hash"), ("correct horse", "wrong horse")):
        started = time.perf_counter()
        assert await passwords.verify(password, stored, ADA) == (password == "correct horse" and stored == old)
        assert time.perf_counter() - started >= least
    assert len(passwords._times) == 4  # times of outdated hashes are not recorded


async def test_requests_beyond_the_queue_are_refused_with_a_time_to_retry(
    cheap_passwords: Passwords, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()
    monkeypatch.setattr(module, "_normalize", lambda password: release.wait(60) and password)
    askers = [Requester("192.0.2.1", f"person {number}") for number in range(40)]
    hashing = [asyncio.ensure_future(cheap_passwords.hash("word", requester)) for requester in askers]
    await until(lambda: sum(task.done() for task in hashing) == 40 - 17)  # one is running and sixteen are waiting
    release.set()
    results = await asyncio.gather(*hashing, return_exceptions=True)
    refused = [result for result in results if isinstance(result, Overloaded)]
    assert len(refused) == 40 - 17
    assert all(result.retry_after for result in refused)
    assert await cheap_passwords.hash("word", ADA)
