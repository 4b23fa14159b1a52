"""Pages that are joined from pieces, each of which is compressed once."""

from __future__ import annotations

import gzip
import zlib

import pytest
from seatweb.web import pieces
from seatweb.web.pieces import Joined, Piece, gzipped, plain
from zlib_ng import zlib_ng

pytestmark = pytest.mark.quick

HEAD, MAP = Piece("<h1>Monday</h1>" * 50), Piece("<a>A-07 \N{CAT}</a>" * 500)


@pytest.mark.parametrize(
    "page",
    [
        [HEAD],
        [HEAD, b"ada", MAP, b"", HEAD],
        [b"only a text"],
        [],
        [Piece(""), b"x" * 200_000, MAP],  # longer than a stored block
        [HEAD, b"ada", Joined([MAP, HEAD, Piece("")])],
    ],
)
def test_a_gzipped_page_unpacks_to_the_plain_page(page: pieces.Pieces) -> None:
    packed = gzipped(page)
    assert gzip.decompress(packed) == plain(page)
    reader = zlib.decompressobj(wbits=31)  # what follows the end would be lost on a reader like this
    reader.decompress(packed)
    assert reader.eof
    assert reader.unused_data == b""


def test_a_piece_is_compressed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    shared = Piece("<p>the same for everyone</p>" * 100)
    first = gzipped([shared, b"ada"])
    monkeypatch.setattr(zlib_ng, "compressobj", None)
    second, third = gzipped([shared, b"grace"]), gzipped([Joined([shared, shared])])
    assert len(first) < len(plain([shared])) // 10
    assert gzip.decompress(second).endswith(b"grace")
    assert gzip.decompress(third) == plain([shared, shared])
