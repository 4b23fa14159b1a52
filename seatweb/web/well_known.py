"""What programs look for at fixed addresses: what crawlers are asked, and whom to tell about a weakness."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from litestar import get
from litestar.di import NamedDependency
from litestar.response import Response

from seatweb.settings import Settings
from seatweb.web.requests import PageNotFound
from seatweb.web.static_files import AN_HOUR

# Today's map and the documentation are for everyone to find. Every other day and seat is the same again, a thousand
# times, and what is a person's own is closed to crawlers anyway.
ROBOTS: Final = """\
User-agent: *
Allow: /$
Allow: /docs
Allow: /static/
Allow: /.well-known/
Disallow: /
"""
VALID_DAYS: Final = 180  # RFC 9116, section 2.5.5, recommends less than a year; it is written anew for every reader


@get("/robots.txt", media_type="text/plain", include_in_schema=False, sync_to_thread=False)
def robots() -> Response[str]:
    """Return what crawlers are asked (RFC 9309)."""
    return Response(ROBOTS, media_type="text/plain", headers={"cache-control": AN_HOUR})


@get("/.well-known/security.txt", media_type="text/plain", include_in_schema=False, sync_to_thread=False)
def security_txt(settings: NamedDependency[Settings]) -> Response[str]:
    """Return whom to tell about a weakness of this site (RFC 9116).

    Raises:
        PageNotFound: the operator named nobody.
    """
    if settings.security_contact is None:
        raise PageNotFound
    expires = datetime.now(UTC).replace(microsecond=0) + timedelta(days=VALID_DAYS)
    lines = [f"Contact: {settings.security_contact}", f"Expires: {expires:%Y-%m-%dT%H:%M:%SZ}"]
    if settings.public_url:
        lines.append(f"Canonical: {settings.public_url}/.well-known/security.txt")
    lines.append("Preferred-Languages: en")
    return Response("\n".join(lines) + "\n", media_type="text/plain", headers={"cache-control": AN_HOUR})
