"""HL7 annotated ECG (aECG, XML): the rhythm waveforms; representative beats are ignored.

Source: HL7 v3 Annotated ECG (ANSI/HL7 V3 ECG, R1-2004); lead codes are those of ISO/IEEE 11073-10102 (MDC).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from fractions import Fraction
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.errors import RecordError
from ecgmoe_edge.records.first_bytes import files_in, first_bytes
from ecgmoe_edge.records.names import plain_text, usual_name
from ecgmoe_edge.records.parts import Part, PartsRecording, recording_of_parts
from ecgmoe_edge.records.recording import OpenOptions, Remark, Sex, is_voltage, millivolts_per
from ecgmoe_edge.records.safe_xml import named, read_xml

_ROOT = re.compile(rb"<(\w+:)?AnnotatedECG[\s>/]")
_LEAD_CODE = re.compile(r"MDC_ECG_(?:LEAD|ELEC_POTL)_(\w+)")
_NUMBERS = re.compile(r"[\d\s.eE+-]*")
_TIME = re.compile(r"(\d{14})(\.\d{1,9})?([+-]\d{4})?")
_SECONDS = {"s": Fraction(1), "ms": Fraction(1, 1000), "us": Fraction(1, 10**6), "ns": Fraction(1, 10**9)}
_REPRESENTATIVE = "REPRESENTATIVE_BEAT"
_PIECE = 1 << 20  # characters of a list of numbers that are converted at once
_REPORTED_AGE = "21612-7"  # LOINC
_SLOWEST, _FASTEST = 10, 100_000  # Hz


@dataclass(frozen=True)
class _Set:
    """The leads of one sequence set."""

    start_s: Fraction
    step: Fraction  # sampling interval, s
    leads: tuple[tuple[str, NDArray[np.float64], float, float], ...]  # name, digits, mV per digit, mV at digit 0


class AecgFormat:
    """An XML file whose root is AnnotatedECG."""

    name = "HL7 aECG (.xml)"
    states_rate = True
    in_folders = True

    def recognise(self, path: Path) -> Path | None:
        """The file itself, if it is an aECG."""
        return path if _ROOT.search(first_bytes(path).replace(b"\0", b"")) else None

    def find(self, folder: Path) -> Iterator[Path]:
        """XML files that are an aECG."""
        return (path for path in files_in(folder, (".xml", ".aecg")) if self.recognise(path) is not None)

    def open(self, path: Path, options: OpenOptions) -> PartsRecording:
        """Open the file with `open_aecg`."""
        return open_aecg(path)


FORMAT = AecgFormat()


def open_aecg(path: Path | str) -> PartsRecording:
    """Open an HL7 aECG. All sequence sets of its rhythm series are read, each at its time.

    Raises:
        RecordError: the file is damaged, has no rhythm waveform, or has an invalid value.
    """
    path = Path(path)
    root = read_xml(path)
    remarks: list[Remark] = []
    sets = []
    for series in named(root, "series"):
        code = series.find("code")
        if code is not None and code.get("code") == _REPRESENTATIVE:
            remarks.append(Remark("lead", f"The representative beat of {path.name} is ignored."))
            continue
        # A derived series is below `derivation` and is not a direct component.
        for found in series.findall("component/sequenceSet"):
            one = _sequence_set(found, path.name, remarks)
            if one is not None:
                sets.append(one)
    if not sets:
        raise RecordError(f"{path.name} contains no rhythm waveform with a lead. Export the recording again.")
    lengths: dict[Fraction, int] = {}
    for one in sets:
        lengths[one.step] = lengths.get(one.step, 0) + max(digits.size for _, digits, _, _ in one.leads)
    step = max(lengths, key=lambda each: lengths[each])
    if len(lengths) > 1:
        text = f"{path.name} is read at {float(1 / step):g} Hz; waveforms of other rates are ignored."
        remarks.append(Remark("rate", text))
    chosen = [one for one in sets if one.step == step]
    zero = min(one.start_s for one in chosen)
    parts = [part for one in chosen for part in _parts(one, zero)]
    age, sex = _age_and_sex(root)
    return recording_of_parts(path, float(1 / step), parts, age=age, sex=sex, remarks=remarks)


def _parts(one: _Set, zero: Fraction) -> Iterator[Part]:
    """A part for each lead, because the leads of a set may differ in length."""
    start = round((one.start_s - zero) / one.step)
    for name, digits, gain, offset in one.leads:
        yield Part(start, (name,), digits[:, None], (gain,), (offset,))


def _sequence_set(found: Element, file: str, remarks: list[Remark]) -> _Set | None:
    time: tuple[Fraction, Fraction] | None = None
    leads = []
    ignored = []
    for sequence in found.findall("component/sequence"):
        code, value = sequence.find("code"), sequence.find("value")
        name = plain_text(code.get("code", "")) if code is not None else ""
        if value is None:
            continue
        lead = _LEAD_CODE.fullmatch(name)
        if name in ("TIME_ABSOLUTE", "TIME_RELATIVE"):
            time = _time(value, file)
        elif lead is not None and _is_scaled(value):
            leads.append((usual_name(lead[1]), *_digits(value, name, file)))
        else:
            ignored.append(name or "no code")
    if ignored:
        text = f"Ignored in {file}, because they are not leads with a voltage: {', '.join(dict.fromkeys(ignored))}."
        remarks.append(Remark("lead", text))
    if not leads:
        return None
    if time is None:
        raise RecordError(f"A waveform of {file} has no time and therefore no rate. Export the recording again.")
    return _Set(*time, tuple(leads))


def _time(value: Element, file: str) -> tuple[Fraction, Fraction]:
    """Start and sampling interval in s, from GLIST_TS or GLIST_PQ."""
    head, increment = value.find("head"), value.find("increment")
    step = _quantity(increment)
    if step is None or not Fraction(1, _FASTEST) <= step <= Fraction(1, _SLOWEST):
        raise RecordError(f"A waveform of {file} has no plausible sampling interval. Export the recording again.")
    text = head.get("value", "") if head is not None else ""
    stamp = _TIME.fullmatch(text)
    if stamp is None:
        return _quantity(head) or Fraction(0), step
    try:
        whole = datetime.strptime(stamp[1], "%Y%m%d%H%M%S").replace(tzinfo=timezone.utc)
    except ValueError:
        return Fraction(0), step
    return int(whole.timestamp()) + Fraction(stamp[2] or 0), step


def _quantity(element: Element | None) -> Fraction | None:
    """A duration in s; None if the element has no valid duration."""
    if element is None or element.get("unit", "s") not in _SECONDS:
        return None
    text = element.get("value", "")
    return Fraction(text) * _SECONDS[element.get("unit", "s")] if re.fullmatch(r"\d{1,12}(\.\d{1,12})?", text) else None


def _is_scaled(value: Element) -> bool:
    scale = value.find("scale")
    return scale is not None and is_voltage(scale.get("unit", ""))


def _digits(value: Element, name: str, file: str) -> tuple[NDArray[np.float64], float, float]:
    """Digits, mV per digit, and mV at digit 0."""
    gain, offset = _millivolts(value.find("scale")), _millivolts(value.find("origin"))
    if not gain or offset is None:
        raise RecordError(f"{name} of {file} has a scale or origin that is not a voltage. Export the recording again.")
    digits = _numbers(value.findtext("digits") or "")
    if digits is None:
        raise RecordError(f"{name} of {file} has digits that are not numbers. Export the recording again.")
    return digits, gain, offset


def _numbers(text: str) -> NDArray[np.float64] | None:
    if not _NUMBERS.fullmatch(text):  # float() also accepts nan and 1_000
        return None
    try:
        digits = np.concatenate([np.array(piece, dtype=np.float64) for piece in _pieces(text)])
    except ValueError:
        return None
    return digits if np.isfinite(digits).all() else None


def _pieces(text: str) -> Iterator[Sequence[str]]:
    """The numbers of a long text, piece by piece, because one list would take ten times the memory of the text."""
    at = 0
    yield ()
    while at < len(text):
        end = at + _PIECE
        while end < len(text) and not text[end].isspace():
            end += 1
        yield text[at:end].split()
        at = end


def _millivolts(element: Element | None) -> float | None:
    """A voltage in mV; 0 if the element is missing, None if it is not a voltage."""
    if element is None:
        return 0.0
    unit = element.get("unit", "")
    try:
        number = float(element.get("value", ""))
    except ValueError:
        return None
    return number * millivolts_per(unit) if np.isfinite(number) and is_voltage(unit) else None


def _age_and_sex(root: Element) -> tuple[int | None, Sex | None]:
    gender = next(named(root, "administrativeGenderCode"), None)
    code = gender.get("code") if gender is not None else None
    sex: Sex | None = "M" if code == "M" else "F" if code == "F" else None
    for observation in named(root, "relatedObservation"):
        kind, value = observation.find("code"), observation.find("value")
        if kind is None or value is None or kind.get("code") != _REPORTED_AGE or value.get("unit") != "a":
            continue
        if re.fullmatch(r"\d{1,3}", value.get("value", "")):
            return int(value.get("value", "")), sex
    return None, sex
