"""Named splits, grouped by patient, and the paths of their records.

- `ds1`, `ds2`: MIT-BIH Arrhythmia Database, split of de Chazal 2004 (DS1 to fit, DS2 to test, without paced records).
- `...-val`: patients held out of the fitting data to select models; `...-fit`: the others.
- `cinc-val`: a fifth of the records of the CinC 2017 challenge, which does not identify patients, selected by a hash of
  the record names (`hash_fraction`). The selection is the same for everybody, and for a part of the database too.
- `ptbxl-fold8`: fold 8 of PTB-XL by its table (`strat_fold`); `ptbxl-fit`: folds 1 to 7. Folds 9 and 10 are the test
  folds of its authors.

Records 875, 878 and 879 of svdb, which are in `svdb-fit`, are excerpts of records 14157 and 14172 of the MIT-BIH
Long-Term Database; sel14157 and sel14172 of the QT Database are the same patients (`records.overlaps` finds excerpts).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType

from ecgmoe_edge.errors import RecordError, UsageError
from ecgmoe_edge.records.names import record_name
from ecgmoe_edge.records.registry import (
    find_recordings,
    formats_in_folders,
    holds_recordings,
    is_recording,
    recognised_path,
)
from ecgmoe_edge.records.tables import ptbxl_rows

ENVIRONMENT = "ECGMOE_DATA"
DEFAULT_DATABASE = "mitdb"
NOISE_DATABASE = "nstdb"


def _names(listed: str) -> tuple[str, ...]:
    return tuple(listed.split())


DS1 = _names("101 106 108 109 112 114 115 116 118 119 122 124 201 203 205 207 208 209 215 220 223 230")
DS2 = _names("100 103 105 111 113 117 121 123 200 202 210 212 213 214 219 221 222 228 231 232 233 234")
DS1_VAL = _names("112 118 119 124 223")
DS1_FIT = tuple(name for name in DS1 if name not in DS1_VAL)
SVDB_VAL = _names("808 825 841 848 851 855 861 868 874 877 887 893")
LTAFDB_VAL = _names("21 28 47 58 60 72 102 103 112 121 200 203")

CINC_VAL_SHARE = 0.2
PTBXL_VAL_FOLD = 8


def hash_fraction(name: str) -> float:
    """A fraction in [0, 1) that depends only on the name: the first 64 bits of its SHA-256, divided by 2^64.

    A record is held out for validation if its fraction is below the validation share. The split of existing records
    does not change if records are added. The name of a record of CinC 2017 is, for example, "cinc2017/A00001".
    """
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") / 2**64


def _others(folder: Path, *, names: tuple[str, ...]) -> list[Path]:
    return [path for path in find_recordings(folder) if record_name(path) not in names]


def _cinc(folder: Path, *, held_out: bool) -> list[Path]:
    return [
        path
        for path in find_recordings(folder)
        if (hash_fraction(f"cinc2017/{record_name(path)}") < CINC_VAL_SHARE) == held_out
    ]


def _ptbxl(folder: Path, *, folds: range) -> list[Path]:
    paths = [folder / row.record for row in ptbxl_rows(folder) if row.fold in folds]
    return [path for path in paths if is_recording(path)]


def _named_records(folder: Path, *, names: tuple[str, ...]) -> list[Path]:
    return [folder / name for name in names]


_Select = Callable[[Path], list[Path]]  # from the folder of a database to the records of a split
_SPLITS: MappingProxyType[str, tuple[str, _Select]] = MappingProxyType(
    {
        "ds1": ("mitdb", partial(_named_records, names=DS1)),
        "ds2": ("mitdb", partial(_named_records, names=DS2)),
        "ds1-fit": ("mitdb", partial(_named_records, names=DS1_FIT)),
        "ds1-val": ("mitdb", partial(_named_records, names=DS1_VAL)),
        "svdb-fit": ("svdb", partial(_others, names=SVDB_VAL)),
        "svdb-val": ("svdb", partial(_named_records, names=SVDB_VAL)),
        "ltafdb-fit": ("ltafdb", partial(_others, names=LTAFDB_VAL)),
        "ltafdb-val": ("ltafdb", partial(_named_records, names=LTAFDB_VAL)),
        "cinc-fit": ("cinc2017", partial(_cinc, held_out=False)),
        "cinc-val": ("cinc2017", partial(_cinc, held_out=True)),
        "ptbxl-fit": ("ptbxl", partial(_ptbxl, folds=range(1, PTBXL_VAL_FOLD))),
        "ptbxl-fold8": ("ptbxl", partial(_ptbxl, folds=range(PTBXL_VAL_FOLD, PTBXL_VAL_FOLD + 1))),
    }
)
SPLITS = tuple(_SPLITS)


def data_folder(data: Path | None = None) -> Path:
    """The folder of recordings: `data`, or the folder in the environment variable ECGMOE_DATA.

    Raises:
        UsageError: neither is given.
        RecordError: the folder does not exist.
    """
    if data is None:
        named = os.environ.get(ENVIRONMENT)
        if not named:
            raise UsageError(
                f"No recordings were named. Give --data DIR, or set {ENVIRONMENT}, with a folder of "
                "recordings or a folder that contains mitdb/, svdb/ and so on."
            )
        data = Path(named)
    if not data.is_dir():
        raise RecordError(f"{data} is not a folder. Give --data, or set {ENVIRONMENT}, with a folder of recordings.")
    return data


def database_folder(data: Path | None, database: str) -> Path:
    """The folder of one database, such as mitdb: in the data folder, or the data folder itself.

    Raises:
        UsageError: no data folder is given.
        RecordError: the data folder does not contain the database.
    """
    folder = data_folder(data)
    if (folder / database).is_dir():
        return folder / database
    if folder.name == database or holds_recordings(folder) or (folder / f"{database}_database.csv").is_file():
        return folder
    raise RecordError(
        f"{folder} contains neither {database}/ nor a recording of these formats: {formats_in_folders()}. "
        "Give another folder."
    )


def locate(data: Path | None = None, *, split: str | None = None, records: Sequence[str] | None = None) -> list[Path]:
    """Paths of the records of a split, of the named records, or of a whole database, as `open_recording` accepts them.

    Records that are named, or are part of a split, are listed even if they are missing, so that the caller can report
    them.

    Args:
        data: a folder with recordings, or a folder of databases; None takes the folder in ECGMOE_DATA. In a folder of
            databases a split selects its own database, named records are searched in mitdb first and then in the
            others, and mitdb is the default.
        split: name of a split.
        records: names of records.

    Raises:
        UsageError: both a split and records are given, the split is unknown, or no data folder is given.
        RecordError: none of the records exists.
    """
    if split is not None and records is not None:
        raise UsageError("Give either a split or a list of records, not both.")
    if split is not None:
        return _split_records(data, split)
    if records is not None:
        return _named_paths(data_folder(data), records)
    folder = database_folder(data, DEFAULT_DATABASE)
    found = find_recordings(folder)
    if not found:
        raise RecordError(
            f"{folder} contains no recording of these formats: {formats_in_folders()}. Give another folder."
        )
    return found


def noise_record(data: Path | None, kind: str) -> Path:
    """Path of a record of the MIT-BIH Noise Stress Test Database.

    It is searched in nstdb/ in the data folder, in the data folder itself, and in nstdb/ beside the data folder.

    Args:
        data: the data folder; None takes the folder in ECGMOE_DATA.
        kind: bw, em or ma.

    Raises:
        UsageError: no data folder is given.
        RecordError: the record is in none of these folders.
    """
    folder = data_folder(data).absolute()
    for place in (folder / NOISE_DATABASE, folder, folder.parent / NOISE_DATABASE):
        if is_recording(place / kind):
            return place / kind
    raise RecordError(
        f"There is no noise record {kind} in {folder / NOISE_DATABASE}. Copy PhysioNet's {NOISE_DATABASE} (the records "
        "bw, em and ma) there, or into a folder of that name beside the recordings."
    )


def _split_records(data: Path | None, split: str) -> list[Path]:
    if split not in _SPLITS:
        raise UsageError(f"There is no split {split!r}. The splits are {', '.join(SPLITS)}.")
    database, select = _SPLITS[split]
    folder = database_folder(data, database)
    paths = select(folder)
    if not any(is_recording(path) for path in paths):
        raise RecordError(
            f"{folder} contains no record of the split {split}, which is a split of {database}. "
            f"Give the folder of {database}, or a folder that contains {database}/."
        )
    return paths


def _named_paths(folder: Path, records: Sequence[str]) -> list[Path]:
    if not records:
        raise UsageError("The list of records is empty. Name at least one, such as 100,103.")
    folders = [folder, folder / DEFAULT_DATABASE, *(p for p in sorted(folder.iterdir()) if p.is_dir())]
    home = folder if holds_recordings(folder) else folder / DEFAULT_DATABASE
    paths = []
    for name in records:
        found = (_in_folder(place, name) for place in folders)
        paths.append(next((path for path in found if path is not None), home / name))
    if not any(is_recording(path) for path in paths):
        raise RecordError(
            f"Neither {folder} nor the folders in it contain any of the records {', '.join(records)}. Name records "
            "by their files."
        )
    return paths


def _in_folder(folder: Path, name: str) -> Path | None:
    """The recording in a folder with this file name, or with this name without extension."""
    path = recognised_path(folder / name)
    if path is not None:
        return path
    return next((path for path in find_recordings(folder) if record_name(path) == name), None)
