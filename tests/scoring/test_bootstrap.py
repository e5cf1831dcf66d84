from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ecgmoe_edge.scoring.bootstrap import Figures, bootstrap


def _share(total: NDArray[Any]) -> Figures:
    return {"share": 100.0 * total[0] / total.sum() if total.sum() else None}


def test_the_interval_of_a_share_is_that_of_the_binomial() -> None:
    # one beat per patient, 300 of 400 correct: the normal approximation of the interval is 75 +- 4.24
    tables = np.array([[1, 0]] * 300 + [[0, 1]] * 100)
    low, high = _pair(bootstrap([str(i) for i in range(400)], tables, _share).intervals["share"])
    assert low == pytest.approx(75 - 4.24, abs=0.6)
    assert high == pytest.approx(75 + 4.24, abs=0.6)


def test_patients_are_resampled_and_not_beats() -> None:
    # the same beats, but in four patients whose beats are all correct or all wrong: the interval is wide
    tables = np.array([[100, 0], [100, 0], [100, 0], [0, 100]])
    low, high = _pair(bootstrap(list("abcd"), tables, _share).intervals["share"])
    assert (low, high) == (25.0, 100.0)


def test_records_of_one_patient_are_resampled_together() -> None:
    tables = np.array([[10, 0], [0, 10]] * 5)
    apart = bootstrap([str(i) for i in range(10)], tables, _share)
    together = bootstrap([str(i // 2) for i in range(10)], tables, _share)
    assert together.patients == 5
    assert _pair(together.intervals["share"]) == (50.0, 50.0)  # half of the beats of each patient are correct
    assert _pair(apart.intervals["share"])[0] < 40


def test_the_same_seed_gives_the_same_interval() -> None:
    tables = np.array([[3, 1], [5, 2], [1, 7], [4, 4]])
    first, second = (bootstrap(list("abcd"), tables, _share).to_json() for _ in range(2))
    assert first == second
    assert first["figures"]["share"] != bootstrap(list("abcd"), tables, _share, seed=2).to_json()["figures"]["share"]
    assert (first["draws"], first["level"], first["unit"]) == (1000, 0.95, "patient")


def test_too_few_patients_or_an_undefined_figure_have_no_interval() -> None:
    assert bootstrap(["a", "b"], np.ones((2, 2)), _share).intervals == {"share": None}
    assert bootstrap(list("abc"), np.zeros((3, 2)), _share).intervals == {"share": None}


def _pair(interval: tuple[float, float] | None) -> tuple[float, float]:
    assert interval is not None
    return interval
