"""Labels from the tables of the data sets, and which records belong to the same patient."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ecgmoe_edge.errors import RecordError
from ecgmoe_edge.training.config import DataSet
from ecgmoe_edge.training.sources import Source, divide

_PTBXL_HEADER = "patient_id,age,sex,strat_fold,filename_lr"


def _headers(folder: Path, *names: str) -> Path:
    """Write headers without signals, since no test here reads a signal."""
    for name in names:
        (folder / f"{name}.hea").parent.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.hea").write_text("x 1 100\n")
    return folder


def _fit(data: DataSet, data_dir: Path) -> dict[str, Source]:
    return {source.path.name: source for source in divide(data, data_dir).fit}


def test_each_label_of_the_challenge_becomes_its_rhythm(tmp_path: Path) -> None:
    folder = _headers(tmp_path / "cinc2017", "A1", "A2", "A3", "A4", "A5")
    (folder / "REFERENCE.csv").write_text("A1,N\nA2,A\nA3,O\nA4,~\n")
    fit = _fit(DataSet("cinc2017", "cinc2017", labels="cinc2017"), tmp_path)
    assert {name: dict(source.facts)["rhythm"] for name, source in fit.items()} == {
        "A1": "N", "A2": "AF", "A3": "other", "A4": "noisy",
    }  # fmt: skip
    (folder / "REFERENCE.csv").write_text("A1,N\nA2")
    with pytest.raises(RecordError, match=r"Line 2 of .*REFERENCE\.csv"):
        divide(DataSet("cinc2017", "cinc2017", labels="cinc2017"), tmp_path)


def test_ptbxl_gives_age_sex_and_patient(tmp_path: Path) -> None:
    folder = _headers(tmp_path / "ptbxl", "lr/1", "lr/2", "lr/3")
    rows = ["11.0,40.0,0,1,lr/1", "12.0,300.0,1,2,lr/2", "13.0,,,3,lr/3", "14.0,50.0,1,4,lr/absent"]
    (folder / "ptbxl_database.csv").write_text("\n".join([_PTBXL_HEADER, *rows]))
    fit = _fit(DataSet("ptbxl", "ptbxl", labels="ptbxl"), tmp_path)
    assert {name: (dict(source.facts), source.patient) for name, source in fit.items()} == {
        "1": ({"age": 40.0, "sex": "male"}, "11.0"),
        "2": ({"sex": "female"}, "12.0"),  # the table has 300 for all ages above 89
        "3": ({}, "13.0"),
    }


@pytest.mark.parametrize(
    ("row", "message"), [("12.0,50", "cells"), ("12.0,unknown,1,2,lr/1", "age"), ("12.0,50,1,,lr/1", "strat_fold")]
)
def test_a_damaged_row_of_ptbxl_is_refused_with_its_line(row: str, message: str, tmp_path: Path) -> None:
    folder = _headers(tmp_path / "ptbxl", "lr/1")
    (folder / "ptbxl_database.csv").write_text("\n".join([_PTBXL_HEADER, "11.0,40.0,0,1,lr/1", row]))
    for data in (DataSet("ptbxl", "ptbxl", labels="ptbxl", validation=chosen) for chosen in ((), ("split:ptbxl-fit",))):
        with pytest.raises(RecordError, match=rf"Line 3 of .*ptbxl_database\.csv .*{message}"):
            divide(data, tmp_path)


def test_no_record_of_a_held_out_patient_is_fitted_on(
    tmp_path: Path, write_mitdb_header: Callable[[Path, str], Path]
) -> None:
    for name in ("100", "101", "201", "202"):
        write_mitdb_header(tmp_path / "mitdb", name)
    for held in ("201", "202"):
        division = divide(DataSet("mitdb", "mitdb", validation=(held,)), tmp_path)
        assert [source.path.name for source in division.validation] == [held]
        assert [source.path.name for source in division.fit] == ["100", "101"]
    divided = divide(DataSet("mitdb", "mitdb", validation_share=0.5), tmp_path)
    # 201 is selected only because it is the same patient as 202.
    assert {"201", "202"} <= {source.path.name for source in divided.validation}


def test_a_record_201_of_another_database_is_a_different_patient(tmp_path: Path) -> None:
    _headers(tmp_path / "ward", "100", "201", "202")
    division = divide(DataSet("ward", "ward", validation=("202",)), tmp_path)
    assert [source.path.name for source in division.fit] == ["100", "201"]
