"""Reads and checks a WFDB header: https://physionet.org/physiotools/wag/header-5.htm.

Deviations of real files from the specification are accepted if their meaning is clear: record and file names with
blanks, dates in any form, a unit before the baseline, Latin-1 and UTF-16. Other deviations are refused in one sentence.
Every number is checked against a limit before memory is allocated for it.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ecgmoe_edge.errors import RecordError
from ecgmoe_edge.records.recording import usual_unit

ASSUMED_RATE_HZ = 250.0  # default of header(5) if the record line states no rate
ASSUMED_GAIN = 200.0  # adu per unit, default of header(5) if the gain is missing or 0
NULL_FORMAT = 0
FLAC_FORMATS = (508, 516, 524)
FORMATS = (NULL_FORMAT, 8, 16, 24, 32, 61, 80, 160, 212, 310, 311, *FLAC_FORMATS)
MISSING = "~"  # name of a file or segment that does not exist

_HEADER_BYTES = 16 * 2**20
_LINE_CHARACTERS = 2000
_SIGNALS = 10_000
_SEGMENTS = 100_000
_FRAME_SAMPLES = 2**20  # samples of all signals in a frame; ten signals of 10 s at 10 kHz fit
MOST_RATE_HZ = 1e6
_SCALE = 1e100  # gains from 1 / _SCALE to _SCALE give finite values

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_RECORD = re.compile(r"(/[-+]?\d+)?\s+([-+]?\d+)(?=\s|$)")
_RATE = re.compile(rf"({_NUMBER})(?:/{_NUMBER})?(?:\({_NUMBER}\))?")
_DATE_OR_TIME = re.compile(r"\d*[:/.-][\w:/.-]*")
_FORMAT = re.compile(r"\s+(\d{1,4})((?:[x:+][-+]?\d+)*)(?=\s|$)")
_GAIN = re.compile(rf"({_NUMBER})(?:\(({_NUMBER})\))?(?:/(.*?)(?:\(({_NUMBER})\))?)?")
_LOOKS_LIKE_A_NUMBER = re.compile(r"[-+]?(?:[\d.(,/]|nan\b|inf)", re.IGNORECASE)
_DECIMAL_COMMA = re.compile(r"\d,\d")


@dataclass(frozen=True)
class SignalSpec:
    """One signal as described by its line in the header."""

    name: str  # description without surrounding blanks; may be empty
    file: str
    fmt: int  # one of FORMATS
    per_frame: int  # samples per frame
    skew: int  # delay of its samples in the file, frames
    offset: int  # bytes before its first sample; in a FLAC file, samples
    gain: float | None  # adu per unit; None if it is missing or 0
    baseline: float  # adu at 0 units
    unit: str | None
    initial: int  # adu before the first difference of format 8
    checksum: int | None


@dataclass(frozen=True)
class Header:
    """A header. A record of several segments has `segments`, any other record has `signals`."""

    file: Path
    n_signals: int
    rate: float | None  # frame rate, Hz
    length: int | None  # frames
    signals: tuple[SignalSpec, ...]
    segments: tuple[tuple[str, int], ...]  # name and number of frames of each segment
    comments: tuple[str, ...]
    surplus: int  # number of lines beyond those that the record line states, without comments

    @property
    def record(self) -> str:
        """Name of the header file, without extension."""
        return self.file.name[: -len(self.file.suffix)]

    @property
    def is_multi_segment(self) -> bool:
        """Whether the record consists of segments."""
        return bool(self.segments)


def record_path(path: Path) -> Path:
    """The path of a record: the given path without the extension of a header, signal or annotation file."""
    return path.with_suffix("") if path.suffix.lower() in (".hea", ".dat", ".mat", ".atr") else path


def header_file(record: Path) -> Path:
    """The path of the header of a record, whether or not it exists."""
    file = record.parent / f"{record.name}.hea"  # `with_name` raises an error for the empty name of a root folder
    upper_case = record.parent / f"{record.name}.HEA"
    return upper_case if not is_file(file) and is_file(upper_case) else file


def named_file(file: Path, name: str) -> Path:
    """The path of a file that a header names, in the folder of the header or below it.

    Args:
        file: the header.
        name: the name in the header.

    Raises:
        RecordError: the name leads to another folder; otherwise a header could make any file of the machine be read.
    """
    parts = name.replace("\\", "/").split("/")
    if "\0" in name or parts[0] == "" or ".." in parts or ":" in parts[0]:
        raise RecordError(
            f"{file.name} names the file {shown(name)}. Move it to the folder of the header, and correct the name."
        )
    return file.parent.joinpath(*parts)


def read_header(file: Path) -> Header:
    """Read a header.

    Raises:
        RecordError: the file cannot be read or is not a valid header; the message names the line.
    """
    lines, comments = [], []
    for line in _text_of(file).replace("\r", "\n").split("\n"):  # empty lines are ignored
        if line.lstrip().startswith("#"):
            comments.append(line.strip().lstrip("#").strip())
        elif line.strip():
            lines.append(line.strip())
    if not lines:
        raise RecordError(f"{file} is not a WFDB header: it is empty. Copy it again from its source.")
    if any(len(line) > _LINE_CHARACTERS for line in lines):
        raise RecordError(f"{file} is not a WFDB header: a line has over {_LINE_CHARACTERS} characters.")
    stem = file.name[: -len(file.suffix)]
    n_segments, n_signals, rate, length = _record_line(lines[0], stem, file)
    count = n_signals if n_segments is None else n_segments
    if len(lines) - 1 < count:
        what = "signals" if n_segments is None else "segments"
        raise RecordError(
            f"{file.name} states {count} {what} but describes {len(lines) - 1}: it is truncated or not a WFDB "
            "header. Copy it again from its source."
        )
    described = lines[1 : 1 + count]
    signals = () if n_segments is not None else tuple(_signal_line(line, stem, file) for line in described)
    if sum(signal.per_frame for signal in signals) > _FRAME_SAMPLES:
        raise RecordError(f"{file.name} has over {_FRAME_SAMPLES} samples per frame. Correct the numbers after x.")
    segments = () if n_segments is None else tuple(_segment_line(line, file) for line in described)
    surplus = len(lines) - 1 - count
    return Header(file, n_signals, rate, length, signals, segments, tuple(comments), surplus)


def shown(text: str) -> str:
    """A part of a file for a message: quoted, and at most 60 characters long."""
    return repr(text if len(text) <= 60 else text[:57] + "...")


def is_file(path: Path) -> bool:
    """Whether there is a file at a path; False also if the path is invalid."""
    try:
        return path.is_file()
    except (OSError, ValueError):  # the name is too long or contains NUL
        return False


def _text_of(file: Path) -> str:
    if not is_file(file):
        raise RecordError(
            f"There is no header {file}. Name a record by the path of its .hea file, without the extension."
        )
    try:
        size = file.stat().st_size
        raw = file.read_bytes() if size <= _HEADER_BYTES else b""
    except OSError as reason:
        raise RecordError(f"{file} cannot be read ({reason.strerror or reason}). Make it readable.") from reason
    if size > _HEADER_BYTES:
        raise RecordError(f"{file} is not a WFDB header: it has over {_HEADER_BYTES // 2**20} MiB.")
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        text = raw.decode("utf-16", errors="replace")
    else:
        text = "\n".join(_decoded(line) for line in re.split(rb"\r\n|\r|\n", raw.removeprefix(codecs.BOM_UTF8)))
    if "\0" in text:
        raise RecordError(f"{file} is not a WFDB header: it is not text. Copy it again from its source.")
    return text


def _decoded(line: bytes) -> str:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:
        return line.decode("latin-1")  # written by Windows and many recorders


def _record_line(line: str, stem: str, file: Path) -> tuple[int | None, int, float | None, int | None]:
    found = _RECORD.match(line, len(stem)) if line.startswith(stem) else None
    found = found or _RECORD.search(line, 1)
    if found is None:
        raise RecordError(f"{file} is not a WFDB header: its first line {shown(line)} states no number of signals.")
    n_segments = None if found[1] is None else _count(found[1][1:], "segments", 1, _SEGMENTS, file)
    n_signals = _count(found[2], "signals", 0, _SIGNALS, file)
    fields = line[found.end() :].split()
    rate = _rate(fields[0], file) if fields else None
    length = _length(fields[1], file) if len(fields) > 1 else None
    return n_segments, n_signals, rate, length or None  # a length of 0 means unspecified


def _count(field: str, what: str, least: int, most: int, file: Path) -> int:
    number = _whole(field)
    if number is None or not least <= number <= most:
        raise RecordError(f"{file.name} states {shown(field)} {what}; allowed are {least} to {most}. Correct it.")
    return number


def _rate(field: str, file: Path) -> float:
    found = _RATE.fullmatch(field)
    if found is None:
        comma = " with a comma: write a decimal point" if _DECIMAL_COMMA.search(field) else ": write a number of Hz"
        raise RecordError(f"{file.name} states the sampling rate {shown(field)}{comma}.")
    rate = float(found[1])
    if not 0 < rate <= MOST_RATE_HZ:
        raise RecordError(
            f"{file.name} states a sampling rate of {rate:g} Hz. Write the true rate into its first line, after the "
            "number of signals."
        )
    return rate


def _length(field: str, file: Path) -> int | None:
    number = _whole(field)
    if number is not None and number >= 0:
        return number
    if number is None and _DATE_OR_TIME.fullmatch(field):
        return None  # the number is missing, and the time of the recording follows the rate
    raise RecordError(
        f"{file.name} states {shown(field)} as the number of samples. Write the number into its first line, or 0 if it "
        "is unknown."
    )


def _whole(field: str) -> int | None:
    """An integer, also if it is written as `1e5` or `1024.0`; None if it is not an integer below 10^18."""
    if not re.fullmatch(_NUMBER, field):
        return None
    if re.fullmatch(r"[-+]?\d{1,18}", field):
        return int(field)
    number = float(field)
    return int(number) if abs(number) < 1e18 and number.is_integer() else None


def _segment_line(line: str, file: Path) -> tuple[str, int]:
    name, _, field = line.rpartition(" ") if "\t" not in line else line.replace("\t", " ").rpartition(" ")
    length = _whole(field)
    if not name.strip() or length is None or length < 0:
        raise RecordError(f"{file.name} has the line {shown(line)}; expected are the name and length of a segment.")
    return name.strip(), length


def _signal_line(line: str, stem: str, file: Path) -> SignalSpec:
    found = _FORMAT.search(line, len(stem) if line.startswith(stem) else 1)
    if found is None:
        raise RecordError(f"{file} is not a WFDB header: its line {shown(line)} states no signal file and format.")
    name, fmt = line[: found.start()].strip(), int(found[1])
    if fmt not in FORMATS:
        raise RecordError(f"{file.name} states format {fmt} for {shown(name)}, which does not exist. Correct it.")
    modifiers = {"x": 1, ":": 0, "+": 0}
    for kind, field in re.findall(r"([x:+])([-+]?\d+)", found[2]):
        modifiers[kind] = _count(field, _MODIFIERS[kind], 1 if kind == "x" else 0, 2**40, file)
    fields = line[found.end() :].split(None, 6)
    gain, baseline, unit, rest = _gain_field(fields, line, file)
    numbers, description = _further_fields(rest, line, file)
    zero = numbers[1] if len(numbers) > 1 else 0
    return SignalSpec(
        name=description,
        file=name,
        fmt=NULL_FORMAT if name == MISSING else fmt,
        per_frame=modifiers["x"],
        skew=modifiers[":"],
        offset=modifiers["+"],
        gain=gain,
        baseline=zero if baseline is None else baseline,
        unit=unit,
        initial=numbers[2] if len(numbers) > 2 else zero,
        checksum=numbers[3] if len(numbers) > 3 else None,
    )


_MODIFIERS = {"x": "samples per frame", ":": "samples of skew", "+": "bytes before the signal"}


def _gain_field(
    fields: Sequence[str], line: str, file: Path
) -> tuple[float | None, float | None, str | None, Sequence[str]]:
    """Gain, baseline and unit, each None if it is not stated, and the fields that follow."""
    if not fields or not _LOOKS_LIKE_A_NUMBER.match(fields[0]):
        return None, None, None, fields
    found = _GAIN.fullmatch(fields[0])
    if found is None:
        comma = _DECIMAL_COMMA.search(fields[0])
        cause = "has a comma: write a decimal point" if comma else "is not a gain: write a number, such as 200/mV"
        raise RecordError(f"{file.name} states the gain {shown(fields[0])} in {shown(line)}, which {cause}.")
    gain = float(found[1])
    baseline = found[2] or found[4]
    level = None if baseline is None else float(baseline)
    if (gain and not 1 / _SCALE < abs(gain) < _SCALE) or (level is not None and not abs(level) < _SCALE):
        raise RecordError(f"{file.name} states the gain {shown(fields[0])}, which no A/D converter has. Correct it.")
    return gain or None, level, usual_unit(found[3]) if found[3] else None, fields[1:]


def _further_fields(fields: Sequence[str], line: str, file: Path) -> tuple[list[int], str]:
    """ADC resolution, ADC zero, initial value, checksum and block size, as many as are present, and the description."""
    numbers: list[int] = []
    for at, field in enumerate(fields[:5]):
        number = _whole(field)
        if number is None:
            misplaced = [_whole(later) for later in fields[at + 1 :]]
            whole = sum(one is not None for one in misplaced) >= 2
            if whole or re.fullmatch(rf"{_NUMBER}|[-+]?\d+,\d+", field):
                raise RecordError(
                    f"{file.name} has {shown(field)} in {shown(line)} as the {_FIELDS[at]}, which must be an integer. "
                    "Correct the line."
                )
            return numbers, " ".join(fields[at:])
        numbers.append(number)
    return numbers, fields[5].strip() if len(fields) > 5 else ""


_FIELDS = ("ADC resolution", "ADC zero", "initial value", "checksum", "block size")
