"""The command `seatweb`."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence

from seatweb import __version__
from seatweb.signals import all_ended, take_signals


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `seatweb serve` or `seatweb migrate`; return the exit code: 0, 1 cannot run, 2 wrong settings or usage."""
    parser = argparse.ArgumentParser(
        prog="seatweb",
        description="Book your seat for the day.",
        epilog="Everything else is set by environment variables: DATABASE_URL, REDIS_URL, JWT_SECRET and SEATWEB_*; "
        "the README lists them. Without any, Seatweb runs its own PostgreSQL and Redis, to try it out.",
    )
    parser.add_argument("--version", action="version", version=f"seatweb {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="serve | migrate")
    commands.add_parser("serve", help="create or migrate the schema, then answer requests until Ctrl-C or SIGTERM")
    commands.add_parser("migrate", help="create or migrate the schema, then exit")
    command: str = parser.parse_args(arguments).command
    try:
        take_signals()
        # Only now: these imports take a while, and Ctrl-C may come during them.
        from seatweb import serving  # noqa: PLC0415

        return serving.serve(os.environ) if command == "serve" else serving.migrate(os.environ)
    except KeyboardInterrupt:
        return 0
    finally:
        all_ended()
