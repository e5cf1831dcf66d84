"""The benchmark of EDF reading gives figures, and the reader of this package meets its limits."""

from __future__ import annotations

import pytest

from benchmarks.edf_reading import OURS, measure


def test_an_edf_is_read_as_fast_as_by_pyedflib_with_constant_memory() -> None:
    pytest.importorskip("pyedflib")
    pytest.importorskip("edfio")
    figures = measure(hours=1, rounds=3)
    assert figures[OURS]["times_pyedflib"] < 1.3
    assert figures[OURS]["grown_mb"] < 30
