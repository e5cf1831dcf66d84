"""An EDF or BDF recording, read in blocks; interruptions of EDF+D are missing time."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.errors import RecordError
from ecgmoe_edge.records.first_bytes import open_binary
from ecgmoe_edge.records.formats.edf.header import EdfHeader, EdfSignal, read_header
from ecgmoe_edge.records.formats.edf.signals import EcgSignals, ecg_signals
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
    millivolts_per,
)

_READ_BYTES = 8 << 20  # largest part of a file in memory
_ONSET = re.compile(rb"([+-]\d{1,12}(?:\.\d{0,12})?)(?:\x15[\d.]*)?\x14")
_ONSET_BYTES = 64
_LONGEST_S = 366 * 86400  # one year; a longer time indicates a damaged time stamp


@dataclass(frozen=True)
class _Run:
    """Consecutive data records without missing time between them."""

    start: int  # first sample, counted from the start of the recording
    record: int  # number of the first data record
    records: int  # number of data records


@dataclass(frozen=True)
class EdfRecord:
    """One EDF or BDF file, opened with `open_edf`; the signal is read when a block is requested."""

    path: Path
    fs: float  # Hz
    leads: tuple[str, ...]
    units: tuple[str, ...]
    n_samples: int
    age: int | None
    sex: Sex | None
    remarks: tuple[Remark, ...]
    header: EdfHeader
    signals: tuple[EdfSignal, ...]  # signal of each lead
    runs: tuple[_Run, ...]  # in order of time

    @property
    def name(self) -> str:
        """Name of the file, without extension."""
        return self.path.stem

    def blocks(self, seconds: float = 60.0, leads: Sequence[Lead] | None = None) -> Iterator[NDArray[np.float64]]:
        """Successive blocks of `seconds`, `(leads, n)` in mV; missing time between the parts of an EDF+D is NaN."""
        return blocks_by_reading(self, seconds, leads)

    def read(self, start: int = 0, stop: int | None = None, leads: Sequence[Lead] | None = None) -> NDArray[np.float64]:
        """Samples from `start` up to, but not including, `stop`: `(leads, n)` in mV; missing time is NaN.

        Raises:
            RecordError: there is no such lead or sample, or the file has become shorter since it was opened.
        """
        chosen = choose_leads(self.leads, leads, self.name)
        stop = checked_stop(self, start, stop)
        with open_binary(self.path) as file:
            return self._read(file, start, stop, chosen)

    def _read(self, file: BinaryIO, start: int, stop: int, chosen: Sequence[int]) -> NDArray[np.float64]:
        out = np.empty((len(chosen), stop - start))
        per_record = self.signals[0].samples
        covered = start
        first = max(0, bisect_right([run.start for run in self.runs], start) - 1)
        for run in self.runs[first:]:
            begin, end = max(start, run.start), min(stop, run.start + run.records * per_record)
            if run.start >= stop:
                break
            if begin >= end:
                continue
            out[:, covered - start : begin - start] = np.nan
            offset = run.record * per_record - run.start
            self._fill(file, begin + offset, end + offset, chosen, out[:, begin - start : end - start])
            covered = end
        out[:, covered - start :] = np.nan
        return out

    def _fill(self, file: BinaryIO, first: int, last: int, chosen: Sequence[int], out: NDArray[np.float64]) -> None:
        """Read samples `first` to `last`, counted over data records without missing time, into `out`."""
        per_record, record_bytes = self.signals[0].samples, self.header.record_bytes
        at = first
        while at < last:
            record = at // per_record
            if record_bytes > _READ_BYTES:  # the data record is too large: read each lead separately
                end = min(last, (record + 1) * per_record, at + _READ_BYTES // self.header.sample_bytes)
                for row, position in enumerate(chosen):
                    out[row, at - first : end - first] = self._part(file, record, position, at, end)
            else:
                records = min(-(-last // per_record), record + _READ_BYTES // record_bytes) - record
                end = min(last, (record + records) * per_record)
                table = np.frombuffer(self._bytes(file, record * record_bytes, records * record_bytes), np.uint8)
                table = table.reshape(records, record_bytes)
                skip = at - record * per_record
                for row, position in enumerate(chosen):
                    signal = self.signals[position]
                    part = table[:, signal.offset : signal.offset + per_record * self.header.sample_bytes]
                    counts = _counts(part, self.header.sample_bytes)[skip : skip + end - at]
                    out[row, at - first : end - first] = self._millivolts(counts, position)
            at = end

    def _part(self, file: BinaryIO, record: int, position: int, at: int, end: int) -> NDArray[np.float64]:
        signal, width = self.signals[position], self.header.sample_bytes
        begin = record * self.header.record_bytes + signal.offset + (at - record * signal.samples) * width
        data = np.frombuffer(self._bytes(file, begin, (end - at) * width), np.uint8)
        return self._millivolts(_counts(data.reshape(1, -1), width), position)

    def _bytes(self, file: BinaryIO, at: int, size: int) -> bytes:
        file.seek(self.header.n_bytes + at)
        data = file.read(size)
        if len(data) < size:
            raise RecordError(f"{self.path.name} has become shorter while it was read. Copy it again from its source.")
        return data

    def _millivolts(self, counts: NDArray[np.integer], position: int) -> NDArray[np.float64]:
        signal = self.signals[position]
        if signal.gain is None or signal.digital is None or signal.physical is None:
            raise RecordError(f"Lead {self.leads[position]} of {self.name} has no scale. Export the recording again.")
        scale = millivolts_per(self.units[position])
        # The offset is computed at a count of 0 and not at the minimum, so that an offset of 0 is exactly 0.
        offset = (signal.physical[0] - signal.digital[0] * signal.gain) * scale
        values: NDArray[np.float64] = np.multiply(counts, signal.gain * scale, dtype=np.float64)
        values += offset
        return values


def open_edf(path: Path | str, options: OpenOptions | None = None) -> EdfRecord:
    """Open an EDF, EDF+, BDF or BDF+ file.

    The sampling rate is that of the ECG signals; signals of other rates and kinds are ignored, with a remark.

    Args:
        path: the file.
        options: `unit` and `truncated` are used.

    Raises:
        RecordError: the header is damaged, there is no ECG signal, there are no data or fewer than the header states,
            or the time stamps go backwards.
        UsageError: the file states no unit of an ECG signal and `unit` is not given, or both are given.
    """
    path, options = Path(path), options or OpenOptions()
    with open_binary(path) as file:
        header = read_header(file, path.name)
        chosen = ecg_signals(header, path.name, options.unit)
        records, remarks = _records(header, path, options.truncated)
        runs, on_time = _runs(file, header, chosen, records, path.name)
    return EdfRecord(
        path=path,
        fs=chosen.fs,
        leads=chosen.names,
        units=chosen.units,
        n_samples=runs[-1].start + runs[-1].records * chosen.signals[0].samples,
        age=header.age,
        sex=header.sex,
        remarks=(*chosen.remarks, *remarks, *on_time),
        header=header,
        signals=chosen.signals,
        runs=tuple(runs),
    )


def _counts(table: NDArray[np.uint8], width: int) -> NDArray[np.integer]:
    """Little-endian counts of 16 or 24 bits, `(n,)`, from rows of bytes."""
    if width == 2:
        return np.ascontiguousarray(table).view("<i2").reshape(-1)
    wide = np.zeros((table.size // 3, 4), np.uint8)
    wide[:, 1:] = table.reshape(-1, 3)
    counts: NDArray[np.integer] = wide.view("<i4").reshape(-1) >> 8  # the shift extends the sign of the upper byte
    return counts


def _records(header: EdfHeader, path: Path, truncated: Truncated) -> tuple[int, list[Remark]]:
    """Number of data records to read: as stated in the header, or as present if the header does not state it."""
    size = path.stat().st_size - header.n_bytes
    present, rest = divmod(max(0, size), header.record_bytes)
    stated = header.n_records
    if not present:
        raise RecordError(f"{path.name} has a header but no complete data record. Copy it again from its source.")
    incomplete = f" An incomplete data record at its end ({rest} bytes) is ignored." if rest else ""
    if stated <= 0:
        text = f"The header of {path.name} does not state the number of data records; the file has {present}."
        return present, [Remark("length", text + incomplete)]
    if stated > present:
        found = f"{present} of {stated} data records"
        if truncated == "error":
            raise RecordError(
                f"{path.name} is truncated: {found} are present. Copy the file again, or {READ_TRUNCATED}."
            )
        return present, [Remark("length", f"{path.name} is truncated: {found} are present.{incomplete}")]
    if stated < present:
        text = f"{path.name} has {present} data records; its header states {stated}, and only these are read."
        return stated, [Remark("length", text)]
    return present, []


def _runs(
    file: BinaryIO, header: EdfHeader, chosen: EcgSignals, records: int, name: str
) -> tuple[list[_Run], list[Remark]]:
    """The runs of data records in order of time, and remarks about missing time."""
    whole = [_Run(0, 0, records)]
    annotations = next((one for one in header.signals if one.is_annotation and one.samples), None)
    if annotations is None:
        if header.interrupted:
            raise RecordError(
                f"{name} is {header.kind}D, with interruptions, but has no annotations with the times of its parts. "
                "Export it again as EDF+C."
            )
        return whole, []
    onset = partial(_onset, file, header, annotations)
    if not header.interrupted:
        first, last = onset(0), onset(records - 1)
        expected = header.record_s * (records - 1)
        if first is None or last is None or abs(last - first - expected) <= max(header.record_s, Fraction(1)):
            return whole, []
    runs = _runs_by_time(onset, header, chosen, records, name)
    remarks = []
    if not header.interrupted:
        text = f"{name} states that it is continuous, but its time stamps have gaps, which are missing time."
        remarks.append(Remark("time", text))
    if len(runs) > 1:
        missing = runs[-1].start + (runs[-1].records - records) * chosen.signals[0].samples
        text = f"{name} has {len(runs) - 1} interruptions, {missing / chosen.fs:g} s of missing time in all."
        remarks.append(Remark("time", text))
    return runs, remarks


def _runs_by_time(
    onset: Callable[[int], Fraction | None], header: EdfHeader, chosen: EcgSignals, records: int, name: str
) -> list[_Run]:
    per_record = chosen.signals[0].samples
    rate = Fraction(per_record) / header.record_s
    tolerance = max(1 / rate, Fraction(2, 1000))  # s, because time stamps are rounded, often to ms
    runs: list[_Run] = []
    zero = run_onset = Fraction(0)
    for record in range(records):
        at = onset(record)
        if at is None:
            raise RecordError(f"Data record {record + 1} of {name} has no time stamp. Export the recording again.")
        if not runs:
            zero = run_onset = at
            runs.append(_Run(0, 0, 1))
            continue
        run = runs[-1]
        late = at - run_onset - run.records * header.record_s
        if late < -tolerance or at - zero > _LONGEST_S:
            raise RecordError(
                f"Data record {record + 1} of {name} begins at {float(at):g} s, "
                f"{'before the end of the one before it' if late < 0 else 'more than a year after the first'}. "
                "Export the recording again."
            )
        if late <= tolerance:
            runs[-1] = _Run(run.start, run.record, run.records + 1)
        else:
            start = max(round((at - zero) * rate), run.start + run.records * per_record)
            runs.append(_Run(start, record, 1))
            run_onset = at
    return runs


def _onset(file: BinaryIO, header: EdfHeader, annotations: EdfSignal, record: int) -> Fraction | None:
    """Seconds since the start of the file, from the time-keeping annotation at the start of a data record."""
    file.seek(header.n_bytes + record * header.record_bytes + annotations.offset)
    match = _ONSET.match(file.read(min(_ONSET_BYTES, annotations.samples * header.sample_bytes)))
    return Fraction(match[1].decode("ascii")) if match else None
