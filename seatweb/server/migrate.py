"""Migrate the database to this version."""

from __future__ import annotations

from seatweb.accounts.usernames import fill_in_skeletons
from seatweb.storage import migrations


async def migrate(url: str) -> None:
    """Migrate the schema and the usernames' skeletons, and fill an empty database with the first-run sections.

    Safe when several processes start at once.

    Raises:
        DatabaseUnusable: the database cannot be reached, is too old, or refused a migration.
    """
    await migrations.migrate(url, fill_in_skeletons)
