"""Pieces of pages: each is compressed once, and a page joins them, so that no page is compressed as a whole.

A page is a sequence of pieces that many viewers share, and of short texts of one viewer's own. In its compressed form
(gzip, RFC 1952), a piece is one or more deflate blocks that refer to nothing before them and end at a byte's border, a
text is a stored block (RFC 1951, section 3.2.4), and the checksum is that of the whole page.
"""

from __future__ import annotations

from collections.abc import Iterable
from struct import Struct
from typing import Final, TypeAlias

from zlib_ng import zlib_ng as zlib  # its checksums take a twentieth of the time

LEVEL: Final = 6
GZIP_HEAD: Final = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"  # no name, no time, unknown system
STORED: Final = Struct("<BHH").pack  # the head of a stored block: its type, its length, and the length inverted
LAST_BLOCK: Final = b"\x03\x00"  # empty
TRAILER: Final = Struct("<LL").pack  # the checksum and the length of the page
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
            self._packed = self._pack()
        return self._packed

    def _pack(self) -> bytes:
        compressor = zlib.compressobj(LEVEL, wbits=-zlib.MAX_WBITS)
        return compressor.compress(self.raw) + compressor.flush(zlib.Z_FULL_FLUSH)


class Joined(Piece):
    """Several pieces as one; what is compressed already is not compressed again."""

    __slots__ = ("_parts",)

    def __init__(self, parts: list[Piece]) -> None:
        super().__init__(b"".join([part.raw for part in parts]))
        self._parts = parts

    def _pack(self) -> bytes:
        return b"".join([part.packed for part in self._parts])


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
                blocks += STORED(0, len(text), len(text) ^ 0xFFFF), text
        checksum = zlib.crc32(raw, checksum)
        length += len(raw)
    blocks += LAST_BLOCK, TRAILER(checksum, length & 0xFFFFFFFF)
    return b"".join(blocks)
