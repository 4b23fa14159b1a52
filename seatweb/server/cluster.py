"""The PostgreSQL of the try-out mode: its cluster in the data folder, whom it lets in, its start."""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from seatweb.server.processes import Child, Runner, ServerError, answers, last_line, read_foreign, try_lock
from seatweb.server.programs import POSTGRESQL_MAJOR, Programs

START_SECONDS: Final = 30.0
EARLIER_RUN_SECONDS: Final = 10.0
POLL_SECONDS: Final = 0.005
CREATE_DATABASE: Final = (
    "select 'create database seatweb' where not exists (select from pg_database where datname = 'seatweb') \\gexec\n"
)
ACCESS_RULES: Final = "local all seatweb peer map=seatweb\n"


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster, and what it takes to run it."""

    data: Path  # the data folder, which is ours; the cluster is in `postgresql/`, which is the servers' account's
    folder: Path  # of this run, where only we write
    sockets: Path
    runner: Runner
    programs: Programs

    @property
    def path(self) -> Path:
        """Where it is kept."""
        return self.data / "postgresql"

    @property
    def log(self) -> Path:
        """Where PostgreSQL's messages go."""
        return self.data / "postgresql.log"

    def start(self, most_connections: int, children: list[Child]) -> None:
        """Start PostgreSQL, and append it to the children; the first time, make the cluster.

        Raises:
            ServerError: an earlier PostgreSQL is still running, or this one cannot run.
        """
        self._write_access_rules()
        with self._locked() as lock:
            self._prepare(children, lock)
            self._remove_stale_pid_file()
            values = {
                "listen_addresses": "",
                "unix_socket_directories": str(self.sockets),
                "hba_file": str(self.folder / "pg_hba.conf"),
                "ident_file": str(self.folder / "pg_ident.conf"),
                "port": "5432",
                "max_connections": str(most_connections),
                "fsync": "on",
                "full_page_writes": "on",
                "synchronous_commit": "on",
                "timezone": "UTC",
                "log_timezone": "UTC",
            }
            command = [self.programs.of_postgresql("postgres"), "-D", self.runner.name_of(self.path)]
            for name, value in values.items():
                command += ["-c", f"{name}={value}"]
            children.append(self.runner.start("PostgreSQL", command, self.log, cwd=self.path, keep_open=lock))

    def is_ready(self) -> bool:
        """Whether PostgreSQL takes connections: the eighth line of its pid file says so (as pg_ctl reads it)."""
        lines = (read_foreign(self.path / "postmaster.pid") or "").splitlines()
        return len(lines) > 7 and lines[7].strip() == "ready"

    def create_database(self) -> None:
        """Make the database `seatweb`, if there is none.

        Raises:
            ServerError: PostgreSQL refuses.
        """
        psql = Programs.find().of_postgresql("psql")  # we run it ourselves
        options = ["-XAtq", "-v", "ON_ERROR_STOP=1", "-h", str(self.sockets), "-p", "5432", "-U", "seatweb"]
        made = subprocess.run(  # noqa: S603 - the wheel's psql
            [psql, *options, "-d", "postgres"],
            input=CREATE_DATABASE,
            env=Runner.environment(),
            capture_output=True,
            text=True,
            timeout=START_SECONDS,
            check=False,
        )
        if made.returncode != 0:
            raise ServerError(f"cannot create the database: {last_line(made.stderr)} (see {self.log})")

    def _write_access_rules(self) -> None:
        """Let in the user who runs Seatweb, and root; the kernel says which user is at the other end of a socket.

        PostgreSQL reads these files instead of those in the cluster, which other processes of its account can change.
        """
        try:
            names = {pwd.getpwuid(os.geteuid()).pw_name}
        except KeyError:
            raise ServerError(
                f"PostgreSQL knows users by name, and user {os.geteuid()} has none on this system; "
                "start Seatweb as another user, or set DATABASE_URL and REDIS_URL"
            ) from None
        with suppress(KeyError):
            names.add(pwd.getpwuid(0).pw_name)
        quoted = ['"{}"'.format(name.replace('"', '""')) for name in sorted(names)]
        users = "".join(f"seatweb {name} seatweb\n" for name in quoted)
        for file, text in (("pg_hba.conf", ACCESS_RULES), ("pg_ident.conf", users)):
            (self.folder / file).write_bytes(os.fsencode(text))
            (self.folder / file).chmod(0o644)  # whatever the umask is

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """Give the lock that PostgreSQL and all its processes inherit: it is free exactly when none of them runs."""
        lock = os.open(self.data / "postgresql.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            deadline = time.monotonic() + EARLIER_RUN_SECONDS
            while not try_lock(lock):
                if time.monotonic() > deadline:
                    raise ServerError(f"the PostgreSQL of an earlier run has not finished with {self.data}; try again")
                time.sleep(POLL_SECONDS)
            yield lock
        finally:
            os.close(lock)

    def _prepare(self, children: list[Child], lock: int) -> None:
        """Leave a complete cluster of our version, made on the first run."""
        for unfinished in self.data.glob("postgresql.new-*"):
            shutil.rmtree(unfinished, ignore_errors=True)
        if (found := read_foreign(self.path / "PG_VERSION")) is not None:
            if (version := found.partition("\n")[0].strip()[:20]) != str(POSTGRESQL_MAJOR):
                raise ServerError(
                    f"{self.path} holds data of PostgreSQL {version}, but this Seatweb runs PostgreSQL "
                    f"{POSTGRESQL_MAJOR}; move the data with pg_dump and pg_restore, or choose another SEATWEB_DATA_DIR"
                )
            return
        if self.path.exists() and any(self.path.iterdir()):
            raise ServerError(f"{self.path} holds no data of PostgreSQL; choose another SEATWEB_DATA_DIR")
        # Made elsewhere and renamed: a kill half-way leaves nothing that the next start takes for a cluster.
        new = Path(tempfile.mkdtemp(prefix="postgresql.new-", dir=self.data))
        self.runner.give(new)
        command = [self.programs.of_postgresql("initdb"), f"--pgdata={self.runner.name_of(new)}", "--username=seatweb"]
        # The built-in locale is the same on every system and every version of its C library, so indexes stay valid.
        command += ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--encoding=UTF8"]
        command += ["--auth=reject", "--data-checksums", "--no-instructions"]
        initdb = self.runner.start("PostgreSQL's initdb", command, self.log, cwd=new, keep_open=lock)
        children.append(initdb)
        initdb.wait_until_done(seconds=START_SECONDS, poll=POLL_SECONDS)
        children.remove(initdb)
        new.rename(self.path)
        folder = os.open(self.data, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)

    def _remove_stale_pid_file(self) -> None:
        """Remove a killed PostgreSQL's pid file, whose number may belong to another process by now."""
        pid_file = self.path / "postmaster.pid"
        lines = (read_foreign(pid_file) or "").splitlines()
        # None of ours runs (we hold its lock), but someone may have started a PostgreSQL here by hand.
        if len(lines) > 4 and lines[3].isdecimal() and self._answers(Path(lines[4], f".s.PGSQL.{lines[3]}")):
            raise ServerError(f"{self.path} is in use by a PostgreSQL that Seatweb did not start (process {lines[0]})")
        pid_file.unlink(missing_ok=True)

    def _answers(self, socket: Path) -> bool:
        """Whether the cluster's owner listens on a socket; others', which the pid file may name too, are left alone."""
        try:
            found = socket.lstat()
        except (OSError, ValueError):
            return False
        return stat.S_ISSOCK(found.st_mode) and found.st_uid == self.path.stat().st_uid and answers(socket)
