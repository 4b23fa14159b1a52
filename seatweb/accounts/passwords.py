"""Hash passwords with argon2id in a bounded thread pool, so that hashing never blocks the event loop or piles up."""

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

from seatweb.accounts.fair_queue import FairQueue, Requester
from seatweb.errors import Message

LONGEST: Final = 128  # characters; limits the work, and is far more than people type
LONGEST_TYPED: Final = 4 * (LONGEST + 1)  # NFC makes one character from at most four: longer input stays too long
WAITING_PER_THREAD: Final = 16
FEWEST_OTHER_CHARACTERS: Final = 4  # in a password, besides a word that anyone would try

# OWASP Password Storage Cheat Sheet: argon2id with m=47104 (46 MiB), t=1, p=1.
HASHER: Final = PasswordHasher(time_cost=1, memory_cost=47104, parallelism=1)
TIMES_KEPT: Final = 64


class PasswordRules(Struct, frozen=True):
    """The rules for new passwords: a minimum length and, with `refuse_common`, nothing that anyone would try.

    None of them asks for certain kinds of characters (NIST SP 800-63B, 3.1.1.2; OWASP ASVS 5.0, 6.2).
    """

    shortest: int
    """In characters."""
    refuse_common: bool
    site_words: tuple[str, ...] = ()
    """Words that anyone would try here first: the names of the site and of its software."""

    def problem(self, password: str, username: str) -> Message | None:
        """Return what is wrong with a new password of this user; None if nothing is."""
        normalized = _normalize(password)
        if not normalized:
            return Message("password.missing")
        if len(normalized) < self.shortest:
            return Message("password.too_short", {"fewest": self.shortest})
        if len(normalized) > LONGEST:
            return Message("password.too_long", {"most": LONGEST})
        return self._too_common(normalized, username) if self.refuse_common else None

    def _too_common(self, normalized: str, username: str) -> Message | None:
        if normalized.casefold() in _common_passwords():
            return Message("password.common")
        if _adds_little_to(username, normalized):
            return Message("password.like_username")
        if any(_adds_little_to(word, normalized) for word in self.site_words):
            return Message("password.like_site")
        return None


def _adds_little_to(word: str, password: str) -> bool:
    folded = _normalize(word).casefold()
    return folded in password.casefold() and len(password.casefold().replace(folded, "")) < FEWEST_OTHER_CHARACTERS


@cache
def _common_passwords() -> frozenset[str]:
    """Return the 30,000 most frequently leaked passwords, in lower case (from the library zxcvbn)."""
    from zxcvbn.frequency_lists import FREQUENCY_LISTS  # noqa: PLC0415 - takes megabytes, so only if needed

    return frozenset(FREQUENCY_LISTS["passwords"])


class Passwords:
    """Hashes and verifies passwords: any Unicode text, in NFC."""

    def __init__(self, threads: int | None = None, hasher: PasswordHasher = HASHER) -> None:
        threads = threads or min(4, os.cpu_count() or 1)
        self._hasher = hasher
        # Verified for unknown usernames, so that they take as long as known ones. No password matches it.
        self._dummy_hash = (
            f"$argon2id$v=19$m={hasher.memory_cost},t={hasher.time_cost},p={hasher.parallelism}"
            "$c2VhdHdlYi1ub2JvZHktMQ$0F5gJ7ds9uA3TExO5/yG0RZAipigKmAeC0M9OK8ndrk"
        )
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="argon2", initializer=_lower_priority)
        self._queue = FairQueue(self._executor, threads=threads, waiting=threads * WAITING_PER_THREAD)
        self._times: deque[float] = deque(maxlen=TIMES_KEPT)  # seconds that verifying current hashes took

    async def hash(self, password: str, requester: Requester) -> str:
        """Return the argon2id hash in its encoded form.

        Raises:
            Overloaded: too many jobs are waiting.
        """
        return await self._queue.run(requester, lambda: self._hasher.hash(_normalize(password)))

    async def verify(self, password: str, password_hash: str | None, requester: Requester) -> bool:
        """Return whether the password matches the hash; None takes as long and never matches.

        A hash with cheaper parameters than the current ones also takes as long; otherwise its time would reveal that
        the account exists.

        Raises:
            Overloaded: too many jobs are waiting.
        """

        def check() -> bool:
            stored, typed = password_hash or self._dummy_hash, _normalize(password)[: LONGEST + 1]
            matches, started = False, time.perf_counter()
            with suppress(VerificationError, InvalidHashError):
                matches = self._hasher.verify(stored, typed)
            self._pad_time(stored, time.perf_counter() - started)
            return matches and stored == password_hash

        return await self._queue.run(requester, check)

    def _pad_time(self, stored: str, took: float) -> None:
        """Sleep until a verification has taken as long as a recent one of a current hash, whatever its own hash."""
        with suppress(InvalidHashError):
            if not self.is_outdated(stored):
                self._times.append(took)
                return
        # More argon2 work would not do: how its time depends on memory and passes differs between machines.
        if self._times:
            time.sleep(max(0.0, random.choice(self._times) - took))  # noqa: S311 - varies like real times; not a secret

    def is_outdated(self, password_hash: str) -> bool:
        """Return whether the hash was made with parameters other than the current ones."""
        return self._hasher.check_needs_rehash(password_hash)

    def close(self) -> None:
        """Drop jobs that have not started."""
        self._executor.shutdown(wait=False, cancel_futures=True)


def _lower_priority() -> None:
    """Give the event loop priority over this thread: sign-ins may take a little longer, so that pages do not."""
    if sys.platform == "linux":  # elsewhere, threads have no priority of their own
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)


def _normalize(password: str) -> str:
    # Limited, because normalizing takes time that grows with the square of the length.
    return unicodedata.normalize("NFC", password[:LONGEST_TYPED])
