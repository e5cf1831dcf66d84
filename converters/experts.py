"""What is inside an exported file: operators, parameters, bytes, and the experts of each path, so that none is lost.

Each target reads its own files (`targets`). A device reads the manifest instead.
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
    """What an exported file holds."""

    path: Path
    bytes: int
    operators: Mapping[str, int]  # how often each occurs, in all branches together
    parameters: int  # elements of all weights and biases
    experts: Mapping[str, int]  # different experts that can run, by path
    dispatch: str  # "if": one file chooses; "host": one signature a piece, the caller chooses; "none"
    inputs: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    outputs: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


def weights_digest(arrays: list[np.ndarray[Any, Any]]) -> str:
    """Tells the weights of one expert from those of another."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
