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
        "docs/settings.md lists them. Without any, Seatweb runs its own PostgreSQL and Valkey, so you can try it out.",
    )
    parser.add_argument("--version", action="version", version=f"seatweb {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="serve | migrate | admin | user | prune")
    commands.add_parser("serve", help="create or migrate the schema, then serve the site until Ctrl-C or SIGTERM")
    commands.add_parser("migrate", help="create or migrate the schema, then exit")
    admin = commands.add_parser("admin", help="list administrators, or grant or revoke the role")
    roles = admin.add_subparsers(dest="action", required=True)
    _add_action(roles, "grant", "make users administrators")
    _add_action(roles, "revoke", "take the role away from administrators")
    roles.add_parser("list", help="list the administrators")
    user = commands.add_parser("user", help="disable accounts, enable them again, or reset passwords")
    actions = user.add_subparsers(dest="action", required=True)
    _add_action(actions, "disable", "sign users out everywhere, keep them out, and cancel their bookings").add_argument(
        "--keep-bookings", action="store_true", help="keep their upcoming bookings instead of cancelling them"
    )
    _add_action(actions, "enable", "let disabled users sign in again")
    _add_action(actions, "reset", "print a code with which a user can set a new password")
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


def _add_action(actions: _Actions, name: str, words: str) -> argparse.ArgumentParser:
    action = actions.add_parser(name, help=words, description=f"{words[0].upper()}{words[1:]}.")
    action.add_argument("names", nargs="+", metavar="NAME", help="a username")
    return action
