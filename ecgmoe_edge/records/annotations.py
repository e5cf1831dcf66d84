"""Beat and rhythm annotations of WFDB records: read with their AAMI classes, and our beats written back."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.durable_files import write_bytes
from ecgmoe_edge.errors import RecordError
from ecgmoe_edge.records.formats.wfdb_record import load_wfdb
from ecgmoe_edge.records.recording import Recording
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

_END_MARK = b"\x00\x00"
_UNREADABLE = (OSError, ValueError, IndexError, TypeError, KeyError)


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

    @property
    def paced(self) -> bool:
        """Whether a pacemaker made any of the beats; EC57 leaves such records out of the beat classes."""
        return bool(np.any(self.symbols == "/"))


def read_annotations(record: Recording, extension: str = "atr", *, beats_needed: bool = True) -> BeatAnnotations:
    """Read the annotation file `<record>.<extension>` beside the record, of whatever format that is.

    With `beats_needed=False` a file of rhythm changes alone will do, as in the MIT-BIH Atrial Fibrillation Database.

    Raises:
        RecordError: no such file, not an annotation file or the beginning of one, or no beat in it where beats are
            needed.
        MissingExtra: wfdb is not installed.
    """
    file = record.path.parent / f"{record.name}.{extension}"
    if not file.is_file():
        raise RecordError(f"{record.name} has no annotations: there is no {file.name} beside it.")
    try:
        is_whole = file.read_bytes().endswith(_END_MARK)
        raw = load_wfdb().rdann(str(record.path.parent / record.name), extension)
    except _UNREADABLE as reason:
        raise RecordError(f"{file} is not a WFDB annotation file ({reason}). Copy it anew.") from reason
    if not is_whole:  # what is missing would count as beats that nobody annotated
        raise RecordError(f"{file} is cut short: it lacks the mark that ends an annotation file. Copy it anew.")
    # An annotation file may count time in ticks of its own, which it then states.
    ticks = float(raw.fs) if raw.fs else record.fs
    order = np.argsort(raw.sample, kind="stable")
    samples = np.rint(np.asarray(raw.sample)[order] * (record.fs / ticks)).astype(np.int64)
    symbols = np.asarray(raw.symbol, dtype=np.str_)[order]
    notes = [raw.aux_note[position].strip("\x00 ") for position in order]

    is_beat = np.array([symbol in AAMI for symbol in symbols], dtype=bool)
    if beats_needed and not is_beat.any():
        raise RecordError(f"{file.name} holds no beat annotation. Name another by its extension, such as qrs.")
    beats = symbols[is_beat]
    return BeatAnnotations(
        samples=samples[is_beat],
        symbols=beats,
        classes=np.array([AAMI[symbol] for symbol in beats], dtype=np.str_),
        flutter=_flutter(samples, symbols, record.n_samples),
        rhythms=_rhythms(samples, symbols, notes, record.n_samples),
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
                load_wfdb().wrann(
                    name,
                    extension,
                    sample=np.array([beat.sample for beat in ordered], dtype=np.int64),
                    symbol=[codes.get(beat.label, beat.label) for beat in ordered],
                    fs=fs,
                    write_dir=scratch,
                )
            else:
                written.write_bytes(_END_MARK)  # wfdb does not write a file without annotations
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
        found = load_wfdb().rdann(str(file.with_suffix("")), file.suffix.removeprefix(".")).sample
    except (ValueError, IndexError):
        found = np.zeros(0)
    if not np.array_equal(found, [beat.sample for beat in beats]):
        why = f"{os.strerror(errno.ENOSPC)}: {len(found)} of {len(beats)} beats were written"
        raise OSError(errno.ENOSPC, why)


def _flutter(samples: NDArray[np.int64], symbols: NDArray[np.str_], n_samples: int) -> tuple[tuple[int, int], ...]:
    segments = []
    start: int | None = None
    for sample, symbol in zip(samples.tolist(), symbols.tolist(), strict=True):
        if symbol == "[" and start is None:
            start = sample
        elif symbol == "]" and start is not None:
            segments.append((start, sample))
            start = None
    if start is not None:
        segments.append((start, n_samples))
    return tuple(segments)


def _rhythms(
    samples: NDArray[np.int64], symbols: NDArray[np.str_], notes: list[str], n_samples: int
) -> tuple[RhythmSegment, ...]:
    marks = [
        (sample, note[1:])
        for sample, symbol, note in zip(samples.tolist(), symbols.tolist(), notes, strict=True)
        if symbol == "+" and note.startswith("(")
    ]
    ends = [*(sample for sample, _ in marks[1:]), n_samples][: len(marks)]
    return tuple(
        RhythmSegment(label, start, end) for (start, label), end in zip(marks, ends, strict=True) if end > start
    )
