"""Pieces of pages: each is compressed once, and a page joins them, so that no page is compressed as a whole.

A page is a sequence of pieces that many viewers share, and of short texts of one viewer's own. In its compressed form
(gzip, RFC 1952), a piece is one or more deflate blocks that refer to nothing before them and end at a byte's border, a
text is a stored block (RFC 1951, section 3.2.4), and the checksum is that of the whole page.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import Final, TypeAlias

LEVEL: Final = 6
GZIP_HEAD: Final = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"  # no name, no time, unknown system
LAST_BLOCK: Final = b"\x03\x00"  # empty
LONGEST_STORED: Final = 0xFFFF


class Piece:
    """HTML that several pages share; `raw` is in UTF-8."""

    __slots__ = ("_packed", "raw")

    def __init__(self, html: str | bytes) -> None:
        self.raw: Final = html.encode() if isinstance(html, str) else html
        self._packed: bytes | None = None

    @property
    def packed(self) -> bytes:
        """The piece as deflate blocks."""
        if self._packed is None:
            compressor = zlib.compressobj(LEVEL, wbits=-zlib.MAX_WBITS)
            self._packed = compressor.compress(self.raw) + compressor.flush(zlib.Z_FULL_FLUSH)
        return self._packed


Pieces: TypeAlias = list[Piece | bytes]
"""A page: pieces, and texts of one viewer's own."""


def plain(pieces: Iterable[Piece | bytes]) -> bytes:
    """Return the page in UTF-8."""
    return b"".join([piece if type(piece) is bytes else piece.raw for piece in pieces])  # type: ignore[union-attr]


def gzipped(pieces: Iterable[Piece | bytes]) -> bytes:
    """Return the page compressed with gzip."""
    blocks, checksum, length = [GZIP_HEAD], 0, 0
    for piece in pieces:
        if isinstance(piece, Piece):
            raw = piece.raw
            blocks.append(piece.packed)
        else:
            raw = piece
            for start in range(0, len(raw), LONGEST_STORED):
                text = raw[start : start + LONGEST_STORED]
                size = len(text)
                blocks.append(b"\x00" + size.to_bytes(2, "little") + (size ^ 0xFFFF).to_bytes(2, "little") + text)
        checksum = zlib.crc32(raw, checksum)
        length += len(raw)
    blocks += LAST_BLOCK, checksum.to_bytes(4, "little"), (length & 0xFFFFFFFF).to_bytes(4, "little")
    return b"".join(blocks)
