"""WFDB records: leads, age and sex, and the signal in millivolts, block by block.

Headers and samples are read by their specification. The files are checked when the record is opened, so that a missing
or truncated file is reported in one sentence.
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
    READ_TRUNCATED,
    Lead,
    OpenOptions,
    Remark,
    Sex,
    Truncated,
    blocks_by_reading,
    checked_stop,
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
from ecgmoe_edge.records.wfdb_files.leads import assumptions, select_leads
from ecgmoe_edge.records.wfdb_files.segments import Segment, open_segments, signals_of, surplus_frames

_MOST_YEARS = 20.0  # longest plausible record
_YEAR_S = 365.25 * 24 * 3600
_MOST_VALUES = 2**31  # largest number of samples that `read` returns
_HEAD_S = 10.0  # length of the signal whose amplitude is checked
_HEAD_VALUES = 2**22
_HIGHEST_MV = 50.0  # peak-to-peak within one second; 5 mV is a tall QRS complex at the skin
_LOWEST_MV = 0.002
_OLDEST = 130


@dataclass(frozen=True)
class WfdbRecord:
    """One WFDB record, opened with `open_record`; the signal is read when a block is requested."""

    path: Path  # without extension
    fs: float  # sampling rate of the ECG leads, Hz
    leads: tuple[str, ...]
    units: tuple[str, ...]
    n_samples: int  # samples per lead, including missing time
    age: int | None
    sex: Sex | None
    remarks: tuple[Remark, ...] = ()
    per_frame: int = 1  # samples per frame of the ECG leads
    stated_samples: int | None = None  # samples per lead that the header states, if fewer are present
    segments: tuple[Segment, ...] = ()
    signals: tuple[int, ...] = ()  # for each lead, its index among the signals of the header

    @property
    def name(self) -> str:
        """Name of the record, without folder."""
        return self.path.name

    @property
    def frame_rate(self) -> float:
        """Frame rate, Hz; also the tick rate of an annotation file that states none."""
        return self.fs / self.per_frame

    def read(self, start: int = 0, stop: int | None = None, leads: Sequence[Lead] | None = None) -> NDArray[np.float64]:
        """Samples from `start` up to, but not including, `stop`: `(leads, n)` in mV.

        Invalid samples and missing time are NaN.

        Raises:
            RecordError: there is no such lead, a lead is not a voltage, the signal cannot be decoded, or the result
                would exceed 16 GiB.
        """
        chosen = self._chosen(leads)
        stop = checked_stop(self, start, stop)
        if (stop - start) * len(chosen) > _MOST_VALUES:
            raise RecordError(f"{self.name} is too long to be read at once. Read it in blocks.")
        return self._read(start, stop, chosen)

    def blocks(self, seconds: float = 60.0, leads: Sequence[Lead] | None = None) -> Iterator[NDArray[np.float64]]:
        """Successive blocks of `seconds`, `(leads, n)` in mV; the last block is shorter.

        Invalid samples and missing time are NaN.

        Raises:
            RecordError: as for `read`.
        """
        return blocks_by_reading(self, seconds, leads)

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
    """Open a WFDB record.

    All leads are read at the rate of the ECG leads (see `select_leads`).

    Args:
        path: path of the header or of a signal file, with or without extension.
        truncated: for a signal file that is shorter than its header states: "read" reads the samples that are present
            (in a record of several segments the rest is missing time), "error" raises RecordError.

    Raises:
        RecordError: the header is missing or invalid, the sampling rate is not positive, there is no signal, or a
            signal file is missing or truncated.
        MissingExtra: a signal is in FLAC format, and soundfile is not installed.
    """
    path = record_path(Path(path))
    header = read_header(header_file(path))
    specs = signals_of(header)
    if not specs:
        raise RecordError(f"{path.name}.hea describes no signal. Name a record that contains an ECG.")
    if len(specs) != header.n_signals:
        raise RecordError(
            f"{path.name}.hea states {header.n_signals} signals, but its segments have {len(specs)}. Correct its "
            "first line."
        )
    segments = open_segments(header, specs, partial=truncated == "read")
    frame_rate = header.rate or ASSUMED_RATE_HZ
    leads = select_leads(specs, path.name, frame_rate)
    frames = _frames(header, segments, truncated, leads.per_frame)
    length = sum(segment.length for segment in segments)
    if frames / frame_rate > _MOST_YEARS * _YEAR_S:
        raise RecordError(
            f"{path.name}.hea states {frames} samples at {frame_rate:g} Hz, more than {_MOST_YEARS:g} years. Correct "
            "its first line."
        )
    if leads.fs > MOST_RATE_HZ:
        raise RecordError(
            f"{path.name}.hea states a rate of {leads.fs:g} Hz. Correct its frame rate and samples per frame."
        )
    if not frames:
        raise RecordError(f"{path.name} contains no sample. Name a record that contains an ECG.")
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
    remarks = [*leads.remarks, *assumptions(leads, segments, specs, path.name), *_header_remarks(header, segments)]
    return replace(record, remarks=(*remarks, *_amplitude_remarks(record)))


class WfdbFormat:
    """A WFDB record, named by its header, by a signal file, or by its name without extension."""

    name = "WFDB record (.hea)"
    states_rate = True
    in_folders = True

    def recognise(self, path: Path) -> Path | None:
        """The path of the record without extension, if the header exists or if a header or signal file is named."""
        stem = record_path(path)
        named = path.suffix.lower() in (".hea", ".dat") and is_file(path)  # also if the other of the two is missing
        return stem if named or is_file(header_file(stem)) else None

    def find(self, folder: Path) -> Iterator[Path]:
        """The path of each record that has a header."""
        return (header.with_suffix("") for header in folder.glob("*.hea"))

    def open(self, path: Path, options: OpenOptions) -> WfdbRecord:
        """Open the record with `open_record`."""
        return open_record(path, truncated=options.truncated)


FORMAT = WfdbFormat()


def _frames(header: Header, segments: Sequence[Segment], truncated: Truncated, per_frame: int) -> int:
    """Number of frames of the record.

    A truncated record has the frames that are present, unless it consists of segments: then the rest is missing time.
    """
    for segment in segments:
        if segment.available < segment.length and truncated == "error":
            in_segment = f", segment {segment.name}," if header.is_multi_segment else ""
            raise RecordError(
                f"The signal of {header.record}{in_segment} is truncated: {segment.available * per_frame} of the "
                f"{segment.length * per_frame} samples per lead that its header states are present. Copy the file "
                f"again, or {READ_TRUNCATED}."
            )
    return segments[0].available if not header.is_multi_segment else sum(segment.length for segment in segments)


def _header_remarks(header: Header, segments: Sequence[Segment]) -> Iterator[Remark]:
    """Remarks about values that the header does not state, or that contradict its files."""
    file, length = header.file.name, sum(segment.length for segment in segments)
    rate = header.rate or ASSUMED_RATE_HZ
    if header.rate is None:
        yield Remark(
            "rate",
            f"{file} states no sampling rate, and {rate:g} Hz is assumed. Write the true one into its first line, "
            "after the number of signals.",
        )
    if header.surplus:
        yield Remark("lead", f"{file} has {header.surplus} lines more than its first line states: they are ignored.")
    unlisted = sorted({name for segment in segments for name in segment.ignored})
    if unlisted:
        text = f"The layout of {file} does not name {', '.join(unlisted[:12])}: ignored in the segments that have them."
        yield Remark("lead", text)
    if header.is_multi_segment and header.length is not None and header.length != length:
        text = f"{file} states {header.length} frames, but its segments have {length}, which are read."
        yield Remark("length", text)
    lacking_s = sum(segment.length - segment.available for segment in segments) / rate
    if lacking_s:
        what = "this is missing time" if header.is_multi_segment else "the record ends earlier"
        yield Remark("length", f"{file} states {lacking_s:.3g} s more than its signal files contain: {what}.")
    surplus_s = surplus_frames(header, segments) / rate
    if surplus_s > 1:
        yield Remark("length", f"The signal of {file} is {surplus_s:.3g} s longer than stated: the end is ignored.")


def _amplitude_remarks(record: WfdbRecord) -> Iterator[Remark]:
    """Remarks about leads whose first seconds have an implausible amplitude, usually due to a wrong gain or unit."""
    second = max(1, round(record.fs))
    stop = min(record.n_samples, round(_HEAD_S * record.fs))
    voltages = [lead for lead, unit in zip(record.leads, record.units, strict=True) if is_voltage(unit)]
    if not voltages or stop * len(voltages) > _HEAD_VALUES or len(record.segments) > 1:
        return  # the first of several segments may be missing time
    try:
        head = record.read(0, stop, voltages)
    except RecordError:
        return  # reading the signal later reports the fault
    for lead, signal in zip(voltages, head, strict=True):
        seconds = (_valid(signal[at : at + second]) for at in range(0, stop, second))
        swings = [float(np.ptp(valid)) for valid in seconds if valid.size]
        fault = _fault(swings, float(np.ptp(_valid(signal))) if swings else 0.0)
        if fault:
            text = f"Lead {lead} of {record.name} {fault} in its first {stop / record.fs:.3g} s. "
            yield Remark("amplitude", f"{text}Check its gain, unit and samples, or choose another lead.", (lead,))


def _fault(swings: Sequence[float], whole: float) -> str | None:
    """The fault of a lead, from its peak-to-peak amplitudes in each second and in all of them, mV."""
    if not swings:
        return "has no valid sample"
    if whole == 0:
        return "is flat"
    swing = float(np.median(swings))
    if swing > _HIGHEST_MV or 0 < swing < _LOWEST_MV:
        compared = "more" if swing > _HIGHEST_MV else "less"
        return f"has a peak-to-peak amplitude of {swing:.3g} mV within a second, {compared} than an ECG,"
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
