"""The `seatweb` command."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

from seatweb import __version__
from seatweb.server.unix_signals import all_ended, take_signals

if TYPE_CHECKING:
    _Actions: TypeAlias = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - it has no public name


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a `seatweb` command; return the exit code: 0 for success, 1 if it cannot run, 2 for bad settings or usage."""
    parser = argparse.ArgumentParser(
        prog="seatweb",
        description="Book your seat for the day.",
        epilog="All settings are environment variables: DATABASE_URL, REDIS_URL, JWT_SECRET and SEATWEB_*; "
        "docs/settings.md lists them. Without any, Seatweb runs its own PostgreSQL and Valkey, for trying it out.",
    )
    parser.add_argument("--version", action="version", version=f"seatweb {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="serve | migrate | admin | user | prune")
    commands.add_parser("serve", help="create or migrate the schema, then serve the site until Ctrl-C or SIGTERM")
    commands.add_parser("migrate", help="create or migrate the schema, then exit")
    admin = commands.add_parser("admin", help="list administrators, or grant or revoke the role")
    _with_names(admin.add_subparsers(dest="action", required=True), "grant", "revoke").add_parser("list")
    user = commands.add_parser("user", help="disable accounts, enable them again, or reset passwords")
    actions = _with_names(user.add_subparsers(dest="action", required=True), "disable", "enable", "reset")
    actions.choices["disable"].add_argument(
        "--keep-bookings", action="store_true", help="keep their upcoming bookings, which are cancelled otherwise"
    )
    commands.add_parser(
        "prune", help="delete old sessions, failed sign-ins, idempotency keys and bookings (SEATWEB_KEEP_DAYS)"
    )
    parsed = parser.parse_args(arguments)
    try:
        take_signals()
        # Import after the handlers are set: it takes a while, and Ctrl-C may arrive meanwhile.
        from seatweb.server import serve as serving  # noqa: PLC0415

        if parsed.command == "serve":
            return serving.serve(os.environ)
        if parsed.command == "migrate":
            return serving.migrate(os.environ)
        action = getattr(parsed, "action", parsed.command)
        keep_bookings = getattr(parsed, "keep_bookings", False)
        return serving.administer(os.environ, action, getattr(parsed, "names", []), keep_bookings=keep_bookings)
    except KeyboardInterrupt:
        return 0
    finally:
        all_ended()


def _with_names(actions: _Actions, *names: str) -> _Actions:
    for name in names:
        actions.add_parser(name).add_argument("names", nargs="+", metavar="NAME", help="a username")
    return actions
