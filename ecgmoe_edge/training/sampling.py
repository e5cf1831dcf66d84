"""Which examples one epoch sees: rare classes often, long records damped, rhythm examples on top."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.errors import UsageError
from ecgmoe_edge.model.tasks import BEAT_CLASSES, RHYTHM_CLASSES
from ecgmoe_edge.training.config import Draw
from ecgmoe_edge.training.examples import UNKNOWN, Examples


def epoch_indices(examples: Examples, draw: Draw, rng: np.random.Generator) -> NDArray[np.int64]:
    """Indices of one epoch in random order; their number depends on the examples and `draw`, not on `rng`.

    Normal beats are drawn without replacement, other classes with it, each in proportion to 1 / sqrt(number that the
    record has of the class): a patient with a thousand S beats counts more than one with ten, not a hundred times more.

    Raises:
        UsageError: the examples have no label that any task could learn.
    """
    chosen = []
    counts = {"N": draw.normal, "S": draw.s, "V": draw.v, "F": draw.f}
    for label, name in enumerate(BEAT_CLASSES):
        pool = np.flatnonzero(examples.beat == label)
        wanted = min(counts[name], round(len(pool) * (1.0 if name == "N" else draw.repeat)))
        chosen.append(_damped(examples, pool, wanted, rng, replace=name != "N"))
    for label in range(len(RHYTHM_CLASSES)):
        pool = np.flatnonzero(examples.rhythm == label)
        chosen.append(_damped(examples, pool, min(draw.rhythm, len(pool)), rng, replace=False))
    rest = (examples.beat == UNKNOWN) & (examples.rhythm == UNKNOWN)
    pool = np.flatnonzero(rest & (np.isfinite(examples.age) | (examples.sex != UNKNOWN)))
    chosen.append(_damped(examples, pool, min(draw.other, len(pool)), rng, replace=False))
    indices = np.concatenate(chosen)
    if not len(indices):
        raise UsageError("No example of the fitting records has a label. Check [[data]] in the configuration.")
    rng.shuffle(indices)
    return indices


def _damped(
    examples: Examples, pool: NDArray[np.int64], wanted: int, rng: np.random.Generator, *, replace: bool
) -> NDArray[np.int64]:
    if not len(pool) or not wanted:
        return np.empty(0, np.int64)
    records = examples.record[pool]
    weight = np.bincount(records)[records] ** -0.5
    return rng.choice(pool, wanted, replace=replace, p=weight / weight.sum())
