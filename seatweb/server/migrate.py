"""Bring the database up to date for this version, whichever process comes first."""

from __future__ import annotations

from seatweb.accounts.usernames import fill_in_skeletons
from seatweb.storage import migrations


async def migrate(url: str) -> None:
    """Bring the schema and the usernames' skeletons up to date, and give an empty database the sections of a first run.

    Raises:
        DatabaseUnusable: it cannot be reached, is too old, or refused a migration.
    """
    await migrations.migrate(url, fill_in_skeletons)
