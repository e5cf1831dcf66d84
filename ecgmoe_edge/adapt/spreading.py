"""Labels of a few chosen beats that spread: other beats get the label of their cluster, with a small weight."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.adapt.beats import PatientBeats
from ecgmoe_edge.adapt.fit import Labelled, fit_layer
from ecgmoe_edge.adapt.gate import LEAST_LABELS, Spread
from ecgmoe_edge.streaming.patient.own_layer import LAYER_CLASSES

_EMPHASIS: Final = 5.0  # weight of a label that was given, relative to one that was derived


def spreading(patient: PatientBeats, window: NDArray[np.int64], centres: NDArray[np.int64]) -> Spread:
    """Return the function that derives labels for all beats of a window from a few given ones.

    A beat first gets the label of the nearest centre, or that of the shared model if this centre has none. A layer is
    fitted to these labels, and its labels replace them. The given labels stay.

    Args:
        patient: the beats of the recording.
        window: usable beats that get a label, (w,), ascending; the given labels are among them.
        centres: the beat that represents each cluster, (c,).
    """
    inputs = form(patient, window)
    nearest = distances(inputs, form(patient, centres)).argmin(axis=1) if len(centres) else None
    shared = _indices(patient.shared.labels[window])
    leads = leads_with_beats(patient, window)
    count = int(window[-1]) + 1

    def spread(labelled: Labelled) -> Labelled:
        at = np.searchsorted(window, labelled.beats)
        emphasis = np.ones(len(window))
        emphasis[at] = _EMPHASIS
        classes = shared.copy()
        given = dict(zip(labelled.beats.tolist(), labelled.classes.tolist(), strict=True))
        for cluster, centre in enumerate(centres.tolist()):
            if nearest is not None and centre in given:
                classes[nearest == cluster] = given[centre]
        classes[at] = labelled.classes
        layer = fit_layer(patient, Labelled(window, classes, emphasis), leads)
        classes = _indices(patient.outcome(layer, count).labels[window])
        classes[at] = labelled.classes
        return Labelled(window, classes, emphasis)

    return spread


def leads_with_beats(patient: PatientBeats, window: NDArray[np.int64]) -> list[str]:
    """Return the leads that show enough of these beats for a layer."""
    return [lead for lead in patient.leads if np.isin(window, patient.by_lead[lead].beats).sum() >= LEAST_LABELS]


def form(patient: PatientBeats, beats: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return by what beats are clustered: the inputs of the layer without the constant, (beats, inputs - 1)."""
    return patient.inputs[beats, :-1]


def distances(points: NDArray[np.float64], centres: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the squared distance of each point (n, d) from each centre (c, d): (n, c)."""
    squares = (points * points).sum(axis=1)[:, None] + (centres * centres).sum(axis=1)
    return np.asarray(np.maximum(squares - 2.0 * points @ centres.T, 0.0))


def _indices(labels: Sequence[str] | NDArray[np.str_]) -> NDArray[np.int64]:
    return np.array([LAYER_CLASSES.index(label) for label in labels], np.int64)
