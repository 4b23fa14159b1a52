"""A response is sent only in an encoding that the client accepts, and in the one that it prefers."""

from __future__ import annotations

import pytest
from seatweb.http.compression import accepted_encoding

from tests.support import Site


@pytest.mark.parametrize(
    ("header", "chosen"),
    [
        (None, None),
        ("", None),
        ("gzip, deflate, br, zstd", "br"),
        ("gzip", "gzip"),
        ("GZIP", "gzip"),
        ("identity", None),
        ("zstd", None),
        # Refused
        ("br;q=0", None),
        ("gzip;q=0", None),
        ("br;q=0, gzip;q=0", None),
        ("*, br;q=0, gzip;q=0", None),
        ("br;q=0, gzip", "gzip"),
        ("gzip, br; q=0.000", "gzip"),
        ("br;q=0, *", "gzip"),
        ("*;q=0", None),
        ("*;q=0, gzip", "gzip"),
        # Preferred
        ("gzip;q=0.5", "gzip"),
        ("br;q=0.5, gzip;q=0.8", "gzip"),
        ("br;q=0.5, gzip;q=0.500", "br"),
        ("gzip\t;\tQ=1.0 , br ; q=0.9", "gzip"),
        ("*", "br"),
        ("*;q=0.1, gzip;q=0.2", "gzip"),
        ("identity, gzip;q=0.5", None),
        ("identity;q=0.5, gzip;q=0.5", "gzip"),
        ("identity;q=0, gzip;q=0.1", "gzip"),
        ("identity;q=0", None),
        # Not valid
        ("br;q=2", None),
        ("br;q=a, gzip", "gzip"),
        ("br;q=-1", None),
        ("br;q=0.0001", None),
        ("brotli, xbr, br/2", None),
        (",, ,gzip,", "gzip"),
        (b"br;q=0, gzip\xff, gzip", "gzip"),
    ],
)
def test_the_best_encoding_that_the_client_accepts_is_chosen(header: str | bytes | None, chosen: str | None) -> None:
    assert accepted_encoding(header) == chosen


@pytest.mark.parametrize("path", ["/", "/my/bookings", "/static/css/seatweb.css", "/static/js/seatweb.js"])
async def test_an_encoding_that_the_client_refuses_is_never_sent(site: Site, path: str) -> None:
    async with site.people(1) as (ada,):
        for accepted, coding in {
            "br;q=0": None,
            "gzip;q=0": None,
            "br;q=0, gzip": "gzip",
            "br;q=0.5, gzip;q=0.8": "gzip",
            "gzip;q=0, br": "br",
            "*;q=0": None,
        }.items():
            await ada.get("/")  # fills the caches, so that "/" is sent before the framework sees the request
            answer = await ada.get(path, headers={"accept-encoding": accepted})
            assert answer.headers.get("content-encoding") == coding, accepted
            assert len(answer.text) > 500
