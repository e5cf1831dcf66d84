"""Reads tables of a flatbuffer that nobody has verified: every place is checked to lie inside before it is read.

Layout: https://flatbuffers.dev/internals/. A table begins with the distance to its vtable, which has the place of each
field in the table, or 0 for one that has its default.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

_LAYOUTS = {layout: struct.Struct(f"<{layout}") for layout in "bBhHiIqQf"}
_ROOT, _IDENTIFIER = 4, 8  # bytes before the identifier and after it
_MOST_TABLES = 200_000  # the shipped student has some 600; tables may be shared, so a small file can name many


class FlatbufferError(Exception):
    """What is wrong with the file, as a part of a sentence."""


class Flatbuffer:
    """The bytes of a file, and how much of it was read."""

    def __init__(self, content: bytes, identifier: bytes) -> None:
        self.content = content
        self._tables = 0
        if content[_ROOT:_IDENTIFIER] != identifier:
            raise FlatbufferError(f"its bytes 4 to 7 are not {identifier.decode()}")

    def root(self) -> Table:
        """The first table. Raises FlatbufferError, as all that reads does."""
        return Table(self, self.place(0))

    def read(self, layout: str, at: int) -> Any:
        """One number of a `struct` layout, at a place that fits its size."""
        known = _LAYOUTS[layout]
        if at < 0 or at % known.size or at + known.size > len(self.content):
            raise FlatbufferError("a place lies outside it")
        return known.unpack_from(self.content, at)[0]

    def place(self, at: int) -> int:
        """Where the offset that stands at `at` leads."""
        return at + int(self.read("I", at))

    def vector(self, at: int, size: int) -> tuple[int, int]:
        """First byte and length of the vector at `at`, whose items have `size` bytes."""
        count = int(self.read("I", at))
        if count * size > len(self.content) - at - 4:
            raise FlatbufferError("a list is longer than the file")
        return at + 4, count

    def count_table(self) -> None:
        """Raise where more tables were read than any file of this kind has."""
        self._tables += 1
        if self._tables > _MOST_TABLES:
            raise FlatbufferError(f"it has more than {_MOST_TABLES:,} tables")


class Table:
    """One table; fields are named by their slot, the number in the schema."""

    def __init__(self, file: Flatbuffer, at: int) -> None:
        file.count_table()
        self._file, self._at = file, at
        vtable = at - int(file.read("i", at))
        entries, self._bytes = int(file.read("H", vtable)), int(file.read("H", vtable + 2))
        inside = vtable + entries <= len(file.content) and at + self._bytes <= len(file.content)
        if entries < 4 or entries % 2 or self._bytes < 4 or not inside:
            raise FlatbufferError("a table lies outside it")
        self._offsets = struct.unpack_from(f"<{entries // 2 - 2}H", file.content, vtable + 4)

    def _place(self, slot: int, size: int) -> int | None:
        offset = self._offsets[slot] if slot < len(self._offsets) else 0
        if offset and not 4 <= offset <= self._bytes - size:
            raise FlatbufferError("a field lies outside its table")
        return self._at + offset if offset else None

    def has(self, slot: int) -> bool:
        """Whether the field was written; one without may have its default."""
        return self._place(slot, 1) is not None

    def integer(self, slot: int, layout: str = "i", default: int = 0) -> int:
        """A whole number, of a `struct` layout."""
        at = self._place(slot, _LAYOUTS[layout].size)
        return default if at is None else int(self._file.read(layout, at))

    def real(self, slot: int, default: float = 0.0) -> float:
        """A float32."""
        at = self._place(slot, 4)
        return default if at is None else float(self._file.read("f", at))

    def table(self, slot: int) -> Table | None:
        """A table, None where there is none."""
        at = self._place(slot, 4)
        return None if at is None else Table(self._file, self._file.place(at))

    def tables(self, slot: int) -> list[Table]:
        """A list of tables; empty where there is none."""
        return self._each(slot, lambda at: Table(self._file, at))

    def numbers(self, slot: int, dtype: str) -> NDArray[Any] | None:
        """A list of numbers of a numpy type, little-endian as "<i4", without copying it; None where there is none."""
        at = self._place(slot, 4)
        if at is None:
            return None
        size = np.dtype(dtype).itemsize
        first, count = self._file.vector(self._file.place(at), size)
        if first % size:
            raise FlatbufferError("a list of numbers lies at an odd place")
        return np.frombuffer(self._file.content, dtype, count, first)

    def text(self, slot: int) -> str:
        """A string; empty where there is none."""
        found = self.numbers(slot, "u1")
        try:
            return "" if found is None else found.tobytes().decode("utf-8")
        except UnicodeDecodeError:
            raise FlatbufferError("a name is no text") from None

    def _each(self, slot: int, read: Callable[[int], Table]) -> list[Table]:
        at = self._place(slot, 4)
        if at is None:
            return []
        first, count = self._file.vector(self._file.place(at), 4)
        if count > _MOST_TABLES:
            raise FlatbufferError(f"a list has {count:,} tables")
        return [read(self._file.place(first + 4 * index)) for index in range(count)]
