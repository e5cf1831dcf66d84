"""The gate of a patient's own layer: it must help on labelled beats of other minutes than those it was fitted to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.adapt.beats import PatientBeats
from ecgmoe_edge.adapt.fit import Labelled, class_weights, fit_layer
from ecgmoe_edge.streaming.patient.own_layer import LAYER_CLASSES, PatientLayer, log_softmax
from ecgmoe_edge.tasks import ARTEFACT

LEAST_LABELS: Final = 20
BLOCKS: Final = 5  # contiguous blocks of time, since beats that follow each other are alike
_TOLERATED: Final = 3  # further wrong beats that are taken for chance
_TOLERATED_SHARE: Final = 0.001


Spread: TypeAlias = Callable[[Labelled], Labelled]


def _as_they_are(labelled: Labelled) -> Labelled:
    return labelled


@dataclass(frozen=True)
class Gate:
    """Cross-validation of a layer: each block of labels is judged by a fit to the labels of the other blocks."""

    labels: int
    leads: tuple[str, ...]  # leads whose layer lowers the log loss
    log_loss: tuple[float, float]  # mean without and with the layer; of `leads`, or of all if there are none
    wrong: tuple[int, int]  # labelled beats with another label, without and with the layer
    confusion: tuple[NDArray[np.int64], NDArray[np.int64]]  # (4, 5) labels given, by the classes N, S, V, F and ?
    why_not: str  # why the layer is refused; empty if it passes

    @property
    def passed(self) -> bool:
        """Whether the layer may be used."""
        return not self.why_not


def judge(patient: PatientBeats, labelled: Labelled, spread: Spread = _as_they_are) -> Gate:
    """Cross-validate the layers of all leads in blocks of time.

    Args:
        patient: the beats of the recording.
        labelled: the labelled beats, on which the layers are judged.
        spread: makes the labels to fit to from the labels of the other blocks.
    """
    leads = [lead for lead in patient.leads if len(_shown_by(patient, labelled, lead)) >= LEAST_LABELS]
    truth, labels = np.array(LAYER_CLASSES)[labelled.classes], patient.shared.labels[labelled.beats]
    table, wrong = _confusion(labelled.classes, labels), int((labels != truth).sum())
    if not leads:
        why_not = f"{len(truth)} usable labels are fewer than {LEAST_LABELS}"
        return Gate(len(truth), (), (0.0, 0.0), (wrong, wrong), (table, table), why_not)
    blocks = [block for block in np.array_split(np.arange(len(truth)), BLOCKS) if block.size]
    layers = [fit_layer(patient, _others(labelled, block, spread), leads) for block in blocks]
    losses = np.array([_losses(patient, labelled, lead, blocks, layers) for lead in leads])
    falls = losses[:, 1] < losses[:, 0]
    better = tuple(lead for lead, is_better in zip(leads, falls.tolist(), strict=True) if is_better)
    counted = losses[falls] if better else losses
    before, after = (float(value) for value in counted[:, :2].T @ counted[:, 2] / counted[:, 2].sum())
    adapted = labels.copy()
    for block, layer in zip(blocks, layers, strict=True):
        kept = replace(layer, weights={lead: layer.weights[lead] for lead in better})
        beats = labelled.beats[block]
        adapted[block] = patient.outcome(kept, int(beats[-1]) + 1).labels[beats]
    still_wrong = int((adapted != truth).sum())
    why_not = ""
    if not better:
        why_not = f"the log loss of the labelled beats does not fall ({before:.4f} before, {after:.4f} after)"
    elif still_wrong > wrong + max(_TOLERATED, _TOLERATED_SHARE * len(truth)):
        why_not = f"more labelled beats get a wrong label ({wrong} before, {still_wrong} after)"
    return Gate(
        labels=len(truth),
        leads=better,
        log_loss=(before, after),
        wrong=(wrong, still_wrong),
        confusion=(table, _confusion(labelled.classes, adapted)),
        why_not=why_not,
    )


def _others(labelled: Labelled, block: NDArray[np.int64], spread: Spread) -> Labelled:
    """Return the labels to fit to if those of `block` are held out, and all beats between them."""
    held_out = np.zeros(len(labelled.beats), bool)
    held_out[block] = True
    training = spread(labelled.among(~held_out))
    first, last = labelled.beats[block[0]], labelled.beats[block[-1]]
    return training.among((training.beats < first) | (training.beats > last))


def _shown_by(patient: PatientBeats, labelled: Labelled, lead: str) -> NDArray[np.int64]:
    """Return the positions of the labels whose beats a lead shows."""
    return np.flatnonzero(np.isin(labelled.beats, patient.by_lead[lead].beats))


def _losses(
    patient: PatientBeats,
    labelled: Labelled,
    lead: str,
    blocks: Sequence[NDArray[np.int64]],
    layers: Sequence[PatientLayer],
) -> tuple[float, float, int]:
    """Return the mean log loss of one lead without and with the layers, and the number of its labelled beats."""
    shown = patient.by_lead[lead]
    positions = _shown_by(patient, labelled, lead)
    rows = np.searchsorted(shown.beats, labelled.beats[positions])
    logits, classes = shown.logits[rows], labelled.classes[positions]
    adapted = logits.copy()
    for block, layer in zip(blocks, layers, strict=True):
        own = np.isin(positions, block)
        adapted[own] += shown.inputs[rows[own]] @ layer.weights[lead]
    weights = class_weights(classes)
    before, after = (
        float(-(weights * log_softmax(each)[np.arange(len(classes)), classes]).mean()) for each in (logits, adapted)
    )
    return before, after, len(classes)


def _confusion(classes: NDArray[np.int64], labels: NDArray[np.str_]) -> NDArray[np.int64]:
    answers = (*LAYER_CLASSES, ARTEFACT)
    table = np.zeros((len(LAYER_CLASSES), len(answers)), np.int64)
    for truth, label in zip(classes.tolist(), labels.tolist(), strict=True):
        table[truth, answers.index(label)] += 1
    return table
