"""Demo mode's PostgreSQL: its database cluster in the data folder, its access rules, and its start."""

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
    """A PostgreSQL cluster in the data folder, and what it takes to run it."""

    data: Path  # the data folder; we own it, but the servers' account owns the cluster in `postgresql/`
    folder: Path  # this run's folder, which only we write to
    sockets: Path
    runner: Runner
    programs: Programs

    @property
    def path(self) -> Path:
        """The cluster's own folder."""
        return self.data / "postgresql"

    @property
    def log(self) -> Path:
        """PostgreSQL's log file."""
        return self.data / "postgresql.log"

    def start(self, most_connections: int, children: list[Child]) -> None:
        """Start PostgreSQL and append it to `children`; on the first run, create the cluster.

        Raises:
            ServerError: an earlier run's PostgreSQL is still running, or this one cannot start.
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
        """Return whether PostgreSQL accepts connections; like pg_ctl, read line 8 of its pid file."""
        lines = (read_foreign(self.path / "postmaster.pid") or "").splitlines()
        return len(lines) > 7 and lines[7].strip() == "ready"

    def create_database(self) -> None:
        """Create the database `seatweb` unless it exists.

        Raises:
            ServerError: PostgreSQL refused.
        """
        psql = Programs.find().of_postgresql("psql")  # the wheel's copy: psql runs as us, not as the servers' account
        options = ["-XAtq", "-v", "ON_ERROR_STOP=1", "-h", str(self.sockets), "-p", "5432", "-U", "seatweb"]
        result = subprocess.run(  # noqa: S603 - the wheel's psql
            [psql, *options, "-d", "postgres"],
            input=CREATE_DATABASE,
            env=Runner.environment(),
            capture_output=True,
            text=True,
            timeout=START_SECONDS,
            check=False,
        )
        if result.returncode != 0:
            raise ServerError(f"cannot create the database: {last_line(result.stderr)} (see {self.log})")

    def _write_access_rules(self) -> None:
        """Allow only root and the user who runs Seatweb; with peer authentication, the kernel names the client's user.

        PostgreSQL reads these files instead of the cluster's own, which other processes of its account can change.
        """
        try:
            names = {pwd.getpwuid(os.geteuid()).pw_name}
        except KeyError:
            raise ServerError(
                f"PostgreSQL identifies users by name, and user id {os.geteuid()} has no name on this system; "
                "start Seatweb as another user, or set DATABASE_URL and REDIS_URL"
            ) from None
        with suppress(KeyError):
            names.add(pwd.getpwuid(0).pw_name)
        quoted = ['"{}"'.format(name.replace('"', '""')) for name in sorted(names)]
        users = "".join(f"seatweb {name} seatweb\n" for name in quoted)
        for file, text in (("pg_hba.conf", ACCESS_RULES), ("pg_ident.conf", users)):
            (self.folder / file).write_bytes(os.fsencode(text))
            (self.folder / file).chmod(0o644)  # the umask may be stricter

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """Yield a lock that PostgreSQL and all its processes inherit, so it is free exactly when none of them runs."""
        lock = os.open(self.data / "postgresql.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            deadline = time.monotonic() + EARLIER_RUN_SECONDS
            while not try_lock(lock):
                if time.monotonic() > deadline:
                    raise ServerError(f"an earlier run's PostgreSQL is still shutting down in {self.data}; try again")
                time.sleep(POLL_SECONDS)
            yield lock
        finally:
            os.close(lock)

    def _prepare(self, children: list[Child], lock: int) -> None:
        """Make sure that there is a complete cluster of our PostgreSQL version; create it on the first run."""
        for unfinished in self.data.glob("postgresql.new-*"):
            shutil.rmtree(unfinished, ignore_errors=True)
        if (found := read_foreign(self.path / "PG_VERSION")) is not None:
            if (version := found.partition("\n")[0].strip()[:20]) != str(POSTGRESQL_MAJOR):
                raise ServerError(
                    f"{self.path} contains data of PostgreSQL {version}, but this Seatweb runs PostgreSQL "
                    f"{POSTGRESQL_MAJOR}; move the data with pg_dump and pg_restore, or choose another SEATWEB_DATA_DIR"
                )
            return
        if self.path.exists() and any(self.path.iterdir()):
            raise ServerError(f"{self.path} has files, but no PostgreSQL data; choose another SEATWEB_DATA_DIR")
        # Create it under another name, then rename it: the next start never mistakes an unfinished one for a cluster.
        new = Path(tempfile.mkdtemp(prefix="postgresql.new-", dir=self.data))
        self.runner.give(new)
        command = [self.programs.of_postgresql("initdb"), f"--pgdata={self.runner.name_of(new)}", "--username=seatweb"]
        # The built-in locale does not depend on the system's C library, so indexes stay valid when that changes.
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
        """Remove the pid file of a PostgreSQL that was killed; another process may have its pid by now."""
        pid_file = self.path / "postmaster.pid"
        lines = (read_foreign(pid_file) or "").splitlines()
        # We hold the lock, so ours is not running, but someone may have started PostgreSQL here by hand.
        if len(lines) > 4 and lines[3].isdecimal() and self._answers(Path(lines[4], f".s.PGSQL.{lines[3]}")):
            raise ServerError(f"{self.path} is in use by a PostgreSQL that Seatweb did not start (process {lines[0]})")
        pid_file.unlink(missing_ok=True)

    def _answers(self, socket: Path) -> bool:
        """Return whether the cluster's owner listens on this socket; another user's socket counts as no answer."""
        try:
            found = socket.lstat()
        except (OSError, ValueError):
            return False
        return stat.S_ISSOCK(found.st_mode) and found.st_uid == self.path.stat().st_uid and answers(socket)
