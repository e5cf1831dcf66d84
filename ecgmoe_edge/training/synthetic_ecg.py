"""Synthetic ECGs of Gaussian waves that are difficult for R-peak detection, for cases that recordings lack."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

import numpy as np
from numpy.typing import NDArray

RATES_HZ = (100.0, 128.0, 250.0, 360.0, 500.0, 1000.0)
SECONDS = 180.0


class Difficulty(Enum):
    """What makes R-peak detection difficult in a synthetic ECG."""

    TALL_T = auto()
    SLOW = auto()
    FAST = auto()
    TALL_T_AND_WIDE = auto()
    TALL_AND_BLOCKED_P = auto()
    TALL_T_AND_GAIN = auto()
    BLOCKED_P_AND_WIDE = auto()
    PACED = auto()


_TALL_T = {Difficulty.TALL_T, Difficulty.TALL_T_AND_WIDE, Difficulty.TALL_T_AND_GAIN}
_BLOCKED = {Difficulty.TALL_AND_BLOCKED_P, Difficulty.BLOCKED_P_AND_WIDE}
_SOME_WIDE = {Difficulty.TALL_T_AND_WIDE, Difficulty.BLOCKED_P_AND_WIDE}

Wave = tuple[float, float, float]  # time after the R peak in s, width in s, height in mV
_SPIKE_AT_S = -0.06  # time of the pacing spike relative to the R peak


@dataclass(frozen=True)
class SyntheticEcg:
    """A synthetic signal and its beats."""

    signal: NDArray[np.float64]  # (samples,) mV
    fs: float  # Hz
    beats: NDArray[np.int64]  # (beats,) R peaks, as sample numbers


@dataclass(frozen=True)
class _HeartModel:
    rr_s: float  # mean RR interval
    irregularity: float  # standard deviation of the RR interval as a fraction of its mean
    p: tuple[Wave, ...]
    narrow: tuple[Wave, ...]  # QRS and T of a narrow beat
    wide: tuple[Wave, ...]  # QRS and T of a wide beat
    blocked: float  # fraction of P waves without a QRS complex
    wide_share: float  # fraction of beats that are wide


def make_ecg(kind: Difficulty, random: np.random.Generator) -> SyntheticEcg:
    """Make three minutes of ECG with random heart rate, waves, noise, baseline wander and sampling rate.

    Args:
        kind: what makes the ECG difficult.
        random: source of all random numbers.
    """
    fs = float(random.choice(RATES_HZ))
    heart = _random_heart(kind, fs, random)
    t = np.arange(round(SECONDS * fs)) / fs
    x = random.uniform(0.002, 0.03) * random.normal(size=t.size)
    beats: list[int] = []
    r = 0.7
    while r < SECONDS - 1.0:
        waves = heart.p
        if random.uniform() >= heart.blocked:
            beats.append(round(r * fs))
            waves += heart.wide if random.uniform() < heart.wide_share else heart.narrow
        for after, width, height in waves:
            near = slice(max(0, int((r + after - 6 * width) * fs)), int((r + after + 6 * width) * fs))
            x[near] += height * np.exp(-(((t[near] - r - after) / width) ** 2))
        r += random.normal(heart.rr_s, heart.irregularity * heart.rr_s)
    if kind is Difficulty.TALL_T_AND_GAIN or random.uniform() < 0.3:
        for start_s in (60, 120):
            x[round(start_s * fs) :] *= random.choice([0.1, 0.2, 4.0])
    x += random.uniform(0.0, 1.0) * np.sin(2 * np.pi * random.uniform(0.1, 0.4) * t)
    return SyntheticEcg(x, fs, np.array(beats, np.int64))


def _random_heart(kind: Difficulty, fs: float, random: np.random.Generator) -> _HeartModel:
    rr = random.uniform(*{Difficulty.SLOW: (1.2, 1.9), Difficulty.FAST: (0.3, 0.5)}.get(kind, (0.6, 1.1)))
    sign, qrs, width = random.choice([-1, 1]), random.uniform(0.3, 1.5), random.uniform(0.010, 0.016)
    t_height = random.uniform(0.1, 0.5) * qrs
    if kind in _TALL_T:
        qrs = random.uniform(0.2, 0.6)
        t_height = qrs * random.uniform(1.5, 5.0) * random.choice([-1, 1])
    p_share = random.uniform(0.3, 0.5) if kind is Difficulty.TALL_AND_BLOCKED_P else random.uniform(0.05, 0.25)
    p = (-random.uniform(0.13, 0.24), random.uniform(0.015, 0.03), sign * p_share * qrs)
    narrow: tuple[Wave, ...] = ((0.0, width, sign * qrs), (0.03, width, -0.2 * sign * qrs))
    if rr > 0.4:
        narrow += ((min(0.3, 0.36 * rr), random.uniform(0.045, 0.09) if rr > 0.6 else 0.04, t_height),)
    wide_s = random.uniform(0.035, 0.05)
    wide: tuple[Wave, ...] = ((0.0, wide_s, 1.4 * qrs), (0.09, wide_s, -0.6 * qrs), (0.34, 0.07, -0.5 * qrs))
    if kind is Difficulty.PACED:
        wide += ((_SPIKE_AT_S, 1.2 / fs, 2.0 * random.choice([-1, 1])),)
    return _HeartModel(
        rr_s=rr,
        irregularity=random.uniform(0.01, 0.06),
        p=(p,) if rr > 0.5 else (),
        narrow=narrow,
        wide=wide,
        blocked=random.uniform(0.03, 0.12) if kind in _BLOCKED else 0.0,
        wide_share=1.0 if kind is Difficulty.PACED else random.uniform(0.05, 0.2) if kind in _SOME_WIDE else 0.0,
    )
