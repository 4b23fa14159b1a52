"""Files at well-known URLs: `robots.txt` for crawlers, and `security.txt` for people who find a vulnerability."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from litestar import get
from litestar.di import NamedDependency
from litestar.response import Response

from seatweb.settings import Settings
from seatweb.web.requests import PageNotFound
from seatweb.web.static_files import AN_HOUR

# Search engines may index today's map and the documentation. The pages of other days and seats would repeat the map a
# thousand times, and crawlers cannot open personal pages anyway.
ROBOTS: Final = """\
User-agent: *
Allow: /$
Allow: /docs
Allow: /static/
Allow: /.well-known/
Disallow: /
"""
VALID_DAYS: Final = 180  # RFC 9116, section 2.5.5, recommends less than a year; computed for each request


@get("/robots.txt", media_type="text/plain", include_in_schema=False, sync_to_thread=False)
def robots(settings: NamedDependency[Settings]) -> Response[str]:
    """Return the rules for crawlers (RFC 9309)."""
    return Response(
        ROBOTS.replace(": /", f": {settings.base}/"), media_type="text/plain", headers={"cache-control": AN_HOUR}
    )


@get("/.well-known/security.txt", media_type="text/plain", include_in_schema=False, sync_to_thread=False)
def security_txt(settings: NamedDependency[Settings]) -> Response[str]:
    """Return whom to contact about a vulnerability of this site (RFC 9116).

    Raises:
        PageNotFound: the operator has set no contact.
    """
    if settings.security_contact is None:
        raise PageNotFound
    expires = datetime.now(UTC).replace(microsecond=0) + timedelta(days=VALID_DAYS)
    lines = [f"Contact: {settings.security_contact}", f"Expires: {expires:%Y-%m-%dT%H:%M:%SZ}"]
    if settings.origin:  # also under a path: it is valid only at the root of its host (RFC 9116, section 3)
        lines.append(f"Canonical: {settings.origin}/.well-known/security.txt")
    lines.append("Preferred-Languages: en")
    return Response("\n".join(lines) + "\n", media_type="text/plain", headers={"cache-control": AN_HOUR})
