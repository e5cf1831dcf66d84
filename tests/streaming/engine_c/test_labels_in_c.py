"""Labels and rhythm events in C against the Python labeller, on the beats of a recording and on drawn ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from beat_models import FakeModel, Tensors
from labels_in_c import FLOAT, StagesInC

from ecgmoe_edge.calibration_data import load_calibration
from ecgmoe_edge.streaming.beats import BeatContext
from ecgmoe_edge.streaming.classifier import Answer, Classifier
from ecgmoe_edge.streaming.decision import DecisionRule
from ecgmoe_edge.streaming.events import Beat, Event, Gap, ModelFault, Rhythm
from ecgmoe_edge.streaming.features import N_FEATURES
from ecgmoe_edge.streaming.frontend import FrontEnd, Item
from ecgmoe_edge.streaming.labeller import Labeller
from ecgmoe_edge.streaming.patient.own_layer import LAYER_CLASSES, LAYER_INPUTS, PatientLayer
from ecgmoe_edge.streaming.rhythm.limits import RhythmLimits
from ecgmoe_edge.streaming.rhythm.silence import SignalEnd, Silence
from ecgmoe_edge.streaming.signal.windows import BEAT_GRID
from ecgmoe_edge.tasks import BEAT_ANSWERS, BEAT_CLASSES, RHYTHM_CLASSES

FS = 360.0
WIDTHS = {"beat": 5, "rhythm": 4, "route_morphology": 4, "route_rhythm": 3}
CLASSES = {"beat": BEAT_ANSWERS, "rhythm": RHYTHM_CLASSES}
Pair = tuple[Item, Answer | None]


def outputs_of(widths: Mapping[str, int], seed: int) -> Callable[[Tensors], Tensors]:
    """A model of random weights whose answers differ from beat to beat."""
    random = np.random.default_rng(seed)
    weights = {name: random.normal(0, 0.7, (N_FEATURES + BEAT_GRID.size, width)) for name, width in widths.items()}
    bias = {"beat": np.array([3.0, 0.0, 0.5, -1.0, -1.5])}

    def outputs(inputs: Tensors) -> Tensors:
        x = np.concatenate((inputs["features"], inputs["beat"][:, 0]), axis=1)
        logits = {name: x @ w + bias.get(name, np.zeros(9))[: w.shape[1]] for name, w in weights.items()}
        return {name: value.astype(np.float32) for name, value in logits.items()}

    return outputs


@cache
def recorded(leads: int) -> tuple[Item, ...]:
    """The items of the shipped recording with one lead or two, with a gap and a time of lead-off."""
    signal = load_calibration().signal[:1]
    if leads > 1:
        noise = np.random.default_rng(8).normal(0.0, 0.02, signal.shape[1])
        signal = np.stack((signal[0], noise - 0.6 * np.roll(signal[0], 3)))
    front_end = FrontEnd(FS, ("I", "II")[:leads])
    third = signal.shape[1] // 3
    items = front_end.push(signal[:, :third])
    items += front_end.gap(500, "link")
    items += front_end.push(signal[:, third : 2 * third])
    items += front_end.lead_off([True] * leads)
    items += front_end.push(signal[:, 2 * third : 2 * third + 3000])
    items += front_end.lead_off([False] * leads)
    items += front_end.push(signal[:, 2 * third + 3000 :])
    return tuple(items + front_end.flush())


def answered(items: Sequence[Item], widths: Mapping[str, int] = WIDTHS, seed: int = 1) -> list[Pair]:
    model = FakeModel(outputs_of(widths, seed), tuple(widths), answers=BEAT_ANSWERS[: widths["beat"]])
    classifier = Classifier(model)
    return [(item, classifier.answer(item) if isinstance(item, BeatContext) else None) for item in items]


def compare(pairs: Sequence[Pair], labeller: Labeller, stages: StagesInC, tolerance: float = 6e-7) -> list[Event]:
    """Give the items to both, compare the events of each item, and return all events."""
    found: list[Event] = []
    for item, answer in pairs:
        events = [
            event for event in labeller.take(item, answer) if isinstance(item, BeatContext | Silence | SignalEnd | Gap)
        ]
        np.testing.assert_allclose(stages.take(item, answer), stages.rows_of(events), rtol=0, atol=tolerance)
        found += events
    last = labeller.flush()
    np.testing.assert_array_equal(stages.flush(), stages.rows_of(last))
    return found + last


def both(
    classes: Mapping[str, tuple[str, ...]] = CLASSES,
    widths: Mapping[str, int] = WIDTHS,
    leads: int = 1,
    **options: Any,
) -> tuple[Labeller, StagesInC]:
    names = ("I", "II")[:leads]
    return Labeller(FS, classes, **options), StagesInC(FS, classes, widths, leads=names, **options)


def count_labels(events: Sequence[Event]) -> dict[str, int]:
    labels = [event.label for event in events if isinstance(event, Beat)]
    return {str(label): labels.count(label) for label in set(labels)}


@pytest.mark.parametrize("leads", [1, 2])
@pytest.mark.parametrize(
    "rule",
    [
        DecisionRule(),
        DecisionRule(fibrillation_penalty=None, shape_share=0.0),
        DecisionRule(fibrillation_irregular=False, memory_beats=20, fibrillation_beats=5, usual_margin=-3.0),
        DecisionRule(margin_share_s=0.9, margin_share_v=1.0, shape_correlation=0.97, shape_early_share=0.2),
    ],
)
def test_the_beats_of_a_recording_have_the_labels_of_python(rule: DecisionRule, leads: int) -> None:
    events = compare(answered(recorded(leads)), *both(leads=leads, rule=rule))
    counts = count_labels(events)
    assert all(counts[label] for label in "NSV?"), counts


@pytest.mark.parametrize(
    ("classes", "widths"),
    [
        ({"beat": BEAT_CLASSES}, {"beat": 4}),
        ({"beat": ("V", "N", "S", "F")}, {"beat": 4, "route_rhythm": 5}),
        ({"beat": BEAT_ANSWERS, "rhythm": ("other", "AF")}, {"rr": 1, "rhythm": 2, "beat": 5}),
        ({}, {}),
    ],
)
def test_other_models_have_the_labels_of_python(
    classes: Mapping[str, tuple[str, ...]], widths: Mapping[str, int]
) -> None:
    pairs = answered(recorded(1), widths) if widths else [(item, None) for item in recorded(1)]
    events = compare(pairs, *both(classes, widths))
    assert set(count_labels(events)) == ({*BEAT_CLASSES, "?"} if widths else {"None"})


@pytest.mark.parametrize("leads", [1, 2])
def test_the_patients_own_layer_gives_the_labels_of_python(leads: int) -> None:
    random = np.random.default_rng(2)
    names = ("I", "II")[:leads]
    matrix = random.normal(0, 0.3, (LAYER_INPUTS, len(LAYER_CLASSES)))
    layer = PatientLayer(names[::-1], {names[-1]: matrix}, margin_share_s=0.6)
    labeller, stages = both(leads=leads, layer=layer)
    pairs = answered(recorded(leads))
    changed = compare(pairs[:200], labeller, stages)
    labeller.layer_active = False
    stages.c.set_layer_active(0)
    unchanged = compare(pairs[200:300], labeller, stages)
    labeller.layer_active = True
    stages.c.set_layer_active(1)
    changed += compare(pairs[300:], labeller, stages)
    assert sum(getattr(event, "shared_label", None) is not None for event in changed) > 10
    assert not any(getattr(event, "shared_label", None) for event in unchanged)


def test_unusable_outputs_are_reported_as_in_python() -> None:
    random = np.random.default_rng(3)
    pairs: list[Pair] = []
    for item, answer in answered(recorded(1)):
        if answer is not None and random.random() < 0.3:
            outputs = {name: value.copy() for name, value in answer.outputs.items()}
            for name in random.choice(list(outputs), random.integers(1, 4)):
                outputs[name][0, random.integers(outputs[name].shape[1])] = random.choice([np.nan, np.inf, -2e6])
            answer = replace(answer, outputs=outputs)
        pairs.append((item, answer))
    events = compare(pairs, *both())
    faults = [event for event in events if isinstance(event, ModelFault)]
    assert len(faults) >= 4
    assert any(len(fault.outputs) > 2 for fault in faults)


def test_a_recording_in_32_bits_has_the_labels_of_python() -> None:
    pairs = answered(recorded(2))
    stages = StagesInC(FS, CLASSES, WIDTHS, leads=("I", "II"))
    in_32_bits = StagesInC(FS, CLASSES, WIDTHS, leads=("I", "II"), flags=FLOAT)
    beats = same = 0
    for item, answer in pairs:
        expected, found = stages.take(item, answer), in_32_bits.take(item, answer)
        assert len(expected) == len(found)
        for row, other in zip(expected[expected[:, 0] == 0], found[found[:, 0] == 0], strict=True):
            beats += 1
            same += row[6] == other[6]
            np.testing.assert_allclose(row[13:18], other[13:18], atol=2e-3)
    assert beats > 450
    assert same >= beats - 1


# ---------------------------------------------------------------- drawn beats


def drawn(seed: int, n: int = 1600) -> list[Pair]:
    """Beats without windows in all rhythms, of all qualities, with artefacts, silences and ends of the signal."""
    random = np.random.default_rng(seed)
    pairs: list[Pair] = []
    at, chain = 1000, False
    while len(pairs) < n:
        rhythm = random.choice(["slow", "fast", "sinus", "breathing", "AF", "V", "noise", "pauses"])
        for k in range(int(random.integers(10, 60))):
            seconds = {
                "slow": 1.4 + 0.02 * random.normal(),
                "fast": 0.45 + 0.01 * random.normal(),
                "breathing": 0.85 + 0.15 * np.sin(k),
                "AF": random.uniform(0.4, 1.2),
                "V": 0.4,
                "noise": random.uniform(0.2, 2.0),
                "pauses": random.choice([0.8, 2.0, 2.2, 3.5]),
            }.get(str(rhythm), 0.8 + 0.02 * random.normal())
            at += max(1, round(float(seconds) * FS))
            pairs.append(_drawn_beat(random, str(rhythm), at, float(seconds) if chain else None))
            chain = True
            if rhythm == "pauses" or random.random() < 0.02:
                pairs.append((_silence(random, at), None))
        if random.random() < 0.3:
            at += int(random.integers(1, 9000))
            pairs.append((SignalEnd(at, at, lead_lost=bool(random.random() < 0.3)), None))
            chain = False
    return pairs


def _silence(random: np.random.Generator, at: int) -> Silence:
    return Silence(at + 900, at, float(random.choice([2.0, 4.0])), after_beat=bool(random.random() < 0.8))


def _drawn_beat(random: np.random.Generator, rhythm: str, at: int, seconds: float | None) -> Pair:
    noisy = rhythm == "noise"
    beat = BeatContext(
        sample=at,
        known_at=at + 80,
        ready_at=at + 170,
        search_back=bool(random.random() < 0.1),
        complete=bool(random.random() < 0.99),
        rr_s=None if seconds is None else round(seconds * FS) / FS,
        quality=float(random.uniform(0, 0.5) if noisy else random.uniform(0.4, 1.0)),
        no_qrs=bool(random.random() < 0.02),
        recurrence=None
        if random.random() < 0.01
        else float(random.uniform(0.2, 1.0) if noisy else random.uniform(0.84, 1)),
        rr_features=random.normal(0, 0.3, 15).astype(np.float32),
    )
    logits = random.normal(0, 1, 5)
    logits[{"V": 2}.get(rhythm, 0)] += 6.0
    logits[4] += 8.0 if random.random() < 0.05 else -3.0
    rhythms = random.normal(0, 1, 4)
    rhythms[{"AF": 1, "breathing": 1, "noise": 3, "slow": 2}.get(rhythm, 0)] += 2.0
    outputs = {"beat": logits, "rhythm": rhythms, "route_morphology": random.normal(0, 1, 4)}
    outputs["route_rhythm"] = random.normal(0, 1, 3)
    return beat, Answer({name: value[None].astype(np.float32) for name, value in outputs.items()})


@pytest.mark.parametrize(
    ("seed", "limits"),
    [
        (1, RhythmLimits()),
        (2, RhythmLimits()),
        (3, RhythmLimits(1.5, 3.0, 45.0, 130.0, 5)),
        (4, RhythmLimits(2.0, 4.0, 60.0, 61.0, 4)),
    ],
)
def test_drawn_beats_have_the_rhythm_events_of_python(seed: int, limits: RhythmLimits) -> None:
    events = compare(drawn(seed), *both(limits=limits))
    rhythms = [event.label for event in events if isinstance(event, Rhythm)]
    for label in ("pause", "asystole", "V run", "bradycardia", "tachycardia", "N", "AF", "other", "noisy"):
        assert rhythms.count(label) >= 2, (label, rhythms)


def test_drawn_beats_without_a_model_have_the_rhythm_events_of_python() -> None:
    pairs = [(item, None) for item, _ in drawn(5)]
    events = compare(pairs, *both({}, {}))
    assert {"pause", "bradycardia", "tachycardia"} <= {event.label for event in events if isinstance(event, Rhythm)}
