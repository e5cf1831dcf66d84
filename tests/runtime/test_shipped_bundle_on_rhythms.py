"""The shipped bundle on drawn rhythms: breathing and frequent S or V are no atrial fibrillation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from ecgmoe_edge.runtime import load_bundle, shipped_bundle
from ecgmoe_edge.streaming.beat_model import BeatModel
from ecgmoe_edge.streaming.events import Beat, End
from ecgmoe_edge.streaming.monitor import Monitor

FS = 250.0
SECONDS = 240.0
# Waves of a beat: centre in s from R, width in s, amplitude in mV.
_P = (-0.17, 0.025, 0.12)
_NARROW = ((-0.033, 0.010, -0.08), (0.0, 0.011, 1.1), (0.033, 0.011, -0.2), (0.25, 0.045, 0.28))
_WIDE = ((0.0, 0.035, 1.4), (0.11, 0.04, -0.5), (0.32, 0.06, -0.4))
Beats = Iterator[tuple[float, str]]  # RR interval in s before each beat, and its class


def sinus(random: np.random.Generator) -> Beats:
    while True:
        yield 0.85 * (1.0 + 0.02 * random.standard_normal()), "N"


def breathing(random: np.random.Generator) -> Beats:
    time_s = 0.0
    while True:
        rr_s = 0.9 * (1.0 + 0.15 * np.sin(2.0 * np.pi * time_s / 4.5)) * (1.0 + 0.01 * random.standard_normal())
        time_s += rr_s
        yield rr_s, "N"


def frequent(label: str, random: np.random.Generator) -> Beats:
    """Every sixth to ninth beat is early; after a V, the pause is compensatory."""
    beats = sinus(random)
    while True:
        for _ in range(random.integers(5, 9)):
            yield next(beats)
        yield 0.55, label
        yield (1.15 if label == "V" else 0.9), "N"


def bigeminy(random: np.random.Generator) -> Beats:
    while True:
        yield 1.15 + 0.02 * random.standard_normal(), "N"
        yield 0.55 + 0.01 * random.standard_normal(), "V"


def fibrillation(random: np.random.Generator) -> Beats:
    while True:
        yield float(np.clip(random.normal(0.66, 0.16), 0.36, 1.3)), "AF"


def drawn(beats: Beats, seed: int) -> tuple[NDArray[np.float64], Counter[str]]:
    """A signal (1, n) in mV, and the number of beats of each class."""
    random = np.random.default_rng(seed)
    time_s = np.arange(round(SECONDS * FS)) / FS
    signal = 0.01 * random.standard_normal(len(time_s)) + 0.05 * np.sin(2.0 * np.pi * 0.25 * time_s)
    at, counts = 1.0, Counter[str]()
    for rr_s, label in beats:
        at += rr_s
        if at > SECONDS - 1.0:
            break
        counts[label] += 1
        waves = _WIDE if label == "V" else _NARROW if label == "AF" else (_P, *_NARROW)
        for centre, width, height in waves:
            signal += height * np.exp(-0.5 * ((time_s - at - centre) / width) ** 2)
    return signal[None], counts


@pytest.fixture(scope="module")
def model() -> BeatModel:
    return load_bundle(shipped_bundle())


def run(model: BeatModel, beats: Beats, seed: int) -> tuple[Counter[str | None], End, Counter[str]]:
    """Labels of the beats after the first minute, the end, and the drawn beats."""
    signal, counts = drawn(beats, seed)
    monitor = Monitor(model, FS)
    events = [*monitor.push(signal), *monitor.flush()]
    labels = Counter(event.label for event in events if isinstance(event, Beat) and event.time_s > 60.0)
    assert isinstance(events[-1], End)
    return labels, events[-1], counts


NO_FIBRILLATION: dict[str, Callable[[np.random.Generator], Beats]] = {
    "sinus rhythm": sinus,
    "breathing": breathing,
    "frequent S": lambda random: frequent("S", random),
    "frequent V": lambda random: frequent("V", random),
    "bigeminy": bigeminy,
}


@pytest.mark.parametrize("rhythm", sorted(NO_FIBRILLATION))
@pytest.mark.parametrize("seed", [0, 1])
def test_a_rhythm_that_is_no_fibrillation_has_no_burden(model: BeatModel, rhythm: str, seed: int) -> None:
    _, end, _ = run(model, NO_FIBRILLATION[rhythm](np.random.default_rng(seed)), seed)
    assert end.af_burden is not None
    assert end.af_burden.af_s == 0.0


@pytest.mark.parametrize("seed", [0, 1])
def test_fibrillation_is_most_of_the_time_fibrillation_and_has_hardly_an_s(model: BeatModel, seed: int) -> None:
    labels, end, counts = run(model, fibrillation(np.random.default_rng(seed)), seed)
    assert end.af_burden is not None
    assert end.af_burden.af_s > 0.7 * SECONDS
    assert labels["S"] <= 0.03 * counts["AF"]


@pytest.mark.parametrize("label", ["S", "V"])
def test_frequent_early_beats_keep_their_label(model: BeatModel, label: str) -> None:
    labels, _, counts = run(model, frequent(label, np.random.default_rng(3)), 3)
    assert labels[label] >= 0.6 * 0.75 * counts[label]  # three of four minutes are counted
