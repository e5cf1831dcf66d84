"""The fit of a patient's own layer: regularised multinomial logistic regression on top of the shared model's logits."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from ecgmoe_edge.adapt.beats import PatientBeats
from ecgmoe_edge.streaming.patient.own_layer import (
    LARGEST_WEIGHT,
    LAYER_CLASSES,
    LAYER_INPUTS,
    PatientLayer,
    log_softmax,
)

# These constants were chosen by patient-grouped validation on DS1 and svdb.
_PENALTY: Final = 30.0
_RARE_PENALTY: Final = 300.0  # of the own part of a class that moves with N
LEAST_OF_CLASS: Final = 5  # a class with fewer labels moves with N
_BALANCE: Final = 0.3  # the weight of a label is (number of labels of its class) ** -_BALANCE, before normalisation
_MARGIN_SHARE_S: Final = 0.0  # if S is labelled: a high S margin is then no fault of the model
_STORED = np.float16  # format of the numbers in a file; the labels are those of float64

_N, _S = LAYER_CLASSES.index("N"), LAYER_CLASSES.index("S")


@dataclass(frozen=True)
class Labelled:
    """Beats with their classes."""

    beats: NDArray[np.int64]  # (m,) index of each beat in the recording, ascending
    classes: NDArray[np.int64]  # (m,) index in LAYER_CLASSES
    emphasis: NDArray[np.float64]  # (m,) factor of the weight of each label; 1 unless labels spread

    @classmethod
    def of(cls, classes: NDArray[np.int64]) -> Labelled:
        """Return the labelled ones of all beats: `classes` is (n,), negative for a beat without a label."""
        beats = np.flatnonzero(classes >= 0)
        return cls(beats, classes[beats], np.ones(len(beats)))

    def among(self, kept: NDArray[np.bool_]) -> Labelled:
        """Return the labels for which `kept`, (m,), is True."""
        return Labelled(self.beats[kept], self.classes[kept], self.emphasis[kept])

    @property
    def counts(self) -> NDArray[np.int64]:
        """Number of labels of each of LAYER_CLASSES, (4,)."""
        return np.bincount(self.classes, minlength=len(LAYER_CLASSES))


def class_weights(classes: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the weight of each label, (m,), with a mean of 1; a rare class has a higher weight.

    >>> class_weights(np.array([0, 0, 0, 2])).round(2).tolist()
    [0.91, 0.91, 0.91, 1.27]
    """
    if not len(classes):
        return np.zeros(0)
    weights = np.bincount(classes, minlength=len(LAYER_CLASSES))[classes].astype(np.float64) ** -_BALANCE
    return np.asarray(weights * (len(classes) / weights.sum()))


def fit_layer(
    patient: PatientBeats, labelled: Labelled, leads: Collection[str], *, invert: bool = False
) -> PatientLayer:
    """Fit the layers of some leads to labelled beats.

    Args:
        patient: the beats of the recording.
        labelled: those with labels.
        leads: leads that get a layer, each from the labelled beats that it shows.
        invert: whether the recording was inverted.
    """
    weights = {}
    for lead in leads:
        shown = patient.by_lead[lead]
        own = labelled.among(np.isin(labelled.beats, shown.beats))
        rows = np.searchsorted(shown.beats, own.beats)
        weights[lead] = fit_weights(shown.logits[rows], shown.inputs[rows], own)
    share = _MARGIN_SHARE_S if labelled.counts[_S] >= LEAST_OF_CLASS else None
    return PatientLayer(patient.leads, weights, invert, share)


def fit_weights(logits: NDArray[np.float64], inputs: NDArray[np.float64], labelled: Labelled) -> NDArray[np.float64]:
    """Fit the matrix (LAYER_INPUTS, 4) of one lead.

    Minimises sum w CE + penalty/2 |D|^2 from D = 0, where CE is the cross entropy of the labels at logits + inputs D. A
    class with fewer than LEAST_OF_CLASS labels gets the column of N plus a strongly penalised column of its own, so
    that labels of N alone do not lower its logit against N.

    Args:
        logits: logits of the shared model, (m, 4).
        inputs: inputs of the layer, (m, LAYER_INPUTS).
        labelled: the classes of these beats, in the same order.

    Returns:
        The matrix, rounded to float16 as a file has it.
    """
    truth = np.eye(len(LAYER_CLASSES))[labelled.classes]
    weight = (labelled.emphasis * class_weights(labelled.classes))[:, None]
    mixing, penalty = np.eye(len(LAYER_CLASSES)), np.full(len(LAYER_CLASSES), _PENALTY)
    for rare in np.flatnonzero(labelled.counts < LEAST_OF_CLASS).tolist():
        if rare != _N:
            mixing[_N, rare], penalty[rare] = 1.0, _RARE_PENALTY

    def loss(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        own = flat.reshape(LAYER_INPUTS, -1)
        log_probabilities = log_softmax(logits + inputs @ (own @ mixing))
        slope = inputs.T @ (weight * (np.exp(log_probabilities) - truth)) @ mixing.T + penalty * own
        value = -float((weight * truth * log_probabilities).sum()) + 0.5 * float((penalty * own * own).sum())
        return value, slope.ravel()

    start = np.zeros(LAYER_INPUTS * len(LAYER_CLASSES))
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 200}).x
    fitted = found.reshape(LAYER_INPUTS, -1) @ mixing
    return np.clip(fitted, -LARGEST_WEIGHT, LARGEST_WEIGHT).astype(_STORED).astype(np.float64)
