"""The batches of an epoch: drawn, augmented and cut, from one generator, on a thread of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray

from ecgmoe_edge.training.augment import Augmenter, Batch
from ecgmoe_edge.training.config import Draw
from ecgmoe_edge.training.examples import Examples
from ecgmoe_edge.training.loop import BatchesOf
from ecgmoe_edge.training.sampling import epoch_indices

_CPU = torch.device("cpu")


def drawn_batches(
    examples: Examples, augmenter: Augmenter, draw: Draw, size: int, device: torch.device = _CPU
) -> BatchesOf:
    """A maker of epochs: each call draws anew and gives the number of batches and the batches, on `device`.

    The next batch is made while a model works on the present one; their order, and so the numbers drawn for each, is
    the same as without.

    A last batch smaller than `size` is left out, unless it is the only one (batch normalisation of a few beats is
    worse than none of them).
    """

    def batches_of(rng: np.random.Generator) -> tuple[int, Iterator[Batch]]:
        indices = epoch_indices(examples, draw, rng)
        steps = max(1, len(indices) // size)
        return steps, _batches(indices, steps, lambda index: augmenter.batch(examples, index, rng).to(device), size)

    return batches_of


def _batches(
    indices: NDArray[np.int64], steps: int, make: Callable[[NDArray[np.int64]], Batch], size: int
) -> Iterator[Batch]:
    with ThreadPoolExecutor(1, thread_name_prefix="batches") as ahead:
        following = ahead.submit(make, indices[:size])
        for step in range(1, steps + 1):
            batch = following.result()
            if step < steps:
                following = ahead.submit(make, indices[step * size : (step + 1) * size])
            yield batch
