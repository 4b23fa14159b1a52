"""The names under which attempts are counted: hashes that tell nothing to who has no secret."""

from __future__ import annotations

import hmac


class KeyedHash:
    """Hashes names and addresses with a key that is derived from the site's secret (HMAC-SHA-256)."""

    def __init__(self, secret: str) -> None:
        self._key = hmac.digest(secret.encode(), b"seatweb limits", "sha256")

    def of(self, kind: str, who: str) -> bytes:
        """Return 16 bytes for one who is counted; no `who` of one kind has those of another kind.

        `kind` is one of a few words of ours. None of them may be the beginning of another.
        """
        return hmac.digest(self._key, f"{kind} {who}".encode(), "sha256")[:16]
