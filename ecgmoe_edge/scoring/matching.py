"""Pairing of detected with annotated beats, the way PhysioNet's `bxb` does it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Pairing:
    """Who belongs to whom: positions in the other list, -1 where there is no partner."""

    of_reference: NDArray[np.int64]  # (n,) the detection that each annotated beat got; -1: missed
    of_detected: NDArray[np.int64]  # (m,) the annotated beat of each detection; -1: a false detection


def pair_beats(reference: NDArray[np.int64], detected: NDArray[np.int64], tolerance: float) -> Pairing:
    """Pair beats at most `tolerance` samples apart, each with one partner; the nearer wins.

    Walks both lists in time, as `bxb` does: the earlier of the two beats that come next takes the other if that is
    within reach and the beat after it is no nearer to the other, or has a nearer one still to come.

    Args:
        reference: annotated beats, `(n,)`, in samples, ascending.
        detected: detected beats, `(m,)`, in samples, ascending.
        tolerance: in samples; EC57 takes 150 ms.

    >>> pairs = pair_beats(np.array([100, 400, 700]), np.array([103, 380, 900]), tolerance=54)  # 150 ms at 360 Hz
    >>> pairs.of_reference.tolist(), pairs.of_detected.tolist()
    ([0, 1, -1], [0, 1, -1])
    """
    of_reference = np.full(len(reference), -1, dtype=np.int64)
    of_detected = np.full(len(detected), -1, dtype=np.int64)
    truth, found = reference.tolist(), detected.tolist()
    i = j = 0
    while i < len(truth) and j < len(found):
        if found[j] < truth[i]:
            paired = _is_pair(found, j, truth, i, tolerance)
        else:
            paired = _is_pair(truth, i, found, j, tolerance)
        if paired:
            of_reference[i], of_detected[j] = j, i
            i, j = i + 1, j + 1
        elif found[j] < truth[i]:
            j += 1
        else:
            i += 1
    return Pairing(of_reference, of_detected)


def _is_pair(early: list[int], a: int, late: list[int], b: int, tolerance: float) -> bool:
    """Whether `early[a]` takes `late[b]`, which does not come before it."""
    distance = late[b] - early[a]
    if distance > tolerance:
        return False
    if a + 1 == len(early):
        return True
    rival = abs(late[b] - early[a + 1])
    rival_has_better = b + 1 < len(late) and abs(late[b + 1] - early[a + 1]) < rival
    return distance < rival or rival_has_better
