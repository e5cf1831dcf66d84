"""The protocol of `evaluate --adapt-minutes`: the first minutes of each record are labelled, the rest is scored.

With infinite minutes, chosen beats of the whole record are labelled, and the others are scored (`--retrospective`).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.adapt.adaptation import fit_and_judge, usable_before
from ecgmoe_edge.adapt.beats import PatientBeats, patient_beats
from ecgmoe_edge.adapt.choice import choose
from ecgmoe_edge.adapt.fit import Labelled
from ecgmoe_edge.adapt.gate import LEAST_LABELS
from ecgmoe_edge.adapt.labels import BeatLabels
from ecgmoe_edge.records.annotations import BeatAnnotations
from ecgmoe_edge.scoring.live_run import AnsweredRecord, LiveRun, label_record
from ecgmoe_edge.scoring.patient_specific import Personalised
from ecgmoe_edge.streaming.events import Beat
from ecgmoe_edge.streaming.monitor import Monitor


def personalise(
    monitor: Monitor,
    answered: AnsweredRecord,
    run: LiveRun,
    annotated: BeatAnnotations,
    *,
    minutes: float,
    chosen: int | None = None,
) -> Personalised:
    """Fit a layer to the annotated beats of the first minutes, and label the record with it if its gate passes.

    Args:
        monitor: the monitor that the record has passed.
        answered: the record.
        run: the record, labelled by the shared model.
        annotated: the annotated beats.
        minutes: labelled minutes; infinite for the whole record.
        chosen: number of labelled beats, chosen as `adapt --suggest` chooses them; None: all.
    """
    patient = patient_beats(monitor, answered, run)
    until_s = 60.0 * minutes
    all_labels = BeatLabels(annotated.samples, tuple(annotated.classes.tolist())).before(until_s * patient.fs)
    truth = patient.class_of(all_labels.samples, all_labels.classes)
    labels, labelled = all_labels, Labelled.of(truth)
    if chosen is not None and len(labelled.beats) >= LEAST_LABELS:
        labels, labelled = _chosen(patient, truth, until_s, chosen)
    adaptation = fit_and_judge(patient, labelled, labels, 0, until_s, invert=False)
    whole = math.isinf(minutes)
    known = frozenset(patient.samples[labelled.beats].tolist()) if whole else frozenset()
    if adaptation.layer is None:
        return Personalised(run.beats, len(labelled.beats), adaptation.gate.why_not, known)
    own = label_record(monitor.new_labeller(adaptation.layer), answered).beats
    return Personalised(own if whole else _from(run.beats, own, until_s), len(labelled.beats), "", known)


def _chosen(patient: PatientBeats, truth: NDArray[np.int64], until_s: float, count: int) -> tuple[BeatLabels, Labelled]:
    """Return the labels of chosen beats, with the centres of the clusters over which they spread."""
    window = usable_before(patient, until_s)
    choice = choose(patient, window, count, candidates=window[truth[window] >= 0], oracle=lambda beats: truth[beats])
    labelled = Labelled(choice.beats, truth[choice.beats], np.ones(len(choice.beats)))
    samples = patient.samples[choice.beats]
    return BeatLabels(samples, (), np.sort(patient.samples[choice.centres])), labelled


def _from(shared: tuple[Beat, ...], own: tuple[Beat, ...], from_s: float) -> tuple[Beat, ...]:
    """Return the beats of the shared model before a time, and those of the layer from then on."""
    return tuple(after if after.time_s >= from_s else before for before, after in zip(shared, own, strict=True))
