"""WFDB records: leads, age and sex, and the signal in millivolts, block by block.

Headers and samples are read by their specification, and what a file must hold is checked when it is opened, so that a
missing or truncated file is said in a sentence and never read as something else.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.errors import RecordError
from ecgmoe_edge.records.recording import (
    Lead,
    OpenOptions,
    Remark,
    Sex,
    Truncated,
    choose_leads,
    is_voltage,
    millivolts_per,
)
from ecgmoe_edge.records.wfdb_files.header import (
    ASSUMED_RATE_HZ,
    MOST_RATE_HZ,
    Header,
    header_file,
    is_file,
    read_header,
    record_path,
)
from ecgmoe_edge.records.wfdb_files.leads import assumptions, choose_leads_of
from ecgmoe_edge.records.wfdb_files.segments import Segment, open_segments, segments_of, surplus_frames

_MOST_YEARS = 20.0  # longer than any recorder runs
_YEAR_S = 365.25 * 24 * 3600
_MOST_VALUES = 2**31  # that `read` gives at once
_HEAD_S = 10.0  # is looked at for an amplitude that no ECG has
_HEAD_VALUES = 2**22
_HIGHEST_MV = 50.0  # peak to peak within a second; 5 mV is a tall QRS complex at the skin
_LOWEST_MV = 0.002
_OLDEST = 130


@dataclass(frozen=True)
class WfdbRecord:
    """One WFDB record, opened with `open_record`; the signal stays on the disk until a block is asked for."""

    path: Path  # without extension
    fs: float  # samples a second of the ECG leads, Hz
    leads: tuple[str, ...]
    units: tuple[str, ...]
    n_samples: int  # a lead, missing time included
    age: int | None
    sex: Sex | None
    remarks: tuple[Remark, ...] = ()
    per_frame: int = 1  # samples a frame of the ECG leads
    stated_samples: int | None = None  # as the header says, where fewer are there; None is `n_samples`
    segments: tuple[Segment, ...] = ()
    signals: tuple[int, ...] = ()  # of each lead, its place among the signals of the header

    @property
    def name(self) -> str:
        """Name of the record, without folder."""
        return self.path.name

    @property
    def frame_rate(self) -> float:
        """Frames a second, Hz: the ticks of an annotation file that states none of its own."""
        return self.fs / self.per_frame

    def read(self, start: int = 0, stop: int | None = None, leads: Sequence[Lead] | None = None) -> NDArray[np.float64]:
        """Samples `start` to `stop` (not included), `(leads, n)` in mV, invalid samples and missing time as NaN.

        Raises:
            RecordError: no such lead, a lead that is no voltage, a signal that cannot be decoded, or more than 16 GiB.
        """
        chosen = self._chosen(leads)
        stop = self.n_samples if stop is None else min(stop, self.n_samples)
        if start < 0 or start > stop:
            raise RecordError(f"{self.name} has samples 0 to {self.n_samples}; {start} to {stop} is not among them.")
        if (stop - start) * len(chosen) > _MOST_VALUES:
            raise RecordError(f"{self.name} is too long to be read at once. Read it in blocks.")
        return self._read(start, stop, chosen)

    def blocks(self, seconds: float = 60.0, leads: Sequence[Lead] | None = None) -> Iterator[NDArray[np.float64]]:
        """Successive blocks of `seconds`, `(leads, n)` in mV, invalid and missing samples as NaN; the last is shorter.

        Raises:
            RecordError: as for `read`.
        """
        chosen = self._chosen(leads)
        size = max(1, round(seconds * self.fs))
        for start in range(0, self.n_samples, size):
            yield self._read(start, min(start + size, self.n_samples), chosen)

    def _chosen(self, leads: Sequence[Lead] | None) -> list[int]:
        chosen = choose_leads(self.leads, leads, self.name)
        for position in chosen:
            self._require_voltage(position)
        return chosen

    def _require_voltage(self, position: int) -> None:
        try:
            millivolts_per(self.units[position])
        except RecordError as unknown:
            raise RecordError(f"Lead {self.leads[position]} of {self.name}: {unknown}") from None

    def _read(self, start: int, stop: int, chosen: Sequence[int]) -> NDArray[np.float64]:
        signals = [self.signals[position] for position in chosen]
        parts = [np.empty((len(chosen), 0))]
        at = bisect_right(self.segments, start, key=lambda segment: segment.start * self.per_frame) - 1
        while start < stop:
            segment = self.segments[at]
            first = segment.start * self.per_frame
            end = min(stop, first + segment.length * self.per_frame)
            if end > start:
                try:
                    parts.append(segment.read(start - first, end - first, signals, self.per_frame))
                except RecordError as reason:
                    raise RecordError(f"{self.name}, samples {start} to {end}: {reason}") from reason
                start = end
            at += 1
        return parts[1] if len(parts) == 2 else np.concatenate(parts, axis=1)


def open_record(path: Path | str, *, truncated: Truncated = "error") -> WfdbRecord:
    """Open a WFDB record by the path of its header, its signal file, or either without extension.

    All leads are read at the rate of the ECG leads (see `choose_leads_of`). `truncated="read"` takes what is there of a
    signal file shorter than its header says; what lacks of a record of several segments is missing time.

    Raises:
        RecordError: header missing or not understood, sampling rate not above 0, no signal, a signal file
            missing or shorter than the header says.
        MissingExtra: a signal in FLAC format, and soundfile is not installed.
    """
    path = record_path(Path(path))
    header = read_header(header_file(path))
    specs = open_segments(header)
    if not specs:
        raise RecordError(f"{path.name}.hea describes no signal. Name a record that holds an ECG.")
    if len(specs) != header.n_signals:
        raise RecordError(
            f"{path.name}.hea announces {header.n_signals} signals, and its segments have {len(specs)}. Correct its "
            "first line."
        )
    segments = segments_of(header, specs, partial=truncated == "read")
    frame_rate = header.rate or ASSUMED_RATE_HZ
    leads = choose_leads_of(specs, path.name, frame_rate)
    frames = _frames(header, segments, truncated, leads.per_frame)
    length = sum(segment.length for segment in segments)
    if frames / frame_rate > _MOST_YEARS * _YEAR_S:
        raise RecordError(
            f"{path.name}.hea gives {frames} samples at {frame_rate:g} Hz, over {_MOST_YEARS:g} years. Correct its "
            "first line."
        )
    if leads.fs > MOST_RATE_HZ:
        raise RecordError(
            f"{path.name}.hea gives {leads.fs:g} samples a second. Correct rate and samples a frame in it."
        )
    if not frames:
        raise RecordError(f"{path.name} holds no sample. Name a record that holds an ECG.")
    age, sex = _age_and_sex(header.comments)
    record = WfdbRecord(
        path=path,
        fs=leads.fs,
        leads=leads.names,
        units=leads.units,
        n_samples=frames * leads.per_frame,
        age=age,
        sex=sex,
        per_frame=leads.per_frame,
        stated_samples=length * leads.per_frame if frames < length else None,
        segments=tuple(segments),
        signals=leads.signals,
    )
    remarks = [*leads.remarks, *assumptions(leads, segments, specs, path.name), *_of_header(header, segments)]
    return replace(record, remarks=(*remarks, *_amplitudes(record)))


class WfdbFormat:
    """A record by its header, or by one of the files beside it."""

    name = "WFDB record (.hea)"
    states_rate = True
    in_folders = True

    def recognise(self, path: Path) -> Path | None:
        """The record's path without extension, where its header is there or a header or signal file is named."""
        stem = record_path(path)
        named = path.suffix.lower() in (".hea", ".dat") and is_file(path)  # without the other one it is still one
        return stem if named or is_file(header_file(stem)) else None

    def find(self, folder: Path) -> Iterator[Path]:
        """A path for each header."""
        return (header.with_suffix("") for header in folder.glob("*.hea"))

    def open(self, path: Path, options: OpenOptions) -> WfdbRecord:
        """See `open_record`."""
        return open_record(path, truncated=options.truncated)


FORMAT = WfdbFormat()


def _frames(header: Header, segments: Sequence[Segment], truncated: Truncated, per_frame: int) -> int:
    """Frames of the record: of one without segments those that are there, if that is what was asked for."""
    for segment in segments:
        if segment.there < segment.length and truncated == "error":
            of_segment = f", segment {segment.name}," if header.in_segments else ""
            raise RecordError(
                f"The signal of {header.record}{of_segment} is truncated: {segment.there * per_frame} samples a lead "
                f"are there, its header promises {segment.length * per_frame}. Copy the file again, or open it with "
                "truncated='read'."
            )
    return segments[0].there if not header.in_segments else sum(segment.length for segment in segments)


def _of_header(header: Header, segments: Sequence[Segment]) -> Iterator[Remark]:
    """What the header as a whole leaves open, or says otherwise than its files."""
    file, length = header.file.name, sum(segment.length for segment in segments)
    rate = header.rate or ASSUMED_RATE_HZ
    if header.rate is None:
        yield Remark(
            "rate",
            f"{file} states no sampling rate, and {rate:g} Hz is assumed. Write the true one into its first line, "
            "after the number of signals.",
        )
    if header.surplus:
        yield Remark(
            "lead", f"{file} has {header.surplus} lines more than its first line announces: they are left out."
        )
    strangers = sorted({name for segment in segments for name in segment.left_out})
    if strangers:
        text = (
            f"{file} does not name {', '.join(strangers[:12])} in its layout: left out of the segments that have them."
        )
        yield Remark("lead", text)
    if header.in_segments and header.length is not None and header.length != length:
        text = f"{file} announces {header.length} frames, and its segments have {length}, which are read."
        yield Remark("length", text)
    lacking = sum(segment.length - segment.there for segment in segments) / rate
    if lacking:
        what = "missing time" if header.in_segments else "left out at the end"
        yield Remark("length", f"{file} promises {lacking:.3g} s more than its signal files hold: they are {what}.")
    surplus = surplus_frames(header, segments) / rate
    if surplus > 1:
        yield Remark("length", f"The signal of {file} is {surplus:.3g} s longer than it says: they are left out.")


def _amplitudes(record: WfdbRecord) -> Iterator[Remark]:
    """Leads whose first seconds are no ECG in millivolts: nearly always a wrong gain or unit in the header."""
    second = max(1, round(record.fs))
    stop = min(record.n_samples, round(_HEAD_S * record.fs))
    voltages = [lead for lead, unit in zip(record.leads, record.units, strict=True) if is_voltage(unit)]
    if not voltages or stop * len(voltages) > _HEAD_VALUES or len(record.segments) > 1:
        return  # of several segments, the first may be missing time
    try:
        head = record.read(0, stop, voltages)
    except RecordError:
        return  # whoever reads the signal gets to know
    for lead, signal in zip(voltages, head, strict=True):
        seconds = (_valid(signal[at : at + second]) for at in range(0, stop, second))
        swings = [float(np.ptp(valid)) for valid in seconds if valid.size]
        fault = _fault(swings, float(np.ptp(_valid(signal))) if swings else 0.0)
        if fault:
            text = f"Lead {lead} of {record.name} {fault} in its first {stop / record.fs:.3g} s. "
            yield Remark("amplitude", f"{text}Check its gain, unit and samples, or name another lead.", (lead,))


def _fault(swings: Sequence[float], whole: float) -> str | None:
    """What is wrong with a lead by its peak to peak amplitudes of every second and of all of them, mV."""
    if not swings:
        return "has no valid sample"
    if whole == 0:
        return "is flat"
    swing = float(np.median(swings))
    if swing > _HIGHEST_MV or 0 < swing < _LOWEST_MV:
        return (
            f"swings by {swing:.3g} mV within a second, {'more' if swing > _HIGHEST_MV else 'less'} than an ECG does,"
        )
    return None


def _valid(signal: NDArray[np.float64]) -> NDArray[np.float64]:
    return signal[~np.isnan(signal)]


def _age_and_sex(comments: Sequence[str]) -> tuple[int | None, Sex | None]:
    """Age and sex from header comments: `69 M 1085 1629 x1` (mitdb), `<age>: 63 <sex>: M`, `Sex: Male`."""
    text = "\n".join(comments)[:100_000]
    age = re.search(r"\bage\b\W*?(-?\d{1,9})\b", text, re.IGNORECASE)
    sex = re.search(r"\b(?:sex|gender)\b\W*(male|female|m|f)\b", text, re.IGNORECASE)
    if age is None and sex is None:
        plain = re.match(r"\s*(-?\d{1,9})\s+([MF])\b", text)
        age, sex = (plain, re.search(r"([MF])", plain[0])) if plain else (None, None)
    years = int(age[1]) if age else -1
    letter = sex[1][0].upper() if sex else None
    return (years if 0 <= years <= _OLDEST else None), ("M" if letter == "M" else "F" if letter == "F" else None)
