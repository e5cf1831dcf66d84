"""Identifies recordings of open databases by their content.

Each module of this package holds the special properties of one database. They apply only to recordings whose content
identifies them as records of that database; a user's recording with the name 201 is not record 201 of MIT-BIH.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ecgmoe_edge.records.databases import mitdb
from ecgmoe_edge.records.names import record_name


@dataclass(frozen=True)
class Origin:
    """Identity of a record in a database."""

    database: str  # mitdb
    record: str  # name of the record in the database
    patient: str  # the same for all records of one person
    dominates_s: bool = False  # has so many S beats that the figures of S are also given without this record


def origin_of(path: Path) -> Origin | None:
    """The record of a known database at `path`, whatever its file is called; None if it is no such record."""
    record = mitdb.record_of(path)
    if record is None:
        return None
    patient = mitdb.SAME_PERSON.get(record, record)
    return Origin("mitdb", record, patient, dominates_s=record == mitdb.DOMINANT_S_RECORD)


def patient_of(path: Path) -> str:
    """Identifier of the patient: the name of the record, or a common name for the records of one known person."""
    origin = origin_of(path)
    return record_name(path) if origin is None else origin.patient
