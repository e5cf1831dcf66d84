"""Chooses the beats that are worth a label: one for each cluster, then those that the model is least sure of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.adapt.beats import Outcome, PatientBeats
from ecgmoe_edge.adapt.fit import Labelled, fit_layer
from ecgmoe_edge.adapt.spreading import distances, form, leads_with_beats, spreading

_SEED: Final = 0  # of the first centres, so that a recording always gives the same beats
_PASSES: Final = 15  # of k-means
# Weight of a beat in k-means: the usual beat, the probability of another label, and any label but N.
_USUAL_WEIGHT, _NOT_NORMAL_WEIGHT = 0.02, 0.1
_ROUND: Final = 5  # uncertain beats that are chosen before the next fit
_LEAST_SURE: Final = 20  # they lie apart among this many

#: Gives the class of beats, indices in LAYER_CLASSES.
Oracle: TypeAlias = Callable[[NDArray[np.int64]], NDArray[np.int64]]


@dataclass(frozen=True)
class Choice:
    """The chosen beats, as indices in the recording."""

    centres: NDArray[np.int64]  # one beat for each cluster
    uncertain: NDArray[np.int64]

    @property
    def beats(self) -> NDArray[np.int64]:
        """All chosen beats, in the order of time."""
        return np.sort(np.concatenate([self.centres, self.uncertain]))


def choose(
    patient: PatientBeats,
    window: NDArray[np.int64],
    count: int,
    *,
    candidates: NDArray[np.int64] | None = None,
    oracle: Oracle | None = None,
) -> Choice:
    """Choose beats to label.

    Half of them are the centres of clusters. The others are chosen in rounds: of the beats with the smallest difference
    between the two largest probabilities, those that lie apart.

    Args:
        patient: the beats of the recording.
        window: usable beats that the labels spread over, ascending.
        count: number of beats to choose.
        candidates: beats that may be chosen; None: all of the window.
        oracle: gives the true classes of chosen beats, so that each round knows the labels of the rounds before; None:
            all rounds are chosen by the shared model.
    """
    allowed = window if candidates is None else candidates
    certain = patient.shared.scores[allowed].max(axis=1, initial=0.0)
    weights = _USUAL_WEIGHT + (1.0 - certain) + _NOT_NORMAL_WEIGHT * (patient.shared.labels[allowed] != "N")
    points = form(patient, allowed)
    centres = allowed[_centres(points, min(count // 2, len(allowed)), weights)]
    picked, uncertain = centres, np.zeros(0, np.int64)
    while len(picked) < min(count, len(allowed)):
        outcome = patient.shared if oracle is None else _outcome(patient, window, centres, picked, oracle)
        left = np.setdiff1d(allowed, picked)
        ordered = np.sort(outcome.scores[left], axis=1)
        least_sure = left[np.argsort(ordered[:, -1] - ordered[:, -2], kind="stable")][:_LEAST_SURE]
        new = least_sure[_apart(form(patient, least_sure), min(_ROUND, count - len(picked)))]
        uncertain, picked = np.concatenate([uncertain, new]), np.concatenate([picked, new])
    return Choice(centres, uncertain)


def _outcome(
    patient: PatientBeats,
    window: NDArray[np.int64],
    centres: NDArray[np.int64],
    picked: NDArray[np.int64],
    oracle: Oracle,
) -> Outcome:
    beats = np.sort(picked)
    labelled = Labelled(beats, oracle(beats), np.ones(len(beats)))
    training = spreading(patient, window, centres)(labelled)
    layer = fit_layer(patient, training, leads_with_beats(patient, window))
    return patient.outcome(layer, int(window[-1]) + 1)


def _centres(points: NDArray[np.float64], clusters: int, weights: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the point nearest to the mean of each cluster of points (n, d), by weighted k-means."""
    if not clusters:
        return np.zeros(0, np.int64)
    random = np.random.default_rng(_SEED)
    means = points[[random.choice(len(points), p=weights / weights.sum())]]
    nearest = distances(points, means)[:, 0]
    for _ in range(clusters - 1):  # k-means++: a point far from all centres is a likely new one
        chance = nearest * weights
        new = random.choice(len(points), p=chance / chance.sum()) if chance.sum() > 0 else 0
        means = np.concatenate([means, points[[new]]])
        nearest = np.minimum(nearest, distances(points, points[[new]])[:, 0])
    for _ in range(_PASSES):
        cluster = distances(points, means).argmin(axis=1)
        for own in np.unique(cluster).tolist():
            members = cluster == own
            means[own] = np.average(points[members], axis=0, weights=weights[members])
    apart = distances(points, means)
    cluster = apart.argmin(axis=1)
    found = [
        members[apart[members, own].argmin()]
        for own in range(len(means))
        if (members := np.flatnonzero(cluster == own)).size
    ]
    return np.array(found, np.int64)


def _apart(points: NDArray[np.float64], count: int) -> list[int]:
    """Return the first point and then, one after the other, the point farthest from those before."""
    chosen = [0]
    while len(chosen) < min(count, len(points)):
        chosen.append(int(distances(points, points[chosen]).min(axis=1).argmax()))
    return chosen
