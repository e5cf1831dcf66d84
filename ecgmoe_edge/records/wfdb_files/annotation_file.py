"""Reads WFDB annotation files in MIT format: https://physionet.org/physiotools/wag/annot-5.htm."""

from __future__ import annotations

import re
from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.errors import RecordError

END_MARK = b"\x00\x00"

# Code -> symbol of annot(5); a blank in the list is a code without a symbol.
SYMBOLS = MappingProxyType(
    {code: symbol for code, symbol in enumerate(' NLRaVFJASEj/Q~ | sT*D"=pB^t+u?![]en@xf()r') if symbol != " "}
)
NO_BEAT_CODE = 0  # NOTQRS
_MOST_CODES = 49
_SKIP, _NUM, _SUB, _CHANNEL, _NOTE = 59, 60, 61, 62, 63
_NOTE_CODE = 22  # annotation whose notes describe the file itself

_MOST_BYTES = 8 * 2**20  # four million beats, about a month
_MOST_NOTES = 500_000
_MOST_TICKS = 2**50
_RESOLUTION = re.compile(r"## time resolution:\s*(\S+)")
_DEFINITION = re.compile(r"(\d{1,2})\s+(\S{1,20})(?:\s|$)")
_DEFINITIONS_BEGIN, _DEFINITIONS_END = "## annotation type definitions", "## end of definitions"


@dataclass(frozen=True)
class RawAnnotations:
    """The content of an annotation file, in the order of the file."""

    ticks: NDArray[np.int64]  # (n,) time of each annotation, ascending or equal
    codes: NDArray[np.uint8]  # (n,) code of each annotation
    notes: Mapping[int, str]  # index of an annotation -> its note
    rate: float | None  # ticks per second; None if the file does not state it
    defined: Mapping[int, str]  # code -> symbol that the file defines itself

    def symbol(self, code: int) -> str:
        """Symbol of a code: from annot(5), from the definitions in the file, or the code in brackets."""
        return SYMBOLS.get(code) or self.defined.get(code) or ("" if code == NO_BEAT_CODE else f"[{code}]")


def read_annotation_file(file: Path) -> RawAnnotations:
    """Read an annotation file.

    Raises:
        RecordError: the file cannot be read, is too large, truncated or not an annotation file, or its times go
            backwards.
    """
    try:
        size = file.stat().st_size
        raw = file.read_bytes() if size <= _MOST_BYTES else b""
    except OSError as reason:
        raise RecordError(f"{file} cannot be read ({reason.strerror or reason}). Make it readable.") from reason
    if size > _MOST_BYTES:
        raise RecordError(f"{file} has over {_MOST_BYTES // 2**20} MiB, too much for annotations. Name another file.")
    if not raw:
        raise RecordError(f"{file} is empty. Copy it again from its source.")
    if raw.isascii() and not re.search(rb"[\x00-\x08\x0e-\x1f]", raw):
        raise RecordError(f"{file} is text and not a WFDB annotation file. Convert it with PhysioNet's wrann.")
    ticks, codes, notes = _words(raw, file)
    stated, defined = _file_properties(ticks, codes, notes, file)
    return RawAnnotations(np.frombuffer(ticks, np.int64), np.frombuffer(codes, np.uint8), notes, stated, defined)


def _words(raw: bytes, file: Path) -> tuple[array[int], bytes, dict[int, str]]:
    """Times in ticks, codes and notes of all annotations."""
    words = memoryview(raw[: len(raw) // 2 * 2]).cast("H")  # files and supported machines are little-endian
    ticks, codes, notes = array("q"), bytearray(), {}
    at, now, last, n = 0, 0, 0, len(words)
    while at < n and words[at]:
        code, low = words[at] >> 10, words[at] & 0x3FF
        at += 1
        if code <= _MOST_CODES:
            now += low
            if now < last or now > _MOST_TICKS:
                _refuse_time(now, last, file)
            last = now
            ticks.append(now)
            codes.append(code)
        elif code == _SKIP and at + 1 < n:
            step = words[at] << 16 | words[at + 1]
            now += step - (step >> 31 << 32)
            at += 2
        elif code == _NOTE:
            end = at + (low + 1) // 2
            if ticks and end <= n:
                notes[len(ticks) - 1] = _text(raw[2 * at : 2 * at + low])
            at = end
            if len(notes) > _MOST_NOTES:
                raise RecordError(f"{file} has over {_MOST_NOTES} notes, which no annotation file has. Name another.")
        elif code not in (_NUM, _SUB, _CHANNEL, _SKIP):
            raise RecordError(f"{file} is not a WFDB annotation file: it contains the code {code}. Name another file.")
    if at >= n:  # detections at the lost annotations would count as false positives
        raise RecordError(f"{file} is truncated: it lacks the mark that ends an annotation file. Copy it again.")
    if raw[2 * at :].strip(b"\0"):
        raise RecordError(
            f"{file} is not a WFDB annotation file: {len(raw) - 2 * at - 2} bytes follow the mark that ends one. "
            "Copy it again."
        )
    return ticks, bytes(codes), notes


def _refuse_time(now: int, last: int, file: Path) -> None:
    if now < 0:
        raise RecordError(f"{file} is not a WFDB annotation file: it has a time before the start. Copy it again.")
    if now < last:
        raise RecordError(
            f"{file} has times that go backwards, from {last} to {now} ticks. Sort it with PhysioNet's sortann."
        )
    raise RecordError(f"{file} is not a WFDB annotation file: it has a time of {now} ticks. Copy it again.")


def _text(raw: bytes) -> str:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    return text.strip("\x00 ")


def _file_properties(
    ticks: array[int], codes: bytes, notes: Mapping[int, str], file: Path
) -> tuple[float | None, dict[int, str]]:
    """Tick rate and definitions of symbols, from the notes at the start of the file."""
    rate: float | None = None
    defined: dict[int, str] = {}
    defining = False
    for at, note in notes.items():
        if ticks[at] != 0 or codes[at] != _NOTE_CODE:
            break
        found = _RESOLUTION.match(note)
        if found:
            rate = _resolution(found[1], file)
        elif note.startswith((_DEFINITIONS_BEGIN, _DEFINITIONS_END)):
            defining = note.startswith(_DEFINITIONS_BEGIN)
        elif defining and (definition := _DEFINITION.match(note)):
            defined[int(definition[1])] = definition[2]
    return rate, defined


def _resolution(field: str, file: Path) -> float:
    try:
        rate = float(field)
    except ValueError:
        rate = float("nan")
    if not 1e-6 <= rate <= 1e9:
        raise RecordError(f"{file} states a time resolution of {field[:40]!r} ticks per second. Write it again.")
    return rate
