"""What is known of a recording as a whole - patient, rhythm, age, sex - in the layouts that open data come in.

A folder is known by its files: REFERENCE.csv is the CinC 2017 challenge's, ptbxl_database.csv PTB-XL's; any other
folder of recordings says of each what the file itself and its annotations say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from ecgmoe_edge.errors import RecordError
from ecgmoe_edge.records.databases import patient_of
from ecgmoe_edge.records.facts import Facts, stated_facts
from ecgmoe_edge.records.names import record_name
from ecgmoe_edge.records.registry import holds_recordings, is_recording
from ecgmoe_edge.records.splits import data_folder, database_folder, locate
from ecgmoe_edge.records.tables import CINC_TABLE, PTBXL_TABLE, cinc_rhythms, ptbxl_rows

Layout: TypeAlias = Literal["plain", "cinc2017", "ptbxl"]

_PTBXL_TEST_FOLDS = (9, 10)


@dataclass(frozen=True)
class KnownRecord:
    """A record, and what its data base's table says of it; what its own header says is not here."""

    path: Path  # as `open_recording` takes it
    layout: Layout
    patient: str
    facts: Facts = field(default_factory=dict)  # task -> its class or value, of the whole record

    @property
    def name(self) -> str:
        """Name of the record, without folder and extension."""
        return record_name(self.path)


def layout_of(folder: Path) -> Layout | None:
    """How the records of a folder are laid out; None where it holds none itself."""
    if (folder / CINC_TABLE).is_file():
        return "cinc2017"
    if (folder / PTBXL_TABLE).is_file():
        return "ptbxl"
    return "plain" if holds_recordings(folder) else None


def known_records(
    data: Path | None, default: str, *, split: str | None = None, records: Sequence[str] | None = None
) -> list[KnownRecord]:
    """The records of a split, those named, or all of a folder, with what is known of them.

    Records that a split or the caller names are listed even where they are missing, so that whoever reads them
    can say so.

    Args:
        data: a data base's folder or one of several data bases; None takes what ECGMOE_DATA names.
        default: the data base meant in a folder of several, where neither split nor records say.
        split: a named split.
        records: names of records.

    Raises:
        UsageError: both or an unknown split given, or no data folder.
        RecordError: a table that cannot be read, or not one record is there.
    """
    if split is not None:
        return _with_labels(locate(data, split=split, records=records))
    folder = data_folder(data)
    if layout_of(folder) is None and (records is None or default == "ptbxl"):
        folder = database_folder(data, default)
    if layout_of(folder) == "ptbxl":
        return _of_ptbxl(folder, records)
    return _with_labels(locate(folder, records=records))


def _of_ptbxl(folder: Path, records: Sequence[str] | None) -> list[KnownRecord]:
    listed = {one.name: one for one in _ptbxl(folder).values()}
    names = [name.removesuffix(".hea") for name in records] if records is not None else list(listed)
    if not any(name in listed for name in names):
        raise RecordError(f"{folder} holds none of the records asked for. Name them as their headers are named.")
    return [listed.get(name) or KnownRecord(folder / name, "ptbxl", name) for name in names]


def _with_labels(paths: Sequence[Path]) -> list[KnownRecord]:
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


def others_of(evaluated: Sequence[KnownRecord]) -> list[KnownRecord]:
    """The other patients of the tables that these records stand in, as far as their records are there.

    Of PTB-XL, folds 9 and 10 are left out: they are the authors' own test folds.
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
