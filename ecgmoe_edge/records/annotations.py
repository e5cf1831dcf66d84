"""Reads beat and rhythm annotations of WFDB records with their AAMI classes, and writes detected beats."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.durable_files import write_bytes
from ecgmoe_edge.errors import MissingExtra, RecordError
from ecgmoe_edge.records.formats.wfdb_record import WfdbRecord
from ecgmoe_edge.records.recording import Recording, Remark
from ecgmoe_edge.records.wfdb_files.annotation_file import (
    END_MARK,
    NO_BEAT_CODE,
    SYMBOLS,
    RawAnnotations,
    read_annotation_file,
)
from ecgmoe_edge.streaming.events import ARTEFACT_REASON, Beat

EXTENSION = "ecgmoe"

AAMI_CLASSES = ("N", "S", "V", "F", "Q")
# Symbol of a WFDB beat annotation -> AAMI class (ANSI/AAMI EC57, table 3).
AAMI = MappingProxyType(
    {
        symbol: name
        for name, symbols in {"N": "NLRBejn", "S": "aAJS", "V": "VEr", "F": "F", "Q": "/fQ?"}.items()
        for symbol in symbols
    }
)

_ARTEFACT_SYMBOL = "|"
_SCRATCH_NAME = "annotations"  # wfdb refuses names with a dot or a blank, which records may have
_LATE_S = 1.0  # an annotation may be this much later than the end of the record


@dataclass(frozen=True)
class RhythmSegment:
    """A segment of one annotated rhythm."""

    label: str  # annotated rhythm without the bracket: N, AFIB, AFL, SVTA, VT ...
    start: int  # first sample
    end: int  # sample after the last


@dataclass(frozen=True)
class BeatAnnotations:
    """The annotated beats and rhythms of one record."""

    samples: NDArray[np.int64]  # (n,) sample of each beat, ascending
    symbols: NDArray[np.str_]  # (n,) symbols of the annotation file
    classes: NDArray[np.str_]  # (n,) AAMI classes: N, S, V, F or Q
    flutter: tuple[tuple[int, int], ...]  # first and last sample of each ventricular flutter, `[` to `]`
    rhythms: tuple[RhythmSegment, ...]
    unknown: Mapping[str, int] = field(default_factory=dict)  # symbol not defined in annot(5) -> number
    remarks: tuple[Remark, ...] = ()  # annotations that were ignored

    @property
    def paced(self) -> bool:
        """Whether any beat is paced; EC57 excludes such records from the scores of beat classes."""
        return bool(np.any(self.symbols == "/"))


def read_annotations(record: Recording, extension: str = "atr", *, beats_needed: bool = True) -> BeatAnnotations:
    """Read the WFDB annotation file `<record>.<extension>` in the folder of a recording of any format.

    Args:
        record: the recording.
        extension: extension of the annotation file.
        beats_needed: False also accepts a file that has only rhythm changes, as in the MIT-BIH Atrial Fibrillation
            Database.

    Raises:
        RecordError: the file is missing, truncated or not an annotation file; its times go backwards or lie outside
            the record; or it has no beats although they are needed.
    """
    return annotations_on(timeline_of(record), extension, beats_needed=beats_needed)


@dataclass(frozen=True)
class Timeline:
    """The time axis of a record: all that annotations need to know of its signal."""

    path: Path  # the record without extension; its annotations are `<path>.<extension>`
    fs: float  # sampling rate, Hz
    n_samples: int  # samples that are present
    frame_rate: float  # Hz; tick rate of an annotation file that states none
    stated_samples: int | None = None  # samples that the header states, if fewer are present

    @property
    def name(self) -> str:
        """Name of the record, without folder."""
        return self.path.name


def timeline_of(record: Recording) -> Timeline:
    """Return the time axis of a recording."""
    if isinstance(record, WfdbRecord):
        return Timeline(record.path, record.fs, record.n_samples, record.frame_rate, record.stated_samples)
    return Timeline(record.path.parent / record.name, record.fs, record.n_samples, record.fs)


def annotations_on(timeline: Timeline, extension: str = "atr", *, beats_needed: bool = True) -> BeatAnnotations:
    """Read an annotation file for a record of which only the time axis is known.

    Args:
        timeline: time axis of the record.
        extension: extension of the annotation file.
        beats_needed: as for `read_annotations`.

    Raises:
        RecordError: as for `read_annotations`.
    """
    file = timeline.path.parent / f"{timeline.name}.{extension}"
    if not file.is_file():
        raise RecordError(f"{timeline.name} has no annotations: there is no {file.name} in its folder.")
    marks = read_annotation_file(file)
    samples, kept = _samples_of(marks, timeline, file)
    codes = marks.codes[kept]
    notes = {at: note for at, note in marks.notes.items() if at < len(codes)}
    beat_codes = [code for code in np.unique(codes).tolist() if marks.symbol(code) in AAMI]
    is_beat = np.isin(codes, beat_codes)
    if beats_needed and not is_beat.any():
        raise RecordError(f"{file.name} has no beat annotation. Name another file by its extension, such as qrs.")
    beats = codes[is_beat]
    symbol_of = np.array([marks.symbol(code) if code in beat_codes else "" for code in range(64)], dtype="<U1")
    class_of = np.array([AAMI.get(symbol, "") for symbol in symbol_of.tolist()], dtype="<U1")
    unknown = {
        marks.symbol(code): int(np.sum(codes == code))
        for code in np.unique(codes).tolist()
        if code != NO_BEAT_CODE and code not in SYMBOLS and code not in beat_codes
    }
    others = [(int(samples[at]), marks.symbol(int(codes[at])), notes.get(int(at), "")) for at in _spans(codes)]
    return BeatAnnotations(
        samples=samples[is_beat],
        symbols=symbol_of[beats],
        classes=class_of[beats],
        flutter=_flutter(others, timeline.n_samples),
        rhythms=_rhythms(others, timeline.n_samples),
        unknown=unknown,
        remarks=tuple(_remarks(file, unknown, len(marks.codes) - len(codes))),
    )


def write_annotations(folder: Path, name: str, beats: Iterable[Beat], fs: float, extension: str = EXTENSION) -> Path:
    """Write beats as a WFDB annotation file, which PhysioNet's bxb can score.

    N, S, V and F keep their letters. An artefact becomes `|`, the isolated QRS-like artifact of annot(5), which is no
    beat for a scoring program. Any other unclassified beat (`?`) becomes Q, which is the unclassifiable class of every
    scoring program. If beats were not classified, they become N.

    Args:
        folder: folder of the file; it is created if it does not exist.
        name: name of the record.
        beats: detected beats.
        fs: sampling rate of the record, Hz.
        extension: extension of the file.

    Returns:
        The file written.

    Raises:
        MissingExtra: wfdb is not installed.
        RecordError: the file cannot be written, for example because the disk is full; an older file stays intact.
    """
    file = folder / f"{name}.{extension}"
    ordered = sorted(beats, key=lambda beat: beat.sample)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder, prefix=".annotations-") as scratch:
            written = Path(scratch) / f"{_SCRATCH_NAME}.{_SCRATCH_NAME}"
            if ordered:
                _load_wfdb().wrann(
                    _SCRATCH_NAME,
                    _SCRATCH_NAME,
                    sample=np.array([beat.sample for beat in ordered], dtype=np.int64),
                    symbol=[_symbol(beat) for beat in ordered],
                    fs=fs,
                    write_dir=scratch,
                )
            else:
                written.write_bytes(END_MARK)  # wfdb does not write a file without annotations
            _check_written(written, ordered)
            write_bytes(file, written.read_bytes())
    except OSError as error:
        raise RecordError(
            f"Annotations cannot be written to {folder} ({error.strerror or error}). Free some disk space, or give "
            "another folder."
        ) from error
    return file


def _symbol(beat: Beat) -> str:
    if beat.reason == ARTEFACT_REASON:
        return _ARTEFACT_SYMBOL
    return {None: "N", "?": "Q"}.get(beat.label) or str(beat.label)


def _check_written(file: Path, beats: Sequence[Beat]) -> None:
    """Raise OSError unless the written file has these beats, because wfdb does not detect a full disk."""
    if not beats:
        return
    try:
        marks = read_annotation_file(file)
        # wfdb adds notes about the time unit
        is_beat = [marks.symbol(code) in (*AAMI, _ARTEFACT_SYMBOL) for code in marks.codes.tolist()]
        found = marks.ticks[np.array(is_beat, dtype=bool)]
    except RecordError:
        found = np.zeros(0, np.int64)
    found = found[max(0, len(found) - len(beats)) :]  # the first ones state the rate
    if not np.array_equal(found, [beat.sample for beat in beats]):
        why = f"{os.strerror(errno.ENOSPC)}: {len(found)} of {len(beats)} beats were written"
        raise OSError(errno.ENOSPC, why)


def _samples_of(marks: RawAnnotations, record: Timeline, file: Path) -> tuple[NDArray[np.int64], slice]:
    """Samples of the annotations, and the slice of the annotations that lie within the signal.

    An annotation file counts time in ticks whose rate it states, or in frames of its record.
    """
    times = marks.ticks * (record.fs / (marks.rate or record.frame_rate))
    length = record.stated_samples or record.n_samples
    if len(times) and times[-1] > length - 1 + _LATE_S * record.fs:
        raise RecordError(
            f"{file} has an annotation at {times[-1] / record.fs:.6g} s, but {record.name} is {length / record.fs:.6g} "
            "s long. Check that both belong to the same recording."
        )
    samples = np.rint(times).astype(np.int64)
    within = slice(0, int(np.searchsorted(samples, record.n_samples)))
    return samples[within], within


def _remarks(file: Path, unknown: Mapping[str, int], after: int) -> Iterator[Remark]:
    if unknown:
        listed = ", ".join(f"{symbol!r} ({n})" for symbol, n in unknown.items())
        yield Remark("label", f"{file.name} has labels that annot(5) does not define; they are not beats: {listed}.")
    if after:
        yield Remark("length", f"{file.name} has {after} annotations after the end of the signal: they are ignored.")


def _spans(codes: NDArray[np.uint8]) -> list[int]:
    """Indices of the annotations that start or end a rhythm or a flutter."""
    opening = [code for code, symbol in SYMBOLS.items() if symbol in "+[]"]
    return [int(at) for at in np.flatnonzero(np.isin(codes, opening))]


def _flutter(marks: Sequence[tuple[int, str, str]], n_samples: int) -> tuple[tuple[int, int], ...]:
    segments = []
    start: int | None = None
    for sample, symbol, _ in marks:
        if symbol == "[" and start is None:
            start = sample
        elif symbol == "]" and start is not None:
            segments.append((start, sample))
            start = None
    if start is not None:
        segments.append((start, n_samples))
    return tuple(segments)


def _rhythms(marks: Sequence[tuple[int, str, str]], n_samples: int) -> tuple[RhythmSegment, ...]:
    changes = [(sample, note[1:]) for sample, symbol, note in marks if symbol == "+" and note.startswith("(")]
    ends = [*(sample for sample, _ in changes[1:]), n_samples][: len(changes)]
    return tuple(
        RhythmSegment(label, start, end) for (start, label), end in zip(changes, ends, strict=True) if end > start
    )


def _load_wfdb() -> Any:
    """Import the wfdb package on first use; it imports pandas, which takes most of a second."""
    try:
        import wfdb
    except ImportError as missing:
        raise MissingExtra("wfdb, which writes annotations,", "records") from missing
    return wfdb
