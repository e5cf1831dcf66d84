"""Reads and checks the header of an EDF, EDF+, BDF or BDF+ file, which consists of text fields of fixed width.

Layout: Kemp et al., EDF (1992), https://www.edfplus.info/specs/edf.html; Kemp and Olivan, EDF+ (2003),
https://www.edfplus.info/specs/edfplus.html; BDF is EDF with samples of 24 bits, https://www.biosemi.com/faq/file_format.htm.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from typing import BinaryIO

from ecgmoe_edge.errors import RecordError
from ecgmoe_edge.records.recording import Sex, usual_unit

EDF_MAGIC = b"0       "
BDF_MAGIC = b"\xffBIOSEMI"
ANNOTATION_LABELS = ("EDF Annotations", "BDF Annotations")

_FIXED_BYTES = 256
#: Field of a signal -> width in bytes, in the order of the file.
_FIELDS = {
    "label": 16, "transducer": 80, "unit": 8, "physical_min": 8, "physical_max": 8, "digital_min": 8,
    "digital_max": 8, "prefilter": 80, "samples": 8, "reserved": 32,
}  # fmt: skip
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?")
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_OLDEST = 120  # years


@dataclass(frozen=True)
class EdfSignal:
    """One signal as described in the header."""

    label: str
    unit: str  # empty if the file does not state it
    physical: tuple[float, float] | None  # minimum and maximum in `unit`; None: they are not numbers
    digital: tuple[float, float] | None  # counts of the physical minimum and maximum
    samples: int  # samples in each data record
    offset: int  # position in a data record, bytes

    @property
    def is_annotation(self) -> bool:
        """Whether the signal contains annotations and no samples."""
        return self.label in ANNOTATION_LABELS

    @property
    def gain(self) -> float | None:
        """Units per count; None if the limits in the header are equal or are not numbers."""
        if self.physical is None or self.digital is None or self.digital[0] == self.digital[1]:
            return None
        gain = (self.physical[1] - self.physical[0]) / (self.digital[1] - self.digital[0])
        return gain or None


@dataclass(frozen=True)
class EdfHeader:
    """The header of a file."""

    kind: str  # EDF, EDF+, BDF or BDF+
    sample_bytes: int  # 2 for EDF, 3 for BDF
    interrupted: bool  # EDF+D: there may be missing time between data records
    n_bytes: int  # length of the header
    n_records: int  # number of data records; -1 if the header does not state it
    record_s: Fraction  # duration of a data record, s
    signals: tuple[EdfSignal, ...]
    age: int | None
    sex: Sex | None

    @property
    def record_bytes(self) -> int:
        """Length of a data record, bytes."""
        return self.sample_bytes * sum(signal.samples for signal in self.signals)

    def rate(self, signal: EdfSignal) -> float:
        """Sampling rate of a signal, Hz."""
        return float(signal.samples / self.record_s)


def looks_like_edf(head: bytes) -> bool:
    """Whether the first 256 bytes of a file are those of an EDF or BDF header, which may be damaged."""
    if head.startswith(BDF_MAGIC):
        return True
    head = head[:_FIXED_BYTES]
    if not head.startswith(EDF_MAGIC) or len(head) < _FIXED_BYTES or b"\n" in head or b"\t" in head:
        return False
    return any(head[start:end].strip().isdigit() for start, end in ((184, 192), (236, 244), (252, 256)))


def read_header(file: BinaryIO, name: str) -> EdfHeader:
    """Read and check the header.

    Args:
        file: the open file, at its start.
        name: name of the file, for messages.

    Raises:
        RecordError: the header is truncated, or a field is invalid; the message names the field.
    """
    fixed = file.read(_FIXED_BYTES)
    if len(fixed) < _FIXED_BYTES or not looks_like_edf(fixed):
        raise RecordError(f"{name} has no complete EDF or BDF header. Copy it again from its source.")
    is_bdf = fixed.startswith(BDF_MAGIC)
    count = _whole(fixed[252:256], "number of signals", name)
    n_bytes = _whole(fixed[184:192], "number of header bytes", name)
    if count < 1 or n_bytes != _FIXED_BYTES * (count + 1):
        raise RecordError(
            f"The header of {name} states {count} signals and {n_bytes} header bytes, which contradict each other. "
            "Export the recording again, or repair its header with EDFbrowser."
        )
    columns = file.read(_FIXED_BYTES * count)
    if len(columns) < _FIXED_BYTES * count:
        raise RecordError(f"{name} ends within its header. Copy it again from its source.")
    sample_bytes = 3 if is_bdf else 2
    reserved = _text(fixed[192:236])
    plus = reserved.startswith(("EDF+", "BDF+"))
    record_s = _number(fixed[244:252])
    if record_s is None or record_s < 0:
        raise RecordError(f"The header of {name} states no duration of a data record. Export the recording again.")
    signals = _signals(columns, count, sample_bytes, name)
    if record_s == 0 and any(not signal.is_annotation for signal in signals):
        raise RecordError(
            f"The header of {name} states data records of 0 s, so no signal has a rate. Export the recording again."
        )
    age, sex = _age_and_sex(_text(fixed[8:88]), _text(fixed[88:168]), _text(fixed[168:176])) if plus else (None, None)
    return EdfHeader(
        kind=("BDF" if is_bdf else "EDF") + ("+" if plus else ""),
        sample_bytes=sample_bytes,
        interrupted=reserved.startswith(("EDF+D", "BDF+D")),
        n_bytes=n_bytes,
        n_records=_whole(fixed[236:244], "number of data records", name),
        record_s=record_s,
        signals=signals,
        age=age,
        sex=sex,
    )


def _signals(columns: bytes, count: int, sample_bytes: int, name: str) -> tuple[EdfSignal, ...]:
    at = 0
    cells: dict[str, list[bytes]] = {}
    for field, width in _FIELDS.items():
        cells[field] = [columns[at + width * one : at + width * (one + 1)] for one in range(count)]
        at += width * count
    signals = []
    at = 0
    for one in range(count):
        samples = _whole(cells["samples"][one], f"number of samples of signal {one + 1}", name)
        if samples < 0:
            raise RecordError(f"Signal {one + 1} of {name} has {samples} samples per data record. Export it again.")
        signals.append(
            EdfSignal(
                label=_text(cells["label"][one]),
                unit=usual_unit(_text(cells["unit"][one])),
                physical=_pair(cells["physical_min"][one], cells["physical_max"][one]),
                digital=_pair(cells["digital_min"][one], cells["digital_max"][one]),
                samples=samples,
                offset=at,
            )
        )
        at += samples * sample_bytes
    return tuple(signals)


def _text(cell: bytes) -> str:
    """A text field; ASCII by the specification, but devices write the micro sign in Latin-1 or UTF-8."""
    try:
        text = cell.decode("utf-8")
    except UnicodeDecodeError:
        text = cell.decode("latin-1")
    return "".join(char if char.isprintable() else " " for char in text).strip()


def _number(cell: bytes) -> Fraction | None:
    """A finite number, exact; a decimal comma is accepted. None if the field is not a number."""
    text = _text(cell).replace(",", ".")
    return Fraction(text) if _NUMBER.fullmatch(text) else None


def _whole(cell: bytes, what: str, name: str) -> int:
    number = _number(cell)
    if number is None or number.denominator != 1 or abs(number) >= 10**8:
        raise RecordError(
            f"The header of {name} states no {what} ({_text(cell)!r}). Copy the file again, or export it again."
        )
    return int(number)


def _pair(low: bytes, high: bytes) -> tuple[float, float] | None:
    first, last = _number(low), _number(high)
    try:
        return None if first is None or last is None else (float(first), float(last))
    except OverflowError:
        return None


def _age_and_sex(patient: str, recording: str, start: str) -> tuple[int | None, Sex | None]:
    """Age and sex from EDF+ subfields: `MCH-0234567 F 02-MAY-1951 Haagse_Harry` and `Startdate 02-MAR-2002 ...`."""
    fields = patient.split()
    sex: Sex | None = {"M": "M", "F": "F"}.get(fields[1]) if len(fields) > 1 else None  # type: ignore[assignment]
    born = _date(fields[2]) if len(fields) > 2 else None
    words = recording.split()
    started = (_date(words[1]) if len(words) > 1 and words[0] == "Startdate" else None) or _start_date(start)
    if born is None or started is None:
        return None, sex
    age = started.year - born.year - ((started.month, started.day) < (born.month, born.day))
    return (age if 0 <= age <= _OLDEST else None), sex


def _date(text: str) -> date | None:
    match = re.fullmatch(r"(\d{1,2})-([A-Za-z]{3})-(\d{4})", text)
    if match is None or match[2].upper() not in _MONTHS:
        return None
    try:
        return date(int(match[3]), _MONTHS.index(match[2].upper()) + 1, int(match[1]))
    except ValueError:
        return None


def _start_date(text: str) -> date | None:
    """The date `dd.mm.yy` of the fixed header, for the years 1985 to 2084."""
    match = re.fullmatch(r"(\d\d)\.(\d\d)\.(\d\d)", text)
    if match is None:
        return None
    year = int(match[3])
    try:
        return date(year + (1900 if year >= 85 else 2000), int(match[2]), int(match[1]))
    except ValueError:
        return None
