"""What a model file contains, independent of its format: a summary, and its graph of operators and weights.

Each target (`targets`) reads the files of its own format into these classes. A device reads the manifest instead.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class ModelSummary:
    """Summary of an exported file."""

    path: Path
    bytes: int
    operators: Mapping[str, int]  # number of occurrences by operator name, over all branches
    parameters: int  # number of elements of all weights and biases
    experts: Mapping[str, int]  # number of different experts in the file, by path
    dispatch: str  # "if": the file selects the experts; "host": the caller does, one signature per piece; "none"
    inputs: Mapping[str, tuple[int, ...]] = field(default_factory=dict)  # shape by name
    outputs: Mapping[str, tuple[int, ...]] = field(default_factory=dict)  # shape by name


@dataclass(frozen=True)
class Weight:
    """A constant that a layer multiplies with or adds."""

    elements: int
    bytes: int
    rows: int  # number of outputs of the layer


@dataclass(frozen=True, eq=False)
class Node:
    """An operator. Only an `If` has branches."""

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    branches: tuple[Graph, ...] = ()


@dataclass(frozen=True, eq=False)
class Graph:
    """The main graph of a file, or one branch of an `If`."""

    name: str
    nodes: tuple[Node, ...]
    outputs: tuple[str, ...]
    bytes_per_element: int  # size of one element of an activation: 1 in an integer file, else 4
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    weights: dict[str, Weight] = field(default_factory=dict)


def weights_digest(arrays: list[np.ndarray[Any, Any]]) -> str:
    """Return a digest that distinguishes the weights of one expert from those of another."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
