"""Labels of MIMIC-IV-ECG, read from small folders in its format that the tests make."""

from __future__ import annotations

import gzip
import tracemalloc
from pathlib import Path

import msgspec
import numpy as np
import pytest
import wfdb

from ecgmoe_edge.errors import RecordError
from ecgmoe_edge.tasks import TASK_CLASSES
from ecgmoe_edge.training.config import DataSet
from ecgmoe_edge.training.examples import examples_of
from ecgmoe_edge.training.mimic import MimicRecord, mimic_records
from ecgmoe_edge.training.sources import divide

LEADS = ["I", "II", "III", "aVR", "aVF", "aVL", "V1", "V2", "V3", "V4", "V5", "V6"]
# By study: subject, time of the ECG, RR interval in ms as measured by the machine.
STUDIES = {
    "40000001": ("10000001", "2180-05-06 12:00:00", "800"),
    "40000002": ("10000001", "2180-05-06 14:10:00", "29999"),
    "40000003": ("10000002", "2150-01-01 00:30:00", "1000"),
    "40000004": ("10000003", "2150-01-01 00:30:00", "750"),
}
LABS = (
    "labevent_id,subject_id,hadm_id,specimen_id,itemid,order_provider_id,charttime,storetime,value,valuenum,valueuom,"
    "ref_range_lower,ref_range_upper,flag,priority,comments\n"
    "1,10000001,,1,50971,,2180-05-06 12:50:00,,6.1,6.1,mEq/L,3.3,5.1,abnormal,STAT,\n"  # 50 min after the first ECG
    "2,10000001,,2,50822,,2180-05-06 11:50:00,,4.1,4.1,mEq/L,3.3,5.1,,,\n"  # 10 min before it, so nearer
    "3,10000001,,3,50971,,2180-05-06 16:00:00,,2.9,2.9,mEq/L,3.3,5.1,abnormal,,\n"  # too late for the second ECG
    '4,10000002,,4,50971,,2149-12-31 23:45:00,,___,3.4,mEq/L,3.3,5.1,,,"a comment, with a comma"\n'
    "5,10000002,,5,50971,,2150-01-01 00:31:00,,HEMOLYZED,,mEq/L,3.3,5.1,,,\n"  # not a number
    "6,10000003,,6,50912,,2150-01-01 00:30:00,,9.9,9.9,mg/dL,0,1,abnormal,,\n"  # creatinine, not potassium
)


@pytest.fixture
def mimic(tmp_path: Path) -> Path:
    """A folder with mimic-iv-ecg/ and mimic-iv/hosp/: four ECGs of three patients."""
    folder, hosp = tmp_path / "mimic-iv-ecg", tmp_path / "mimic-iv" / "hosp"
    folder.mkdir()
    hosp.mkdir(parents=True)
    listed = ["subject_id,study_id,file_name,ecg_time,path"]
    measured = ["subject_id,study_id,cart_id,ecg_time,report_0,bandwidth,filtering,rr_interval,p_onset"]
    for study, (subject, time, rr) in STUDIES.items():
        path = f"files/p{subject[:4]}/p{subject}/s{study}/{study}"
        _write_ecg(folder / path)
        listed.append(f"{subject},{study},{study},{time},{path}")
        measured.append(f'{subject},{study},6848,{time},"Sinus rhythm, borderline",0.005-150 Hz,60 Hz notch,{rr},40')
    # The files of this record do not exist.
    listed.append("10000009,40000009,40000009,2180-01-01 00:00:00,files/p1000/p10000009/s40000009/40000009")
    (folder / "record_list.csv").write_text("\n".join(listed) + "\n")
    (folder / "machine_measurements.csv").write_text("\n".join(measured) + "\n")
    with gzip.open(hosp / "labevents.csv.gz", "wt") as file:
        file.write(LABS)
    (hosp / "patients.csv").write_text(
        "subject_id,gender,anchor_age,anchor_year,anchor_year_group,dod\n"
        "10000001,F,52,2178,2014 - 2016,\n10000002,M,91,2150,2014 - 2016,\n"
    )
    return tmp_path


def _write_ecg(path: Path) -> None:
    path.parent.mkdir(parents=True)
    time = np.arange(5000) / 500.0
    beats = np.arange(0.4, 10.0, 0.8)
    signal = sum(np.exp(-0.5 * ((time - at) / 0.012) ** 2) for at in beats)
    rough = 0.01 * np.random.default_rng(1).standard_normal((5000, 12))
    wfdb.wrsamp(
        path.name, 500, ["mV"] * 12, LEADS, np.asarray(signal)[:, None] + rough, fmt=["16"] * 12,
        adc_gain=[200.0] * 12, baseline=[0] * 12, write_dir=str(path.parent),
    )  # fmt: skip


def _by_study(records: list[MimicRecord]) -> dict[str, MimicRecord]:
    return {record.path.name: record for record in records}


def test_the_nearest_blood_sample_within_the_window_is_used(mimic: Path) -> None:
    records = _by_study(mimic_records(mimic / "mimic-iv-ecg", mimic / "mimic-iv"))
    assert {study: record.potassium for study, record in records.items()} == {
        "40000001": "normal",
        "40000002": None,
        "40000003": "abnormal",  # 3.4 mmol/L, 45 min before
        "40000004": None,
    }
    wider = _by_study(mimic_records(mimic / "mimic-iv-ecg", mimic / "mimic-iv", window_h=2.0))
    assert wider["40000002"].potassium == "abnormal"
    narrow = _by_study(mimic_records(mimic / "mimic-iv-ecg", mimic / "mimic-iv", window_h=0.1))
    assert {record.potassium for record in narrow.values()} == {None}


def test_a_missing_rr_interval_and_an_age_above_89_stay_unknown(mimic: Path) -> None:
    records = _by_study(mimic_records(mimic / "mimic-iv-ecg", mimic / "mimic-iv"))
    assert records["40000001"].rr_s == pytest.approx(0.8)
    assert records["40000002"].rr_s is None
    assert (records["40000001"].age, records["40000001"].sex) == (54.0, "F")
    assert (records["40000003"].age, records["40000003"].sex) == (None, "M")
    assert (records["40000004"].age, records["40000004"].sex) == (None, None)


def test_without_mimic_iv_there_is_no_potassium_age_or_sex(mimic: Path) -> None:
    records = mimic_records(mimic / "mimic-iv-ecg", mimic / "mimic-iv-ecg")
    assert len(records) == 4
    assert {(record.potassium, record.age, record.sex) for record in records} == {(None, None, None)}


def test_examples_have_the_labels_of_their_ecg(mimic: Path) -> None:
    data = DataSet(
        "mimic", "mimic-iv-ecg", labels="mimic-iv-ecg", clinical_folder="mimic-iv", leads=("II",), first_s=5.0
    )
    division = divide(msgspec.structs.replace(data, validation=("40000004",)), mimic)
    assert [source.path.name for source in division.validation] == ["40000004"]
    first = examples_of(division.fit[0])
    assert len(first) >= 4
    assert set(first.labels["potassium"]) == {TASK_CLASSES["potassium"].index("normal")}
    assert set(first.labels["rr"]) == {np.float32(0.8)}
    assert set(first.labels["age"]) == {54.0}
    second = examples_of(division.fit[1])
    assert np.isnan(second.labels["rr"]).all()
    assert set(second.labels["potassium"]) == {-1}


def test_both_ecgs_of_a_patient_are_in_the_same_part_of_the_division(mimic: Path) -> None:
    data = DataSet("mimic", "mimic-iv-ecg", labels="mimic-iv-ecg", leads=("II",), validation_share=0.5)
    division = divide(data, mimic)
    fit, held = ({source.patient for source in half} for half in (division.fit, division.validation))
    assert not fit & held


@pytest.mark.parametrize(
    ("table", "text", "message"),
    [
        ("mimic-iv-ecg/record_list.csv", None, "cannot be read"),
        ("mimic-iv-ecg/record_list.csv", "subject_id,study_id\n", "no column ecg_time, path"),
        ("mimic-iv-ecg/machine_measurements.csv", "study_id\n", "no column rr_interval"),
        ("mimic-iv/hosp/labevents.csv.gz", "plain text", "cannot be read"),
        ("mimic-iv/hosp/labevents.csv", LABS.replace("2180-05-06 12:50:00", "yesterday"), "yesterday"),
    ],
)
def test_a_wrong_table_is_refused_with_the_reason(mimic: Path, table: str, text: str | None, message: str) -> None:
    if text is None:
        (mimic / table).unlink()
    else:
        (mimic / table).write_text(text)
    with pytest.raises(RecordError, match=message):
        mimic_records(mimic / "mimic-iv-ecg", mimic / "mimic-iv")


def test_a_list_without_existing_records_is_refused(mimic: Path) -> None:
    for header in mimic.rglob("*.hea"):
        header.unlink()
    with pytest.raises(RecordError, match="contains none of the records"):
        mimic_records(mimic / "mimic-iv-ecg", mimic / "mimic-iv")


def test_memory_does_not_grow_with_the_number_of_laboratory_values(mimic: Path) -> None:
    others = "".join(f"{i},{20000000 + i},,1,50971,,2180-05-06 12:50:00,,6.1,6.1,,,,,,\n" for i in range(15_000))
    with gzip.open(mimic / "mimic-iv" / "hosp" / "labevents.csv.gz", "at") as file:
        file.write(others)
    tracemalloc.start()
    mimic_records(mimic / "mimic-iv-ecg", mimic / "mimic-iv")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < len(others) / 4
