"""The segments of a WFDB record: their signal files, and the conversion of their samples to millivolts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.errors import RecordError
from ecgmoe_edge.records.recording import is_voltage, millivolts_per
from ecgmoe_edge.records.wfdb_files.header import (
    ASSUMED_GAIN,
    FLAC_FORMATS,
    MISSING,
    NULL_FORMAT,
    Header,
    SignalSpec,
    header_file,
    is_file,
    named_file,
    read_header,
    shown,
)
from ecgmoe_edge.records.wfdb_files.samples import SignalFile

ASSUMED_UNIT = "mV"  # default of header(5) if the unit is not stated


@dataclass(frozen=True)
class Source:
    """A signal and its position in a signal file."""

    spec: SignalSpec
    file: SignalFile | None  # None for a null signal
    position: int  # index among the signals of the file

    @property
    def unit(self) -> str:
        """Unit of the signal; mV if it is not stated."""
        return self.spec.unit or ASSUMED_UNIT


@dataclass(frozen=True)
class Segment:
    """A segment of a record; a record without segments is one segment."""

    name: str
    start: int  # first frame, counted from the start of the record
    length: int  # frames
    available: int  # frames in its files, at most `length`; equal to `length` for missing time
    sources: tuple[Source | None, ...]  # source of each signal of the record; None: missing in the whole segment
    ignored: tuple[str, ...] = ()  # signals of the segment that the layout of the record does not name

    def read(self, start: int, stop: int, signals: Sequence[int], per_frame: int) -> NDArray[np.float64]:
        """Read samples of the segment at a common rate.

        A slower signal is interpolated linearly, and keeps its last value at the end. Invalid and missing samples are
        NaN.

        Args:
            start: first sample, counted from the start of the segment.
            stop: sample after the last.
            signals: indices of the signals among those of the record.
            per_frame: samples per frame at the common rate.

        Returns:
            `(signals, n)` in mV.

        Raises:
            RecordError: a signal cannot be decoded, is not a voltage in this segment, or has more samples per frame.
        """
        first, last = start // per_frame, -(-stop // per_frame)
        decoded: dict[tuple[int, int], NDArray[np.int64]] = {}
        out = np.full((len(signals), stop - start), np.nan)
        for row, signal in enumerate(signals):
            source = self.sources[signal]
            if source is None or source.file is None:
                continue
            if source.spec.per_frame > per_frame:
                raise RecordError(
                    f"{source.spec.name} has another sampling rate in segment {self.name}. Choose other leads."
                )
            ahead = 1 if source.spec.per_frame < per_frame else 0  # interpolation needs the sample after the last
            begin, end = first + source.spec.skew, min(last + ahead + source.spec.skew, self.available)
            if begin >= end:
                continue
            key = (id(source.file), source.spec.skew)
            if key not in decoded or len(decoded[key]) < end - begin:
                decoded[key] = source.file.frames(begin, end)
            values = _millivolts(decoded[key][: end - begin], source, self.name)
            into = start - first * per_frame
            if source.spec.per_frame == per_frame:
                taken = values[into : into + stop - start]
                out[row, : len(taken)] = taken
            else:
                out[row] = _interpolated(values, np.arange(into, into + stop - start), source.spec.per_frame, per_frame)
        return out


def signals_of(header: Header) -> tuple[SignalSpec, ...] | None:
    """The signals of a record: from its header, or for a record of segments from its layout or its first segment.

    Returns:
        The signals; None if every segment is missing time.
    """
    if not header.is_multi_segment:
        return header.signals
    for name, _ in header.segments:
        if name != MISSING:
            return _segment_header(header, name).signals
    return None


class _MissingFileError(RecordError):
    """A file that a header names is missing."""


def open_segments(header: Header, specs: Sequence[SignalSpec], *, partial: bool = False) -> list[Segment]:
    """The segments of a record with their files.

    Args:
        header: the header of the record.
        specs: the signals of the record.
        partial: treat a segment whose files are missing as missing time; a record without segments needs its files.

    Raises:
        RecordError: a file is missing, or the header contradicts its segments.
    """
    if not header.is_multi_segment:
        sources, held = _sources(header)
        if header.length is None and held is None:  # all signals are null signals
            raise RecordError(f"{header.file.name} is the layout of a record of several segments. Open that record.")
        length = header.length if header.length is not None else held or 0
        return [Segment(header.record, 0, length, length if held is None else min(held, length), tuple(sources))]
    nothing: tuple[Source | None, ...] = (None,) * len(specs)
    opened: dict[str, tuple[tuple[Source | None, ...], tuple[str, ...], int | None]] = {}
    segments, start = [], 0
    for name, length in header.segments:
        if name == MISSING or not length:
            segments.append(Segment(name, start, length, length, nothing))
        else:
            if name not in opened:
                opened[name] = _placed(header, name, specs, partial=partial) or (nothing, (), 0)
            placed, ignored, held = opened[name]
            available = length if held is None else min(held, length)
            segments.append(Segment(name, start, length, available, placed, ignored))
        start += length
    return segments


def _placed(
    header: Header, name: str, specs: Sequence[SignalSpec], *, partial: bool
) -> tuple[tuple[Source | None, ...], tuple[str, ...], int | None] | None:
    """Sources of a segment by signal of the record, names of its other signals, and frames in its files.

    None if files are missing and `partial` is set.
    """
    try:
        sources, held = _sources(_segment_header(header, name))
    except _MissingFileError:
        if partial:
            return None
        raise
    if header.segments[0][1] == 0:  # the first segment is the layout, which names the signals of all segments
        return *_by_name(sources, specs), held
    if [source.spec.name for source in sources] != [spec.name for spec in specs]:
        raise RecordError(
            f"{header.file.name} has no layout, and its segment {shown(name)} has other signals than the first "
            "segment. Open the segments one by one."
        )
    return tuple(sources), (), held


def surplus_frames(header: Header, segments: Sequence[Segment]) -> int:
    """Number of frames after the stated length in the files of a record without segments."""
    if header.is_multi_segment or header.length is None:
        return 0
    held = [source.file.n_frames() for source in segments[0].sources if source is not None and source.file is not None]
    return max(0, min(held, default=0) - header.length)


def _segment_header(master: Header, name: str) -> Header:
    file = header_file(named_file(master.file, name))
    if not is_file(file):
        raise _MissingFileError(
            f"{master.file.name} names the segment {shown(name)}, but there is no {file}. Copy it there."
        )
    part = read_header(file)
    if part.is_multi_segment:
        raise RecordError(
            f"{master.file.name} names the segment {name}, which consists of segments. Name those instead."
        )
    if part.rate is not None and master.rate is not None and part.rate != master.rate:
        raise RecordError(
            f"{master.file.name} states {master.rate:g} Hz, but its segment {name} {part.rate:g} Hz. Open the segments "
            "one by one."
        )
    return part


def _sources(header: Header) -> tuple[list[Source], int | None]:
    """The signals with their files, and the number of frames that all files have; None if there is no file."""
    groups: dict[str, list[SignalSpec]] = {}
    for spec in header.signals:
        if spec.fmt != NULL_FORMAT:
            groups.setdefault(spec.file, []).append(spec)
    files = {name: _signal_file(header, name, specs) for name, specs in groups.items()}
    held = min((file.n_frames() for file in files.values()), default=None)
    seen = dict.fromkeys(files, 0)
    sources = []
    for spec in header.signals:
        if spec.fmt == NULL_FORMAT:
            sources.append(Source(spec, None, 0))
            continue
        sources.append(Source(spec, files[spec.file], seen[spec.file]))
        seen[spec.file] += 1
    return sources, held


def _in_any_case(path: Path) -> Path:
    """The path of a file whose name may differ in upper and lower case, as in records from Windows."""
    if is_file(path):
        return path
    try:
        alike = [one for one in path.parent.iterdir() if one.name.casefold() == path.name.casefold()]
    except (OSError, ValueError):
        return path
    return alike[0] if len(alike) == 1 else path


def _signal_file(header: Header, name: str, specs: Sequence[SignalSpec]) -> SignalFile:
    path = _in_any_case(named_file(header.file, name))
    if not is_file(path):
        renamed = header.file.with_suffix(path.suffix or ".dat")
        plain = name if name.isprintable() and len(name) <= 60 else shown(name)
        hint = f" If it was renamed to {renamed.name}, correct the header." if is_file(renamed) else ""
        packed = path.with_name(f"{path.name}.gz")
        hint = f" Unpack {packed.name} with gunzip." if is_file(packed) else hint
        raise _MissingFileError(
            f"{header.file.name} names the signal file {plain}, which is not in {path.parent}. Copy it there.{hint}"
        )
    offsets = {spec.offset for spec in specs if spec.offset} | {specs[0].offset}
    if len({spec.fmt for spec in specs}) > 1 or len(offsets) > 1:
        raise RecordError(f"{header.file.name} states two formats or two offsets for {name}. Correct its lines.")
    if specs[0].fmt in FLAC_FORMATS and len({spec.per_frame for spec in specs}) > 1:
        raise RecordError(
            f"{header.file.name} states different rates for the signals of {name}, which is FLAC. Correct it."
        )
    per_frame = tuple(spec.per_frame for spec in specs)
    return SignalFile(path, specs[0].fmt, specs[0].offset, per_frame, tuple(spec.initial for spec in specs))


def _by_name(
    sources: Sequence[Source], specs: Sequence[SignalSpec]
) -> tuple[tuple[Source | None, ...], tuple[str, ...]]:
    """Sources of a segment in the order of the layout, matched by description, and the names of unmatched signals."""
    waiting = list(sources)
    placed: list[Source | None] = []
    for spec in specs:
        found = next((source for source in waiting if source.spec.name == spec.name), None)
        if found is not None:
            waiting.remove(found)
        placed.append(found)
    return tuple(placed), tuple(source.spec.name for source in waiting)


def _millivolts(frames: NDArray[np.int64], source: Source, segment: str) -> NDArray[np.float64]:
    """Samples of one signal, `(n,)` in mV in order of time; invalid samples are NaN."""
    if source.file is None or not is_voltage(source.unit):
        raise RecordError(
            f"{source.spec.name} is in {source.unit} in {segment}, which is not a voltage. Choose other leads."
        )
    counts = frames[:, source.file.columns(source.position)].reshape(-1)
    physical = (counts - source.spec.baseline).astype(np.float64, copy=False)
    physical /= source.spec.gain or ASSUMED_GAIN
    physical *= millivolts_per(source.unit)
    if source.file.invalid is not None:
        physical[counts == source.file.invalid] = np.nan
    return physical


def _interpolated(values: NDArray[np.float64], at: NDArray[np.int64], own: int, per_frame: int) -> NDArray[np.float64]:
    """Linear interpolation of a signal.

    Args:
        values: the signal, `own` samples per frame.
        at: positions, `(n,)`, counted in `per_frame` samples per frame.
        own: samples per frame of the signal.
        per_frame: samples per frame of the positions.

    Returns:
        `(n,)`; NaN after the end of the signal.
    """
    before, rest = np.divmod(at * own, per_frame)
    is_within = before < len(values)
    before = np.minimum(before, len(values) - 1)
    after = np.minimum(before + 1, len(values) - 1)
    between = values[before] + (values[after] - values[before]) * (rest / per_frame)
    return np.where(is_within, np.where(rest == 0, values[before], between), np.nan)
