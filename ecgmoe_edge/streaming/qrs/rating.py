"""How likely a candidate is a beat of this patient: log odds from a small network.

Of each lead, the last eight beats are remembered (energy, waveform), and the energies of the last eight candidates that
were no beats. The times of the beats are remembered once for all leads. The network has one hidden layer; its weights
are the table in `weights`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from math import exp, log, sqrt

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.streaming.qrs.candidates import WAVEFORM, Candidate
from ecgmoe_edge.streaming.qrs.weights import INPUTS, QRS_NETWORK, QrsNetwork
from ecgmoe_edge.streaming.signal.median import median
from ecgmoe_edge.streaming.signal.sums import add_rows, plain_sum

MEMORY = 8  # number of recent beats, and of recent candidates that were no beats (Hamilton 2002)

LEAST_SHARE = 0.06  # no beat has less energy than this fraction of the recent beats' energy
LOUD = 3.0  # a candidate with more than so many times the recent beats' energy is loud
# Values that are used until they are known.
USUAL_CONTRAST = 2.5  # ln of the beats' energy over that of other candidates
USUAL_RR_S = 0.8
USUAL_SPREAD, USUAL_DEVIATION = 0.3, 0.3  # standard deviation of ln RR, and its distance from the median
USUAL_CORRELATION = 0.7
# Times after the last beat, in the inputs of the network.
T_WAVE_S, EARLY_S = 0.45, 0.40
LONGEST_S = 2.0
# Limits of the inputs of the network, see `INPUTS`.
MOST_OVER_OTHERS, MOST_LOG_RR, MOST_DEVIATION, MOST_SPREAD = 3.0, 0.7, 0.5, 0.5
LEAST_RR_SHARE = 0.05  # of the median RR interval: smallest time since the last beat
LEAST_FOLLOWING = 0.02  # added to the energy after a candidate
ENOUGH_BEATS = 4  # from so many remembered beats on, one of them may resemble an artefact by chance
_AHEAD = INPUTS.index("ahead")


class BeatTiming:
    """The times of the last beats, by their peaks of energy; shared by all leads.

    Args:
        fs: sampling rate, Hz.
    """

    def __init__(self, fs: float) -> None:
        self._fs = fs
        self.changes = 0  # number of changes; a rating is valid as long as it is the same
        self.restart()

    def restart(self) -> None:
        """Forget every beat."""
        self.changes += 1
        self.last_at: int | None = None
        self.rr_s: float | None = None  # median of the recent RR intervals, once there are two
        self.spread = USUAL_SPREAD  # standard deviation of ln RR
        self._rr: deque[float] = deque(maxlen=MEMORY)
        self._log_rr: deque[float] = deque(maxlen=MEMORY)

    def accept(self, at: int) -> None:
        """Remember a beat with its peak of energy at sample `at`."""
        if self.last_at is not None:
            rr_s = (at - self.last_at) / self._fs
            self._rr.append(rr_s)
            self._log_rr.append(log(rr_s))
            if len(self._rr) > 1:
                self.rr_s = median(self._rr)
                self.spread = min(_deviation(self._log_rr), MOST_SPREAD)
        self.last_at = at
        self.changes += 1

    def seconds(self, samples: int) -> float:
        """Return the duration of a number of samples."""
        return samples / self._fs


class Rater:
    """Rates the candidates of one lead by comparison with its beats before.

    Args:
        network: weights of the network.
    """

    def __init__(self, network: QrsNetwork = QRS_NETWORK) -> None:
        self._network = network
        self._inputs = np.zeros((len(INPUTS), 1))
        self._products = np.empty_like(network.weights)
        self._waveform_products = np.empty((WAVEFORM, MEMORY))
        self._waveforms = np.zeros((WAVEFORM, MEMORY))
        self.changes = 0  # number of changes; a rating is valid as long as it is the same
        self.restart()

    def restart(self) -> None:
        """Forget every beat."""
        self._last: float | None = None  # ln energy of the last beat that this lead showed
        self._last_at: int | None = None  # where this lead showed the last beat; None if it did not
        self._beats = 0
        # The last candidate that was compared, the number of beats at that time, and the correlations.
        self._compared: tuple[Candidate | None, int, list[float]] = (None, 0, [])
        self._energies: deque[float] = deque(maxlen=MEMORY)  # ln energies of the recent beats
        self._others: deque[float] = deque(maxlen=MEMORY)  # and of the recent candidates that were no beats
        self.level = 0.0  # median of the recent beats' ln energies
        self._other_level: float | None = None  # median of the others
        self._weak = 0.0  # energy below which nothing is a beat
        self.changes += 1

    def learn(self, energy: float) -> None:
        """Forget all energies, and take `energy`, mV/s, as that of a beat."""
        self._energies.clear()
        self._energies.append(log(energy))
        self._set_level()
        self._others.clear()
        self._other_level = None

    def accept(self, beat: Candidate | None) -> None:
        """Remember a candidate as a beat; None for a beat that this lead did not show."""
        self._last_at = None if beat is None else beat.at
        self.changes += 1
        if beat is None:
            return
        self._last = beat.log_energy
        self._energies.append(beat.log_energy)
        self._waveforms[:, self._beats % MEMORY] = beat.waveform
        self._beats += 1
        self._set_level()

    def reject(self, other: Candidate) -> None:
        """Remember a candidate as no beat."""
        self._others.append(other.log_energy)
        self._other_level = median(self._others)
        self.changes += 1

    def _set_level(self) -> None:
        self.level = median(self._energies)
        self._weak = LEAST_SHARE * exp(self.level)
        self.changes += 1

    def is_weak(self, candidate: Candidate) -> bool:
        """Whether a candidate has so little energy that it cannot be a beat."""
        return candidate.energy < self._weak

    def is_loud(self, candidate: Candidate) -> bool:
        """Whether a candidate has so much more energy than the recent beats that one of them must be artefacts."""
        return candidate.energy > LOUD * exp(self.level)

    def rate(self, candidate: Candidate, timing: BeatTiming) -> Rating:
        """Return the rating of a candidate; it is valid until `changes` of this or of `timing` has another value."""
        self._inputs[:, 0] = self._features(candidate, timing)
        np.multiply(self._inputs, self._network.weights, out=self._products)
        hidden = add_rows(self._products)
        hidden += self._network.bias
        return Rating(self._network, hidden)

    def _features(self, candidate: Candidate, timing: BeatTiming) -> list[float]:
        """Return the network's inputs in the order of `INPUTS`; "ahead" is 0 and added by `Rating.log_odds`."""
        energy = candidate.log_energy
        others = self.level - USUAL_CONTRAST if self._other_level is None else self._other_level
        # Energy peaks later in some leads than in others: time is counted from the last beat as this lead showed it.
        last_at = timing.last_at if self._last_at is None or timing.last_at is None else self._last_at
        drop, early, rr_s, since = 0.0, 0.0, timing.rr_s, LONGEST_S
        if last_at is not None:
            since = timing.seconds(candidate.at - last_at)
            early = max(0.0, 1.0 - since / EARLY_S)
            if self._last is not None:
                drop = min(0.0, energy - self._last) * max(0.0, 1.0 - since / T_WAVE_S)
        relative = log(max(since / (USUAL_RR_S if rr_s is None else rr_s), LEAST_RR_SHARE))
        return [
            energy - self.level,
            drop,
            min(energy - others, MOST_OVER_OTHERS),
            min(relative, MOST_LOG_RR),
            early,
            USUAL_DEVIATION if rr_s is None else min(abs(relative), MOST_DEVIATION),
            timing.spread,
            min(since, LONGEST_S),
            *self._likeness(candidate),
            0.0,
            *candidate.shape,
        ]

    def recurrence(self, candidate: Candidate) -> float | None:
        """Return the highest correlation with the recent beats; from four beats on, the second highest.

        None before the first beat.
        """
        ranked = self._correlations(candidate)
        return (ranked[1] if len(ranked) >= ENOUGH_BEATS else ranked[0]) if ranked else None

    def _likeness(self, candidate: Candidate) -> tuple[float, float]:
        """Return the highest and the middle one of the correlations with the recent beats."""
        ranked = self._correlations(candidate)
        return (ranked[0], ranked[len(ranked) // 2]) if ranked else (USUAL_CORRELATION, USUAL_CORRELATION)

    def _correlations(self, candidate: Candidate) -> list[float]:
        """Return the correlations with the recent beats, the highest first."""
        if self._compared[0] is not candidate or self._compared[1] != self._beats:
            np.multiply(self._waveforms, candidate.waveform[:, None], out=self._waveform_products)
            ranked = sorted(add_rows(self._waveform_products).tolist()[: min(self._beats, MEMORY)], reverse=True)
            self._compared = candidate, self._beats, ranked
        return self._compared[2]


class Rating:
    """The rating of a candidate, except for what depends on the energy after it.

    Args:
        network: weights of the network.
        hidden: inputs of the hidden units without "ahead", (hidden,).
    """

    __slots__ = ("_hidden", "_network")

    def __init__(self, network: QrsNetwork, hidden: NDArray[np.float64]) -> None:
        self._network, self._hidden = network, hidden

    def log_odds(self, following: float) -> float:
        """Return the log odds of a beat if the largest energy after it is `following` times its own."""
        hidden = np.tanh(self._hidden + ln_following(following) * self._network.weights[_AHEAD])
        return plain_sum((hidden * self._network.out).tolist()) + self._network.out_bias


def ln_following(following: float) -> float:
    """Return the network's input "ahead" from `Candidate.following`."""
    return log(following + LEAST_FOLLOWING)


def _deviation(values: Iterable[float]) -> float:
    held = list(values)
    mean = plain_sum(held) / len(held)
    return sqrt(plain_sum((value - mean) ** 2 for value in held) / len(held))
