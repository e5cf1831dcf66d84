"""A text file in blocks of whole lines, whatever its encoding and line ends, with flat memory."""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from ecgmoe_edge.errors import RecordError

_BLOCK = 1 << 16  # bytes read at a time
_HEAD = 1 << 18  # bytes in which the layout must show
_TAIL = 1 << 14
_LONGEST_LINE = 1 << 20  # characters; beyond, a table lies on its side
_WHOLE = 16 << 20  # bytes of the largest table on its side that is read
_MOST_FOOTER_LINES = 20
_MOST_LEADS = 64  # rows of a table on its side
_FEWEST_SAMPLES = 100  # in a row of a table on its side
_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x19\x1b-\x1f]")
_MOST_HIGH_BYTES = 0.3  # share in a file that is text in cp1252


@dataclass(frozen=True)
class TextSource:
    """Where the text of a table lies, opened with `open_text`."""

    path: Path
    encoding: str
    start: int  # byte of the first character, behind a byte-order mark
    end: int  # byte behind the last line that is read
    data: bytes | None = None  # text that is not the file's own: a table that was turned upright

    def head(self, n_lines: int) -> tuple[list[str], bool]:
        """The first lines, at most `n_lines`, and whether they are all of the text."""
        lines: list[str] = []
        for block in self.blocks():
            lines += block[:-1].split("\n")
            if len(lines) > n_lines:
                return lines[:n_lines], False
        return lines, True

    def blocks(self) -> Iterator[str]:
        r"""Successive blocks of whole lines, each line ended by `\n`.

        Raises:
            RecordError: a NUL byte, or a line without end.
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
                within = text.rstrip("\r")  # a CR at the end may be the first half of CR LF
                cut = max(text.rfind("\n"), within.rfind("\r")) + 1
                rest = text[cut:]
                if cut:
                    yield _with_line_feeds(text[:cut])
        rest += decoder.decode(b"", final=True)
        if rest:
            last = _with_line_feeds(rest)
            yield last if last.endswith("\n") else last + "\n"

    def without_footer(self, is_sample: Callable[[str], bool]) -> tuple[TextSource, int]:
        """The same text without the lines at its end that are no samples, and how many of them are not empty.

        Empty lines at the end are no samples either.
        """
        wide = self.encoding.startswith("utf-16")
        start = max(self.start, self.end - _TAIL)
        with self._file() as file:
            file.seek(start)
            raw = file.read(self.end - start)
        errors = "strict" if wide else "surrogateescape"
        try:
            text = raw.decode(self.encoding, errors)
        except UnicodeDecodeError:  # a character is cut in two
            return self, 0
        lines = re.findall(r"[^\r\n]*(?:\r\r\n|\r\n|\n|\r|$)", text)
        if start > self.start:
            lines = lines[1:]  # it may have begun before
        dropped, written = 0, 0
        for line in reversed(lines):
            if line.strip(" \r\n\x1a"):
                if is_sample(line.strip("\r\n")) or written == _MOST_FOOTER_LINES:
                    break
                written += 1
            dropped += len(line.encode(self.encoding, errors))
        if written and dropped >= self.end - self.start:
            return self, 0  # not one sample: the layout has to say so
        return replace(self, end=self.end - dropped), written

    def whole(self) -> str:
        """All of the text, of a table on its side.

        Raises:
            RecordError: it is too long to be turned upright.
        """
        if self.end - self.start > _WHOLE:
            raise RecordError(
                f"{self.path.name} has a row for each lead and is too large to be turned. Write it with one row a "
                "sample and one column a lead."
            )
        with self._file() as file:
            file.seek(self.start)
            text = file.read(self.end - self.start).decode(self.encoding, "replace")
        if "\0" in text:
            raise self._nul()
        return _with_line_feeds(text)

    def of(self, text: str) -> TextSource:
        """Another text in the place of this file's."""
        data = text.encode()
        return TextSource(self.path, "utf-8", 0, len(data), data)

    def _file(self) -> BinaryIO:
        return self.path.open("rb") if self.data is None else io.BytesIO(self.data)

    def _check(self, text: str) -> None:
        if "\0" in text:
            raise self._nul()
        if len(text) > _LONGEST_LINE:
            raise RecordError(
                f"{self.path.name} has lines of more than {_LONGEST_LINE:,} characters. Write a table with one row a "
                "sample and one column a lead."
            )

    def _nul(self) -> RecordError:
        return RecordError(
            f"{self.path.name} holds NUL bytes, so it is not a text file, or UTF-16 without a byte-order mark. Save "
            "it as UTF-8 text."
        )


def open_text(path: Path) -> TextSource:
    """Find out how a text file is encoded: UTF-8, UTF-16 with a byte-order mark, or else cp1252.

    Raises:
        RecordError: it is empty or no text.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        raw = file.read(_HEAD)
    if not raw.strip():
        raise RecordError(f"{path.name} is empty or starts with empty lines alone. Give a table with one row a sample.")
    for mark, encoding in _BOMS:
        if raw.startswith(mark):
            return TextSource(path, encoding, len(mark), size)
    if b"\0" in raw:
        raise TextSource(path, "utf-8", 0, size)._nul()
    found = _encoding_of(raw)
    if found is None:
        raise RecordError(f"{path.name} is not a text file. Give a CSV table, or a WFDB record by its header.")
    return TextSource(path, found, 0, size)


def is_on_its_side(source: TextSource) -> bool:
    """Whether the lines are so few and long that each must be a lead."""
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
        try:
            text = raw.decode("cp1252")
        except UnicodeDecodeError:
            return None
        return None if _CONTROL.search(text) else "cp1252"
    return None if _CONTROL.search(text) else "utf-8"


def _with_line_feeds(text: str) -> str:
    if "\r" not in text:
        return text
    return text.replace("\r\r\n", "\n").replace("\r\n", "\n").replace("\r", "\n")
