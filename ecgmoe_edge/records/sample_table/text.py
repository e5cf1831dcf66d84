"""Reads a text file of any common encoding and line ending in blocks of complete lines, with constant memory."""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from ecgmoe_edge.errors import RecordError

_BLOCK = 1 << 16  # bytes read at once
_HEAD = 1 << 18  # bytes from which the encoding is determined
_TAIL = 1 << 14  # bytes in which a footer is searched
_LONGEST_LINE = 1 << 20  # characters
_WHOLE = 16 << 20  # bytes of the largest transposed table
_MOST_FOOTER_LINES = 20
_MOST_LEADS = 64  # most rows of a transposed table
_FEWEST_SAMPLES = 100  # fewest cells in a row of a transposed table
_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x19\x1b-\x1f]")
_MOST_HIGH_BYTES = 0.3  # largest share of bytes above 127 in a text in cp1252


@dataclass(frozen=True)
class TextSource:
    """The text of a table, opened with `open_text`."""

    path: Path
    encoding: str
    start: int  # position of the first character, after a byte-order mark
    end: int  # position after the last line that is read
    data: bytes | None = None  # replaces the text of the file: a table that was transposed

    def head(self, n_lines: int) -> tuple[list[str], bool]:
        """The first `n_lines` lines, and whether they are the whole text."""
        lines: list[str] = []
        for block in self.blocks():
            lines += block[:-1].split("\n")
            if len(lines) > n_lines:
                return lines[:n_lines], False
        return lines, True

    def blocks(self) -> Iterator[str]:
        r"""Successive blocks of complete lines, each of which ends with `\n`.

        Raises:
            RecordError: the text contains a NUL byte or an extremely long line.
        """
        decoder = codecs.getincrementaldecoder(self.encoding)(errors="replace")
        rest = ""
        with self._file() as file:
            file.seek(self.start)
            left = self.end - self.start
            while left > 0 and (raw := file.read(min(_BLOCK, left))):
                left -= len(raw)
                text = rest + decoder.decode(raw)
                self._check(text)
                within = text.rstrip("\r")  # a CR at the end may be the start of CR LF
                cut = max(text.rfind("\n"), within.rfind("\r")) + 1
                rest = text[cut:]
                if cut:
                    yield _with_line_feeds(text[:cut])
        rest += decoder.decode(b"", final=True)
        if rest:
            last = _with_line_feeds(rest)
            yield last if last.endswith("\n") else last + "\n"

    def without_footer(self, is_sample: Callable[[str], bool]) -> tuple[TextSource, int]:
        """Remove the footer: the lines at the end that are not samples, and empty lines at the end.

        Args:
            is_sample: whether a line is a row of samples.

        Returns:
            The text without its footer, and the number of removed lines that are not empty.
        """
        wide = self.encoding.startswith("utf-16")
        start = max(self.start, self.end - _TAIL)
        with self._file() as file:
            file.seek(start)
            raw = file.read(self.end - start)
        errors = "strict" if wide else "surrogateescape"
        try:
            text = raw.decode(self.encoding, errors)
        except UnicodeDecodeError:  # the first bytes are a part of a character
            return self, 0
        lines = re.findall(r"[^\r\n]*(?:\r\r\n|\r\n|\n|\r|$)", text)
        if start > self.start:
            lines = lines[1:]  # the first line may be incomplete
        dropped, written = 0, 0
        for line in reversed(lines):
            if line.strip(" \r\n\x1a"):
                if is_sample(line.strip("\r\n")) or written == _MOST_FOOTER_LINES:
                    break
                written += 1
            dropped += len(line.encode(self.encoding, errors))
        if written and dropped >= self.end - self.start:
            return self, 0  # there is no sample, which `layout_of` reports
        return replace(self, end=self.end - dropped), written

    def whole(self) -> str:
        """The whole text of a table with one row per lead.

        Raises:
            RecordError: the text is too long to be transposed.
        """
        if self.end - self.start > _WHOLE:
            raise RecordError(
                f"{self.path.name} has one row per lead and is too large to be transposed. Write it with one row per "
                "sample and one column per lead."
            )
        with self._file() as file:
            file.seek(self.start)
            text = file.read(self.end - self.start).decode(self.encoding, "replace")
        if "\0" in text:
            raise self._nul()
        return _with_line_feeds(text)

    def of(self, text: str) -> TextSource:
        """The source with another text in place of that of the file."""
        data = text.encode()
        return TextSource(self.path, "utf-8", 0, len(data), data)

    def _file(self) -> BinaryIO:
        return self.path.open("rb") if self.data is None else io.BytesIO(self.data)

    def _check(self, text: str) -> None:
        if "\0" in text:
            raise self._nul()
        if len(text) > _LONGEST_LINE:
            raise RecordError(
                f"{self.path.name} has lines of more than {_LONGEST_LINE:,} characters. Write a table with one row per "
                "sample and one column per lead."
            )

    def _nul(self) -> RecordError:
        return RecordError(
            f"{self.path.name} contains NUL bytes: it is not a text file, or UTF-16 without a byte-order mark. Save "
            "it as UTF-8 text."
        )


def open_text(path: Path) -> TextSource:
    """Open a text file and determine its encoding: UTF-8, UTF-16 with a byte-order mark, or else cp1252.

    Raises:
        RecordError: the file is empty or not text.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        raw = file.read(_HEAD)
    if not raw.strip():
        raise RecordError(
            f"{path.name} is empty or starts with many empty lines. Give a table with one row per sample."
        )
    for mark, encoding in _BOMS:
        if raw.startswith(mark):
            return TextSource(path, encoding, len(mark), size)
    if b"\0" in raw:
        raise TextSource(path, "utf-8", 0, size)._nul()
    found = _encoding_of(raw)
    if found is None:
        raise RecordError(f"{path.name} is not a text file. Give a CSV table, or a WFDB record by its header.")
    return TextSource(path, found, 0, size)


def is_transposed(source: TextSource) -> bool:
    """Whether the table has so few and so long lines that each line must be a lead."""
    with source._file() as file:
        file.seek(source.start)
        raw = file.read(min(_HEAD, source.end - source.start))
    text = _with_line_feeds(raw.decode(source.encoding, "replace")).strip("\n")
    lines = text.count("\n") + 1
    if lines > _MOST_LEADS:
        return False
    cells = max(max(map(line.count, ",;\t| ")) for line in text.split("\n"))
    return cells >= max(_FEWEST_SAMPLES, 4 * lines)


def _encoding_of(raw: bytes) -> str | None:
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(raw)
    except UnicodeDecodeError:
        if sum(byte >= 0x80 for byte in raw) > _MOST_HIGH_BYTES * len(raw):
            return None
        if _CONTROL.search(raw.decode("latin-1")):
            return None
        try:
            raw.decode("cp1252")
        except UnicodeDecodeError:
            return "ascii"  # such as Shift JIS: characters of names are replaced, and numbers are read
        return "cp1252"
    return None if _CONTROL.search(text) else "utf-8"


def _with_line_feeds(text: str) -> str:
    if "\r" not in text:
        return text
    return text.replace("\r\r\n", "\n").replace("\r\n", "\n").replace("\r", "\n")
