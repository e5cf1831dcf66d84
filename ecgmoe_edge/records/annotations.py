"""Beat and rhythm annotations of WFDB records: read with their AAMI classes, and our beats written back."""

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
from ecgmoe_edge.records.wfdb_files.annotation_file import END_MARK, NO_BEAT_CODE, SYMBOLS, Marks, read_marks
from ecgmoe_edge.streaming.events import Beat

EXTENSION = "ecgmoe"

AAMI_CLASSES = ("N", "S", "V", "F", "Q")
# ANSI/AAMI EC57, table 3, on the codes of the WFDB beat annotations.
AAMI = MappingProxyType(
    {
        symbol: name
        for name, symbols in {"N": "NLRBejn", "S": "aAJS", "V": "VEr", "F": "F", "Q": "/fQ?"}.items()
        for symbol in symbols
    }
)

_LATE_S = 1.0  # that an annotation may lie after the end of a record that it was made for


@dataclass(frozen=True)
class RhythmSegment:
    """A stretch of one annotated rhythm, `start` to `end` (not included) in samples."""

    label: str  # as annotated, without the bracket: N, AFIB, AFL, SVTA, VT ...
    start: int
    end: int


@dataclass(frozen=True)
class BeatAnnotations:
    """The annotated beats and rhythms of one record."""

    samples: NDArray[np.int64]  # (n,), in samples of the signal, ascending
    symbols: NDArray[np.str_]  # (n,), the annotators' codes
    classes: NDArray[np.str_]  # (n,), N S V F Q
    flutter: tuple[tuple[int, int], ...]  # ventricular flutter, `[` to `]`, first and last sample
    rhythms: tuple[RhythmSegment, ...]
    unknown: Mapping[str, int] = field(default_factory=dict)  # symbols that annot(5) does not know, and how many
    remarks: tuple[Remark, ...] = ()  # what of the file was left out

    @property
    def paced(self) -> bool:
        """Whether a pacemaker made any of the beats; EC57 leaves such records out of the beat classes."""
        return bool(np.any(self.symbols == "/"))


def read_annotations(record: Recording, extension: str = "atr", *, beats_needed: bool = True) -> BeatAnnotations:
    """Read the annotation file `<record>.<extension>` beside the record, of whatever format that is.

    With `beats_needed=False` a file of rhythm changes alone will do, as in the MIT-BIH Atrial Fibrillation Database.

    Raises:
        RecordError: no such file; not an annotation file, or the beginning of one; times that go backwards or lie
            outside of the record; or no beat in it where beats are needed.
    """
    file = record.path.parent / f"{record.name}.{extension}"
    if not file.is_file():
        raise RecordError(f"{record.name} has no annotations: there is no {file.name} beside it.")
    marks = read_marks(file)
    samples, kept = _samples_of(marks, record, file)
    codes = marks.codes[kept]
    notes = {at: note for at, note in marks.notes.items() if at < len(codes)}
    beat_codes = [code for code in np.unique(codes).tolist() if marks.symbol(code) in AAMI]
    is_beat = np.isin(codes, beat_codes)
    if beats_needed and not is_beat.any():
        raise RecordError(f"{file.name} holds no beat annotation. Name another by its extension, such as qrs.")
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
        flutter=_flutter(others, record.n_samples),
        rhythms=_rhythms(others, record.n_samples),
        unknown=unknown,
        remarks=tuple(_remarks(file, unknown, len(marks.codes) - len(codes))),
    )


def write_annotations(folder: Path, name: str, beats: Iterable[Beat], fs: float, extension: str = EXTENSION) -> Path:
    """Write beats as the WFDB annotation file `folder/<name>.<extension>`, which PhysioNet's bxb can score.

    N, S, V and F keep their letters; a beat too poor to call (`?`) becomes Q, which every scorer knows as a
    beat of no class, and a beat that no classifier saw becomes N.

    Raises:
        MissingExtra: wfdb is not installed.
        RecordError: the file cannot be written, on a full disk say; one that was there before is still whole.
    """
    file = folder / f"{name}.{extension}"
    ordered = sorted(beats, key=lambda beat: beat.sample)
    codes = {None: "N", "?": "Q"}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder, prefix=f".{name}-") as scratch:
            written = Path(scratch) / file.name
            if ordered:
                _load_wfdb().wrann(
                    name,
                    extension,
                    sample=np.array([beat.sample for beat in ordered], dtype=np.int64),
                    symbol=[codes.get(beat.label, beat.label) for beat in ordered],
                    fs=fs,
                    write_dir=scratch,
                )
            else:
                written.write_bytes(END_MARK)  # wfdb does not write a file without annotations
            _check_written(written, ordered)
            write_bytes(file, written.read_bytes())
    except OSError as error:
        raise RecordError(
            f"Annotations cannot be written to {folder} ({error.strerror or error}). Make room, or give another folder."
        ) from error
    return file


def _check_written(file: Path, beats: Sequence[Beat]) -> None:
    """Raise OSError unless a file that was just written has these beats: wfdb does not notice a disk that is full."""
    if not beats:
        return
    try:
        found = read_marks(file).ticks
    except RecordError:
        found = np.zeros(0, np.int64)
    found = found[max(0, len(found) - len(beats)) :]  # the first ones state the rate
    if not np.array_equal(found, [beat.sample for beat in beats]):
        why = f"{os.strerror(errno.ENOSPC)}: {len(found)} of {len(beats)} beats were written"
        raise OSError(errno.ENOSPC, why)


def _samples_of(marks: Marks, record: Recording, file: Path) -> tuple[NDArray[np.int64], slice]:
    """Samples of the signal at which the annotations lie, and which of them lie within it.

    An annotation file counts time in ticks of its own, which it then states, or in frames of its record.
    """
    frame_rate = record.frame_rate if isinstance(record, WfdbRecord) else record.fs
    times = marks.ticks * (record.fs / (marks.rate or frame_rate))
    stated = record.stated_samples if isinstance(record, WfdbRecord) else None
    length = stated or record.n_samples
    if len(times) and times[-1] > length - 1 + _LATE_S * record.fs:
        raise RecordError(
            f"{file} has an annotation at {times[-1] / record.fs:.6g} s, and {record.name} is {length / record.fs:.6g} "
            "s long. Check that both are of one recording."
        )
    samples = np.rint(times).astype(np.int64)
    within = slice(0, int(np.searchsorted(samples, record.n_samples)))
    return samples[within], within


def _remarks(file: Path, unknown: Mapping[str, int], after: int) -> Iterator[Remark]:
    if unknown:
        listed = ", ".join(f"{symbol!r} ({n})" for symbol, n in unknown.items())
        yield Remark("label", f"{file.name} has labels that annot(5) does not know, and no beat is made of: {listed}.")
    if after:
        yield Remark("length", f"{file.name} has {after} annotations after the end of the signal: they are left out.")


def _spans(codes: NDArray[np.uint8]) -> list[int]:
    """Places of the annotations that open or close a rhythm or flutter."""
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
    """The wfdb package, imported on first use: it brings pandas and takes most of a second."""
    try:
        import wfdb
    except ImportError as missing:
        raise MissingExtra("wfdb, which writes annotations,", "records") from missing
    return wfdb
