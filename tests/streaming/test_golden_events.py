"""The beats of recordings are the frozen ones; `python -m tools.golden_events` lists differences."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from tools import golden_events


def test_the_beats_of_the_shipped_recording_are_as_frozen() -> None:
    assert len(golden_events.frozen("shipped")) == 2
    assert golden_events.differing("shipped", golden_events.run("shipped", None, 1)) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["drawn", "ds1", "svdb-fit"])
def test_the_beats_of_a_set_are_as_frozen(name: str) -> None:
    if name in golden_events.DATABASES:
        pytest.importorskip("wfdb", reason="records need the records extra")
        from ecgmoe_edge.errors import RecordError, UsageError

        try:
            golden_events.cases_of(name, None)
        except (RecordError, UsageError) as reason:
            pytest.skip(str(reason))
    assert golden_events.differing(name, golden_events.run(name, None, 2)) == []


def test_another_label_of_one_beat_is_reported(tmp_path: Path) -> None:
    found = golden_events.run("shipped", None, 1)
    golden_events.keep(tmp_path, "shipped", found)
    assert golden_events.differences(tmp_path, "shipped", found) == []
    title, beats = next(iter(found.items()))
    beats.label[7] = "F" if beats.label[7] != "F" else "N"
    (message,) = golden_events.differences(tmp_path, "shipped", found)
    assert message == f"{title}: of {beats.sample.size} beats 1 other label"
    assert len(golden_events.differing("shipped", found)) == 1
    assert np.load(tmp_path / "shipped.npz", allow_pickle=False)
