"""Named splits by patient, and where on the disk their records lie.

The splits of the MIT-BIH Arrhythmia Database are those of de Chazal 2004 (DS1 to fit, DS2 to test, paced
records left out); `-val` are patients held out of the fitting half to choose models on.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from types import MappingProxyType

from ecgmoe_edge.errors import RecordError, UsageError

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
PACED = ("102", "104", "107", "217")
SAME_PERSON = MappingProxyType({"201": "202"})  # 201 lies in DS1, 202 in DS2: one patient

# Name of a split -> its database and its records; None stands for all that `svdb-val` does not hold.
_SPLITS: MappingProxyType[str, tuple[str, tuple[str, ...] | None]] = MappingProxyType(
    {
        "ds1": ("mitdb", DS1),
        "ds2": ("mitdb", DS2),
        "ds1-fit": ("mitdb", DS1_FIT),
        "ds1-val": ("mitdb", DS1_VAL),
        "svdb-fit": ("svdb", None),
        "svdb-val": ("svdb", SVDB_VAL),
    }
)
SPLITS = tuple(_SPLITS)


def data_folder(data: Path | None = None) -> Path:
    """The folder that holds recordings: `data`, or else what the environment variable ECGMOE_DATA names.

    Raises:
        UsageError: neither is given.
        RecordError: the folder does not exist.
    """
    if data is None:
        named = os.environ.get(ENVIRONMENT)
        if not named:
            raise UsageError(
                f"No recordings were named. Give --data DIR, or set {ENVIRONMENT}, to a folder of WFDB "
                "records or to a folder that holds mitdb/, svdb/ and so on."
            )
        data = Path(named)
    if not data.is_dir():
        raise RecordError(f"{data} is not a folder. Give --data, or set {ENVIRONMENT}, to one that holds recordings.")
    return data


def database_folder(data: Path | None, database: str) -> Path:
    """The folder of one database, such as mitdb: inside the data folder, or the data folder itself.

    Raises:
        UsageError: no data folder is given.
        RecordError: the data folder holds no such database.
    """
    folder = data_folder(data)
    if (folder / database).is_dir():
        return folder / database
    if folder.name == database or _holds_records(folder):
        return folder
    raise RecordError(f"{folder} holds neither {database}/ nor WFDB headers (.hea). Give the folder that does.")


def locate(data: Path | None = None, *, split: str | None = None, records: Sequence[str] | None = None) -> list[Path]:
    """Paths, without extension, of the records of a split, of the records named, or of a whole database.

    `data` is a database (it holds .hea files itself) or a folder of databases; there a split chooses its own
    database, records are looked for in mitdb first and then in the others, and mitdb is meant where nothing
    is named. Records that a split or the caller names are listed even where their header is missing, so that
    whoever reads them can say so.

    Raises:
        UsageError: both or an unknown split given, or no data folder.
        RecordError: not one of the records is there.
    """
    if split is not None and records is not None:
        raise UsageError("Give either a split or a list of records, not both.")
    if split is not None:
        return _of_split(data, split)
    if records is not None:
        return _named(data_folder(data), records)
    folder = database_folder(data, DEFAULT_DATABASE)
    found = [header.with_suffix("") for header in sorted(folder.glob("*.hea"))]
    if not found:
        raise RecordError(f"{folder} holds no WFDB header (.hea). Give the folder that does.")
    return found


def noise_record(data: Path | None, kind: str) -> Path:
    """Path, without extension, of a record of the MIT-BIH Noise Stress Test Database: bw, em or ma.

    It is looked for in the data folder's nstdb/, in the data folder itself, and in an nstdb/ beside it.

    Raises:
        UsageError: no data folder is given.
        RecordError: it is in none of them.
    """
    folder = data_folder(data).absolute()
    for place in (folder / NOISE_DATABASE, folder, folder.parent / NOISE_DATABASE):
        if _has_header(place / kind):
            return place / kind
    raise RecordError(
        f"There is no noise record {kind} in {folder / NOISE_DATABASE}. Copy PhysioNet's {NOISE_DATABASE} (the records "
        "bw, em and ma) there, or into a folder of that name beside the recordings."
    )


def _of_split(data: Path | None, split: str) -> list[Path]:
    if split not in _SPLITS:
        raise UsageError(f"There is no split {split!r}. The splits are {', '.join(SPLITS)}.")
    database, names = _SPLITS[split]
    folder = database_folder(data, database)
    if names is None:
        names = tuple(p.stem for p in sorted(folder.glob("*.hea")) if p.stem not in SVDB_VAL)
    paths = [folder / name for name in names]
    if not any(_has_header(path) for path in paths):
        raise RecordError(
            f"{folder} holds no record of the split {split}, whose records are those of {database}. "
            f"Give the folder of {database}, or one that holds {database}/."
        )
    return paths


def _named(folder: Path, records: Sequence[str]) -> list[Path]:
    if not records:
        raise UsageError("The list of records is empty. Name at least one, such as 100,103.")
    folders = [folder, folder / DEFAULT_DATABASE, *(p for p in sorted(folder.iterdir()) if p.is_dir())]
    home = folder if _holds_records(folder) else folder / DEFAULT_DATABASE
    paths = []
    for name in records:
        name = name.removesuffix(".hea")
        paths.append(next((place / name for place in folders if _has_header(place / name)), home / name))
    if not any(_has_header(path) for path in paths):
        raise RecordError(
            f"{folder} holds none of the records {', '.join(records)}: no header {paths[0].name}.hea was "
            "found there or in the folders inside. Name records as their headers are named."
        )
    return paths


def _has_header(path: Path) -> bool:
    return path.with_name(path.name + ".hea").is_file()


def _holds_records(folder: Path) -> bool:
    return next(folder.glob("*.hea"), None) is not None
