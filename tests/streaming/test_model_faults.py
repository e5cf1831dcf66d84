"""A model's answer that is no number makes a `?`, teaches nothing, and is an event without a flood of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pytest
from fixed_model import FixedModel, untimed
from numpy.typing import NDArray

from ecgmoe_edge.calibration_data import load_calibration
from ecgmoe_edge.live.sinks.terminal import line_of
from ecgmoe_edge.scoring.live_run import run_live
from ecgmoe_edge.streaming import Monitor
from ecgmoe_edge.streaming.events import Beat, End, Event, ModelFault, Rhythm, to_json

FS = 360.0
Outputs = dict[str, NDArray[np.float32]]


class Faulty(FixedModel):
    """Spoils its answers of the beats that are chosen by their number."""

    def __init__(self, spoil: Callable[[Outputs], object], chosen: Callable[[int], bool] = lambda _: True) -> None:
        super().__init__()
        self._spoil, self._chosen, self._beat = spoil, chosen, 0

    def infer(self, inputs: Mapping[str, NDArray[np.float32]]) -> Mapping[str, NDArray[np.float32]]:
        outputs = {name: np.array(value) for name, value in super().infer(inputs).items()}
        if self._chosen(self._beat):
            self._spoil(outputs)
        self._beat += 1
        return outputs


def fill(name: str, value: float) -> Callable[[Outputs], object]:
    return lambda outputs: outputs[name].__setitem__((-1, 1), value)


@pytest.fixture(scope="module")
def signal() -> NDArray[np.float64]:
    first = np.asarray(load_calibration().signal[0], np.float64)
    return np.stack((first, -0.5 * np.roll(first, 3)))


def played(model: FixedModel, signal: NDArray[np.float64], pieces: int = 1) -> list[Event]:
    monitor = Monitor(model, FS, [f"L{k}" for k in range(len(signal))])
    events = [event for piece in np.array_split(signal, pieces, axis=1) for event in monitor.push(piece)]
    return list(untimed([*events, *monitor.flush()]))


def of_type(events: list[Event], kind: type) -> list[Event]:
    return [event for event in events if isinstance(event, kind)]


@pytest.mark.parametrize("leads", [1, 2])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38])
@pytest.mark.parametrize("output", ["beat", "rhythm", "route_morphology"])
def test_an_answer_that_is_no_number_labels_nothing(
    signal: NDArray[np.float64], output: str, value: float, leads: int
) -> None:
    events = played(Faulty(fill(output, value)), signal[:leads, : 20 * 360])
    beats = [event for event in events if isinstance(event, Beat)]
    assert len(beats) > 10
    assert {(beat.label, len(beat.scores), len(beat.experts)) for beat in beats} == {("?", 0, 0)}
    assert not [event for event in events if isinstance(event, Rhythm) and event.label in FixedModel.classes["rhythm"]]
    assert [fault.outputs for fault in events if isinstance(fault, ModelFault)] == [(output,)] * 2
    end = events[-1]
    assert isinstance(end, End)
    assert end.beats["?"] == len(beats)
    json.dumps([to_json(event) for event in events], allow_nan=False)


def test_later_beats_are_labelled_as_if_the_model_had_been_silent(signal: NDArray[np.float64]) -> None:
    """Two models that spoil the same beats in different ways: the rest is labelled alike, so nothing was learned."""

    def spoil_all(outputs: Outputs) -> None:
        for value in outputs.values():
            value[:] = np.nan

    def chosen(beat: int) -> bool:
        return beat % 3 == 1

    def shout(outputs: Outputs) -> None:
        outputs["beat"][:] = (-1e5, 1e5, 1e5, np.inf)
        outputs["rhythm"][:] = (-1e5, 1e5, 0.0, 0.0)

    of_nan, of_shouts = (played(Faulty(spoil, chosen), signal[:1, : 90 * 360]) for spoil in (spoil_all, shout))
    assert of_type(of_nan, Beat) == of_type(of_shouts, Beat)
    assert of_type(of_nan, Rhythm) == of_type(of_shouts, Rhythm)
    labels = [beat.label for beat in of_nan if isinstance(beat, Beat)]
    assert labels[1::3] == ["?"] * len(labels[1::3])
    assert labels.count("?") < 0.4 * len(labels)


def test_faults_are_reported_at_once_then_once_a_minute_and_at_the_end(signal: NDArray[np.float64]) -> None:
    events = played(Faulty(fill("beat", np.nan)), signal[:1, : 150 * 360])
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
    events = played(Faulty(fill("route_morphology", np.nan), lambda beat: beat == 5), signal[:1, : 20 * 360])
    (fault,) = [event for event in events if isinstance(event, ModelFault)]
    assert fault.beats == 1
    assert [beat.label == "?" for beat in events if isinstance(beat, Beat)].index(True) == 5


@pytest.mark.parametrize("pieces", [7, 400])
def test_any_chunking_gives_the_same_faults(signal: NDArray[np.float64], pieces: int) -> None:
    part = signal[:1, : 80 * 360]
    whole = played(Faulty(fill("beat", np.nan), lambda beat: beat % 2 == 0), part)
    assert of_type(whole, ModelFault)
    assert played(Faulty(fill("beat", np.nan), lambda beat: beat % 2 == 0), part, pieces) == whole


def test_a_recording_that_is_scored_gets_the_same_labels(signal: NDArray[np.float64]) -> None:
    part = signal[:1, : 30 * 360]
    model = Faulty(fill("beat", np.nan), lambda beat: beat % 2 == 0)
    scored = run_live(Monitor(model, FS), [part])
    live = played(Faulty(fill("beat", np.nan), lambda beat: beat % 2 == 0), part)
    assert [replace(beat, compute_ms=0.0) for beat in scored.beats] == of_type(live, Beat)


def test_people_read_which_outputs_failed_and_for_how_many_beats() -> None:
    assert line_of(ModelFault(360, 1.0, ("beat",), 1)).endswith("model fault: no usable beat for 1 beat")
    assert line_of(ModelFault(360, 1.0, ("beat", "rhythm"), 1200)).endswith("no usable beat, rhythm for 1,200 beats")
    assert to_json(ModelFault(360, 1.0, ("beat",), 2)) == {
        "event": "model_fault", "schema": 2, "sample": 360, "time_s": 1.0, "outputs": ("beat",), "beats": 2,
    }  # fmt: skip
