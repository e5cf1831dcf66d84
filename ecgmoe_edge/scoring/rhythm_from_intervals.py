"""The rhythms that a model reports from RR intervals alone, without a signal.

The RR features and the rule that turns rhythm logits into events are those of the live stream. A model also needs the
waveform of each beat: every beat gets the same normal one, with itself as template, so that only the RR intervals
differ between beats.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.calibration_data import load_calibration
from ecgmoe_edge.contract import RHYTHM_TASK, assemble_inputs, unusable_outputs
from ecgmoe_edge.errors import ModelError
from ecgmoe_edge.scoring.cosen import LONGEST_S
from ecgmoe_edge.streaming.beat_model import BeatModel
from ecgmoe_edge.streaming.beats import BeatContext
from ecgmoe_edge.streaming.events import Rhythm
from ecgmoe_edge.streaming.frontend import FrontEnd
from ecgmoe_edge.streaming.patient.rr_history import SHORTEST_S, RRHistory
from ecgmoe_edge.streaming.rhythm.model_rhythm import ModelRhythm

_RECORDING_S = 60.0  # part of the calibration recording from which the normal beat is taken
_AT_ONCE = 128  # beats whose inputs are in memory at a time, and in one call of a batched model


@dataclass(frozen=True)
class NormalBeat:
    """The waveform of a normal beat."""

    waveform: NDArray[np.float32]  # (82,) mV, on BEAT_GRID
    amplitude: float  # R amplitude, mV


@lru_cache(maxsize=1)
def normal_beat() -> NormalBeat:
    """Return the running template of the beat that resembles most other beats of the calibration recording.

    The recording also contains ventricular beats, but most of its beats are normal. The beat with the largest median
    correlation with all beats is therefore a normal one.
    """
    recording = load_calibration()
    front_end = FrontEnd(recording.fs)
    items = [*front_end.push(recording.signal[:1, : round(_RECORDING_S * recording.fs)]), *front_end.flush()]
    beats = [item for item in items if isinstance(item, BeatContext) and item.complete]
    correlation = np.corrcoef(np.stack([beat.window for beat in beats]))
    chosen = beats[int(np.median(correlation, axis=1).argmax())]
    return NormalBeat(chosen.template, chosen.amplitude)


def reported_rhythms(beat_times: NDArray[np.float64], model: BeatModel) -> list[Rhythm]:
    """Return the rhythm events of a model that gets the RR intervals of beats, and the same waveform for each beat.

    An interval of more than 4 s is a gap: as at a break of the signal in the live stream, a rhythm ends at the beat
    before it, and the interval has no features. A rhythm also ends at the last beat.

    Args:
        beat_times: times of the beats, (n,) in s and ascending.
        model: a model with the task rhythm and without context.

    Raises:
        ModelError: an output of the model is NaN or infinite.
    """
    times = beat_times.tolist()
    intervals = [rr if rr <= LONGEST_S else None for rr in np.diff(beat_times, prepend=-np.inf).tolist()]
    history, rhythm = RRHistory(), ModelRhythm(model.classes[RHYTHM_TASK])
    events: list[Rhythm] = []
    last_s = 0.0
    for start in range(0, len(times), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        logits = _rhythm_logits([history.add(rr_s) for rr_s in intervals[part]], model)
        for time_s, rr_s, of_beat in zip(times[part], intervals[part], logits, strict=True):
            if rr_s is None:
                rhythm.end(last_s, events)
            else:
                rhythm.add_rr(1000.0 * max(rr_s, SHORTEST_S))  # two annotations may have the same time
            rhythm.beat(time_s, of_beat, events, may_begin=True)
            last_s = time_s
    rhythm.end(last_s, events)
    return events


def _rhythm_logits(
    rr: Sequence[tuple[NDArray[np.float32], NDArray[np.float32]]], model: BeatModel
) -> NDArray[np.float32]:
    """Return the rhythm logits (beats, classes) of beats with these RR features (15,) and sequences (2, 32)."""
    normal, count = normal_beat(), len(rr)
    waveforms = np.tile(normal.waveform, (count, 1))
    features, sequences = (np.stack(each) for each in zip(*rr, strict=True))
    amplitude = np.full(count, normal.amplitude, np.float32)
    inputs = assemble_inputs(waveforms, waveforms, amplitude, features, sequences)
    size = count if model.batched else 1
    answers = [
        model.infer({name: value[start : start + size] for name, value in inputs.items()})
        for start in range(0, count, size)
    ]
    outputs = {name: np.concatenate([answer[name] for answer in answers]) for name in answers[0]}
    if unusable := unusable_outputs(outputs):
        raise ModelError(
            f"From the RR intervals of annotated beats, the model outputs NaN or infinity ({', '.join(unusable)}): "
            "train the model again."
        )
    return outputs[RHYTHM_TASK]
