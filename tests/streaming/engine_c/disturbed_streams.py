"""Streams with every kind of disturbance, the same for both engines."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.calibration_data import load_calibration
from ecgmoe_edge.streaming import Monitor
from ecgmoe_edge.streaming.beat_model import ModelFunction
from ecgmoe_edge.streaming.decision import DecisionRule
from ecgmoe_edge.streaming.events import Event, GapReason
from ecgmoe_edge.streaming.rhythm.limits import RhythmLimits

CLASSES = {"beat": ("N", "S", "V", "F", "?"), "rhythm": ("N", "AF", "other", "noisy")}
LEADS = ("I", "II", "V1")
_REASONS: tuple[GapReason, ...] = ("link", "device overflow", "reconnect", "restart", "nan", "range")


def fake_model(batched: bool = False) -> ModelFunction:
    """A model whose logits are linear in its inputs, in one of 200 beats NaN; the same for the same beat."""
    random = np.random.default_rng(5)
    weights = {name: random.normal(0.0, 0.3, (27, width)).astype(np.float32) for name, width in _WIDTHS.items()}

    def infer(inputs: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        features = inputs["features"]
        out = {}
        for name, matrix in weights.items():
            # Row by row, so that a batch gives the same as single beats.
            rows = [
                (row[:, None] * matrix).sum(axis=0) + 2.0 * window[0, 45]
                for row, window in zip(features, inputs["beat"], strict=True)
            ]
            out[name] = np.array(rows, np.float32)
        out["beat"][np.abs(features[:, 3] * 1000.0) % 1.0 < 0.005, 1] = np.nan
        return out

    return ModelFunction(CLASSES, DecisionRule(), infer, batched=batched)


_WIDTHS = {"beat": 5, "rhythm": 4, "route_morphology": 4, "route_rhythm": 4}


def signal(seed: int, leads: int, fs: float, seconds: float) -> NDArray[np.float64]:
    """Leads (leads, n), mV, of the shipped recording read at rate `fs`, with disturbances."""
    random = np.random.default_rng(seed)
    recording = load_calibration()
    n = round(seconds * fs)
    start = int(random.integers(0, max(1, recording.signal.shape[1] - n)))
    first = np.resize(recording.signal[0, start:], n)
    x = np.stack([first, 0.02 * random.normal(size=n) - 0.5 * first, 0.8 * np.roll(first, 4)])[:leads].copy()
    for _ in range(int(seconds / 3)):
        lead = slice(None) if random.random() < 0.3 else int(random.integers(0, leads))
        at = int(random.integers(0, n))
        length = int(fs * random.choice([0.004, 0.02, 0.039, 0.06, 0.3, 1.5, 4.0]))
        part = (lead, slice(at, at + length))
        kind = int(random.integers(0, 9))
        if kind == 0:
            x[part] = np.nan
        elif kind == 1:
            x[part] = 1e9
        elif kind == 2:
            x[part] = x[0, at]
        elif kind == 3:
            x[part] += random.normal(0.0, 1.0, x[part].shape)
        elif kind == 4:
            x[lead, at : at + 2] += 5.0
        elif kind == 5:
            x[part] = np.minimum(x[part], 0.2)
        elif kind == 6:
            x[part] *= 0.02
        elif kind == 7:
            x[lead, at:] += 0.2 * np.sin(2 * np.pi * 50.0 / fs * np.arange(n - at))
        else:
            x[lead, at : at + round(4 * fs)] += 2.0
    return x


def events(
    seed: int, engine: str, *, leads: int, fs: float, model: ModelFunction | None, seconds: float = 60.0
) -> list[Event]:
    """The events of a stream in chunks, with gaps, leads off and ends of the signal; chunks depend on the engine."""
    random = np.random.default_rng(seed)
    x = signal(seed, leads, fs, seconds)
    monitor = Monitor(
        model,
        fs,
        LEADS[:leads],
        mains=("auto", 50, 60, None)[seed % 4],
        invert=bool(seed % 3 == 0),
        limits=RhythmLimits(pause_s=1.5, asystole_s=3.0),
        engine=engine,
    )
    out: list[Event] = []
    at = 0
    while at < x.shape[1]:
        stop = at + int(fs * random.choice([0.5, 3.0, 12.0]))
        step = 17 if engine == "c" else max(1, stop - at)
        for begin in range(at, min(stop, x.shape[1]), step):
            out += monitor.push(x[:, begin : min(begin + step, stop)])
        at = stop
        action = random.random()
        if action < 0.2:
            out += monitor.gap(int(random.choice([1, 3, 9, 14, 30, 400])), random.choice(_REASONS))
        elif action < 0.24:
            out += monitor.gap(None, "link")
        elif action < 0.27:
            out += monitor.gap(5, "link", at_least=True)
        elif action < 0.45:
            out += monitor.lead_off(random.random(leads) < 0.4)
        elif action < 0.6:
            out += monitor.lead_off([False] * leads)
        elif action < 0.63:
            out += monitor.flush()
    return out + monitor.flush()
