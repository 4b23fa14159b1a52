"""Argon2id in a bounded pool of threads, so that hashing neither stops the event loop nor piles up."""

from __future__ import annotations

import os
import random
import sys
import threading
import time
import unicodedata
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from msgspec import Struct

from seatweb.accounts.fair_queue import Asker, FairQueue
from seatweb.errors import Message

LONGEST: Final = 128  # characters; a bound on the work, far above what people type
LONGEST_TYPED: Final = 4 * (LONGEST + 1)  # no four characters become fewer than one: what is longer stays too long
WAITING_PER_THREAD: Final = 16
FEWEST_OF_ONES_OWN: Final = 4  # characters of a password beside words that anyone would try

# OWASP Password Storage Cheat Sheet: argon2id with m=47104 (46 MiB), t=1, p=1.
HASHER: Final = PasswordHasher(time_cost=1, memory_cost=47104, parallelism=1)
TIMES_KEPT: Final = 64


class PasswordRules(Struct, frozen=True):
    """What a new password must be: long enough, and with `refuse_common` nothing that anyone would try.

    Nothing is asked of what it is made of (NIST SP 800-63B, 3.1.1.2; OWASP ASVS 5.0, 6.2).
    """

    shortest: int
    """In characters."""
    refuse_common: bool
    site_words: tuple[str, ...] = ()
    """What anyone would try here first: the names of the site and of its software."""

    def problem(self, password: str, username: str) -> Message | None:
        """Return what is wrong with a new password of this user; None if nothing is."""
        normal = _normal(password)
        if not normal:
            return Message("password.missing")
        if len(normal) < self.shortest:
            return Message("password.too_short", {"fewest": self.shortest})
        if len(normal) > LONGEST:
            return Message("password.too_long", {"most": LONGEST})
        return self._too_common(normal, username) if self.refuse_common else None

    def _too_common(self, normal: str, username: str) -> Message | None:
        if normal.casefold() in _common():
            return Message("password.common")
        if _is_little_more_than(normal, username):
            return Message("password.like_username")
        if any(_is_little_more_than(normal, word) for word in self.site_words):
            return Message("password.like_site")
        return None


def _is_little_more_than(password: str, word: str) -> bool:
    folded = _normal(word).casefold()
    return folded in password.casefold() and len(password.casefold().replace(folded, "")) < FEWEST_OF_ONES_OWN


@cache
def _common() -> frozenset[str]:
    """Return the 30,000 passwords that leaked most often, in lower case (from the library zxcvbn)."""
    from zxcvbn.frequency_lists import FREQUENCY_LISTS  # noqa: PLC0415 - megabytes, only for who needs them

    return frozenset(FREQUENCY_LISTS["passwords"])


class Passwords:
    """Hash and verify passwords; any Unicode, compared in its NFC form."""

    def __init__(self, threads: int | None = None, hasher: PasswordHasher = HASHER) -> None:
        threads = threads or min(4, os.cpu_count() or 1)
        self._hasher = hasher
        # The hash of a password that no one has, so that an unknown username costs the same time as a known one.
        self._nobody = (
            f"$argon2id$v=19$m={hasher.memory_cost},t={hasher.time_cost},p={hasher.parallelism}"
            "$c2VhdHdlYi1ub2JvZHktMQ$0F5gJ7ds9uA3TExO5/yG0RZAipigKmAeC0M9OK8ndrk"
        )
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="argon2", initializer=_give_way)
        self._queue = FairQueue(self._executor, threads=threads, waiting=threads * WAITING_PER_THREAD)
        self._times: deque[float] = deque(maxlen=TIMES_KEPT)  # seconds that hashes of today took to verify

    async def hash(self, password: str, asker: Asker) -> str:
        """Return the argon2id hash in its encoded form.

        Raises:
            Overloaded: too many are waiting already.
        """
        return await self._queue.run(asker, lambda: self._hasher.hash(_normal(password)))

    async def verify(self, password: str, password_hash: str | None, asker: Asker) -> bool:
        """Return whether the password belongs to the hash; None costs the same time and is never right.

        So does a hash of cheaper parameters than today's: by its time an old account would be told from none.

        Raises:
            Overloaded: too many are waiting already.
        """

        def check() -> bool:
            known, typed = password_hash or self._nobody, _normal(password)[: LONGEST + 1]
            right, started = False, time.perf_counter()
            with suppress(VerificationError, InvalidHashError):
                right = self._hasher.verify(known, typed)
            self._fill_up(known, time.perf_counter() - started)
            return right and known == password_hash

        return await self._queue.run(asker, check)

    def _fill_up(self, known: str, took: float) -> None:
        """Let it have taken as long as one of the last hashes of today did, whatever the hash was."""
        with suppress(InvalidHashError):
            if not self.is_outdated(known):
                self._times.append(took)
                return
        # More argon2 would not do: how its time grows with memory and passes is another on each machine.
        if self._times:
            time.sleep(max(0.0, random.choice(self._times) - took))  # noqa: S311 - spread like theirs; no secret

    def is_outdated(self, password_hash: str) -> bool:
        """Return whether the hash was made with other parameters than those of today."""
        return self._hasher.check_needs_rehash(password_hash)

    def close(self) -> None:
        """Drop what has not begun."""
        self._executor.shutdown(wait=False, cancel_futures=True)


def _give_way() -> None:
    """Let the event loop run first: a sign-in may take a little longer, so that no page does."""
    if sys.platform == "linux":  # elsewhere threads have no priority of their own
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)


def _normal(password: str) -> str:
    # Not all of it: the time that this takes grows with the square of its length.
    return unicodedata.normalize("NFC", password[:LONGEST_TYPED])
