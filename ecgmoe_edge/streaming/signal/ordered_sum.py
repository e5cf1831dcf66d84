"""Sums in a stated order, so that an engine written a second time adds the same numbers in the same order."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Real = TypeVar("Real", bound=np.floating[Any])


def ordered_sum(x: NDArray[Real], axis: int = 0) -> NDArray[Real]:
    """Sum over `axis` in index order: ((x[0] + x[1]) + x[2]) + ..., in the precision of `x`, as a plain loop adds.

    `np.sum` adds in pairs or in lanes, and BLAS in an order of its own; a last bit that differs can turn a decision.
    """
    return np.asarray(np.add.accumulate(x, axis=axis).take(-1, axis=axis))


def add_rows(x: NDArray[Real]) -> NDArray[Real]:
    """The same over the rows of a C-contiguous array (rows, columns > 1): numpy adds row to row, faster."""
    return np.asarray(np.add.reduce(x, axis=0))


def ordered_mean(x: NDArray[Real], axis: int = 0) -> NDArray[Real]:
    """Mean over `axis` by `ordered_sum`."""
    total = ordered_sum(x, axis)
    return np.asarray(total / total.dtype.type(x.shape[axis]))


def plain_sum(values: Iterable[float]) -> float:
    """Sum of a few numbers in their order; the built-in `sum` compensates from Python 3.12 on."""
    total = 0.0
    for value in values:
        total += value
    return total
