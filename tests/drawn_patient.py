"""A drawn patient with early wide beats, and a model that takes them for normal ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from beat_models import FakeModel, Tensors
from numpy.typing import NDArray

from ecgmoe_edge.adapt.beats import PatientBeats, collect_beats
from ecgmoe_edge.streaming.monitor import Monitor

FS = 250.0
_NORMAL = ((-0.18, 0.025, 0.12), (-0.035, 0.010, -0.08), (0.0, 0.011, 1.1), (0.035, 0.011, -0.2), (0.26, 0.045, 0.28))
_WIDE = ((-0.04, 0.02, 0.25), (0.0, 0.024, 1.2), (0.07, 0.03, -0.5), (0.25, 0.05, -0.35))


@dataclass(frozen=True)
class DrawnPatient:
    signal: NDArray[np.float64]  # (n,) mV
    r_peaks: NDArray[np.int64]  # (k,)
    classes: str  # N or V for each


def draw(seconds: float, *, every: int = 5, seed: int = 0) -> DrawnPatient:
    """Sinus rhythm in which every few beats one is early and wide."""
    random = np.random.default_rng(seed)
    n = round(seconds * FS)
    time = np.arange(n) / FS
    signal = 0.01 * random.standard_normal(n)
    peaks, classes, at, number = [], "", 1.0, 0
    while at < seconds - 1.0:
        ectopic = number % every == every - 1
        r = round(at * FS)
        peaks.append(r)
        classes += "V" if ectopic else "N"
        for centre, width, height in _WIDE if ectopic else _NORMAL:
            near = slice(max(0, r - round(0.6 * FS)), min(n, r + round(0.6 * FS)))
            signal[near] += height * np.exp(-0.5 * ((time[near] - r / FS - centre) / width) ** 2)
        number += 1
        following_is_early = number % every == every - 1
        at += (0.6 if following_is_early else 1.1 if ectopic else 0.85) * (1 + 0.02 * random.standard_normal())
    return DrawnPatient(signal, np.array(peaks, np.int64), classes)


def all_n(inputs: Tensors) -> Tensors:
    """Logits of a model that takes every beat for N, and is hardly less sure of V."""
    return {"beat": np.tile(np.array([2.0, -2.0, 0.5, -3.0], np.float32), (len(inputs["beat"]), 1))}


def collected(drawn: DrawnPatient, model: FakeModel | None = None) -> PatientBeats:
    monitor = Monitor(model or FakeModel(all_n), FS)
    return collect_beats(monitor, [drawn.signal[None]])
