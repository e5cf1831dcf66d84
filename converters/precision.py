"""int8 or float32: decided by running both files beat by beat, and said why.

int8 is a quarter of the size, so it need not be faster: it is kept unless float32 is clearly so.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.runtime.engine import Engine

AS_FAST = 1.1  # times float32's time, up to which the smaller file is kept
_TURNS = 15
_BEATS = 40


@dataclass(frozen=True)
class Choice:
    """Which precision a bundle gets, and why."""

    precision: str  # "int8" or "float32"
    why: str


def time_ratio(first: Engine, second: Engine, inputs: Mapping[str, NDArray[np.float32]]) -> float:
    """Time of the first engine over that of the second, one beat at a time: medians of turns that alternate."""
    beats = [{name: x[i : i + 1] for name, x in inputs.items()} for i in range(min(_BEATS, len(inputs["beat"])))]
    taken: tuple[list[float], list[float]] = ([], [])
    for turn in range(_TURNS + 1):
        for engine, times in zip((first, second), taken, strict=True):
            start = time.perf_counter()
            for beat in beats:
                engine.run(beat)
            if turn:  # the first one warms up
                times.append(time.perf_counter() - start)
    return statistics.median(taken[0]) / statistics.median(taken[1])


def choose(integer: Engine, full: Engine, inputs: Mapping[str, NDArray[np.float32]], sizes: tuple[int, int]) -> Choice:
    """int8 where this machine runs it as fast as float32, or nearly so.

    Args:
        integer: the int8 file.
        full: the float32 file, dispatched in the same way.
        inputs: beats to time them with.
        sizes: bytes of the two files.
    """
    ratio = time_ratio(integer, full, inputs)
    said = f"int8 takes {ratio:.2f} of the time of float32 here, {sizes[0]:,} bytes against {sizes[1]:,}"
    if ratio < 1.0:
        return Choice("int8", f"{said}: kept.")
    if ratio <= AS_FAST and sizes[0] < sizes[1]:
        return Choice("int8", f"{said}: kept, since it is smaller and nearly as fast.")
    return Choice("float32", f"{said}: float32 is kept.")
