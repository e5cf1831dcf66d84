"""The fit of a patient's own layer, and its gate."""

from __future__ import annotations

import numpy as np
import pytest
from beat_models import FakeModel, Tensors, answering
from drawn_patient import DrawnPatient, collected
from numpy.typing import NDArray

from ecgmoe_edge.adapt.adaptation import Adaptation, adapt
from ecgmoe_edge.adapt.beats import PatientBeats
from ecgmoe_edge.adapt.contradictions import contradictions
from ecgmoe_edge.adapt.fit import Labelled, fit_layer, fit_weights
from ecgmoe_edge.adapt.gate import judge
from ecgmoe_edge.adapt.labels import BeatLabels
from ecgmoe_edge.adapt.report import render_adaptation
from ecgmoe_edge.errors import RecordError
from ecgmoe_edge.streaming.patient.own_layer import LAYER_CLASSES, LAYER_INPUTS, log_softmax

N, S, V, F = range(4)


@pytest.fixture(scope="module")
def truth(patient: PatientBeats, drawn: DrawnPatient) -> NDArray[np.int64]:
    return patient.class_of(drawn.r_peaks, list(drawn.classes))


@pytest.fixture(scope="module")
def adapted(patient: PatientBeats, drawn: DrawnPatient) -> Adaptation:
    return adapt(patient, BeatLabels(drawn.r_peaks, tuple(drawn.classes)), 120.0)


def test_labels_go_to_the_beats_within_150_ms(patient: PatientBeats, drawn: DrawnPatient) -> None:
    shifted = drawn.r_peaks + round(0.1 * patient.fs)
    found = patient.class_of(shifted, list(drawn.classes))
    assert "".join(LAYER_CLASSES[k] for k in found) == drawn.classes
    assert (patient.class_of(drawn.r_peaks + round(0.2 * patient.fs), list(drawn.classes)) < 0).mean() > 0.7


def test_a_beat_labelled_q_takes_no_part_in_the_fit(patient: PatientBeats, drawn: DrawnPatient) -> None:
    found = patient.class_of(drawn.r_peaks, list(drawn.classes.replace("V", "Q")))
    assert Labelled.of(found).counts.tolist() == [drawn.classes.count("N"), 0, 0, 0]


def test_poor_beats_and_artefacts_take_no_part_in_the_fit(drawn: DrawnPatient) -> None:
    patient = collected(drawn, answering("N?" * 40 + "N"))
    assert not patient.usable[1:80:2].any()
    found = patient.class_of(drawn.r_peaks, list(drawn.classes))
    assert (found[~patient.usable] < 0).all()
    assert not np.isin(np.flatnonzero(~patient.usable), patient.by_lead["II"].beats).any()


def test_the_layer_teaches_the_patients_v_beats(
    patient: PatientBeats, drawn: DrawnPatient, adapted: Adaptation
) -> None:
    assert set(patient.shared.labels) == {"N"}
    assert adapted.layer is not None
    assert "".join(patient.outcome(adapted.layer).labels) == drawn.classes
    assert adapted.gate.wrong == (drawn.classes.count("V"), 0)
    assert adapted.gate.log_loss[1] < 0.2 * adapted.gate.log_loss[0]


def test_the_fit_minimises_the_penalised_cross_entropy() -> None:
    random = np.random.default_rng(0)
    m = 200
    labelled = Labelled(np.arange(m), random.integers(0, 4, m), np.ones(m))
    inputs, logits = random.normal(size=(m, LAYER_INPUTS)), random.normal(size=(m, 4))
    weights = fit_weights(logits, inputs, labelled)
    n = labelled.counts[labelled.classes].astype(float) ** -0.3
    w = (n * m / n.sum())[:, None]
    error = np.exp(log_softmax(logits + inputs @ weights)) - np.eye(4)[labelled.classes]
    slope = inputs.T @ (w * error) + 30.0 * weights
    assert np.abs(slope).max() < 0.05  # the weights are rounded to float16
    assert np.abs(weights).max() > 0.1


def test_labels_of_n_alone_do_not_lower_the_other_classes(patient: PatientBeats, truth: NDArray[np.int64]) -> None:
    normal = Labelled.of(np.where(truth == N, N, -1))
    weights = fit_layer(patient, normal, ["II"]).weights["II"]
    shown = patient.by_lead["II"]
    before, after = shown.logits, shown.logits + shown.inputs @ weights
    ventricular = np.isin(shown.beats, np.flatnonzero(truth == V))
    change = (after[:, V] - after[:, N]) - (before[:, V] - before[:, N])
    assert change[ventricular].min() > -0.5


def test_the_margin_of_s_is_not_lowered_for_a_patient_with_five_labels_of_s(
    patient: PatientBeats, truth: NDArray[np.int64]
) -> None:
    for number, share in ((4, None), (5, 0.0)):
        classes = truth.copy()
        classes[np.flatnonzero(truth == V)[:number]] = S
        assert fit_layer(patient, Labelled.of(classes), ["II"]).margin_share_s == share


def test_labels_by_chance_do_not_pass_the_gate(drawn: DrawnPatient) -> None:
    def undecided(inputs: Tensors) -> Tensors:
        return {"beat": np.tile(np.array([0.0, -6.0, 0.0, -6.0], np.float32), (len(inputs["beat"]), 1))}

    patient = collected(drawn, FakeModel(undecided))
    classes = np.random.default_rng(1).choice([N, V], len(patient.samples))
    gate = judge(patient, Labelled.of(np.where(patient.usable, classes, -1)))
    assert not gate.passed
    assert gate.log_loss[1] > gate.log_loss[0]
    assert gate.leads == ()
    assert "log loss" in gate.why_not


def test_fewer_than_20_labels_are_refused(patient: PatientBeats, drawn: DrawnPatient) -> None:
    refused = adapt(patient, BeatLabels(drawn.r_peaks[:19], tuple(drawn.classes[:19])), 120.0)
    assert refused.layer is None
    assert refused.gate.why_not == "19 usable labels are fewer than 20"


def test_the_gate_is_blind_to_the_labels_that_it_holds_out(patient: PatientBeats, truth: NDArray[np.int64]) -> None:
    """The V beats of one block are labelled F: no other block knows F, so these labels cannot be predicted."""
    classes = truth.copy()
    beats = np.flatnonzero(classes >= 0)
    block = np.array_split(beats, 5)[2]
    last = block[classes[block] == V]
    classes[last] = F
    gate = judge(patient, Labelled.of(classes))
    assert gate.confusion[1][F, F] == 0


def test_contradicting_labels_are_listed_with_their_times(patient: PatientBeats, truth: NDArray[np.int64]) -> None:
    assert contradictions(patient, Labelled.of(truth)) == ()
    classes = truth.copy()
    wrong = np.flatnonzero(truth == V)[[3, 8]]
    classes[wrong] = S
    (found,) = contradictions(patient, Labelled.of(classes))
    assert (found.label, found.alike) == ("S", "V")
    assert found.times_s == tuple(patient.times_s[wrong])
    adaptation = adapt(patient, BeatLabels(patient.samples, tuple(LAYER_CLASSES[k] for k in classes.tolist())), 120.0)
    assert "S at 0:00:" in render_adaptation(adaptation.to_json())


def test_labels_of_another_recording_are_refused(patient: PatientBeats) -> None:
    elsewhere = np.arange(1000, 20_000, 60)
    far = elsewhere[np.abs(elsewhere[:, None] - patient.samples).min(axis=1) > 0.16 * patient.fs]
    with pytest.raises(RecordError, match="labels of this recording"):
        adapt(patient, BeatLabels(far, ("N",) * len(far)), 120.0)


def test_only_the_labels_before_the_end_of_the_stated_time_count(patient: PatientBeats, drawn: DrawnPatient) -> None:
    half = adapt(patient, BeatLabels(drawn.r_peaks, tuple(drawn.classes)), 60.0)
    assert sum(half.counts.values()) == int((drawn.r_peaks < 60.0 * patient.fs).sum())
    assert half.labelled_s[1] < 60.0


def test_the_report_gives_before_and_after_by_class(adapted: Adaptation, drawn: DrawnPatient) -> None:
    text = render_adaptation(adapted.to_json())
    n = drawn.classes.count("V")
    assert f"N {drawn.classes.count('N')}, S 0, V {n}, F 0" in text
    assert any(line.split() == ["of", "class", "V", str(n), "0"] for line in text.splitlines())
    assert "The layer helps on II." in text


def test_a_recording_without_beats_has_no_layer(drawn: DrawnPatient) -> None:
    flat = DrawnPatient(np.zeros(5000), drawn.r_peaks, drawn.classes)
    refused = adapt(collected(flat), BeatLabels(np.zeros(0, np.int64), ()), 60.0)
    assert (refused.layer, refused.gate.labels) == (None, 0)
