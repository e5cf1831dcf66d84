"""The batches of an epoch: drawn, augmented and cut, from one generator."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.training.augment import Augmenter, Batch
from ecgmoe_edge.training.config import Draw
from ecgmoe_edge.training.examples import Examples
from ecgmoe_edge.training.loop import BatchesOf
from ecgmoe_edge.training.sampling import epoch_indices


def drawn_batches(examples: Examples, augmenter: Augmenter, draw: Draw, size: int) -> BatchesOf:
    """A maker of epochs: each call draws anew and gives the number of batches and the batches.

    A last batch smaller than `size` is left out, unless it is the only one (batch normalisation of a few beats is
    worse than none of them).
    """

    def batches_of(rng: np.random.Generator) -> tuple[int, Iterator[Batch]]:
        indices = epoch_indices(examples, draw, rng)
        steps = max(1, len(indices) // size)
        return steps, _batches(indices, steps, lambda index: augmenter.batch(examples, index, rng), size)

    return batches_of


def _batches(
    indices: NDArray[np.int64], steps: int, make: Callable[[NDArray[np.int64]], Batch], size: int
) -> Iterator[Batch]:
    for step in range(steps):
        yield make(indices[step * size : (step + 1) * size])
