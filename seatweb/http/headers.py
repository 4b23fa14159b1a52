"""Security headers for every response."""

from __future__ import annotations

from typing import Final

from seatweb.settings import Settings

# No inline scripts or styles, and nothing from other origins. htmx requests same-origin URLs only, and the HTML that it
# swaps in goes through the one Trusted Types policy in static/js/trusted-types.js (docs/decisions/0013).
CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; "
    "manifest-src 'self'; object-src 'none'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types seatweb"
)
# For files and API responses: if a browser opens one as a document, the document may do nothing.
FILE_POLICY: Final = "default-src 'none'; frame-ancestors 'none'; sandbox"
# Features that no page uses. Those not listed (passkeys, the clipboard) are available to our own pages only by default.
UNUSED_POWERS: Final = (
    "accelerometer", "browsing-topics", "camera", "display-capture", "geolocation", "gyroscope", "hid",
    "idle-detection", "local-fonts", "magnetometer", "microphone", "midi", "payment", "serial", "usb",
)  # fmt: skip
# For every response; pages get HEADERS. A header that the response sets itself takes precedence.
FILE_HEADERS: Final = {
    "x-content-type-options": "nosniff",
    "cross-origin-resource-policy": "same-origin",
    "content-security-policy": FILE_POLICY,
    "cache-control": "no-store",
}
HEADERS: Final = FILE_HEADERS | {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "referrer-policy": "same-origin",
    "permissions-policy": ", ".join(f"{power}=()" for power in UNUSED_POWERS),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-embedder-policy": "require-corp",
}
HSTS_SECONDS: Final = 2 * 365 * 24 * 3600  # ASVS 3.4.1 and the preload list require at least one year


def strict_transport(settings: Settings) -> dict[str, str]:
    """Return the header that keeps browsers on HTTPS (HSTS, RFC 6797); empty if the site's public URL is not HTTPS."""
    if not settings.secure_cookies:
        return {}
    # Under a path, the host is not Seatweb's own, so its subdomains are for others to decide about.
    subdomains = "; includeSubDomains" if settings.hsts_subdomains and not settings.base else ""
    return {"strict-transport-security": f"max-age={HSTS_SECONDS}{subdomains}"}
