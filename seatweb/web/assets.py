"""Static files: their fingerprints, and the hashes by which browsers check them."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path


def fingerprints(root: Path) -> dict[str, str]:
    """Return the address of every static file with a hash of its content, so that browsers may keep it for ever."""
    return {
        (name := path.relative_to(root).as_posix()): (
            f"/static/{name}?v={hashlib.sha256(path.read_bytes()).hexdigest()[:12]}"
        )
        for path in root.rglob("*")
        if path.is_file()
    }


def integrities(root: Path) -> dict[str, str]:
    """Return what browsers compare every script and style sheet with before they use it (Subresource Integrity)."""
    return {
        path.relative_to(root).as_posix(): (
            "sha256-" + base64.b64encode(hashlib.sha256(path.read_bytes()).digest()).decode()
        )
        for path in root.rglob("*")
        if path.suffix in {".js", ".css"}
    }
