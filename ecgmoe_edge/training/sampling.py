"""Which examples one epoch sees: rare classes often, long records damped, rhythm examples on top."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.errors import UsageError
from ecgmoe_edge.tasks import BEAT_CLASSES, RHYTHM_CLASSES, TASKS
from ecgmoe_edge.training.config import Draw
from ecgmoe_edge.training.examples import UNKNOWN, Examples, is_known


def epoch_indices(examples: Examples, draw: Draw, rng: np.random.Generator) -> NDArray[np.int64]:
    """Indices of one epoch in random order; their number depends on the examples and `draw`, not on `rng`.

    Normal beats are drawn without replacement, other classes with it, each in proportion to 1 / sqrt(number that the
    record has of the class): a patient with a thousand S beats counts more than one with ten, not a hundred times more.
    All runs of a record (its leads, further rates) count together: a second lead gives variety and no weight.

    Raises:
        UsageError: the examples have no label that any task could learn.
    """
    chosen = []
    record = _records(examples)
    beat, rhythm = examples.labels["beat"], examples.labels["rhythm"]
    counts = {"N": draw.normal, "S": draw.s, "V": draw.v, "F": draw.f}
    for label, name in enumerate(BEAT_CLASSES):
        pool = np.flatnonzero(beat == label)
        wanted = min(counts[name], round(len(pool) * (1.0 if name == "N" else draw.repeat)))
        chosen.append(_damped(record[pool], pool, wanted, rng, replace=name != "N"))
    for label in range(len(RHYTHM_CLASSES)):
        pool = np.flatnonzero(rhythm == label)
        chosen.append(_damped(record[pool], pool, min(draw.rhythm, len(pool)), rng, replace=False))
    rest = (beat == UNKNOWN) & (rhythm == UNKNOWN)
    of_patient = [is_known(examples.labels[task.name]) for task in TASKS if task.scope == "recording"]
    known = np.logical_or.reduce(of_patient)
    rr_alone = is_known(examples.labels["rr"]) & ~np.isin(record, record[~rest])  # of a record that teaches no class
    pool = np.flatnonzero(rest & (known | rr_alone))
    chosen.append(_damped(record[pool], pool, min(draw.other, len(pool)), rng, replace=False))
    indices = np.concatenate(chosen)
    if not len(indices):
        raise UsageError("No example of the fitting records has a label. Check [[data]] in the configuration.")
    rng.shuffle(indices)
    return indices


def _records(examples: Examples) -> NDArray[np.int64]:
    """Number of the record, (n,), whichever of its runs an example is of."""
    names = [name.partition(":")[0] for name in examples.records]
    _, number = np.unique(names, return_inverse=True)
    return np.asarray(number, np.int64)[examples.record]


def _damped(
    records: NDArray[np.int64], pool: NDArray[np.int64], wanted: int, rng: np.random.Generator, *, replace: bool
) -> NDArray[np.int64]:
    if not len(pool) or not wanted:
        return np.empty(0, np.int64)
    weight = np.bincount(records)[records] ** -0.5
    return rng.choice(pool, wanted, replace=replace, p=weight / weight.sum())
