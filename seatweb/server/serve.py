"""Run the site: read the settings, open the port, start the embedded servers, migrate, and run uvicorn."""

from __future__ import annotations

import asyncio
import errno
import gc
import http.client
import ipaddress
import logging
import multiprocessing
import os
import resource
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing import resource_tracker
from types import FrameType
from typing import TYPE_CHECKING, Final

import structlog
import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from seatweb.errors import SeatwebError
from seatweb.http.logs import OUTPUT, configure_logging
from seatweb.http.protocol import BoundedHttp
from seatweb.i18n.catalogue import text_of
from seatweb.server.embedded import EmbeddedError, running_backends
from seatweb.server.migrate import migrate as migrate_database
from seatweb.server.unix_signals import before_end, end_in_time, run, take_signals
from seatweb.settings import Backends, Settings, SettingsError
from seatweb.storage import redis as redis_client
from seatweb.storage.migrations import DatabaseUnusable, without_other_servers

if TYPE_CHECKING:
    from litestar.types import ASGIApp

# A shutdown may take 3 s: running requests get 1 s; the rest is for the app's own shutdown and PostgreSQL's.
GRACE_SECONDS: Final = 1
BACKLOG: Final = 1024
OPEN_FILES: Final = 65_536
TICK_SECONDS: Final = 0.02
TICKS_BETWEEN_CHECKS: Final = 25
ANY_ADDRESS: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - where to connect to, and the URL to print

log = structlog.get_logger("seatweb.server.serve")


class _CannotRun(Exception):
    """Seatweb cannot run; the message is one line that says why, and what to do."""


def serve(environment: Mapping[str, str]) -> int:
    """Answer requests until SIGINT or SIGTERM; return the exit code."""
    with _reported_problems() as outcome:
        settings = Settings.from_environment(environment)
        _refuse_open_demo(settings)
        _allow_many_connections()
        with _listen(settings.host, settings.port) as listener, running_backends(settings) as backends:
            configure_logging(settings.log_format)
            OUTPUT.start()
            if settings.in_production and not settings.redis_url:
                log.warning(
                    "REDIS_URL is not set: Seatweb runs its own Valkey, which no other server can use; "
                    "to run several, set REDIS_URL to one Redis for all of them"
                )
            run(partial(_prepare, backends))
            with _announced(settings):
                _answer(settings, backends, listener)
    return outcome.exit_code


def migrate(environment: Mapping[str, str]) -> int:
    """Create the schema or bring it up to date; return the exit code."""
    with _reported_problems() as outcome:
        settings = Settings.from_environment(environment)
        with running_backends(settings) as backends:
            configure_logging(settings.log_format)
            run(partial(migrate_database, backends.database_url))
            _say("The database is up to date.")
    return outcome.exit_code


def administer(environment: Mapping[str, str], action: str, names: list[str], *, keep_bookings: bool = False) -> int:
    """Run an operator's command; return the exit code."""
    from seatweb.server import commands as administration  # noqa: PLC0415 - the server does not need it

    with _reported_problems() as outcome:
        configure_logging("console")
        try:
            administration.administer(environment, action, names, keep_bookings=keep_bookings)
        except administration.CannotDo as error:
            raise _CannotRun(str(error)) from None
        except SeatwebError as error:
            raise _CannotRun(text_of(error)) from None
    return outcome.exit_code


class _Outcome:
    exit_code = 0


@contextmanager
def _reported_problems() -> Iterator[_Outcome]:
    """Print the operator's mistakes to standard error, one per line, and set the exit code."""
    outcome = _Outcome()
    try:
        yield outcome
    except SettingsError as error:
        outcome.exit_code = 2
        lines = error.problems
    except (_CannotRun, EmbeddedError, DatabaseUnusable, redis_client.RedisUnusable) as error:
        outcome.exit_code = 1
        lines = [str(error)]
    else:
        return
    for line in lines:
        sys.stderr.write(f"seatweb: {line}\n")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def _prepare(backends: Backends) -> None:
    await redis_client.check_redis(backends.redis_url)
    async with without_other_servers(backends.database_url, backends.application):
        await migrate_database(backends.database_url)


def _allow_many_connections() -> None:
    """Raise the limit of open files as far as the system allows: every open map is a connection."""
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if most == resource.RLIM_INFINITY else min(most, OPEN_FILES)
    if now != resource.RLIM_INFINITY and now < wanted:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


# The socket


def _refuse_open_demo(settings: Settings) -> None:
    if settings.in_production or settings.host == "localhost":
        return
    try:
        loopback = ipaddress.ip_address(settings.host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        problem = f"SEATWEB_HOST: demo mode listens on loopback only, not on {settings.host}; "
        raise SettingsError([problem + "to run it in production, set DATABASE_URL, REDIS_URL and JWT_SECRET"])


@contextmanager
def _listen(host: str, port: int) -> Iterator[socket.socket]:
    """Open the port before anything else starts; early clients wait in the backlog for the first answer."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise _CannotRun(f"cannot listen on {host}: {error.strerror}; choose another with SEATWEB_HOST") from None
    with listener:
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(BACKLOG)
        except OSError as error:
            raise _CannotRun(_listen_problem(error, host, port)) from None
        yield listener


def _listen_problem(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} on {host} is in use by another program; choose another with SEATWEB_PORT"
    if error.errno in {errno.EACCES, errno.EPERM}:
        return f"this user is not allowed to listen on port {port}; choose one above 1023 with SEATWEB_PORT"
    return f"cannot listen on {host}: {os.strerror(error.errno or 0)}; choose another with SEATWEB_HOST"


# The processes that answer


def _answer(settings: Settings, backends: Backends, listener: socket.socket) -> None:
    config = uvicorn.Config(
        partial(make_app, settings, backends),
        factory=True,
        workers=settings.workers,
        loop="uvloop",
        http=BoundedHttp,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    if settings.workers == 1:
        try:
            _Server(config).run([listener])
        except SystemExit:
            raise _CannotRun("Seatweb did not start; the log says why") from None
        return
    workers = _Workers(config, [listener])
    try:
        workers.run()
    finally:
        take_signals()
    if any(worker.exitcode == STARTUP_FAILURE for worker in workers.processes):
        raise _CannotRun("Seatweb did not start; the log says why")


class _Server(uvicorn.Server):
    """uvicorn's server in this process."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Handle SIGINT or SIGTERM, and start the time limit for the shutdown."""
        end_in_time()
        super().handle_exit(sig, frame)


class _Workers(Multiprocess):
    """uvicorn's worker processes."""

    def __init__(self, config: uvicorn.Config, sockets: list[socket.socket]) -> None:
        super().__init__(config, sockets)
        signal.signal(signal.SIGINT, self._end)
        signal.signal(signal.SIGTERM, self._end)

    def _end(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - the shape of a signal handler
        end_in_time()
        self.signal_queue.append(number)

    def run(self) -> None:
        """Run the workers until a signal arrives; uvicorn's own loop checks for one only twice a second."""
        self.init_processes()
        ticks = 0
        while not self.should_exit.wait(TICK_SECONDS):
            ticks += 1
            self.handle_signals()
            if ticks % TICKS_BETWEEN_CHECKS == 0:
                self.keep_subprocess_alive()
        self.terminate_all()
        self.join_all()

    def init_processes(self) -> None:
        """Start the workers."""
        with _sigint_blocked():
            super().init_processes()

    def keep_subprocess_alive(self) -> None:
        """Replace workers that died."""
        with _sigint_blocked():
            super().keep_subprocess_alive()


@contextmanager
def _sigint_blocked() -> Iterator[None]:
    """Block SIGINT in the workers started inside: on Ctrl-C only their parent ends them.

    A worker that is interrupted while it starts would print a traceback.
    """
    resource_tracker.ensure_running()  # start it now: its start unblocks SIGINT
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def make_app(settings: Settings, backends: Backends) -> ASGIApp:
    """Return the app; call it in the process that will serve it. A worker exits when its parent does."""
    OUTPUT.start()
    if parent := multiprocessing.parent_process():
        threading.Thread(target=_exit_with, args=(parent,), name="parent watcher", daemon=True).start()
    # At shutdown uvicorn logs the requests that it cancels with a traceback, as if the app had failed.
    logging.getLogger("uvicorn.error").addFilter(_is_not_cancelled)
    from seatweb.app import create_app  # noqa: PLC0415 - only the process that serves requests needs the app

    return create_app(settings, backends, at_end=_on_started)


def _on_started(end_streams: Callable[[], None]) -> None:
    before_end(end_streams)
    gc.freeze()  # everything allocated so far is permanent, so the collector need not scan it again
    gc.set_threshold(10_000, 20, 50)  # cycles are rare here, and every request waits while the collector looks for them


def _exit_with(parent: multiprocessing.process.BaseProcess) -> None:
    parent.join()
    OUTPUT.end()
    os._exit(1)


def _is_not_cancelled(record: logging.LogRecord) -> bool:
    return not (record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError))


# The announcement


@contextmanager
def _announced(settings: Settings) -> Iterator[None]:
    """Print the site's address to standard output once it answers requests."""
    ended = threading.Event()
    threading.Thread(target=_announce, args=(settings, ended), name="announcement", daemon=True).start()
    try:
        yield
    finally:
        ended.set()


def _announce(settings: Settings, ended: threading.Event) -> None:
    host = ANY_ADDRESS.get(settings.host, settings.host)
    while not ended.is_set():
        if _is_live(host, settings.port):
            break
        ended.wait(TICK_SECONDS)
    if ended.is_set():
        return
    if not settings.in_production:
        log.warning(
            "demo mode: Seatweb runs its own PostgreSQL and Valkey; "
            "to run it in production, set DATABASE_URL, REDIS_URL and JWT_SECRET",
            data_dir=str(settings.data_dir),
        )
    shown = f"[{host}]" if ":" in host else host
    _say(f"Seatweb is ready at http://{shown}:{settings.port}")


def _is_live(host: str, port: int) -> bool:
    connection = http.client.HTTPConnection(host, port, timeout=5)
    try:
        connection.request("GET", "/health/live", headers={"Connection": "close"})
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
