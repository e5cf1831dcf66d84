"""Respiratory arrhythmia is not reported as atrial fibrillation, even if the model has it as its first class."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
from numpy.typing import NDArray

from ecgmoe_edge.streaming.events import Rhythm
from ecgmoe_edge.streaming.rhythm.model_rhythm import ModelRhythm
from ecgmoe_edge.streaming.rhythm.predictability import Predictability
from ecgmoe_edge.tasks import RHYTHM_CLASSES

AF_LOGITS = np.array([1.0, 4.0, 2.0, 0.0], np.float32)


def breathing(beats: int, depth: float, period_s: float, jitter: float, seed: int = 0) -> list[float]:
    """RR intervals of a simulated respiratory arrhythmia, ms."""
    random = np.random.default_rng(seed)
    time_s, out = 0.0, []
    for _ in range(beats):
        rr = 0.92 * (1 + depth * np.sin(2 * np.pi * time_s / period_s)) * (1 + jitter * random.standard_normal())
        time_s += rr
        out.append(1000.0 * rr)
    return out


def fibrillation(beats: int, seed: int = 0) -> list[float]:
    rr_s = np.random.default_rng(seed).normal(0.66, 0.15, beats)
    return [1000.0 * float(rr) for rr in np.clip(rr_s, 0.34, 1.2)]


def rhythms(rr_ms: Iterable[float], logits: NDArray[np.float32] = AF_LOGITS) -> list[tuple[str, str, float]]:
    """The reported rhythms: label, phase, and time of the report."""
    model, time_s = ModelRhythm(RHYTHM_CLASSES), 0.0
    reported: list[tuple[str, str, float]] = []
    for rr in rr_ms:
        time_s += rr / 1000.0
        out: list[Rhythm] = []
        model.add_rr(rr)
        model.beat(time_s, logits, out, may_begin=True)
        reported += [(event.label, event.phase, time_s) for event in out]
    return reported


@pytest.mark.parametrize("depth", [0.1, 0.15, 0.2, 0.3])
@pytest.mark.parametrize("period_s", [3.0, 4.0, 5.5, 8.0, 12.0])
@pytest.mark.parametrize("jitter", [0.0, 0.02])
def test_respiratory_arrhythmia_that_the_model_calls_fibrillation_is_reported_as_its_second_class(
    depth: float, period_s: float, jitter: float
) -> None:
    for seed in range(4):
        reported = rhythms(breathing(200, depth, period_s, jitter, seed))
        assert {label for label, _, _ in reported} == {"other"}


def test_fibrillation_is_reported_within_twenty_beats() -> None:
    for seed in range(40):
        reported = rhythms(fibrillation(200, seed))
        assert [(label, phase) for label, phase, _ in reported][-1] == ("AF", "begin")
        assert reported[-1][2] < 40.0


def test_fibrillation_followed_by_respiratory_arrhythmia_ends() -> None:
    reported = rhythms([*fibrillation(100), *breathing(120, 0.2, 5.0, 0.01)])
    assert [(label, phase) for label, phase, _ in reported] == [("AF", "begin"), ("AF", "end"), ("other", "begin")]


def test_a_rhythm_that_hardly_varies_is_no_fibrillation() -> None:
    assert [(label, phase) for label, phase, _ in rhythms([500.0] * 60)] == [("other", "begin")]


@pytest.mark.parametrize("every", [4, 7])
def test_sinus_rhythm_with_missed_or_early_beats_is_no_fibrillation(every: int) -> None:
    random = np.random.default_rng(every)
    rr_ms = (850.0 * (1.0 + 0.015 * random.standard_normal(200))).tolist()
    missed = [2.0 * rr if at % every == 0 else rr for at, rr in enumerate(rr_ms)]
    early = [
        0.65 * rr if at % (2 * every) == 0 else 1.35 * rr if at % (2 * every) == 1 else rr
        for at, rr in enumerate(rr_ms)
    ]
    for series in (missed, early):
        assert [label for label, _, _ in rhythms(series)] == ["other"]


def test_the_unexplained_fraction_of_the_variance() -> None:
    series = {"constant": [800.0] * 64, "alternating": [700.0, 900.0] * 32, "random": fibrillation(64)}
    shares = {}
    for name, rr_ms in series.items():
        memory = Predictability()
        for rr in rr_ms:
            memory.add(rr)
        shares[name] = memory.unexplained()
    assert shares["constant"] == 0.0
    assert shares["alternating"] < 0.1
    assert 0.75 < shares["random"] <= 1.0
