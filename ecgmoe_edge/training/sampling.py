"""Sampling of the examples of one epoch: rare classes more often, long records less, rhythm examples in addition."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.errors import UsageError
from ecgmoe_edge.tasks import ARTEFACT, BEAT_ANSWERS, RHYTHM_CLASSES, TASKS
from ecgmoe_edge.training.config import Draw
from ecgmoe_edge.training.examples import UNKNOWN, Examples, is_known


def epoch_indices(examples: Examples, draw: Draw, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw the indices of one epoch in random order.

    Normal beats are drawn without replacement, the other classes and artefacts with replacement. The probability of a
    beat is proportional to 1 / sqrt(number of beats of its class in its record): a patient with 1,000 S beats has 10
    times the weight of a patient with 10, not 100 times. All runs of a record (leads, inverted and resampled copies)
    count as one record.

    Args:
        examples: the examples to draw from.
        draw: number of examples of each class.
        rng: source of random numbers; the number of indices does not depend on it.

    Raises:
        UsageError: the examples have no label of any task.
    """
    chosen = []
    record = _records(examples)
    beat, rhythm = examples.labels["beat"], examples.labels["rhythm"]
    counts = {"N": draw.normal, "S": draw.s, "V": draw.v, "F": draw.f, ARTEFACT: draw.artefact}
    for label, name in enumerate(BEAT_ANSWERS):
        pool = np.flatnonzero(beat == label)
        wanted = min(counts[name], round(len(pool) * (1.0 if name == "N" else draw.repeat)))
        chosen.append(_damped(record[pool], pool, wanted, rng, replace=name != "N"))
    for label in range(len(RHYTHM_CLASSES)):
        pool = np.flatnonzero(rhythm == label)
        chosen.append(_damped(record[pool], pool, min(draw.rhythm, len(pool)), rng, replace=False))
    rest = (beat == UNKNOWN) & (rhythm == UNKNOWN)
    of_patient = [is_known(examples.labels[task.name]) for task in TASKS if task.scope == "recording"]
    known = np.logical_or.reduce(of_patient)
    # The RR interval alone is a reason to draw a beat only if its record has no beat or rhythm label.
    rr_alone = is_known(examples.labels["rr"]) & ~np.isin(record, record[~rest])
    pool = np.flatnonzero(rest & (known | rr_alone))
    chosen.append(_damped(record[pool], pool, min(draw.other, len(pool)), rng, replace=False))
    indices = np.concatenate(chosen)
    if not len(indices):
        raise UsageError("No example of the fitting records has a label. Check [[data]] in the configuration.")
    rng.shuffle(indices)
    return indices


def _records(examples: Examples) -> NDArray[np.int64]:
    """Return the number of the record of each example, (n,); all runs of a record have the same number."""
    names = [name.partition(":")[0] for name in examples.records]
    _, number = np.unique(names, return_inverse=True)
    return np.asarray(number, np.int64)[examples.record]


def _damped(
    records: NDArray[np.int64], pool: NDArray[np.int64], wanted: int, rng: np.random.Generator, *, replace: bool
) -> NDArray[np.int64]:
    """Draw `wanted` of `pool` with probabilities proportional to 1 / sqrt(number of beats of the record in `pool`)."""
    if not len(pool) or not wanted:
        return np.empty(0, np.int64)
    weight = np.bincount(records)[records] ** -0.5
    return rng.choice(pool, wanted, replace=replace, p=weight / weight.sum())
