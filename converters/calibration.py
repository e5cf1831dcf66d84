"""Calibration beats: recordings are processed by the streaming front end, exactly as on a device.

The beats set the int8 ranges, and the exported file is compared with PyTorch on them.
"""

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
#: A gate is not run on fewer beats: even 20 of 20 equal labels only show an agreement of at least 86 % with 95 %
#: confidence.
LEAST_BEATS = 20
#: A shorter recording (s) contains little more than the time in which the front end adapts to the patient.
SHORTEST_S = 10.0


@dataclass(frozen=True)
class CalibrationBeats:
    """Inputs of a student for n beats, and the origin of the beats."""

    inputs: Mapping[str, NDArray[np.float32]]  # the `INPUTS` of `ecgmoe_edge.contract`, (n, ...) each
    source: str
    locations: tuple[str, ...] = ()  # record and time of each beat: "100 at 12.3 s"
    delays_ms: tuple[float, ...] = ()  # time from each R peak to the last sample of its window
    left_out: Mapping[str, str] = field(default_factory=dict)  # reason by record that contributes no beats
    remarks: Mapping[str, tuple[Remark, ...]] = field(default_factory=dict)  # remarks by record

    def location(self, beat: int) -> str:
        """Return record and time of a beat, or its number if these are unknown."""
        return self.locations[beat] if self.locations else f"beat {beat}"

    def __len__(self) -> int:
        return len(self.inputs[BEAT])

    def batches(self, size: int = 64) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield (beat, features, rr_sequence) tensors of up to `size` beats each, in the order of the beats."""
        beat, features, rr_sequence = (torch.from_numpy(np.ascontiguousarray(self.inputs[name])) for name in INPUTS)
        for start in range(0, len(self), size):
            part = slice(start, start + size)
            yield beat[part], features[part], rr_sequence[part]


@dataclass(frozen=True)
class LocatedBeat:
    """A beat and the recording that it comes from."""

    beat: BeatContext
    fs: float  # Hz
    record: str = ""

    @property
    def location(self) -> str:
        """Record and time of the R peak."""
        at = f"{self.beat.sample / self.fs:.1f} s"
        return f"{self.record} at {at}" if self.record else at

    @property
    def delay_ms(self) -> float:
        """Time from the R peak to the last sample of the beat's window, in ms."""
        return 1000.0 * (self.beat.ready_at - 1 - self.beat.sample) / self.fs


def beats_of(blocks: Iterator[NDArray[np.float64]] | Sequence[NDArray[np.float64]], fs: float) -> list[BeatContext]:
    """Return the beats of one lead whose windows are complete.

    Args:
        blocks: consecutive samples (n,) in mV.
        fs: sampling rate in Hz.
    """
    front_end = FrontEnd(fs, grid=BEAT_GRID)
    items = [item for block in blocks for item in front_end.push(block[None])] + front_end.flush()
    return [item for item in items if isinstance(item, BeatContext) and item.complete]


def shipped_beats() -> CalibrationBeats:
    """Return the beats of the calibration recording that ships with the package."""
    from ecgmoe_edge.calibration_data import load_calibration

    recording = load_calibration()
    found = [LocatedBeat(beat, recording.fs) for beat in beats_of([recording.signal[0]], recording.fs)]
    return _join(found, recording.source)


def folder_beats(folder: Path | str, leads: LeadsWanted = None) -> CalibrationBeats:
    """Return the beats of all usable recordings in a folder, thinned evenly to at most `MAX_BEATS`.

    A recording is left out, with the reason, if it cannot be read, is shorter than `SHORTEST_S`, or shows no ECG.

    Args:
        folder: a folder of recordings.
        leads: the leads to use, each processed separately; None takes the first voltage lead of each recording that
            contains a signal.

    Raises:
        RecordError: the folder contains no recording, or no beat was found.
    """
    from ecgmoe_edge.records.registry import find_recordings, formats_in_folders

    paths, left_out = one_of_each_name(find_recordings(Path(folder)))
    if not paths:
        raise RecordError(
            f"{folder} contains no recording in these formats: {formats_in_folders()}. "
            "Give another folder with --calibration."
        )
    beats: list[LocatedBeat] = []
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
            f"No beat was found in {folder}. Calibrate on recordings with at least one minute of ECG. {why}"
        )
    step = max(1, -(-len(beats) // MAX_BEATS))
    joined = _join(beats[::step], f"{used} recording{'s' if used != 1 else ''} in {Path(folder).name}")
    return replace(joined, left_out=left_out, remarks={name: each for name, each in remarks.items() if each})


def _recording_beats(path: Path, leads: LeadsWanted) -> tuple[list[LocatedBeat], tuple[Remark, ...]]:
    """Return the beats and the remarks of one recording.

    Raises:
        RecordError: the recording cannot be used for calibration.
        SignalError: the front end does not accept its sampling rate.
    """
    record = open_in_batch(path)
    duration_s = record.n_samples / record.fs
    if duration_s < SHORTEST_S:
        raise RecordError(f"It lasts {duration_s:.3g} s; calibration needs at least {SHORTEST_S:g} s.")
    chosen = chosen_leads(record, leads)
    located = []
    for position in chosen.usable:
        lead = f" {record.leads[position]}" if len(chosen.usable) > 1 else ""
        found = beats_of((block[0] for block in record.blocks(leads=[position])), record.fs)
        located += [LocatedBeat(beat, record.fs, record.name + lead) for beat in found]
    if not located:
        raise RecordError(chosen.remarks[-1].text if chosen.remarks else "No complete beat was found in it.")
    if not all(np.isfinite(one.beat.window).all() and np.isfinite(one.beat.amplitude) for one in located):
        raise RecordError("Its values are too large for float32. Correct its unit or gain.")
    return located, chosen.remarks


def delay_gate(beats: CalibrationBeats, limit_ms: float) -> Gate:
    """Return the gate on the 95th percentile of the label delay: R peak to label, without compute time.

    The gate is not run if the delays of the beats are unknown, or on fewer than `LEAST_BEATS` beats.

    Args:
        beats: the beats and their delays.
        limit_ms: largest delay in ms.
    """
    name = "label delay, p95"
    if not beats.delays_ms:
        why = "the beats do not come from a recording"
        return Gate.not_run(name, why, limit=limit_ms, sense="at most", unit="ms")
    value = float(np.percentile(beats.delays_ms, 95))
    gate = Gate.judge(name, value, limit_ms, "at most", data=beats.source, unit="ms")
    # Even a failed gate is withdrawn: the first beats have longer delays because the front end still adapts.
    return gate if len(beats) >= LEAST_BEATS else _too_few(len(beats), gate)


def not_run_if_few(beats: int, gate: Gate) -> Gate:
    """Return `gate`, or the same gate as not run if it passed on fewer than `LEAST_BEATS` beats.

    Args:
        beats: number of beats that the gate was run on.
        gate: the gate.
    """
    return gate if beats >= LEAST_BEATS or gate.status != "passed" else _too_few(beats, gate)


def _too_few(beats: int, gate: Gate) -> Gate:
    why = f"{beats} beat{'s' if beats != 1 else ''} of {gate.data} are too few, {LEAST_BEATS} are needed"
    return Gate.not_run(gate.name, why, limit=gate.limit, sense=gate.sense, unit=gate.unit)


def _join(located: Sequence[LocatedBeat], source: str) -> CalibrationBeats:
    beats = [one.beat for one in located]
    if not beats:
        raise RecordError(f"No beat was found in {source}. Calibrate on a recording with at least a minute of ECG.")
    inputs = assemble_inputs(
        np.stack([one.window for one in beats]),
        np.stack([one.template for one in beats]),
        np.array([one.amplitude for one in beats], np.float32),
        np.stack([one.rr_features for one in beats]),
        np.stack([one.rr_sequence for one in beats]),
    )
    locations, delays_ms = tuple(one.location for one in located), tuple(one.delay_ms for one in located)
    return CalibrationBeats(inputs, source, locations, delays_ms)
