"""An EDF or BDF recording, read in blocks; the interruptions of EDF+D are missing time."""

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
from ecgmoe_edge.records.recording import Lead, OpenOptions, Remark, Sex, Truncated, choose_leads, millivolts_per

_READ_BYTES = 8 << 20  # at most so much of a file is in memory at once
_ONSET = re.compile(rb"([+-]\d{1,12}(?:\.\d{0,12})?)(?:\x15[\d.]*)?\x14")
_ONSET_BYTES = 64
_LONGEST_S = 366 * 86400  # a year; longer is a damaged time stamp


@dataclass(frozen=True)
class _Run:
    """Data records that follow each other without a break."""

    start: int  # sample of the recording
    record: int  # number of its first data record
    records: int


@dataclass(frozen=True)
class EdfRecord:
    """One EDF or BDF file, opened with `open_edf`; the signal stays on the disk until a block is asked for."""

    path: Path
    fs: float  # Hz
    leads: tuple[str, ...]
    units: tuple[str, ...]
    n_samples: int
    age: int | None
    sex: Sex | None
    remarks: tuple[Remark, ...]
    header: EdfHeader
    signals: tuple[EdfSignal, ...]  # of the leads
    runs: tuple[_Run, ...]  # ascending

    @property
    def name(self) -> str:
        """Name of the file, without extension."""
        return self.path.stem

    def blocks(self, seconds: float = 60.0, leads: Sequence[Lead] | None = None) -> Iterator[NDArray[np.float64]]:
        """Successive blocks of `seconds`, `(leads, n)` in mV; time between the parts of an EDF+D is NaN."""
        chosen = choose_leads(self.leads, leads, self.name)
        size = max(1, round(seconds * self.fs))
        with open_binary(self.path) as file:
            for start in range(0, self.n_samples, size):
                yield self._read(file, start, min(start + size, self.n_samples), chosen)

    def read(self, start: int = 0, stop: int | None = None, leads: Sequence[Lead] | None = None) -> NDArray[np.float64]:
        """Samples `start` to `stop` (not included), `(leads, n)` in mV, missing time as NaN.

        Raises:
            RecordError: no such lead, no such sample, or a file that has become shorter since it was opened.
        """
        chosen = choose_leads(self.leads, leads, self.name)
        stop = self.n_samples if stop is None else min(stop, self.n_samples)
        if start < 0 or start > stop:
            raise RecordError(f"{self.name} has samples 0 to {self.n_samples}; {start} to {stop} is not among them.")
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
        """Samples `first` to `last` as the data records count them, interruptions left out, into `out`."""
        per_record, record_bytes = self.signals[0].samples, self.header.record_bytes
        at = first
        while at < last:
            record = at // per_record
            if record_bytes > _READ_BYTES:  # one record that does not fit: each lead by itself
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
                    part = table[:, signal.at : signal.at + per_record * self.header.sample_bytes]
                    counts = _counts(part, self.header.sample_bytes)[skip : skip + end - at]
                    out[row, at - first : end - first] = self._millivolts(counts, position)
            at = end

    def _part(self, file: BinaryIO, record: int, position: int, at: int, end: int) -> NDArray[np.float64]:
        signal, width = self.signals[position], self.header.sample_bytes
        begin = record * self.header.record_bytes + signal.at + (at - record * signal.samples) * width
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
        # From zero, not from the minimum: an offset of 0 then stays exactly 0.
        offset = (signal.physical[0] - signal.digital[0] * signal.gain) * scale
        values: NDArray[np.float64] = np.multiply(counts, signal.gain * scale, dtype=np.float64)
        values += offset
        return values


def open_edf(path: Path | str, options: OpenOptions | None = None) -> EdfRecord:
    """Open an EDF, EDF+, BDF or BDF+ file.

    Its rate is that of its ECG signals; signals of other rates and other kinds are left out, with a remark.

    Raises:
        RecordError: a header that is damaged, no ECG in it, no data, data shorter than the header says, or time
            stamps that run backwards.
        UsageError: an ECG signal without unit and none stated, or one stated where the file has it.
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
    """Little-endian counts of 16 or 24 bits from rows of bytes, in one row."""
    if width == 2:
        return np.ascontiguousarray(table).view("<i2").reshape(-1)
    wide = np.zeros((table.size // 3, 4), np.uint8)
    wide[:, 1:] = table.reshape(-1, 3)
    counts: NDArray[np.integer] = wide.view("<i4").reshape(-1) >> 8  # the sign comes down with the upper byte
    return counts


def _records(header: EdfHeader, path: Path, truncated: Truncated) -> tuple[int, list[Remark]]:
    """Data records that are read: those that the header promises, or where it does not, those that are there."""
    size = path.stat().st_size - header.n_bytes
    there, rest = divmod(max(0, size), header.record_bytes)
    promised = header.n_records
    if not there:
        raise RecordError(f"{path.name} has a header and not one whole data record. Copy it again from its source.")
    lost = f" An incomplete data record at its end ({rest} bytes) is left out." if rest else ""
    if promised <= 0:
        text = f"The header of {path.name} does not give the number of data records; the file holds {there}.{lost}"
        return there, [Remark("length", text)]
    if promised > there:
        found = f"{there} of {promised} data records"
        if truncated == "error":
            raise RecordError(
                f"{path.name} is truncated: {found} are there. Copy the file again, or open it with truncated='read'."
            )
        return there, [Remark("length", f"{path.name} is truncated: {found} are there and read.{lost}")]
    if promised < there:
        text = f"{path.name} holds {there} data records; its header gives {promised}, and no more are read."
        return promised, [Remark("length", text)]
    return there, []


def _runs(
    file: BinaryIO, header: EdfHeader, chosen: EcgSignals, records: int, name: str
) -> tuple[list[_Run], list[Remark]]:
    """Where in time the data records lie."""
    whole = [_Run(0, 0, records)]
    annotations = next((one for one in header.signals if one.is_annotation and one.samples), None)
    if annotations is None:
        if header.interrupted:
            raise RecordError(
                f"{name} is {header.kind}D, with interruptions, and has no annotations that give the time of its "
                "parts. Export it again as EDF+C."
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
        text = f"{name} says that it is continuous, and its time stamps leave something out: that time is missing."
        remarks.append(Remark("time", text))
    if len(runs) > 1:
        missing = runs[-1].start + (runs[-1].records - records) * chosen.signals[0].samples
        text = f"{name} has {len(runs) - 1} interruptions, {missing / chosen.fs:g} s in all: that time is missing."
        remarks.append(Remark("time", text))
    return runs, remarks


def _runs_by_time(
    onset: Callable[[int], Fraction | None], header: EdfHeader, chosen: EcgSignals, records: int, name: str
) -> list[_Run]:
    per_record = chosen.signals[0].samples
    rate = Fraction(per_record) / header.record_s
    tolerance = max(1 / rate, Fraction(2, 1000))  # s; time stamps are rounded, often to ms
    runs: list[_Run] = []
    zero = begun = Fraction(0)
    for record in range(records):
        at = onset(record)
        if at is None:
            raise RecordError(f"Data record {record + 1} of {name} has no time stamp. Export the recording again.")
        if not runs:
            zero = begun = at
            runs.append(_Run(0, 0, 1))
            continue
        run = runs[-1]
        late = at - begun - run.records * header.record_s
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
            begun = at
    return runs


def _onset(file: BinaryIO, header: EdfHeader, annotations: EdfSignal, record: int) -> Fraction | None:
    """Seconds since the start of the file, from the time-keeping annotation that begins each data record."""
    file.seek(header.n_bytes + record * header.record_bytes + annotations.at)
    match = _ONSET.match(file.read(min(_ONSET_BYTES, annotations.samples * header.sample_bytes)))
    return Fraction(match[1].decode("ascii")) if match else None
