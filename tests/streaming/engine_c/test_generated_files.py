"""The generated files of the C monitor are those of the Python objects, for every sampling rate and option."""

from __future__ import annotations

import pytest

from ecgmoe_edge.streaming.c_tables.fill import values
from ecgmoe_edge.streaming.c_tables.generated import generated_files
from ecgmoe_edge.streaming.c_tables.render import shape
from ecgmoe_edge.streaming.c_tables.tables import tables
from ecgmoe_edge.streaming.signal.mains import MainsChoice

CLASSES = {"beat": ("N", "S", "V", "F", "?"), "rhythm": ("N", "AF", "other", "noisy")}
OUTPUTS = {"beat": 5, "rhythm": 4, "route_morphology": 4, "route_rhythm": 4}


def test_the_generated_files_are_up_to_date() -> None:
    stale = [path.name for path, text in generated_files().items() if path.read_text(encoding="utf-8") != text]
    assert not stale, "run `python -m ecgmoe_edge.streaming.c_tables`"


@pytest.mark.parametrize("fs", [100.0, 128.0, 250.0, 360.0, 997.3, 1000.0])
@pytest.mark.parametrize("mains", ["auto", 50, 60, None])
def test_the_constants_have_one_structure_for_all_rates_and_options(fs: float, mains: MainsChoice) -> None:
    usual = tables(250.0)
    other = tables(fs, mains=mains, invert=True, peaks_only=True, classes=CLASSES, outputs=OUTPUTS)
    assert shape(other) == shape(usual)
    assert len(values(other)) == len(values(usual))
