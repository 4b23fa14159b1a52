"""Static files: their fingerprinted URLs, and the hashes with which browsers verify them."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path


def fingerprints(root: Path) -> dict[str, str]:
    """Return the URL of every static file, with a hash of its content, so that browsers may cache it for ever."""
    return {
        (name := path.relative_to(root).as_posix()): (
            f"/static/{name}?v={hashlib.sha256(path.read_bytes()).hexdigest()[:12]}"
        )
        for path in root.rglob("*")
        if path.is_file()
    }


def integrity_hashes(root: Path) -> dict[str, str]:
    """Return the hash of every script and style sheet, which browsers check before use (Subresource Integrity)."""
    return {
        path.relative_to(root).as_posix(): (
            "sha256-" + base64.b64encode(hashlib.sha256(path.read_bytes()).digest()).decode()
        )
        for path in root.rglob("*")
        if path.suffix in {".js", ".css"}
    }
