from __future__ import annotations

import numpy as np
import pytest

from ecgmoe_edge.scoring.matching import pair_beats


def _pairs(reference: list[int], detected: list[int], tolerance: float = 54) -> list[int]:
    pairing = pair_beats(np.array(reference, dtype=np.int64), np.array(detected, dtype=np.int64), tolerance)
    for annotated, found in enumerate(pairing.detection_index.tolist()):
        assert found == -1 or pairing.reference_index[found] == annotated
    assert (pairing.detection_index >= 0).sum() == (pairing.reference_index >= 0).sum()
    return [int(found) for found in pairing.detection_index]


def test_beats_match_up_to_the_tolerance_and_not_beyond() -> None:
    assert _pairs([1000, 2000, 3000], [1054, 1946, 3055]) == [0, 1, -1]


@pytest.mark.parametrize(
    ("reference", "detected", "partners"),
    [
        ([1000], [970, 1010], [1]),  # two detections: the nearer one
        ([1000], [990, 1030], [0]),
        ([1000], [990, 1010], [1]),  # equal distance: bxb takes the later one
        ([1000, 1040], [1035], [-1, 0]),  # two beats: the nearer one
        ([1000, 1040], [1010], [0, -1]),
        ([1000, 1060], [1040, 1065], [0, 1]),  # 1040 is nearer to 1060, but 1065 is nearer still
        ([1000, 1030], [1020, 1070], [-1, 0]),  # 1020 matches 1030 at 10 samples, so the first beat is missed
        ([], [1000], []),
        ([1000], [], [-1]),
    ],
)
def test_the_nearer_wins(reference: list[int], detected: list[int], partners: list[int]) -> None:
    assert _pairs(reference, detected) == partners


def test_detections_with_a_constant_offset_match_their_own_beats() -> None:
    reference = (np.cumsum(np.full(500, 200)) + np.arange(500) % 3).tolist()
    assert _pairs(reference, [sample + 40 for sample in reference]) == list(range(500))
    assert _pairs(reference, [sample - 40 for sample in reference]) == list(range(500))
