"""Reads tables of an untrusted flatbuffer: checks that every position lies inside the file before it reads there.

Layout: https://flatbuffers.dev/internals/. A table begins with the distance to its vtable. The vtable has the position
of each field inside the table, or 0 for a field that is absent and has its default.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

_LAYOUTS = {layout: struct.Struct(f"<{layout}") for layout in "bBhHiIqQf"}
_IDENTIFIER = slice(4, 8)  # bytes of the file identifier
_MOST_TABLES = 200_000  # shipped student: about 600; a small file can refer to one table many times


class FlatbufferError(Exception):
    """The file is damaged or not of this kind. The message is a part of a sentence."""


class Flatbuffer:
    """The bytes of a file, and the number of tables that were read from it.

    All methods raise FlatbufferError if the file is damaged.
    """

    def __init__(self, content: bytes, identifier: bytes) -> None:
        self.content = content
        self._tables = 0
        if content[_IDENTIFIER] != identifier:
            raise FlatbufferError(f"its bytes 4 to 7 are not {identifier.decode()}")

    def root(self) -> Table:
        """The first table."""
        return Table(self, self.target(0))

    def read(self, layout: str, at: int) -> Any:
        """Read one number with a `struct` layout at the position `at`, which must be aligned to its size."""
        known = _LAYOUTS[layout]
        if at < 0 or at % known.size or at + known.size > len(self.content):
            raise FlatbufferError("a position lies outside it or is not aligned")
        return known.unpack_from(self.content, at)[0]

    def target(self, at: int) -> int:
        """The position to which the offset at `at` refers."""
        return at + int(self.read("I", at))

    def vector(self, at: int, size: int) -> tuple[int, int]:
        """Position of the first item, and number of items, of the vector at `at`; an item has `size` bytes."""
        count = int(self.read("I", at))
        if count * size > len(self.content) - at - 4:
            raise FlatbufferError("a list is longer than the file")
        return at + 4, count

    def count_table(self) -> None:
        """Count one more table; raise FlatbufferError if there are more than any file of this kind has."""
        self._tables += 1
        if self._tables > _MOST_TABLES:
            raise FlatbufferError(f"it has more than {_MOST_TABLES:,} tables")


class Table:
    """One table. A field is given by its slot: its number in the schema, from 0.

    All methods raise FlatbufferError if the file is damaged.
    """

    def __init__(self, file: Flatbuffer, at: int) -> None:
        file.count_table()
        self._file, self._at = file, at
        vtable = at - int(file.read("i", at))
        entries, self._bytes = int(file.read("H", vtable)), int(file.read("H", vtable + 2))
        inside = vtable + entries <= len(file.content) and at + self._bytes <= len(file.content)
        if entries < 4 or entries % 2 or self._bytes < 4 or not inside:
            raise FlatbufferError("a table lies outside it")
        self._offsets = struct.unpack_from(f"<{entries // 2 - 2}H", file.content, vtable + 4)

    def _position(self, slot: int, size: int) -> int | None:
        offset = self._offsets[slot] if slot < len(self._offsets) else 0
        if offset and not 4 <= offset <= self._bytes - size:
            raise FlatbufferError("a field lies outside its table")
        return self._at + offset if offset else None

    def has(self, slot: int) -> bool:
        """Whether the field is present; an absent field has its default."""
        return self._position(slot, 1) is not None

    def integer(self, slot: int, layout: str = "i", default: int = 0) -> int:
        """An integer field with a `struct` layout."""
        at = self._position(slot, _LAYOUTS[layout].size)
        return default if at is None else int(self._file.read(layout, at))

    def real(self, slot: int, default: float = 0.0) -> float:
        """A float32 field."""
        at = self._position(slot, 4)
        return default if at is None else float(self._file.read("f", at))

    def table(self, slot: int) -> Table | None:
        """A table, or None if the field is absent."""
        at = self._position(slot, 4)
        return None if at is None else Table(self._file, self._file.target(at))

    def tables(self, slot: int) -> list[Table]:
        """A list of tables, empty if the field is absent."""
        return self._each(slot, lambda at: Table(self._file, at))

    def numbers(self, slot: int, dtype: str) -> NDArray[Any] | None:
        """A list of numbers of a little-endian numpy type such as "<i4", not copied; None if the field is absent."""
        at = self._position(slot, 4)
        if at is None:
            return None
        size = np.dtype(dtype).itemsize
        first, count = self._file.vector(self._file.target(at), size)
        if first % size:
            raise FlatbufferError("a list of numbers is not aligned")
        return np.frombuffer(self._file.content, dtype, count, first)

    def text(self, slot: int) -> str:
        """A string, empty if the field is absent."""
        found = self.numbers(slot, "u1")
        try:
            return "" if found is None else found.tobytes().decode("utf-8")
        except UnicodeDecodeError:
            raise FlatbufferError("a name is not UTF-8 text") from None

    def _each(self, slot: int, read: Callable[[int], Table]) -> list[Table]:
        at = self._position(slot, 4)
        if at is None:
            return []
        first, count = self._file.vector(self._file.target(at), 4)
        if count > _MOST_TABLES:
            raise FlatbufferError(f"a list has {count:,} tables")
        return [read(self._file.target(first + 4 * index)) for index in range(count)]
