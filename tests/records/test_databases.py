"""A record of MIT-BIH is identified by its content, not by its name."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ecgmoe_edge.records.databases import Origin, origin_of, patient_of
from ecgmoe_edge.records.registry import find_recordings


@pytest.mark.parametrize("name", ["201", "202", "232"])
def test_the_name_alone_does_not_identify_a_record_of_mit_bih(write_record: Callable[..., Path], name: str) -> None:
    path = write_record(name, np.zeros((2, 1000), dtype=np.int16), fs="360")
    assert origin_of(path) is None
    assert patient_of(path) == name


@pytest.mark.parametrize(
    ("of_mitdb", "instead"),
    [(" 360 ", " 250 "), (" 650000\n", " 649999\n"), (" 650000\n", "\n"), ("201 2 ", "201 1 "), (" -201 ", " -200 ")],
)
def test_a_record_with_another_rate_length_or_content_is_not_of_mit_bih(
    tmp_path: Path, write_mitdb_header: Callable[[Path, str], Path], of_mitdb: str, instead: str
) -> None:
    path = write_mitdb_header(tmp_path, "201")
    assert origin_of(path) == Origin("mitdb", "201", "202")
    header = path.with_suffix(".hea")
    assert of_mitdb in header.read_text()
    header.write_text(header.read_text().replace(of_mitdb, instead))
    assert origin_of(path) is None
    assert patient_of(path) == "201"


def test_a_path_without_a_header_has_no_origin(tmp_path: Path) -> None:
    (tmp_path / "201.csv").write_text("0.1\n")
    assert origin_of(tmp_path / "201.csv") is None
    (tmp_path / "202.hea").write_text("")
    assert origin_of(tmp_path / "202") is None


def test_every_record_of_mit_bih_is_identified_under_any_name(mitdb: Path, tmp_path: Path) -> None:
    for path in find_recordings(mitdb):
        origin = origin_of(path)
        assert origin is not None
        assert origin.record == path.name
        assert origin.patient == ("202" if path.name == "201" else path.name)
        assert origin.dominates_s == (path.name == "232")
    shutil.copy(mitdb / "232.hea", tmp_path / "p1.hea")
    copied = origin_of(tmp_path / "p1")
    assert copied is not None
    assert copied.dominates_s


def test_no_record_of_another_database_is_identified_as_mit_bih(svdb: Path, data_dir: Path) -> None:
    for folder in (svdb, data_dir / "nstdb"):
        assert [path for path in find_recordings(folder) if origin_of(path) is not None] == []
