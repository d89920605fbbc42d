"""Header blocks of HTTP/2 (RFC 7541): read with a memory of the block before, written without any state.

What is written refers to the static table alone and uses no Huffman code. So a block is the same on every
connection, can be made ahead of the credential, is searched and overwritten like any text, and leaves
nothing of a request in a table that others share.
"""

import logging
from collections.abc import Iterable
from typing import TypeVar

import hpack
from hpack.table import HeaderTable

from authsome.proxy.rules.frames import Code, FrameError
from authsome.proxy.rules.head import LONGEST_HEAD, Field

# What goes beyond a message's own bounds is still read, so that only its stream has to end.
LONGEST_BLOCK = 2 * LONGEST_HEAD
# Ahead of a connection's first block, whatever table the peer would allow.
NO_TABLE = b"\x20"

_T = TypeVar("_T")
_REMEMBERED, _LONGEST_REMEMBERED = 64, 2048
_NEVER_INDEXED, _NOT_INDEXED = 0x10, 0x00

# it would write whole header blocks to a log (P23)
logging.getLogger("hpack").setLevel(logging.WARNING)


class _WatchedTable(HeaderTable):
    """Tells what reading a block did to the table, and whether what is in it had a part in the block's meaning."""

    def __init__(self) -> None:
        super().__init__()
        self.generation = 0
        self.added: list[tuple[bytes, bytes]] = []
        self.is_referred_to = False

    def get_by_index(self, index: int) -> tuple[bytes, bytes]:
        if index > HeaderTable.STATIC_TABLE_LENGTH:
            self.is_referred_to = True
        return super().get_by_index(index)

    def add(self, name: bytes, value: bytes) -> None:
        self.generation += 1
        self.added.append((name, value))
        super().add(name, value)

    def _shrink(self) -> None:
        self.generation += 1
        super()._shrink()


class BlockReader:
    """Reads the header blocks of one direction of one connection. Most repeat one of the blocks before.

    Such a block means the same if the table has not changed since, or if it does not refer to the table at all; what
    it adds to the table it adds again then.
    """

    __slots__ = ("_decoder", "_generation", "_plain", "_seen", "_table")

    def __init__(self) -> None:
        self._decoder = hpack.Decoder(max_header_list_size=LONGEST_BLOCK)
        self._table = self._decoder.header_table = _WatchedTable()
        self._seen: dict[bytes, list[Field]] = {}  # as long as the table is of this generation
        self._generation = 0
        self._plain: dict[bytes, tuple[list[Field], list[tuple[bytes, bytes]]]] = {}

    def read(self, block: bytes) -> list[Field]:
        """The fields of a whole block; the same list where the same block means the same. Raises FrameError."""
        table = self._table
        plain = self._plain.get(block)
        if plain is not None:
            for name, value in plain[1]:
                HeaderTable.add(table, name, value)
            table.generation += bool(plain[1])
            return plain[0]
        before = table.generation
        if before != self._generation:
            self._seen.clear()
            self._generation = before
        known = self._seen.get(block)
        if known is not None:
            return known
        size = table.maxsize
        table.generation += bool(block) and block[0] & 0xE0 == 0x20  # it says how large the table is
        table.added, table.is_referred_to = [], False
        try:
            pairs = self._decoder.decode(block, raw=True)
        except hpack.OversizedHeaderListError:
            raise FrameError(Code.ENHANCE_YOUR_CALM, "a header block is far too long") from None
        except (hpack.HPACKError, ValueError):
            raise FrameError(Code.COMPRESSION_ERROR, "a header block cannot be read") from None
        fields = [(bytes(name), bytes(name), bytes(value)) for name, value in pairs]
        if len(block) <= _LONGEST_REMEMBERED and table.maxsize == size:
            if table.generation == before:
                _remember(self._seen, block, fields)
            elif not table.is_referred_to and block[0] & 0xE0 != 0x20:
                _remember(self._plain, block, (fields, table.added))
        return fields


def _remember(memory: dict[bytes, _T], block: bytes, meaning: _T) -> None:
    if len(memory) >= _REMEMBERED:
        memory.clear()
    memory[block] = meaning


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
