"""The header of an EDF, EDF+, BDF or BDF+ file: text fields of fixed width, each judged before it is believed.

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
from ecgmoe_edge.records.recording import Sex

EDF_MAGIC = b"0       "
BDF_MAGIC = b"\xffBIOSEMI"
ANNOTATION_LABELS = ("EDF Annotations", "BDF Annotations")

_FIXED_BYTES = 256
#: Fields of each signal and their bytes, in the order of the file.
_FIELDS = {
    "label": 16, "transducer": 80, "unit": 8, "physical_min": 8, "physical_max": 8, "digital_min": 8,
    "digital_max": 8, "prefilter": 80, "samples": 8, "reserved": 32,
}  # fmt: skip
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?")
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_OLDEST = 120  # years


@dataclass(frozen=True)
class EdfSignal:
    """One signal as its header describes it."""

    label: str
    unit: str  # "" where the file does not say it
    physical: tuple[float, float] | None  # minimum and maximum in `unit`; None: no numbers
    digital: tuple[float, float] | None  # the counts that stand for them
    samples: int  # in each data record
    at: int  # bytes from the start of a data record

    @property
    def is_annotation(self) -> bool:
        """Whether it holds text and no samples."""
        return self.label in ANNOTATION_LABELS

    @property
    def gain(self) -> float | None:
        """Units a count; None where the header gives two limits that are the same, or no numbers."""
        if self.physical is None or self.digital is None or self.digital[0] == self.digital[1]:
            return None
        gain = (self.physical[1] - self.physical[0]) / (self.digital[1] - self.digital[0])
        return gain or None


@dataclass(frozen=True)
class EdfHeader:
    """What a header says."""

    kind: str  # EDF or BDF, with + where it says so
    sample_bytes: int  # 2, of BDF 3
    interrupted: bool  # EDF+D: records need not follow each other in time
    n_bytes: int  # of the header itself
    n_records: int  # as stated; -1 where it was not known
    record_s: Fraction  # seconds of one data record
    signals: tuple[EdfSignal, ...]
    age: int | None
    sex: Sex | None

    @property
    def record_bytes(self) -> int:
        """Bytes of one data record."""
        return self.sample_bytes * sum(signal.samples for signal in self.signals)

    def rate(self, signal: EdfSignal) -> float:
        """Samples a second, Hz."""
        return float(signal.samples / self.record_s)


def looks_like_edf(head: bytes) -> bool:
    """Whether the first 256 bytes of a file are those of an EDF or BDF header, even of a damaged one."""
    if head.startswith(BDF_MAGIC):
        return True
    head = head[:_FIXED_BYTES]
    if not head.startswith(EDF_MAGIC) or len(head) < _FIXED_BYTES or b"\n" in head or b"\t" in head:
        return False
    return any(head[start:end].strip().isdigit() for start, end in ((184, 192), (236, 244), (252, 256)))


def read_header(file: BinaryIO, name: str) -> EdfHeader:
    """Read and judge the header.

    Raises:
        RecordError: cut short, or a field that cannot be; the message names it.
    """
    fixed = file.read(_FIXED_BYTES)
    if len(fixed) < _FIXED_BYTES or not looks_like_edf(fixed):
        raise RecordError(f"{name} has no whole EDF or BDF header. Copy it again from its source.")
    is_bdf = fixed.startswith(BDF_MAGIC)
    count = _whole(fixed[252:256], "number of signals", name)
    n_bytes = _whole(fixed[184:192], "number of header bytes", name)
    if count < 1 or n_bytes != _FIXED_BYTES * (count + 1):
        raise RecordError(
            f"The header of {name} gives {count} signals and {n_bytes} bytes of header, which do not fit each other. "
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
        raise RecordError(f"The header of {name} gives no duration of a data record. Export the recording again.")
    signals = _signals(columns, count, sample_bytes, name)
    if record_s == 0 and any(not signal.is_annotation for signal in signals):
        raise RecordError(
            f"The header of {name} gives data records of 0 s, so no signal has a rate. Export the recording again."
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
            raise RecordError(f"Signal {one + 1} of {name} has {samples} samples a data record. Export it again.")
        signals.append(
            EdfSignal(
                label=_text(cells["label"][one]),
                unit=_text(cells["unit"][one]),
                physical=_pair(cells["physical_min"][one], cells["physical_max"][one]),
                digital=_pair(cells["digital_min"][one], cells["digital_max"][one]),
                samples=samples,
                at=at,
            )
        )
        at += samples * sample_bytes
    return tuple(signals)


def _text(cell: bytes) -> str:
    """A field; ASCII by the specification, but devices write the micro sign in Latin-1 or UTF-8."""
    try:
        text = cell.decode("utf-8")
    except UnicodeDecodeError:
        text = cell.decode("latin-1")
    return "".join(char if char.isprintable() else " " for char in text).strip()


def _number(cell: bytes) -> Fraction | None:
    """A finite number, exact; a decimal comma is taken as the point that it stands for."""
    text = _text(cell).replace(",", ".")
    return Fraction(text) if _NUMBER.fullmatch(text) else None


def _whole(cell: bytes, what: str, name: str) -> int:
    number = _number(cell)
    if number is None or number.denominator != 1 or abs(number) >= 10**8:
        raise RecordError(f"The header of {name} gives no {what} ({_text(cell)!r}). Copy the file again, or export it.")
    return int(number)


def _pair(low: bytes, high: bytes) -> tuple[float, float] | None:
    first, last = _number(low), _number(high)
    try:
        return None if first is None or last is None else (float(first), float(last))
    except OverflowError:
        return None


def _age_and_sex(patient: str, recording: str, start: str) -> tuple[int | None, Sex | None]:
    """From EDF+ subfields: `MCH-0234567 F 02-MAY-1951 Haagse_Harry` and `Startdate 02-MAR-2002 ...`."""
    fields = patient.split()
    sex: Sex | None = {"M": "M", "F": "F"}.get(fields[1]) if len(fields) > 1 else None  # type: ignore[assignment]
    born = _date(fields[2]) if len(fields) > 2 else None
    words = recording.split()
    begun = (_date(words[1]) if len(words) > 1 and words[0] == "Startdate" else None) or _start_date(start)
    if born is None or begun is None:
        return None, sex
    age = begun.year - born.year - ((begun.month, begun.day) < (born.month, born.day))
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
    """`dd.mm.yy` of the fixed header, of the years 1985 to 2084."""
    match = re.fullmatch(r"(\d\d)\.(\d\d)\.(\d\d)", text)
    if match is None:
        return None
    year = int(match[3])
    try:
        return date(year + (1900 if year >= 85 else 2000), int(match[2]), int(match[1]))
    except ValueError:
        return None
