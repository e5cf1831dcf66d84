"""Finds recordings in the folder layouts of open databases, with the patient, rhythm, age and sex of each.

A folder with REFERENCE.csv has the layout of the CinC 2017 challenge, a folder with ptbxl_database.csv that of PTB-XL.
In any other folder of recordings, labels come from the recordings themselves and from their annotations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from ecgmoe_edge.errors import RecordError
from ecgmoe_edge.records.databases import patient_of
from ecgmoe_edge.records.names import record_name
from ecgmoe_edge.records.recording import Facts, stated_facts
from ecgmoe_edge.records.registry import holds_recordings, is_recording
from ecgmoe_edge.records.splits import data_folder, database_folder, locate
from ecgmoe_edge.records.tables import CINC_TABLE, PTBXL_TABLE, cinc_rhythms, ptbxl_rows

Layout: TypeAlias = Literal["plain", "cinc2017", "ptbxl"]

_PTBXL_TEST_FOLDS = (9, 10)


@dataclass(frozen=True)
class KnownRecord:
    """A record and the labels in the table of its database; labels in its own header are not included."""

    path: Path  # as `open_recording` accepts it
    layout: Layout
    patient: str
    facts: Facts = field(default_factory=dict)  # task -> class or value of the whole record

    @property
    def name(self) -> str:
        """Name of the record, without folder and extension."""
        return record_name(self.path)


def layout_of(folder: Path) -> Layout | None:
    """The layout of a folder; None if it contains no records itself."""
    if (folder / CINC_TABLE).is_file():
        return "cinc2017"
    if (folder / PTBXL_TABLE).is_file():
        return "ptbxl"
    return "plain" if holds_recordings(folder) else None


def known_records(
    data: Path | None, default: str, *, split: str | None = None, records: Sequence[str] | None = None
) -> list[KnownRecord]:
    """The records of a split, the named records, or all records of a folder, with their known labels.

    Records that are named, or are part of a split, are listed even if they are missing, so that the caller can report
    them.

    Args:
        data: folder of one database or of several databases; None takes the folder in ECGMOE_DATA.
        default: database to use in a folder of several databases if neither split nor records decide.
        split: name of a split.
        records: names of records.

    Raises:
        UsageError: both a split and records are given, the split is unknown, or no data folder is given.
        RecordError: a table cannot be read, or none of the records exists.
    """
    if split is not None:
        return _labelled(locate(data, split=split, records=records))
    folder = data_folder(data)
    if layout_of(folder) is None and (records is None or default == "ptbxl"):
        folder = database_folder(data, default)
    if layout_of(folder) == "ptbxl":
        return _ptbxl_records(folder, records)
    return _labelled(locate(folder, records=records))


def _ptbxl_records(folder: Path, records: Sequence[str] | None) -> list[KnownRecord]:
    listed = {one.name: one for one in _ptbxl(folder).values()}
    names = [name.removesuffix(".hea") for name in records] if records is not None else list(listed)
    if not any(name in listed for name in names):
        raise RecordError(f"{folder} contains none of the named records. Name them by their header files.")
    return [listed.get(name) or KnownRecord(folder / name, "ptbxl", name) for name in names]


def _labelled(paths: Sequence[Path]) -> list[KnownRecord]:
    tables: dict[Path, Mapping[Path, KnownRecord]] = {}
    known = []
    for path in paths:
        home = next((place for place in (path.parent, *path.parent.parents[:2]) if _is_labelled(place)), None)
        if home is None:
            known.append(KnownRecord(path, "plain", patient_of(path)))
            continue
        if home not in tables:
            tables[home] = _cinc(home) if layout_of(home) == "cinc2017" else _ptbxl(home)
        layout: Layout = "cinc2017" if layout_of(home) == "cinc2017" else "ptbxl"
        known.append(tables[home].get(path) or KnownRecord(path, layout, record_name(path)))
    return known


def _is_labelled(folder: Path) -> bool:
    return layout_of(folder) in ("cinc2017", "ptbxl")


def _cinc(folder: Path) -> dict[Path, KnownRecord]:
    return {
        folder / name: KnownRecord(folder / name, "cinc2017", name, stated_facts(rhythm=rhythm))
        for name, rhythm in cinc_rhythms(folder).items()
    }


def _ptbxl(folder: Path) -> dict[Path, KnownRecord]:
    known = (
        KnownRecord(folder / row.record, "ptbxl", row.patient.removesuffix(".0"), stated_facts(row.age, row.sex))
        for row in ptbxl_rows(folder)
    )
    return {one.path: one for one in known if is_recording(one.path)}


def other_patients(evaluated: Sequence[KnownRecord]) -> list[KnownRecord]:
    """The present records of the other patients in the PTB-XL tables that list these records.

    Folds 9 and 10 are excluded, because they are the test folds of PTB-XL.
    """
    homes = {home for one in evaluated for home in one.path.parents[:3] if layout_of(home) == "ptbxl"}
    patients = {one.patient for one in evaluated}
    held_back = {home / row.record for home in homes for row in ptbxl_rows(home) if row.fold in _PTBXL_TEST_FOLDS}
    return [
        one
        for home in sorted(homes)
        for path, one in _ptbxl(home).items()
        if one.patient not in patients and path not in held_back
    ]
