"""From labels of one recording to a patient's own layer, with its gate and the figures of a report."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.adapt.beats import PatientBeats
from ecgmoe_edge.adapt.contradictions import Contradiction, contradictions
from ecgmoe_edge.adapt.fit import Labelled, fit_layer
from ecgmoe_edge.adapt.gate import Gate, judge
from ecgmoe_edge.adapt.labels import BeatLabels
from ecgmoe_edge.adapt.spreading import spreading
from ecgmoe_edge.errors import RecordError
from ecgmoe_edge.scoring.ec57 import TOLERANCE_S
from ecgmoe_edge.scoring.matching import pair_beats
from ecgmoe_edge.streaming.patient.own_layer import LAYER_CLASSES, PatientLayer
from ecgmoe_edge.tasks import ARTEFACT

CHOSEN_WINDOW_S: Final = 300.0  # chosen beats are those of this time, and their labels spread over it
_MOST_WITHOUT_BEAT: Final = 0.5  # a larger fraction of labels without a beat: they belong to another recording


@dataclass(frozen=True)
class Adaptation:
    """A fitted layer with its gate, or why there is none."""

    layer: PatientLayer | None  # None: the gate refused it
    gate: Gate
    given: int  # number of labels
    without_beat: int  # of these, labels without a detected beat within 150 ms
    unusable: int  # of these, labels of class Q, and of beats that get no class: poor quality, artefacts
    counts: dict[str, int]  # number of labels that took part, by class
    labelled_s: tuple[float, float]  # first and last of them, s
    spread_over: int  # number of beats that the labels spread over; 0 if they do not
    contradictions: tuple[Contradiction, ...]
    fit_s: float  # computing time of the final fit, s

    def to_json(self) -> dict[str, Any]:
        """All figures for JSON; without and with the layer are lists of two."""
        gate = self.gate
        answers = (*LAYER_CLASSES, ARTEFACT)
        return {
            "passed": gate.passed,
            "why_not": gate.why_not,
            "labels": {"given": self.given, "without_beat": self.without_beat, "unusable": self.unusable},
            "labels_by_class": self.counts,
            "labelled_s": [round(second, 3) for second in self.labelled_s],
            "spread_over": self.spread_over,
            "margin_share_s": None if self.layer is None else self.layer.margin_share_s,
            "leads": list(gate.leads),
            "cross_validated": {
                "log_loss": [round(loss, 5) for loss in gate.log_loss],
                "wrong": list(gate.wrong),
                "confusion": [
                    {
                        name: dict(zip(answers, row, strict=True))
                        for name, row in zip(LAYER_CLASSES, table.tolist(), strict=True)
                    }
                    for table in gate.confusion
                ],
            },
            "contradictions": [one.to_json() for one in self.contradictions],
            "fit_s": round(self.fit_s, 4),
        }


def window_s(labels: BeatLabels, fs: float, stated_s: float | None) -> float:
    """Return up to which time, s, a recording is needed for these labels.

    Args:
        labels: the labels.
        fs: sampling rate, Hz.
        stated_s: only the labels before this time count; None: all.
    """
    if stated_s is not None:
        return stated_s
    last_s = float(labels.samples[-1]) / fs + 1.0 if len(labels.samples) else 0.0
    return last_s if labels.centres is None else max(CHOSEN_WINDOW_S, last_s)


def adapt(patient: PatientBeats, labels: BeatLabels, until_s: float, *, invert: bool = False) -> Adaptation:
    """Fit a layer to labelled beats, and cross-validate it.

    Args:
        patient: the beats of the recording, at least up to `until_s`.
        labels: the labels; those from `until_s` on are left out.
        until_s: end of the labelled time, s.
        invert: whether the recording was inverted.

    Raises:
        RecordError: most labels have no detected beat, so they are those of another recording.
    """
    labels = labels.before(until_s * patient.fs)
    beats = np.sort(patient.samples)
    without_beat = int((pair_beats(labels.samples, beats, TOLERANCE_S * patient.fs).detection_index < 0).sum())
    if without_beat > _MOST_WITHOUT_BEAT * len(labels.samples):
        raise RecordError(
            f"{without_beat} of {len(labels.samples)} labels have no beat within {1000 * TOLERANCE_S:.0f} ms: check "
            "that they are labels of this recording, in its time."
        )
    labelled = Labelled.of(patient.class_of(labels.samples, labels.classes))
    return fit_and_judge(patient, labelled, labels, without_beat, until_s, invert=invert)


def fit_and_judge(
    patient: PatientBeats,
    labelled: Labelled,
    labels: BeatLabels,
    without_beat: int,
    until_s: float,
    *,
    invert: bool,
) -> Adaptation:
    """Fit a layer to labels that are assigned to beats; arguments as for `adapt`."""
    window = usable_before(patient, until_s)
    training, spread_over = labelled, 0
    if labels.centres is not None and len(labelled.beats):
        spread = spreading(patient, window, nearest_beats(patient, labels.centres, window))
        gate = judge(patient, labelled, spread)
        training, spread_over = spread(labelled), len(window)
    else:
        gate = judge(patient, labelled)
    started = time.perf_counter()
    layer = fit_layer(patient, training, gate.leads, invert=invert) if gate.passed else None
    seconds = time.perf_counter() - started
    times = patient.times_s[labelled.beats]
    return Adaptation(
        layer=layer,
        gate=gate,
        given=len(labels.samples),
        without_beat=without_beat,
        unusable=len(labels.samples) - without_beat - len(labelled.beats),
        counts=dict(zip(LAYER_CLASSES, labelled.counts.tolist(), strict=True)),
        labelled_s=(float(times[0]), float(times[-1])) if len(times) else (0.0, 0.0),
        spread_over=spread_over,
        contradictions=contradictions(patient, labelled),
        fit_s=seconds,
    )


def usable_before(patient: PatientBeats, until_s: float) -> NDArray[np.int64]:
    """Return the usable beats before a time."""
    return np.flatnonzero(patient.usable & (patient.times_s < until_s))


def nearest_beats(patient: PatientBeats, samples: NDArray[np.int64], window: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the beat of the window at each of these samples; samples without a beat within 150 ms have none."""
    if not len(window):
        return np.zeros(0, np.int64)
    gaps = np.abs(patient.samples[window] - samples[:, None])
    near = gaps.min(axis=1) <= TOLERANCE_S * patient.fs
    return np.unique(window[gaps.argmin(axis=1)][near])


def first_seconds(blocks: Iterator[NDArray[np.float64]], samples: int) -> Iterator[NDArray[np.float64]]:
    """Yield the first `samples` of a recording, in blocks (leads, n)."""
    left = samples
    for block in blocks:
        yield block[:, :left]
        left -= block.shape[1]
        if left <= 0:
            return
