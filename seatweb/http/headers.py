"""The headers of every answer."""

from __future__ import annotations

from typing import Final

from seatweb.settings import Settings

# No inline script or style, nothing from elsewhere, no text that becomes code: htmx asks same-origin only, and what it
# swaps goes through the one policy of static/js/trusted-types.js (docs/decisions/0013).
CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; "
    "manifest-src 'self'; object-src 'none'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types seatweb"
)
# What is no page (a file, an answer of the API) and is opened by itself all the same, is a page without any rights.
FILE_POLICY: Final = "default-src 'none'; frame-ancestors 'none'; sandbox"
# Powers that no page of ours uses; what is not named here (passkeys, the clipboard) is left to our own pages anyway.
UNUSED_POWERS: Final = (
    "accelerometer", "browsing-topics", "camera", "display-capture", "geolocation", "gyroscope", "hid",
    "idle-detection", "local-fonts", "magnetometer", "microphone", "midi", "payment", "serial", "usb",
)  # fmt: skip
# Of all answers; those that are pages get the rest as well. An answer that names one itself keeps its own.
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
HSTS_SECONDS: Final = 2 * 365 * 24 * 3600  # ASVS 3.4.1 wants a year at least; the preload list takes two as well


def strict_transport(settings: Settings) -> dict[str, str]:
    """Return the header that keeps browsers on https (RFC 6797), where people reach the site by it."""
    if not settings.secure_cookies:
        return {}
    subdomains = "; includeSubDomains" if settings.hsts_subdomains else ""
    return {"strict-transport-security": f"max-age={HSTS_SECONDS}{subdomains}"}
