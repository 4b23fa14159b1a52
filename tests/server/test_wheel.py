"""The built wheel is complete: once installed, it serves from any folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Timer
from zipfile import ZipFile

import httpx
import pytest
from seatweb.settings import Backends

from tests.support import free_port, seats

REPOSITORY = Path(__file__).resolve().parents[2]
READY = re.compile(r"Seatweb is ready at (http://\S+)\n")


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command that must succeed, and return its output."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def let_in_dependencies(packages: Path) -> None:
    """Make Seatweb's dependencies, but not the repository, importable in a new environment."""
    # Python does not process the .pth files in the folder named here, so the repository stays invisible.
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")


def service(backends: Backends, database_url: str) -> dict[str, str]:
    """Return the environment for Seatweb in production, on a free loopback port."""
    servers = {"DATABASE_URL": database_url, "REDIS_URL": backends.redis_url, "JWT_SECRET": backends.jwt_secret}
    return servers | {"SEATWEB_HOST": "127.0.0.1", "SEATWEB_PORT": str(free_port()), "PATH": "/usr/bin:/bin"}


@contextmanager
def serving(
    command: list[str], environment: Mapping[str, str], cwd: Path
) -> Iterator[tuple[str, subprocess.Popen[str], Path]]:
    """Run Seatweb during the block; once it is ready, yield its URL, its process and its log."""
    log = cwd / "standard-error"
    with (
        log.open("w") as error,
        subprocess.Popen(command, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=error, text=True) as process,
    ):
        too_late = Timer(60, process.kill)
        too_late.start()
        try:
            assert process.stdout
            ready = READY.match(process.stdout.readline())
            assert ready, log.read_text()
            yield ready[1], process, log
        finally:
            too_late.cancel()
            process.kill()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=REPOSITORY)
    (built,) = folder.iterdir()
    return built


def test_the_wheel_contains_everything_seatweb_needs_and_nothing_else(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        carried = set(archive.namelist())
    own = {name for name in carried if ".dist-info/" not in name}
    assert {name.partition(".dist-info/")[2] for name in carried - own} == {
        "METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE"
    }  # fmt: skip
    assert own == {
        ("" if folder == "seatweb" else "seatweb/") + file.relative_to(REPOSITORY).as_posix()
        for folder in ("seatweb", "sql", "templates", "static")
        for file in (REPOSITORY / folder).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }


def test_an_installed_wheel_serves_from_any_folder(
    wheel: Path, tmp_path: Path, backends: Backends, empty_database_url: str
) -> None:
    python, third = tmp_path / "venv/bin/python", tmp_path / "third"
    third.mkdir()
    run(sys.executable, "-m", "venv", "--without-pip", "venv", cwd=tmp_path)
    (packages,) = tmp_path.glob("venv/lib/python*/site-packages")
    let_in_dependencies(packages)
    run(
        *(sys.executable, "-m", "pip", "--python", python),
        *("install", "--quiet", "--no-index", "--no-deps", wheel),
        cwd=tmp_path,
    )
    assert str(REPOSITORY) not in run(python, "-c", "import sys; print('\\n'.join(sys.path))", cwd=third).splitlines()

    command = [str(python.with_name("seatweb")), "serve"]
    with serving(command, service(backends, empty_database_url), third) as (url, _, _):
        with httpx.Client(base_url=url, follow_redirects=True) as visitor:
            page = visitor.get("/")
            style = visitor.get(re.findall(r'href="(/static/css/[^"]+\?v=[^"]+)"', page.text)[0])
            health = visitor.get("/health")
        assert (page.status_code, len(seats(page))) == (200, 80)
        assert (style.status_code, style.text) == (200, (REPOSITORY / "static/css/seatweb.css").read_text())
        assert style.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert health.json() == {"status": "ok", "postgresql": "ok", "redis": "ok", "migrations": "ok"}
