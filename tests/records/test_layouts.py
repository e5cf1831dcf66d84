"""Labels of whole recordings from the tables of databases."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ecgmoe_edge.errors import RecordError
from ecgmoe_edge.records.layouts import known_records, layout_of, other_patients

_COLUMNS = "ecg_id,patient_id,age,sex,strat_fold,filename_lr\n"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder of three databases with headers but without signals."""
    headers = ["cinc2017/A1", "cinc2017/A2", "mitdb/201", "mitdb/202", *(f"ptbxl/r/0000{n}_lr" for n in range(1, 6))]
    for name in headers:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / f"{name}.hea").write_text("x 1 100\n")
    (tmp_path / "cinc2017" / "REFERENCE.csv").write_text("A1,A\nA2,~\nA3,N\n")
    rows = ["1,11.0,40.0,0,1", "2,11.0,40.0,0,1", "3,12.0,300.0,1,8", "4,13.0,70.0,1,2", "5,14.0,,0,10", "6,15.0,1,1,1"]
    table = _COLUMNS + "".join(f"{row},r/0000{row[0]}_lr\n" for row in rows)
    (tmp_path / "ptbxl" / "ptbxl_database.csv").write_text(table)
    return tmp_path


def test_the_layout_of_a_folder_is_recognised_by_its_files(data: Path) -> None:
    assert [layout_of(data / name) for name in ("cinc2017", "ptbxl", "mitdb", ".")] == [
        "cinc2017",
        "ptbxl",
        "plain",
        None,
    ]


def test_the_table_of_the_challenge_gives_the_rhythm_of_each_record(data: Path) -> None:
    for folder in (data, data / "cinc2017"):
        records = known_records(folder, "cinc2017")
        assert [(one.name, one.facts.get("rhythm"), one.patient) for one in records] == [
            ("A1", "AF", "A1"),
            ("A2", "noisy", "A2"),
        ]


def test_the_table_of_ptbxl_gives_age_sex_and_patient(data: Path) -> None:
    records = {one.name: one for one in known_records(data, "ptbxl")}
    assert sorted(records) == [f"0000{n}_lr" for n in range(1, 6)]  # the sixth record has no header
    first, second, old = (records[f"0000{n}_lr"] for n in (1, 2, 3))
    assert (first.facts, first.patient) == ({"age": 40.0, "sex": "male"}, second.patient)
    assert old.facts == {"sex": "female"}  # 300 stands for all above 89
    assert "age" not in records["00005_lr"].facts


def test_records_can_be_named(data: Path) -> None:
    assert [one.name for one in known_records(data, "ptbxl", records=["00003_lr"])] == ["00003_lr"]
    named = known_records(data, "mitdb", records=["A2", "A9"])
    assert [(one.name, one.facts.get("rhythm")) for one in named] == [("A2", "noisy"), ("A9", None)]
    with pytest.raises(RecordError, match="none of the named records"):
        known_records(data, "ptbxl", records=["nobody"])


def test_a_named_record_that_is_missing_stays_in_the_list(data: Path) -> None:
    named = known_records(data / "ptbxl", "ptbxl", records=["00003_lr.hea", "nope_lr", "00006_lr"])
    assert [(one.name, one.layout) for one in named] == [(n, "ptbxl") for n in ("00003_lr", "nope_lr", "00006_lr")]
    named = known_records(data / "cinc2017", "cinc2017", records=["A1", "nope"])
    assert [(one.name, one.layout) for one in named] == [("A1", "cinc2017"), ("nope", "cinc2017")]


def test_201_and_202_of_mit_bih_are_one_patient(data: Path, write_mitdb_header: Callable[[Path, str], Path]) -> None:
    for name in ("201", "202", "203"):
        write_mitdb_header(data / "mitdb", name)
    assert [one.patient for one in known_records(data, "mitdb")] == ["202", "202", "203"]


def test_records_201_and_202_of_another_database_are_two_patients(data: Path) -> None:
    assert [one.patient for one in known_records(data, "mitdb")] == ["201", "202"]


def test_other_patients_are_not_from_the_test_folds(data: Path) -> None:
    evaluated = [one for one in known_records(data, "ptbxl") if one.name == "00001_lr"]
    assert sorted(one.name for one in other_patients(evaluated)) == ["00003_lr", "00004_lr"]


def test_a_damaged_row_is_reported_to_every_caller(data: Path) -> None:
    evaluated = known_records(data, "ptbxl")
    with (data / "ptbxl" / "ptbxl_database.csv").open("a") as table:
        table.write("7,16.0,unknown")
    with pytest.raises(RecordError, match=r"Line 8 of .*ptbxl_database\.csv"):
        known_records(data, "ptbxl")
    with pytest.raises(RecordError, match=r"Line 8 of .*ptbxl_database\.csv"):
        other_patients(evaluated)


def test_an_unknown_label_is_reported(data: Path) -> None:
    (data / "cinc2017" / "REFERENCE.csv").write_text("A1,X\n")
    with pytest.raises(RecordError, match="the label X, which is not N, A, O or ~"):
        known_records(data, "cinc2017")
