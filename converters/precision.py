"""Choice between int8 and float32 by measuring the inference time of both files on this machine.

int8 needs about a quarter of the memory, so it is kept unless float32 is clearly faster.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.runtime.engine import Engine

LARGEST_TIME_RATIO = 1.1  # the smaller int8 file is kept if it takes at most this multiple of the time of float32
_ROUNDS = 15
_BEATS = 40


@dataclass(frozen=True)
class Choice:
    """The chosen precision of a bundle, and the reason."""

    precision: str  # "int8" or "float32"
    why: str


def time_ratio(first: Engine, second: Engine, inputs: Mapping[str, NDArray[np.float32]]) -> float:
    """Measure the inference time of one engine relative to another, one beat at a time.

    The engines run in alternating rounds, and their fastest rounds are compared: other work on the machine only slows
    a round down.

    Args:
        first: the engine in the numerator.
        second: the engine in the denominator.
        inputs: model inputs, (beats, ...) each.
    """
    beats = [{name: x[i : i + 1] for name, x in inputs.items()} for i in range(min(_BEATS, len(inputs["beat"])))]
    taken: tuple[list[float], list[float]] = ([], [])
    for round_ in range(_ROUNDS + 1):
        for engine, times in zip((first, second), taken, strict=True):
            start = time.perf_counter()
            for beat in beats:
                engine.run(beat)
            if round_:  # the first round is a warm-up
                times.append(time.perf_counter() - start)
    return min(taken[0]) / min(taken[1])


def choose_precision(
    integer: Engine, full: Engine, inputs: Mapping[str, NDArray[np.float32]], sizes: tuple[int, int]
) -> Choice:
    """Choose int8 if it is faster than float32 on this machine, or smaller and nearly as fast.

    Args:
        integer: runs the int8 file.
        full: runs the float32 file with the same kind of dispatch.
        inputs: model inputs for the measurement, (beats, ...) each.
        sizes: size of the int8 and of the float32 file, in bytes.
    """
    ratio = time_ratio(integer, full, inputs)
    measured = f"int8 takes {ratio:.2f} of the time of float32 here, and {sizes[0]:,} bytes instead of {sizes[1]:,}"
    if ratio < 1.0:
        return Choice("int8", f"{measured}: int8 is kept.")
    if ratio <= LARGEST_TIME_RATIO and sizes[0] < sizes[1]:
        return Choice("int8", f"{measured}: int8 is kept, since it is smaller and nearly as fast.")
    return Choice("float32", f"{measured}: float32 is kept.")
