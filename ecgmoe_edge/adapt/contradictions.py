"""Finds labels that contradict each other: beats that look alike and have different labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.adapt.beats import PatientBeats
from ecgmoe_edge.adapt.fit import Labelled
from ecgmoe_edge.streaming.patient.own_layer import LAYER_CLASSES
from ecgmoe_edge.streaming.signal.windows import BEAT_GRID

_FORM: Final = slice(int(np.searchsorted(BEAT_GRID, -18)), BEAT_GRID.size)  # 0.14 s before R to the end: QRS, ST, T
_CORRELATION: Final = 0.95  # smallest correlation of two beats that look alike
_SIZE: Final = 1.25  # largest ratio of their sizes
_EARLINESS: Final = 0.04  # largest difference of their earliness, ln of the ratio of RR intervals
_LEAST_ALIKE: Final = 3  # fewer beats that look alike are no evidence
_ROWS: Final = 512  # beats that are compared with all others at once


@dataclass(frozen=True)
class Contradiction:
    """Beats of one label, most of whose look-alikes have another label."""

    label: str
    alike: str  # label of the beats that look alike
    times_s: tuple[float, ...]  # times of the beats, s
    alike_s: float  # time of one of those that look alike, s

    def to_json(self) -> dict[str, Any]:
        """For JSON, times in s."""
        times = [round(time, 3) for time in self.times_s]
        return {"label": self.label, "alike": self.alike, "times_s": times, "alike_s": round(self.alike_s, 3)}


def contradictions(patient: PatientBeats, labelled: Labelled) -> tuple[Contradiction, ...]:
    """List the labels that differ from those of most beats of the same shape and the same earliness.

    Args:
        patient: the beats of the recording.
        labelled: those with labels.

    Returns:
        One entry for each pair of labels, the one with the most beats first.
    """
    form = patient.windows[labelled.beats][:, _FORM].astype(np.float64)
    form -= form.mean(axis=1, keepdims=True)
    size = np.sqrt((form * form).sum(axis=1)) + 1e-9
    form /= size[:, None]
    early = patient.earliness[labelled.beats]
    truth = np.eye(len(LAYER_CLASSES))[labelled.classes]
    found: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for start in range(0, len(form), _ROWS):
        rows = np.arange(start, min(start + _ROWS, len(form)))
        alike = _alike(form, size, early, rows)
        votes = alike @ truth
        usual = votes.argmax(axis=1)
        own = labelled.classes[rows]
        doubtful = (votes.sum(axis=1) >= _LEAST_ALIKE) & (votes.max(axis=1) > 0.5 * votes.sum(axis=1)) & (usual != own)
        for row in np.flatnonzero(doubtful).tolist():
            other = int(np.flatnonzero(alike[row] & (labelled.classes == usual[row]))[0])
            found.setdefault((int(own[row]), int(usual[row])), []).append((int(rows[row]), other))
    times = patient.times_s[labelled.beats]
    listed = [
        Contradiction(
            LAYER_CLASSES[own], LAYER_CLASSES[usual], tuple(float(times[row]) for row, _ in pairs), times[pairs[0][1]]
        )
        for (own, usual), pairs in found.items()
    ]
    return tuple(sorted(listed, key=lambda one: -len(one.times_s)))


def _alike(
    form: NDArray[np.float64], size: NDArray[np.float64], early: NDArray[np.float64], rows: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Return which of all beats look like each of the beats `rows`, (rows, m); no beat looks like itself."""
    ratio = size[rows, None] / size
    alike = form[rows] @ form.T >= _CORRELATION
    alike &= (ratio <= _SIZE) & (ratio >= 1.0 / _SIZE)
    alike &= np.abs(early[rows, None] - early) <= _EARLINESS
    alike[np.arange(len(rows)), rows] = False
    return np.asarray(alike)
