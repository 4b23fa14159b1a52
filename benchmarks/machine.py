"""Describe the machine and the software that were measured."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import redis

from benchmarks.servers import ROOT, Servers, execute


def describe(servers: Servers) -> dict[str, str]:
    """Return the properties to print above the table, by name."""
    libraries = ("litestar", "uvicorn", "uvloop", "httptools", "asyncpg")
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "commit": _commit(),
        "processor": f"{_processor()}, {os.cpu_count()} cores; {_pinning(servers)}",
        "load": f"{os.getloadavg()[0]:.2f} in the minute before",
        "system": f"{platform.system()} {platform.release()}, {platform.python_implementation()} "
        f"{platform.python_version()}",
        "servers": f"PostgreSQL {_setting(servers, 'server_version')} (fsync {_setting(servers, 'fsync')}, "
        f"synchronous_commit {_setting(servers, 'synchronous_commit')}), {_redis(servers)}",
        "libraries": ", ".join(f"{name} {version(name)}" for name in libraries),
    }


def _pinning(servers: Servers) -> str:
    """Return which process runs on which core."""
    names = " and ".join(servers.external)
    external = f"; {names}: external servers, on any core" if names else ""
    cores = servers.cores
    if cores.app is None:
        return f"no process is pinned: the machine has one core, or the system does not support pinning{external}"
    pinned = "".join(
        f", {name}"
        for name, variable in (("PostgreSQL", "DATABASE_URL"), ("Redis", "REDIS_URL"))
        if variable not in servers.external
    )
    app = f"the app (or what it is compared with) on core {cores.app}"
    return f"{app}; load generator{pinned} on core {cores.rest}{external}"


def _commit() -> str:
    try:
        commit, changes = (
            subprocess.run(
                ["git", "--no-optional-locks", *command], cwd=ROOT, capture_output=True, text=True, check=True
            ).stdout.strip()
            for command in (["rev-parse", "--short=12", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{commit} with changes" if changes else commit


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _setting(servers: Servers, name: str) -> str:
    value: str = execute(servers.database_url, "select current_setting($1)", name)[0][0]
    return value


def _redis(servers: Servers) -> str:
    with redis.Redis.from_url(servers.redis_url) as client:
        info = client.info("server")
    if "valkey_version" in info:
        return f"Valkey {info['valkey_version']}"
    return f"Redis {info['redis_version']}"
