"""Passwords are hashed beside the event loop, and never pile up."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest
from seatweb import passwords as module
from seatweb.errors import Overloaded
from seatweb.passwords import Passwords


@pytest.fixture
def passwords() -> Iterator[Passwords]:
    passwords = Passwords(threads=1)
    yield passwords
    passwords.close()


async def test_a_password_fits_its_hash_and_no_other(passwords: Passwords) -> None:
    stored = await passwords.hash("correct horse")
    assert stored.startswith("$argon2id$v=19$m=47104,t=1,p=1$")
    assert await passwords.verify("correct horse", stored)
    assert not await passwords.verify("correct horsf", stored)
    assert not await passwords.verify("correct horse", None)
    assert not await passwords.verify("correct horse", "not a hash")
    assert await passwords.hash("correct horse") != stored


async def test_hashing_leaves_the_event_loop_free(passwords: Passwords, monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    monkeypatch.setattr(module, "_normal", lambda password: release.wait(10) and password)
    working = asyncio.ensure_future(passwords.hash("correct horse"))
    for _ in range(100):  # the loop goes round while the hash is held up in its thread
        await asyncio.sleep(0)
    assert not working.done()
    release.set()
    assert await working


async def test_an_unknown_name_costs_a_whole_verification(
    passwords: Passwords, monkeypatch: pytest.MonkeyPatch
) -> None:
    verified: list[str] = []
    original = module._hasher.verify

    class Watched:
        def verify(self, stored: str, password: str) -> bool:
            verified.append(stored)
            return original(stored, password)

    monkeypatch.setattr(module, "_hasher", Watched())
    assert not await passwords.verify("anything", None)
    assert verified[0].startswith("$argon2id$v=19$m=47104,t=1,p=1$")


async def test_too_many_at_once_are_refused_politely(passwords: Passwords) -> None:
    results = await asyncio.gather(*(passwords.hash("word") for _ in range(40)), return_exceptions=True)
    refused = [result for result in results if isinstance(result, Overloaded)]
    assert len(refused) == 40 - 17  # one at work and sixteen waiting
    assert all(result.retry_after for result in refused)
    assert await passwords.hash("word")
