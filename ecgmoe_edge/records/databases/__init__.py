"""Which open data base a recording is from, as its content shows: a record's name alone says nothing.

What is special about one data base lies in a module of its own here, and holds for the recordings that are found to be
of it. A user's recording called 201 is not MIT-BIH's.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ecgmoe_edge.records.databases import mitdb
from ecgmoe_edge.records.names import record_name


@dataclass(frozen=True)
class Origin:
    """A record of a data base, by the name that it has there."""

    database: str  # mitdb
    record: str
    patient: str  # the same for two records of one person
    dominates_s: bool = False  # holds so many S beats that S is given without it too


def origin_of(path: Path) -> Origin | None:
    """Which record of a known data base lies at `path`, whatever it is called there; None where it is none of them."""
    record = mitdb.record_of(path)
    if record is None:
        return None
    patient = mitdb.SAME_PERSON.get(record, record)
    return Origin("mitdb", record, patient, dominates_s=record == mitdb.DOMINANT_S_RECORD)


def patient_of(path: Path) -> str:
    """Whose record it is: the record's name, but for two records that are known to be one person's."""
    origin = origin_of(path)
    return record_name(path) if origin is None else origin.patient
