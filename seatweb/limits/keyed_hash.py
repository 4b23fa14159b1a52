"""Hashes under which attempts are counted; without the site's secret, they reveal nothing."""

from __future__ import annotations

import hmac


class KeyedHash:
    """Hashes names and addresses with a key derived from the site's secret (HMAC-SHA-256)."""

    def __init__(self, secret: str) -> None:
        self._key = hmac.digest(secret.encode(), b"seatweb limits", "sha256")

    def of(self, kind: str, subject: str) -> bytes:
        """Return 16 bytes for a user, account or address; they differ between kinds of attempts.

        `kind` is one of a few fixed words, none of which may be a prefix of another.
        """
        return hmac.digest(self._key, f"{kind} {subject}".encode(), "sha256")[:16]
