"""Drawn RR intervals of sinus rhythm and of atrial fibrillation, and records of annotations without a signal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def irregular(beats: int, seed: int = 1) -> NDArray[np.float64]:
    """RR intervals (beats,) in s of atrial fibrillation."""
    return np.random.default_rng(seed).gamma(25.0, 0.7 / 25.0, beats)


def regular(beats: int) -> NDArray[np.float64]:
    """RR intervals (beats,) in s of sinus rhythm."""
    return 0.9 + np.random.default_rng(2).normal(0.0, 0.01, beats)


def annotate(folder: Path, name: str, rr: NDArray[np.float64], rhythms: Sequence[tuple[int, str]]) -> None:
    """Write header and annotations of a record without a signal, 128 Hz.

    Args:
        folder: where the files are written.
        name: name of the record.
        rr: RR intervals, s; each ends with a beat.
        rhythms: (beat, rhythm): the rhythm that begins just before a beat, in order.
    """
    import wfdb

    beats = np.rint(np.cumsum(rr) * 128.0).astype(np.int64)
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.hea").write_text(f"{name} 1 128 {beats[-1] + 10}\n{name}.dat 16 200/mV 16 0 0 0 0 ECG\n")
    marks = [(int(sample), "N", "") for sample in beats]
    marks += [(int(beats[beat]) - 1, "+", f"({rhythm}") for beat, rhythm in rhythms]
    samples, symbols, notes = zip(*sorted(marks), strict=True)
    wfdb.wrann(name, "atr", np.array(samples), symbol=list(symbols), aux_note=list(notes), write_dir=str(folder))
