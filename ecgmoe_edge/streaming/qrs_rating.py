"""How likely a candidate is a beat of this wearer: log odds from a small network over what the lead showed before.

The memory of one lead is its last eight beats (energy, waveform, RR intervals) and what was passed over since. The
network has one hidden layer; its weights are the table in `qrs_weights`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import replace
from math import exp, log, sqrt

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.streaming.qrs_candidates import WAVEFORM, Candidate
from ecgmoe_edge.streaming.qrs_weights import INPUTS, QRS_NETWORK, QrsNetwork

_MEMORY = 8  # recent beats, and recent candidates that were none (Hamilton 2002)
_LEAST_SHARE = 0.06  # of the recent beats' energy, below which nothing is one
_LOUD = 3.0  # times the recent beats' energy
_USUAL_NOISE = 2.5  # ln of beats' energy over other peaks', where none has been seen
_USUAL_RR_S = 0.8
_USUAL_SPREAD, _USUAL_DEVIATION = 0.3, 0.3  # of ln RR
_USUAL_LIKENESS = 0.7
_T_WAVE_S, _EARLY_S = 0.45, 0.40
_LONGEST_S = 2.0
_AHEAD = INPUTS.index("ahead")


class Rater:
    """Rates candidates of one lead in the light of its own past; state is eight beats."""

    def __init__(self, fs: float, network: QrsNetwork = QRS_NETWORK) -> None:
        self._fs = fs
        self._network = network
        self._inputs = np.zeros(len(INPUTS))
        self._waveforms = np.zeros((_MEMORY, WAVEFORM))
        self.restart()

    def restart(self) -> None:
        """Forget every beat."""
        self.last: Candidate | None = None
        self.rr_s: float | None = None  # median of the recent RR intervals, once there are two
        self._beats = 0
        self._energies: deque[float] = deque(maxlen=_MEMORY)  # all energies here as ln
        self._others: deque[float] = deque(maxlen=_MEMORY)
        self._rr: deque[float] = deque(maxlen=_MEMORY)
        self._level = 0.0
        self._spread = _USUAL_SPREAD

    def learn(self, energy: float) -> None:
        """Take `energy`, mV/s, for that of a beat, whatever was known before of energies."""
        self._energies.clear()
        self._energies.append(log(energy))
        self._level = log(energy)
        self._others.clear()

    def accept(self, beat: Candidate) -> None:
        """Remember a candidate as a beat."""
        self._remember_rr(beat.at)
        self.last = beat
        self._energies.append(log(beat.energy))
        self._level = _median(self._energies)
        self._waveforms[self._beats % _MEMORY] = beat.waveform
        self._beats += 1

    def accept_elsewhere(self, at: int) -> None:
        """Remember when a beat was that other leads showed and this one did not."""
        self._remember_rr(at)
        if self.last is not None:
            self.last = replace(self.last, at=at)

    def pass_over(self, other: Candidate) -> None:
        """Remember a candidate as no beat."""
        self._others.append(log(other.energy))

    def is_weak(self, candidate: Candidate) -> bool:
        """Whether a candidate is too far below the recent beats to be worth rating."""
        return candidate.energy < _LEAST_SHARE * exp(self._level)

    def is_loud(self, candidate: Candidate) -> bool:
        """Whether a candidate is so far above the recent beats that either it or they are artefacts."""
        return candidate.energy > _LOUD * exp(self._level)

    def rate(self, candidate: Candidate) -> Rating:
        """The rating of a candidate as long as nobody is told of another beat."""
        inputs = self._inputs
        inputs[:] = self._features(candidate)
        return Rating(self._network, np.dot(inputs, self._network.weights) + self._network.bias)

    def _features(self, candidate: Candidate) -> list[float]:
        """The network's inputs in the order of `INPUTS`; what follows the candidate is left at 0."""
        energy, last = log(candidate.energy), self.last
        others = _median(self._others) if self._others else self._level - _USUAL_NOISE
        since, drop, early = _LONGEST_S, 0.0, 0.0
        if last is not None:
            since = (candidate.at - last.at) / self._fs
            drop = min(0.0, energy - log(last.energy)) * max(0.0, 1.0 - since / _T_WAVE_S)
            early = max(0.0, 1.0 - since / _EARLY_S)
        relative = log(max(since / (_USUAL_RR_S if self.rr_s is None else self.rr_s), 0.05))
        return [
            energy - self._level,
            drop,
            min(energy - others, 3.0),
            min(relative, 0.7),
            early,
            _USUAL_DEVIATION if self.rr_s is None else min(abs(relative), 0.5),
            self._spread,
            min(since, _LONGEST_S),
            *self._likeness(candidate),
            0.0,
            *candidate.shape,
        ]

    def _remember_rr(self, at: int) -> None:
        if self.last is None:
            return
        self._rr.append((at - self.last.at) / self._fs)
        if len(self._rr) > 1:
            self.rr_s = _median(self._rr)
            self._spread = min(_deviation([log(rr) for rr in self._rr]), 0.5)

    def _likeness(self, candidate: Candidate) -> tuple[float, float]:
        """Correlation with the most alike of the recent beats, and with the middle one."""
        beats = min(self._beats, _MEMORY)
        if not beats:
            return _USUAL_LIKENESS, _USUAL_LIKENESS
        ranked = sorted(np.dot(self._waveforms, candidate.waveform).tolist()[:beats], reverse=True)
        return ranked[0], ranked[beats // 2]


class Rating:
    """What is known of a candidate but for what follows it."""

    def __init__(self, network: QrsNetwork, hidden: NDArray[np.float64]) -> None:
        self._network, self._hidden = network, hidden

    def log_odds(self, following: float) -> float:
        """Log odds that it is a beat, if the largest energy after it is `following` times its own."""
        hidden = self._hidden + ln_following(following) * self._network.weights[_AHEAD]
        return float(np.dot(np.tanh(hidden), self._network.out)) + self._network.out_bias


def ln_following(following: float) -> float:
    """The network's input for energy that follows, from its share of the candidate's own."""
    return log(following + 0.02)


def _median(values: Iterable[float]) -> float:
    ranked = sorted(values)
    middle = len(ranked) // 2
    return ranked[middle] if len(ranked) % 2 else 0.5 * (ranked[middle - 1] + ranked[middle])


def _deviation(values: list[float]) -> float:
    mean = sum(values) / len(values)
    return sqrt(sum((value - mean) ** 2 for value in values) / len(values))
