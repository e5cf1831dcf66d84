"""Matching of detected to annotated beats, with the algorithm of PhysioNet's `bxb`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Pairing:
    """Which detected beat matches which annotated beat."""

    detection_index: NDArray[np.int64]  # (n,) for each annotated beat its detection; -1: missed
    reference_index: NDArray[np.int64]  # (m,) for each detection its annotated beat; -1: a false detection


def pair_beats(reference: NDArray[np.int64], detected: NDArray[np.int64], tolerance: float) -> Pairing:
    """Match beats that are at most `tolerance` samples apart, each to one beat at most; the nearer beat wins.

    Both lists are read in order of time, as `bxb` does. Of the next annotated and the next detected beat, the earlier
    one is matched to the later one if the distance is within the tolerance, unless the beat that follows the earlier
    one is nearer to the later one and has no still nearer beat to match.

    Args:
        reference: annotated beats, `(n,)`, in samples, ascending.
        detected: detected beats, `(m,)`, in samples, ascending.
        tolerance: largest distance of a match, samples; EC57 specifies 150 ms.

    Returns:
        The match of each annotated and of each detected beat.

    >>> pairs = pair_beats(np.array([100, 400, 700]), np.array([103, 380, 900]), tolerance=54)  # 150 ms at 360 Hz
    >>> pairs.detection_index.tolist(), pairs.reference_index.tolist()
    ([0, 1, -1], [0, 1, -1])
    """
    detection_index = np.full(len(reference), -1, dtype=np.int64)
    reference_index = np.full(len(detected), -1, dtype=np.int64)
    truth, found = reference.tolist(), detected.tolist()
    i = j = 0
    while i < len(truth) and j < len(found):
        if found[j] < truth[i]:
            paired = _is_pair(found, j, truth, i, tolerance)
        else:
            paired = _is_pair(truth, i, found, j, tolerance)
        if paired:
            detection_index[i], reference_index[j] = j, i
            i, j = i + 1, j + 1
        elif found[j] < truth[i]:
            j += 1
        else:
            i += 1
    return Pairing(detection_index, reference_index)


def _is_pair(early: list[int], a: int, late: list[int], b: int, tolerance: float) -> bool:
    """Whether `early[a]` matches `late[b]`, which is at the same sample or later."""
    distance = late[b] - early[a]
    if distance > tolerance:
        return False
    if a + 1 == len(early):
        return True
    rival = abs(late[b] - early[a + 1])
    rival_has_better = b + 1 < len(late) and abs(late[b + 1] - early[a + 1]) < rival
    return distance < rival or rival_has_better
