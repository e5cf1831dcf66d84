"""Unusable outputs of a model: the beat is `?`, nothing is learnt from it, and it is reported at most once a minute."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from beat_models import FakeModel, Tensors, random_outputs
from event_lists import untimed
from numpy.typing import NDArray

sys.path.append(str(Path(__file__).parents[2]))

from ecgmoe_edge.calibration_data import load_calibration
from ecgmoe_edge.live.sinks.terminal import line_of
from ecgmoe_edge.scoring.live_run import run_live
from ecgmoe_edge.streaming import Monitor
from ecgmoe_edge.streaming.events import Beat, End, Event, ModelFault, Rhythm, to_json
from ecgmoe_edge.tasks import RHYTHM_CLASSES
from tools.compare_engines import differences

FS = 360.0
Outputs = dict[str, NDArray[np.float32]]


def faulty_model(spoil: Callable[[Outputs], object], is_spoilt: Callable[[int], bool] = lambda _: True) -> FakeModel:
    """A model with spoilt outputs for the beats that are chosen by their number."""
    tasks, beat = ("beat", "rhythm"), count()
    sound = random_outputs(tasks)

    def outputs(inputs: Tensors) -> Tensors:
        found = sound(inputs)
        if is_spoilt(next(beat)):
            spoil(found)
        return found

    return FakeModel(outputs, tasks)


def fill(name: str, value: float) -> Callable[[Outputs], object]:
    return lambda outputs: outputs[name].__setitem__((-1, 1), value)


@pytest.fixture(scope="module")
def signal() -> NDArray[np.float64]:
    first = np.asarray(load_calibration().signal[0], np.float64)
    return np.stack((first, -0.5 * np.roll(first, 3)))


def played(model: FakeModel, signal: NDArray[np.float64], pieces: int = 1) -> list[Event]:
    monitor = Monitor(model, FS, [f"L{k}" for k in range(len(signal))])
    events = [event for piece in np.array_split(signal, pieces, axis=1) for event in monitor.push(piece)]
    return untimed([*events, *monitor.flush()])


def of_type(events: list[Event], kind: type) -> list[Event]:
    return [event for event in events if isinstance(event, kind)]


@pytest.mark.parametrize("leads", [1, 2])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38])
@pytest.mark.parametrize("output", ["beat", "rhythm", "route_morphology"])
def test_a_beat_with_an_unusable_output_has_no_label(
    signal: NDArray[np.float64], output: str, value: float, leads: int
) -> None:
    events = played(faulty_model(fill(output, value)), signal[:leads, : 20 * 360])
    beats = [event for event in events if isinstance(event, Beat)]
    assert len(beats) > 10
    assert {(beat.label, len(beat.scores), len(beat.experts)) for beat in beats} == {("?", 0, 0)}
    assert not [event for event in events if isinstance(event, Rhythm) and event.label in RHYTHM_CLASSES]
    assert [fault.outputs for fault in events if isinstance(fault, ModelFault)] == [(output,)] * 2
    end = events[-1]
    assert isinstance(end, End)
    assert end.beats["?"] == len(beats)
    json.dumps([to_json(event) for event in events], allow_nan=False)


def test_nothing_is_learnt_from_unusable_outputs(signal: NDArray[np.float64]) -> None:
    """Two models with different unusable outputs for the same beats give the same labels to the other beats."""

    def spoil_all(outputs: Outputs) -> None:
        for value in outputs.values():
            value[:] = np.nan

    def every_third(beat: int) -> bool:
        return beat % 3 == 1

    def make_infinite(outputs: Outputs) -> None:
        outputs["beat"][:] = (-1e5, 1e5, 1e5, np.inf)
        outputs["rhythm"][:] = (-1e5, 1e5, 0.0, 0.0)

    part = signal[:1, : 90 * 360]
    with_nan = played(faulty_model(spoil_all, every_third), part)
    with_infinity = played(faulty_model(make_infinite, every_third), part)
    assert of_type(with_nan, Beat) == of_type(with_infinity, Beat)
    assert of_type(with_nan, Rhythm) == of_type(with_infinity, Rhythm)
    labels = [beat.label for beat in with_nan if isinstance(beat, Beat)]
    assert labels[1::3] == ["?"] * len(labels[1::3])
    assert labels.count("?") < 0.4 * len(labels)


def test_faults_are_reported_at_once_then_once_a_minute_and_at_the_end(signal: NDArray[np.float64]) -> None:
    events = played(faulty_model(fill("beat", np.nan)), signal[:1, : 150 * 360])
    beats = [event for event in events if isinstance(event, Beat)]
    faults = [event for event in events if isinstance(event, ModelFault)]
    assert faults[0].beats == 1
    assert sum(fault.beats for fault in faults) == len(beats)
    assert len(faults) == 4  # at the first, after 60 and 120 s, at the end
    assert events.index(faults[0]) == events.index(beats[0]) + 1
    assert faults[0].sample == beats[0].sample
    assert faults[1].time_s - faults[0].time_s == pytest.approx(60.0, abs=2.0)
    assert faults[-1].sample == beats[-1].sample
    assert faults[1].time_s == faults[1].sample / FS


def test_a_single_fault_is_one_event(signal: NDArray[np.float64]) -> None:
    events = played(faulty_model(fill("route_morphology", np.nan), lambda beat: beat == 5), signal[:1, : 20 * 360])
    (fault,) = [event for event in events if isinstance(event, ModelFault)]
    assert fault.beats == 1
    assert [beat.label == "?" for beat in events if isinstance(beat, Beat)].index(True) == 5


@pytest.mark.parametrize("pieces", [7, 400])
def test_any_chunking_gives_the_same_faults(signal: NDArray[np.float64], pieces: int) -> None:
    part = signal[:1, : 80 * 360]
    whole = played(faulty_model(fill("beat", np.nan), lambda beat: beat % 2 == 0), part)
    assert of_type(whole, ModelFault)
    assert played(faulty_model(fill("beat", np.nan), lambda beat: beat % 2 == 0), part, pieces) == whole


def test_a_recording_that_is_scored_gets_the_same_labels(signal: NDArray[np.float64]) -> None:
    part = signal[:1, : 30 * 360]
    model = faulty_model(fill("beat", np.nan), lambda beat: beat % 2 == 0)
    scored = run_live(Monitor(model, FS), [part])
    live = played(faulty_model(fill("beat", np.nan), lambda beat: beat % 2 == 0), part)
    assert list(differences(scored.beats, of_type(live, Beat))) == []


def test_the_line_for_people_names_the_outputs_and_the_number_of_beats() -> None:
    assert line_of(ModelFault(360, 1.0, ("beat",), 1)).endswith("model fault: no usable beat for 1 beat")
    assert line_of(ModelFault(360, 1.0, ("beat", "rhythm"), 1200)).endswith("no usable beat, rhythm for 1,200 beats")
    assert to_json(ModelFault(360, 1.0, ("beat",), 2)) == {
        "event": "model_fault", "schema": 2, "sample": 360, "time_s": 1.0, "outputs": ("beat",), "beats": 2,
    }  # fmt: skip
