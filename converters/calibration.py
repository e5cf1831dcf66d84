"""Beats to calibrate and compare with: recordings run through the streaming front end, as a device would."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ecgmoe_edge.errors import RecordError
from ecgmoe_edge.streaming.features import model_inputs
from ecgmoe_edge.streaming.frontend import BeatContext, FrontEnd
from ecgmoe_edge.streaming.windows import BEAT_GRID

MAX_BEATS = 4000


@dataclass(frozen=True)
class CalibrationBeats:
    """Inputs of a student for a number of beats, and where they come from."""

    inputs: Mapping[str, NDArray[np.float32]]  # "beat" (n, 2, 103), "features" (n, 27), "rr_sequence" (n, 2, 32)
    source: str
    places: tuple[str, ...] = ()  # where to find each beat: "100 at 12.3 s"

    def place(self, beat: int) -> str:
        """Where to find a beat."""
        return self.places[beat] if self.places else f"beat {beat}"

    def __len__(self) -> int:
        return len(self.inputs["beat"])

    def batches(self, size: int = 64) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Tensors of `size` beats at a time, in the order of the recording."""
        beat, features, rr_sequence = (
            torch.from_numpy(np.ascontiguousarray(self.inputs[name])) for name in ("beat", "features", "rr_sequence")
        )
        for start in range(0, len(self), size):
            part = slice(start, start + size)
            yield beat[part], features[part], rr_sequence[part]


def beats_of(blocks: Iterator[NDArray[np.float64]] | Sequence[NDArray[np.float64]], fs: float) -> list[BeatContext]:
    """The complete beats of one lead.

    Args:
        blocks: samples (n,) in mV, in order.
        fs: their rate in Hz.
    """
    front_end = FrontEnd(fs, grid=BEAT_GRID)
    items = [item for block in blocks for item in front_end.push(block)] + front_end.flush()
    return [item for item in items if isinstance(item, BeatContext) and item.complete]


def shipped_beats() -> CalibrationBeats:
    """The beats of the recording that ships with the package."""
    from ecgmoe_edge.calibration_data import load_calibration

    recording = load_calibration()
    beats = beats_of([recording.signal[0]], recording.fs)
    return _join(beats, recording.source, [f"{beat.sample / recording.fs:.1f} s" for beat in beats])


def folder_beats(folder: Path | str) -> CalibrationBeats:
    """The beats of the first lead of every recording in a folder, at most `MAX_BEATS`, spread evenly.

    Raises:
        RecordError: the folder holds no recording, one cannot be read, or no beat was found.
    """
    from ecgmoe_edge.records.registry import find_recordings, formats_in_folders, open_recording

    paths = find_recordings(Path(folder))
    if not paths:
        raise RecordError(
            f"{folder} holds no recording of these formats: {formats_in_folders()}. Name one that does: --calibration."
        )
    beats: list[BeatContext] = []
    places: list[str] = []
    for path in paths:
        record = open_recording(path)
        found = beats_of([block[0] for block in record.blocks(leads=[0])], record.fs)
        beats += found
        places += [f"{record.name} at {beat.sample / record.fs:.1f} s" for beat in found]
    step = max(1, -(-len(beats) // MAX_BEATS))
    return _join(beats[::step], f"{len(paths)} recordings in {Path(folder).name}", places[::step])


def _join(beats: Sequence[BeatContext], source: str, places: Sequence[str]) -> CalibrationBeats:
    if not beats:
        raise RecordError(f"No beat was found in {source}. Calibrate on a recording with at least a minute of ECG.")
    beat, features = model_inputs(
        np.stack([one.window for one in beats]),
        np.stack([one.template for one in beats]),
        np.array([one.amplitude for one in beats], np.float32),
        np.stack([one.rr_features for one in beats]),
    )
    sequence = np.stack([one.rr_sequence for one in beats])
    return CalibrationBeats({"beat": beat, "features": features, "rr_sequence": sequence}, source, tuple(places))
