"""Tables of databases: the content of each row, and damaged rows."""

from __future__ import annotations

from pathlib import Path

import pytest

from ecgmoe_edge.errors import RecordError
from ecgmoe_edge.records.tables import PtbxlRow, cinc_rhythms, ptbxl_rows

_HEADER = "ecg_id,patient_id,age,sex,report,strat_fold,filename_lr,filename_hr"
_GOOD = "1,11.0,40.0,0,sinus,3,lr/1,hr/1"


def _ptbxl(folder: Path, *lines: str, header: str = _HEADER) -> Path:
    (folder / "ptbxl_database.csv").write_text("\n".join([header, *lines]), encoding="utf-8")
    return folder


def _cinc(folder: Path, text: str) -> Path:
    (folder / "REFERENCE.csv").write_text(text, encoding="utf-8")
    return folder


def test_a_row_of_ptbxl_gives_patient_age_sex_and_fold(tmp_path: Path) -> None:
    rows = ptbxl_rows(_ptbxl(tmp_path, _GOOD, "", "2,12.0,300.0,1,,10,lr/2,hr/2", "3,13,,,,8.0,lr/3,hr/3"))
    assert rows == [
        PtbxlRow("lr/1", "11.0", 40.0, "M", 3),
        PtbxlRow("lr/2", "12.0", None, "F", 10),  # 300 means above 89
        PtbxlRow("lr/3", "13", None, None, 8),
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("2,12.0,50.0,1,sinus,3", "more or fewer cells"),  # truncated
        ("2,12.0,50.0,1,sin", "more or fewer cells"),
        ("2,12.0,50.0,1,a,b,3,lr/2,hr/2", "more or fewer cells"),  # one comma too many
        ("2,12.0,unknown,1,,3,lr/2,hr/2", "age 'unknown'"),
        ("2,12.0,-4,1,,3,lr/2,hr/2", "age '-4'"),
        ("2,12.0,50.0,male,,3,lr/2,hr/2", "sex 'male'"),
        ("2,12.0,50.0,1,,,lr/2,hr/2", "strat_fold ''"),
        ("2,12.0,50.0,1,,3.5,lr/2,hr/2", "strat_fold '3.5'"),
        ("2,12.0,50.0,1,,11,lr/2,hr/2", "strat_fold '11'"),
        ("2,,50.0,1,,3,lr/2,hr/2", "empty patient_id"),
        ("2,12.0,50.0,1,,3,,hr/2", "empty filename_lr"),
    ],
)
def test_a_damaged_row_of_ptbxl_is_reported_with_file_and_line(line: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=rf"^Line 3 of .*ptbxl_database\.csv .*{message}"):
        ptbxl_rows(_ptbxl(tmp_path, _GOOD, line))


def test_line_numbers_are_correct_after_a_cell_with_line_breaks(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"^Line 4 of"):
        ptbxl_rows(_ptbxl(tmp_path, '1,11.0,40.0,0,"sinus\nrhythm",3,lr/1,hr/1', "2,12.0"))


def test_another_table_in_place_of_that_of_ptbxl_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="cannot be read"):
        ptbxl_rows(tmp_path)
    with pytest.raises(RecordError, match="lacks columns"):
        ptbxl_rows(_ptbxl(tmp_path, "1,50", header="ecg_id,age"))
    with pytest.raises(RecordError, match="lists no record"):
        ptbxl_rows(_ptbxl(tmp_path))
    (tmp_path / "ptbxl_database.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecordError, match="cannot be read"):
        ptbxl_rows(tmp_path)


def test_each_line_of_the_challenge_table_gives_a_rhythm(tmp_path: Path) -> None:
    rhythms = cinc_rhythms(_cinc(tmp_path, "\ufeffA1,N\r\nA2,A\r\n\r\nA3,O\r\nA4,~\r\n"))
    assert rhythms == {"A1": "N", "A2": "AF", "A3": "other", "A4": "noisy"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A1,N\nA2", r"^Line 2 of .*REFERENCE\.csv does not have a record and a label"),
        ("A1,N\nA2,", r"^Line 2 of .*REFERENCE\.csv has the label , which is not"),
        ("A1,X\nA2,N\n", r"^Line 1 of .*REFERENCE\.csv has the label X, which is not"),
        ("", "lists no record"),
    ],
)
def test_a_damaged_line_of_the_challenge_table_is_reported_with_file_and_line(
    text: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(RecordError, match=message):
        cinc_rhythms(_cinc(tmp_path, text))
