from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ecgmoe_edge.errors import RecordError, UsageError
from ecgmoe_edge.records.databases.mitdb import PACED
from ecgmoe_edge.records.splits import (
    DS1,
    DS1_FIT,
    DS1_VAL,
    DS2,
    SVDB_VAL,
    data_folder,
    database_folder,
    hash_fraction,
    locate,
)


def _database(folder: Path, names: tuple[str, ...]) -> Path:
    folder.mkdir(parents=True)
    for name in names:
        (folder / f"{name}.hea").write_text("")
    return folder


@pytest.fixture
def databases(tmp_path: Path) -> Path:
    _database(tmp_path / "mitdb", (*DS1, *DS2, *PACED))
    _database(tmp_path / "svdb", ("800", "808", "825", "899"))
    return tmp_path


def test_ds1_and_ds2_are_complete_and_share_no_patient() -> None:
    assert len(DS1) == len(DS2) == 22
    assert not set(DS1) & set(DS2)
    assert not (set(DS1) | set(DS2)) & set(PACED)
    assert sorted(DS1_FIT + DS1_VAL) == sorted(DS1)
    assert len(SVDB_VAL) == 12


def test_a_split_chooses_its_database(databases: Path) -> None:
    assert [path.name for path in locate(databases, split="ds2")] == list(DS2)
    assert locate(databases, split="ds1-val")[0] == databases / "mitdb" / "112"
    assert [path.name for path in locate(databases, split="svdb-fit")] == ["800", "899"]
    assert {path.parent.name for path in locate(databases, split="svdb-val")} == {"svdb"}


def test_a_folder_of_records_is_used_directly(databases: Path) -> None:
    assert len(locate(databases / "mitdb")) == 48
    assert [path.name for path in locate(databases / "svdb", split="svdb-fit")] == ["800", "899"]
    assert len(locate(databases / "mitdb", split="ds1")) == 22


def test_mitdb_is_the_default_database(databases: Path) -> None:
    assert len(locate(databases)) == 48


def test_records_are_found_in_any_database_and_missing_ones_stay_in_the_list(databases: Path) -> None:
    paths = locate(databases, records=["100", "808", "nope"])
    assert paths == [databases / "mitdb" / "100", databases / "svdb" / "808", databases / "mitdb" / "nope"]


def test_an_option_overrides_the_environment_variable(
    databases: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ECGMOE_DATA", str(databases))
    assert data_folder() == databases
    assert data_folder(databases / "svdb") == databases / "svdb"
    assert database_folder(None, "svdb") == databases / "svdb"
    assert database_folder(databases / "svdb", "svdb") == databases / "svdb"


def test_without_a_data_folder_the_message_names_option_and_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ECGMOE_DATA", raising=False)
    with pytest.raises(UsageError, match=r"--data DIR, or set ECGMOE_DATA"):
        locate()


def test_missing_folders_and_records_are_reported(databases: Path, tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="is not a folder"):
        locate(tmp_path / "gone")
    with pytest.raises(UsageError, match=r"no split 'ds3'\. The splits are ds1, ds2"):
        locate(databases, split="ds3")
    with pytest.raises(UsageError, match="not both"):
        locate(databases, split="ds1", records=["100"])
    with pytest.raises(RecordError, match="any of the records 1, 2"):
        locate(databases, records=["1", "2"])
    with pytest.raises(RecordError, match="contains no record of the split ds1"):
        locate(databases / "svdb", split="ds1")
    with pytest.raises(RecordError, match=r"neither ptbxl/ nor a recording"):
        database_folder(databases, "ptbxl")


def test_splits_import_no_large_package() -> None:
    heavy = {"pandas", "torch", "wfdb"}
    code = f"import sys, ecgmoe_edge.records.splits; print(*({heavy} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    assert done.stdout.strip() == ""


def test_a_fifth_of_any_part_of_cinc_2017_is_held_out(tmp_path: Path) -> None:
    names = tuple(f"A{number:05d}" for number in range(1, 401))
    _database(tmp_path / "all" / "cinc2017", names)
    held = [path.name for path in locate(tmp_path / "all", split="cinc-val")]
    fit = [path.name for path in locate(tmp_path / "all", split="cinc-fit")]
    assert sorted(held + fit) == list(names)
    assert 0.15 < len(held) / len(names) < 0.25
    _database(tmp_path / "part" / "cinc2017", names[::2])
    assert {path.name for path in locate(tmp_path / "part", split="cinc-val")} == set(held) & set(names[::2])


def test_the_hash_is_the_documented_one() -> None:
    digest = hashlib.sha256(b"cinc2017/A00001").hexdigest()
    assert hash_fraction("cinc2017/A00001") == int(digest[:16], 16) / 2**64


def test_ptbxl_is_split_by_its_folds(tmp_path: Path) -> None:
    folder = _database(tmp_path / "ptbxl" / "records100", tuple(f"{fold:05d}_lr" for fold in range(1, 11))).parent
    rows = [f"{fold},{fold}.0,50.0,1,{fold},records100/{fold:05d}_lr" for fold in range(1, 11)]
    table = "\n".join(["ecg_id,patient_id,age,sex,strat_fold,filename_lr", *rows, "11,11.0,50.0,1,8,records100/absent"])
    (folder / "ptbxl_database.csv").write_text(table)
    assert [path.name for path in locate(tmp_path, split="ptbxl-fold8")] == ["00008_lr"]
    assert [path.name for path in locate(folder, split="ptbxl-fit")] == [f"{fold:05d}_lr" for fold in range(1, 8)]
    (folder / "ptbxl_database.csv").write_text("ecg_id,age\n1,50\n")
    with pytest.raises(RecordError, match="lacks columns"):
        locate(folder, split="ptbxl-fit")
