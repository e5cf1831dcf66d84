"""The batches of an epoch, sampled and augmented in a separate thread with one random generator."""

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
    """Return a function that samples an epoch and returns the number of its batches and the batches.

    While a model uses one batch, a thread makes the next one. The order of the random numbers is the same as without
    the thread. A last batch with fewer than `size` beats is dropped unless it is the only one, because batch
    normalisation over a few beats is inaccurate.

    Args:
        examples: the examples to sample from.
        augmenter: augments the batches.
        draw: number of examples of each class in an epoch.
        size: number of beats in a batch.
        device: where the batches are placed.
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
