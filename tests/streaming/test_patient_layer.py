"""A monitor with the patient's own layer: labels, events, and the switch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from beat_models import FakeModel, Tensors, answering, random_model, random_outputs
from drawn_patient import FS, DrawnPatient, draw
from event_lists import beats, untimed
from numpy.typing import NDArray

from ecgmoe_edge.errors import SignalError
from ecgmoe_edge.streaming import Monitor
from ecgmoe_edge.streaming.decision import DecisionRule
from ecgmoe_edge.streaming.events import Beat, End, Event, LayerSwitch, to_json
from ecgmoe_edge.streaming.patient.own_layer import LAYER_CLASSES, LAYER_INPUTS, PatientLayer, layer_inputs
from ecgmoe_edge.streaming.signal.windows import BEAT_GRID
from ecgmoe_edge.tasks import BEAT_ANSWERS

SHAPE = (LAYER_INPUTS, len(LAYER_CLASSES))


@pytest.fixture(scope="module")
def drawn() -> DrawnPatient:
    return draw(40.0)


def layer(label: str = "V", *, leads: tuple[str, ...] = ("II",), size: float = 30.0) -> PatientLayer:
    """A layer that gives every beat one label."""
    weights = np.zeros(SHAPE)
    weights[-1, LAYER_CLASSES.index(label)] = size
    return PatientLayer(leads, dict.fromkeys(leads, weights))


def random_layer(**given: Any) -> PatientLayer:
    return PatientLayer(("II",), {"II": np.random.default_rng(2).normal(0, 0.5, SHAPE)}, **given)


def played(monitor: Monitor, signal: NDArray[np.float64]) -> list[Event]:
    return untimed([*monitor.push(np.atleast_2d(signal)), *monitor.flush()])


def test_the_inputs_of_the_layer_follow_the_contract() -> None:
    logits = np.array([[0.0, 0.0, 0.0, -60.0]])
    features, window = np.arange(27, dtype=np.float32)[None], np.arange(BEAT_GRID.size, dtype=np.float32)[None]
    (inputs,) = layer_inputs(logits, features, window)
    assert inputs[:4] == pytest.approx([-np.log(3) / 3] * 3 + [-10 / 3])
    assert inputs[4:31].tolist() == features[0].tolist()
    assert inputs[31:-1].tolist() == (2 * window[0, ::2]).tolist()
    assert inputs[-1] == 1.0


def test_the_layer_decides_the_label_and_the_event_has_the_shared_one(drawn: DrawnPatient) -> None:
    shared = beats(played(Monitor(random_model(), FS), drawn.signal))
    events = played(Monitor(random_model(), FS, layer=layer("V")), drawn.signal)
    assert {beat.label for beat in shared} != {"V"}
    assert {beat.label for beat in beats(events)} == {"V"}
    assert [beat.shared_label or "V" for beat in beats(events)] == [beat.label for beat in shared]
    assert all(beat.scores["V"] > 0.9 for beat in beats(events))
    end = events[-1]
    assert isinstance(end, End)
    assert end.relabelled == sum(beat.label != "V" for beat in shared) > 0


def test_a_layer_of_zeros_changes_nothing_but_says_that_it_is_there(drawn: DrawnPatient) -> None:
    plain = played(Monitor(random_model(), FS), drawn.signal)
    zeros = PatientLayer(("II",), {"II": np.zeros(SHAPE)})
    events = played(Monitor(random_model(), FS, layer=zeros), drawn.signal)
    assert events[0] == LayerSwitch(0, 0.0, active=True)
    assert events[1:] == plain
    assert to_json(events[0]) == {"event": "patient_layer", "schema": 2, "sample": 0, "time_s": 0.0, "active": True}


def test_the_events_do_not_depend_on_the_chunks(drawn: DrawnPatient) -> None:
    whole = played(Monitor(random_model(), FS, layer=random_layer()), drawn.signal)
    monitor = Monitor(random_model(), FS, layer=random_layer())
    parts = [event for part in np.array_split(drawn.signal, 211) for event in monitor.push(part[None])]
    assert untimed([*parts, *monitor.flush()]) == whole


def test_switched_off_the_labels_are_those_of_a_stream_that_never_had_a_layer(drawn: DrawnPatient) -> None:
    plain = played(Monitor(random_model(), FS), drawn.signal)
    monitor = Monitor(random_model(), FS, layer=random_layer())
    half = drawn.signal.size // 2
    first = monitor.push(drawn.signal[None, :half])
    monitor.use_patient_layer(False)
    rest = [*monitor.push(drawn.signal[None, half:]), *monitor.flush()]
    assert rest[0] == LayerSwitch(half, half / FS, active=False)
    assert any(beat.shared_label for beat in beats(first))
    labelled = beats(untimed(rest))
    assert labelled == beats(plain)[-len(labelled) :]


def test_switched_on_again_the_labels_are_those_of_a_stream_that_always_had_it(drawn: DrawnPatient) -> None:
    always = played(Monitor(random_model(), FS, layer=random_layer()), drawn.signal)
    monitor = Monitor(random_model(), FS, layer=random_layer())
    monitor.use_patient_layer(False)
    half = drawn.signal.size // 2
    first = monitor.push(drawn.signal[None, :half])
    assert first[0] == LayerSwitch(0, 0.0, active=False)
    assert not any(beat.shared_label for beat in beats(first))
    monitor.use_patient_layer(True)
    rest = beats(untimed([*monitor.push(drawn.signal[None, half:]), *monitor.flush()]))
    assert rest == beats(always)[-len(rest) :]


def test_a_switch_to_the_present_state_gives_no_event(drawn: DrawnPatient) -> None:
    monitor = Monitor(random_model(), FS, layer=layer())
    monitor.push(drawn.signal[None, :500])
    monitor.use_patient_layer(False)
    monitor.use_patient_layer(True)
    assert not any(isinstance(event, LayerSwitch) for event in monitor.push(drawn.signal[None, 500:1000]))


def test_a_reset_reports_the_layer_again(drawn: DrawnPatient) -> None:
    monitor = Monitor(random_model(), FS, layer=layer())
    first = untimed(monitor.push(drawn.signal[None]))
    monitor.reset()
    assert untimed(monitor.push(drawn.signal[None])) == first


def test_an_artefact_stays_an_artefact_and_a_beat_a_beat(drawn: DrawnPatient) -> None:
    events = played(Monitor(answering("N?" * 8 + "N"), FS, layer=layer("V")), drawn.signal)
    labels = [(beat.label, beat.reason) for beat in beats(events)]
    assert labels[:4] == [("V", None), ("?", "artefact")] * 2
    assert all(beat.shared_label is None for beat in beats(events) if beat.label == "?")
    lowered = layer("V", size=-30.0)
    for weights in lowered.weights.values():
        weights[-1, :] = -30.0  # all logits of beats far below that of the artefact
    again = played(Monitor(answering("N?" * 8 + "N"), FS, layer=lowered), drawn.signal)
    assert [beat.reason for beat in beats(again)] == [reason for _, reason in labels]


def test_the_layer_leaves_the_logit_of_the_artefact() -> None:
    logits = np.arange(5, dtype=np.float32)[None]
    own = random_layer().adapted(
        logits, BEAT_ANSWERS, np.ones((1, 27), np.float32), np.ones((1, BEAT_GRID.size), np.float32), [None]
    )
    assert own[0, BEAT_ANSWERS.index("?")] == 4.0
    assert (own[0, :4] != logits[0, :4]).all()


def test_each_lead_has_its_own_layer(drawn: DrawnPatient) -> None:
    signal = np.stack([drawn.signal, -0.8 * drawn.signal])
    both = PatientLayer(("I", "V1"), {"I": layer("S").weights["II"], "V1": layer("N").weights["II"]})
    logits = np.zeros((2, 4), np.float32)
    own = both.adapted(
        logits, LAYER_CLASSES, np.zeros((2, 27), np.float32), np.zeros((2, BEAT_GRID.size), np.float32), ["V1", "I"]
    )
    assert own.argmax(axis=1).tolist() == [LAYER_CLASSES.index("N"), LAYER_CLASSES.index("S")]
    monitor = Monitor(random_model(("beat",)), FS, ("I", "V1"), layer=layer("S", leads=("I", "V1")))
    assert {beat.label for beat in beats(played(monitor, signal))} == {"S"}


def test_the_margin_of_s_is_that_of_the_layer(drawn: DrawnPatient) -> None:
    """Every beat has a high S margin: the usual rule lowers it below N, and not with a share of 0."""

    def like_s(inputs: Tensors) -> Tensors:
        return {"beat": np.tile(np.array([0.0, 0.8, -9.0, -9.0], np.float32), (len(inputs["beat"]), 1))}

    model = FakeModel(like_s, decision=DecisionRule(memory_beats=10))
    zeros = PatientLayer(("II",), {"II": np.zeros(SHAPE)})
    usual = beats(played(Monitor(model, FS, layer=zeros), drawn.signal))
    assert usual[-1].label == "N"
    own = beats(played(Monitor(model, FS, layer=replace(zeros, margin_share_s=0.0)), drawn.signal))
    assert {beat.label for beat in own} == {"S"}
    assert own[-1].shared_label == "N"


def test_unusable_outputs_stay_unusable(drawn: DrawnPatient) -> None:
    sound = random_outputs(("beat",))

    def broken(inputs: Tensors) -> Tensors:
        return {**sound(inputs), "beat": np.full((len(inputs["beat"]), 4), np.nan, np.float32)}

    found = beats(played(Monitor(FakeModel(broken), FS, layer=layer()), drawn.signal))
    assert {(beat.label, beat.reason) for beat in found} == {("?", "model")}


@pytest.mark.parametrize(
    ("leads", "invert", "message"),
    [
        (("V1",), False, "fitted on lead II, and this signal has lead V1"),
        (("II", "V1"), False, "this signal has leads II, V1"),
        (("II",), True, "without --invert"),
    ],
)
def test_other_leads_and_the_other_polarity_are_refused(leads: tuple[str, ...], invert: bool, message: str) -> None:
    with pytest.raises(SignalError, match=message):
        Monitor(random_model(), FS, leads, invert, layer=layer())


def test_a_layer_needs_a_model_and_a_switch_needs_a_layer() -> None:
    with pytest.raises(SignalError, match="needs its model"):
        Monitor(None, FS, layer=layer())
    monitor = Monitor(random_model(), FS)
    monitor.use_patient_layer(False)
    with pytest.raises(SignalError, match="no patient's layer"):
        monitor.use_patient_layer(True)
    assert not any(isinstance(event, LayerSwitch) for event in monitor.push(np.zeros((1, 100))))


def test_a_beat_event_has_the_key_with_and_without_a_layer(drawn: DrawnPatient) -> None:
    (first, *_) = beats(played(Monitor(random_model(), FS), drawn.signal))
    assert isinstance(first, Beat)
    assert to_json(first)["shared_label"] is None
