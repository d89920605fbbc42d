"""Header blocks of HTTP/2 (RFC 7541): read with a memory of the block before, written without any state.

What is written refers to the static table alone and uses no Huffman code. So a block is the same on every
connection, can be made ahead of the credential, is searched and overwritten like any text, and leaves
nothing of a request in a table that others share.
"""

import logging
from collections.abc import Iterable

import hpack
from hpack.table import HeaderTable

from authsome.proxy.rules.frames import Code, FrameError
from authsome.proxy.rules.head import LONGEST_HEAD, Field

# What goes beyond a message's own bounds is still read, so that only its stream has to end.
LONGEST_BLOCK = 2 * LONGEST_HEAD
# Ahead of a connection's first block, whatever table the peer would allow.
NO_TABLE = b"\x20"

_REMEMBERED, _LONGEST_REMEMBERED = 64, 2048
_NEVER_INDEXED, _NOT_INDEXED = 0x10, 0x00

# it would write whole header blocks to a log (P23)
logging.getLogger("hpack").setLevel(logging.WARNING)


class _CountingTable(HeaderTable):
    """Tells that a block has changed the table, so that another meaning of the same bytes can be told apart."""

    def __init__(self) -> None:
        super().__init__()
        self.generation = 0

    def add(self, name: bytes, value: bytes) -> None:
        self.generation += 1
        super().add(name, value)

    def _shrink(self) -> None:
        self.generation += 1
        super()._shrink()


class BlockReader:
    """Reads the header blocks of one direction of one connection. Most repeat one of the blocks before."""

    __slots__ = ("_decoder", "_generation", "_seen", "_table")

    def __init__(self) -> None:
        self._decoder = hpack.Decoder(max_header_list_size=LONGEST_BLOCK)
        self._table = self._decoder.header_table = _CountingTable()
        self._seen: dict[bytes, list[Field]] = {}
        self._generation = 0

    def read(self, block: bytes) -> list[Field]:
        """The fields of a whole block; the same list where the same block means the same. Raises FrameError."""
        before = self._table.generation
        if before != self._generation:
            self._seen.clear()
            self._generation = before
        known = self._seen.get(block)
        if known is not None:
            return known
        if block[:1] and block[0] & 0xE0 == 0x20:
            self._table.generation += 1  # it resizes the table
        try:
            pairs = self._decoder.decode(block, raw=True)
        except hpack.OversizedHeaderListError:
            raise FrameError(Code.ENHANCE_YOUR_CALM, "a header block is far too long") from None
        except (hpack.HPACKError, ValueError):
            raise FrameError(Code.COMPRESSION_ERROR, "a header block cannot be read") from None
        fields = [(bytes(name), bytes(name), bytes(value)) for name, value in pairs]
        if self._table.generation == before and len(block) <= _LONGEST_REMEMBERED and len(self._seen) < _REMEMBERED:
            self._seen[block] = fields
        return fields


def block_of(fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The block of these names (in lower case) and values."""
    return b"".join([_literal(name, value, _NOT_INDEXED) for name, value in fields])


def secret_block_of(fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The same for credentials: whoever passes them on may not compress them (RFC 7541 §7.1.3)."""
    return b"".join([_literal(name, value, _NEVER_INDEXED) for name, value in fields])


def _literal(name: bytes, value: bytes, kind: int) -> bytes:
    index = _INDEXES.get((name, value))
    if index is not None:
        return index
    size = len(value)
    length = size.to_bytes(1, "big") if size < 127 else _integer(size, 7, 0)
    at = _NAMES.get(name)
    if at is not None:
        return _integer(at, 4, kind) + length + value
    return bytes((kind,)) + _integer(len(name), 7, 0) + name + length + value


def _integer(value: int, bits: int, first: int) -> bytes:
    """An integer of at least `bits` bits behind the flags of the first byte (RFC 7541 §5.1)."""
    most = (1 << bits) - 1
    if value < most:
        return bytes((first | value,))
    out = bytearray((first | most,))
    value -= most
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


_INDEXES = {
    (name, value): bytes((0x80 | at,)) for at, (name, value) in enumerate(HeaderTable.STATIC_TABLE, start=1) if value
}
_NAMES: dict[bytes, int] = {}
for _at, (_name, _) in enumerate(HeaderTable.STATIC_TABLE, start=1):
    _NAMES.setdefault(_name, _at)
