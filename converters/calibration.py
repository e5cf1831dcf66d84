"""Beats to calibrate and compare with: recordings run through the streaming front end, as a device would."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ecgmoe_edge.contract import BEAT, INPUTS, assemble_inputs
from ecgmoe_edge.errors import RecordError, SignalError
from ecgmoe_edge.records.names import one_of_each_name, record_name
from ecgmoe_edge.records.opening import LeadsWanted, chosen_leads, open_in_batch
from ecgmoe_edge.records.recording import Remark
from ecgmoe_edge.runtime.manifest import Gate
from ecgmoe_edge.streaming.beats import BeatContext
from ecgmoe_edge.streaming.frontend import FrontEnd
from ecgmoe_edge.streaming.signal.windows import BEAT_GRID

MAX_BEATS = 4000
#: A gate on fewer beats says nothing and is not run: 20 of 20 beats alike show, at 95 %, that 86 % of all are.
LEAST_BEATS = 20
#: A shorter recording is hardly more than what the front end takes to learn of a patient.
SHORTEST_S = 10.0


@dataclass(frozen=True)
class CalibrationBeats:
    """Inputs of a student for a number of beats, and where they come from."""

    inputs: Mapping[str, NDArray[np.float32]]  # those of `ecgmoe_edge.contract`, (n, ...)
    source: str
    places: tuple[str, ...] = ()  # where to find each beat: "100 at 12.3 s"
    delays_ms: tuple[float, ...] = ()  # of each beat, from R to the sample that completes its window
    left_out: Mapping[str, str] = field(default_factory=dict)  # record -> why none of its beats are here
    remarks: Mapping[str, tuple[Remark, ...]] = field(default_factory=dict)  # record -> what is to be known of it

    def place(self, beat: int) -> str:
        """Where to find a beat."""
        return self.places[beat] if self.places else f"beat {beat}"

    def __len__(self) -> int:
        return len(self.inputs[BEAT])

    def batches(self, size: int = 64) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Tensors of `size` beats at a time, in the order of the recording."""
        beat, features, rr_sequence = (torch.from_numpy(np.ascontiguousarray(self.inputs[name])) for name in INPUTS)
        for start in range(0, len(self), size):
            part = slice(start, start + size)
            yield beat[part], features[part], rr_sequence[part]


@dataclass(frozen=True)
class Placed:
    """A beat and the recording it comes from."""

    beat: BeatContext
    fs: float
    record: str = ""

    @property
    def place(self) -> str:
        """Where to find it."""
        at = f"{self.beat.sample / self.fs:.1f} s"
        return f"{self.record} at {at}" if self.record else at

    @property
    def delay_ms(self) -> float:
        """From R to the sample that completed its window, ms."""
        return 1000.0 * (self.beat.ready_at - 1 - self.beat.sample) / self.fs


def beats_of(blocks: Iterator[NDArray[np.float64]] | Sequence[NDArray[np.float64]], fs: float) -> list[BeatContext]:
    """The complete beats of one lead.

    Args:
        blocks: samples (n,) in mV, in order.
        fs: their rate in Hz.
    """
    front_end = FrontEnd(fs, grid=BEAT_GRID)
    items = [item for block in blocks for item in front_end.push(block[None])] + front_end.flush()
    return [item for item in items if isinstance(item, BeatContext) and item.complete]


def shipped_beats() -> CalibrationBeats:
    """The beats of the recording that ships with the package."""
    from ecgmoe_edge.calibration_data import load_calibration

    recording = load_calibration()
    found = [Placed(beat, recording.fs) for beat in beats_of([recording.signal[0]], recording.fs)]
    return _join(found, recording.source)


def folder_beats(folder: Path | str, leads: LeadsWanted = None) -> CalibrationBeats:
    """The beats of every recording in a folder that can be used, at most `MAX_BEATS`, spread evenly.

    A recording that cannot be read, is shorter than `SHORTEST_S`, or shows no ECG is left out with its reason.

    Args:
        folder: of recordings.
        leads: run each by itself; None takes the first of each recording that is a voltage and holds a signal.

    Raises:
        RecordError: the folder holds no recording, or no beat was found.
    """
    from ecgmoe_edge.records.registry import find_recordings, formats_in_folders

    paths, left_out = one_of_each_name(find_recordings(Path(folder)))
    if not paths:
        raise RecordError(
            f"{folder} holds no recording of these formats: {formats_in_folders()}. Name one that does: --calibration."
        )
    beats: list[Placed] = []
    remarks: dict[str, tuple[Remark, ...]] = {}
    for path in paths.values():
        name = record_name(path)
        try:
            found, remarks[name] = _recording_beats(path, leads)
        except (RecordError, SignalError) as reason:
            left_out[name] = str(reason)
        else:
            beats += found
    used = len(paths) - len(left_out.keys() & paths.keys())
    if not beats:
        why = " ".join(f"{name}: {reason}" for name, reason in left_out.items())
        raise RecordError(
            f"No beat was found in {folder}. Calibrate on recordings with a minute of ECG at least. {why}"
        )
    step = max(1, -(-len(beats) // MAX_BEATS))
    joined = _join(beats[::step], f"{used} recording{'s' if used != 1 else ''} in {Path(folder).name}")
    return replace(joined, left_out=left_out, remarks={name: each for name, each in remarks.items() if each})


def _recording_beats(path: Path, leads: LeadsWanted) -> tuple[list[Placed], tuple[Remark, ...]]:
    """The beats of one recording; raises RecordError where there is none to calibrate on."""
    record = open_in_batch(path)
    duration_s = record.n_samples / record.fs
    if duration_s < SHORTEST_S:
        raise RecordError(f"It lasts {duration_s:.3g} s, too short to calibrate on: {SHORTEST_S:g} s are needed.")
    chosen = chosen_leads(record, leads)
    placed = []
    for position in chosen.usable:
        lead = f" {record.leads[position]}" if len(chosen.usable) > 1 else ""
        found = beats_of((block[0] for block in record.blocks(leads=[position])), record.fs)
        placed += [Placed(beat, record.fs, record.name + lead) for beat in found]
    if not placed:
        raise RecordError(chosen.remarks[-1].text if chosen.remarks else "No whole beat was found in it.")
    if not all(np.isfinite(one.beat.window).all() and np.isfinite(one.beat.amplitude) for one in placed):
        raise RecordError("It is too large for the numbers that models take. Correct its unit or gain.")
    return placed, chosen.remarks


def delay_gate(beats: CalibrationBeats, limit_ms: float) -> Gate:
    """R to label within the limit, for 95 of 100 beats, counted in samples; compute time is not in it.

    Not run where the beats came without their delays, or are fewer than `LEAST_BEATS`.
    """
    name = "label delay, p95"
    if not beats.delays_ms:
        why = "the beats came from no recording"
        return Gate.not_run(name, why, limit=limit_ms, sense="at most", unit="ms")
    value = float(np.percentile(beats.delays_ms, 95))
    gate = Gate.judge(name, value, limit_ms, "at most", data=beats.source, unit="ms")
    return gate if len(beats) >= LEAST_BEATS else _too_few(len(beats), gate)  # the first few come while it learns


def on_enough(beats: int, gate: Gate) -> Gate:
    """A gate that was run on so many beats; not run where it passed on fewer than `LEAST_BEATS`."""
    return gate if beats >= LEAST_BEATS or gate.status != "passed" else _too_few(beats, gate)


def _too_few(beats: int, gate: Gate) -> Gate:
    why = f"{beats} beat{'s' if beats != 1 else ''} of {gate.data} are too few, {LEAST_BEATS} are needed"
    return Gate.not_run(gate.name, why, limit=gate.limit, sense=gate.sense, unit=gate.unit)


def _join(placed: Sequence[Placed], source: str) -> CalibrationBeats:
    beats = [one.beat for one in placed]
    if not beats:
        raise RecordError(f"No beat was found in {source}. Calibrate on a recording with at least a minute of ECG.")
    inputs = assemble_inputs(
        np.stack([one.window for one in beats]),
        np.stack([one.template for one in beats]),
        np.array([one.amplitude for one in beats], np.float32),
        np.stack([one.rr_features for one in beats]),
        np.stack([one.rr_sequence for one in beats]),
    )
    return CalibrationBeats(inputs, source, tuple(one.place for one in placed), tuple(one.delay_ms for one in placed))
