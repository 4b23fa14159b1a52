"""A real PgBouncer between a test and its PostgreSQL."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from tests.faults.support import PATIENT_SECONDS
from tests.support import free_port

PROGRAM = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
CONFIGURATION = """
[databases]
* = host=127.0.0.1 port={server} user={user}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
default_pool_size = {size}
{more}
"""


@contextmanager
def running_pooler(database_url: str, folder: Path, *, mode: str, size: int = 4, more: str = "") -> Iterator[str]:
    """Yield a URL for the database by way of a PgBouncer with this `pool_mode` and pool size."""
    assert PROGRAM
    parts = urlsplit(database_url)
    options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    user = parts.username or options["user"]
    with _relay(parts.hostname or options["host"], parts.port or 5432) as server:
        port = free_port()
        file = folder / "pgbouncer.ini"
        file.write_text(CONFIGURATION.format(server=server, user=user, port=port, mode=mode, size=size, more=more))
        as_nobody = ["-u", "nobody"] if os.geteuid() == 0 else []  # PgBouncer refuses to run as root
        for path in (folder, *folder.parents):
            if as_nobody and path.owner() == "root" and path != Path("/"):
                path.chmod(path.stat().st_mode | 0o011)
        file.chmod(0o644)
        with (folder / "pgbouncer.log").open("w") as log:
            process = subprocess.Popen([PROGRAM, *as_nobody, str(file)], stderr=log, stdout=log)
        try:
            _wait_for(port, process, folder / "pgbouncer.log")
            yield f"postgresql://{user}@127.0.0.1:{port}{parts.path}"
        finally:
            process.kill()
            process.wait()


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + PATIENT_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.01)
    raise AssertionError(log.read_text())


@contextmanager
def _relay(host: str, port: int) -> Iterator[int]:
    """Pass connections to a port on to PostgreSQL's socket, which only our own user can reach; yield the port."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if host.startswith("/"):
            far = await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
        else:
            far = await asyncio.open_connection(host, port)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_copy(reader, far[1]))
            tasks.create_task(_copy(far[0], writer))

    async def start() -> asyncio.Server:
        return await asyncio.start_server(pass_on, "127.0.0.1", 0)

    server = asyncio.run_coroutine_threadsafe(start(), loop).result(PATIENT_SECONDS)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        loop.call_soon_threadsafe(server.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()
