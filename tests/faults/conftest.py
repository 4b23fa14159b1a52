"""Fixtures of the fault tests."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from seatweb.booking import changes, live
from seatweb.storage import redis as redis_client

from tests.faults.support import PATIENT, PROMISED, Deadlines
from tests.faults.test_serve import Seatweb


@pytest.fixture(
    params=[pytest.param(PATIENT, id="functional"), pytest.param(PROMISED, id="in-time", marks=pytest.mark.timing)]
)
def deadlines(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Deadlines:
    """Return how long a test waits: as long as a busy machine needs, or in a timing test as long as we promise.

    Only timing tests use the real pauses between Seatweb's own attempts; the others would only wait for them.
    """
    found: Deadlines = request.param
    if found is PATIENT:
        monkeypatch.setattr(live, "POLL_SECONDS", 0.4)
        monkeypatch.setattr(live, "POLL_WITHOUT_SIGNALS_SECONDS", 0.1)
        monkeypatch.setattr(changes, "LONGEST_RETRY_SECONDS", 0.2)
        monkeypatch.setattr(redis_client, "REST_SECONDS", 0.2)
        monkeypatch.setattr(redis_client, "QUIET_SECONDS", 0.3)
    return found


@pytest.fixture
def data() -> Iterator[Path]:
    """Yield a path for a new data folder, which every user may enter."""
    with folder_for_all() as base:
        yield base / "data"


@pytest.fixture(scope="session")
def _prepared() -> Iterator[Path]:
    """Yield a data folder whose database has the schema."""
    with folder_for_all() as base:
        with Seatweb(base / "data", "migrate") as command:
            command.done()
        yield base / "data"


@pytest.fixture
def used(_prepared: Path, data: Path) -> Path:
    """Return a data folder that has been used before, so that a start need not create its database."""
    subprocess.run(["cp", "-a", _prepared, data], check=True)  # unlike shutil, it keeps the owners
    (data / "lock").unlink()
    return data


@contextmanager
def folder_for_all() -> Iterator[Path]:
    """Yield a folder with a short path that every user may enter."""
    with tempfile.TemporaryDirectory(prefix="seatweb-serve-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        yield Path(name)
