"""Scores atrial fibrillation from the RR intervals of annotated beats: no signal, no R-peak detector, no model.

This shows how well RR intervals alone separate fibrillation in a database, and it works for databases of which only the
annotations are at hand, such as a day of each patient of the Long-Term AF Database.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.errors import RecordError
from ecgmoe_edge.records.annotations_alone import read_annotated_record
from ecgmoe_edge.records.databases import patient_of
from ecgmoe_edge.records.names import record_name
from ecgmoe_edge.scoring.cosen import af_seconds, cosen_figures
from ecgmoe_edge.scoring.ec57 import first_scored_sample
from ecgmoe_edge.scoring.record_runs import ModelFile, OnRecord, run_records
from ecgmoe_edge.streaming.beat_model import BeatModel


@dataclass(frozen=True)
class AnnotatedRhythm:
    """Atrial fibrillation in one record: annotated, and reported from the annotated beats."""

    patient: str
    beats: int
    duration_s: float
    af_s: NDArray[np.float64]  # (3,) s, as `cosen.af_seconds` returns them


@dataclass(frozen=True)
class AnnotatedRhythms:
    """Results of all records."""

    records: Mapping[str, AnnotatedRhythm]
    skipped: Mapping[str, str] = field(default_factory=dict)  # record -> reason

    def to_json(self) -> dict[str, Any]:
        """Figures for JSON, in per cent and s."""
        each = self.records.values()
        names = ("annotated_and_reported_s", "annotated_only_s", "reported_only_s")
        return {
            "task": "rhythm",
            "beats": "annotated",
            "records": len(self.records),
            "patients": len({one.patient for one in each}),
            "hours": round(sum(one.duration_s for one in each) / 3600.0, 3),
            "skipped_records": dict(self.skipped),
            "cosen": cosen_figures([one.patient for one in each], np.array([one.af_s for one in each])),
            "per_record": {
                name: {
                    "patient": one.patient,
                    "beats": one.beats,
                    "duration_s": round(one.duration_s, 3),
                    **{key: round(float(value), 1) for key, value in zip(names, one.af_s, strict=True)},
                }
                for name, one in self.records.items()
            },
        }


def score_annotated_beats(
    paths: Sequence[Path],
    extension: str = "atr",
    *,
    whole: bool = False,
    jobs: int = 1,
    on_record: OnRecord | None = None,
) -> AnnotatedRhythms:
    """Score atrial fibrillation by CoSEn of the annotated beats, by duration, over WFDB records.

    Args:
        paths: the records; their signals may be missing.
        extension: extension of the annotation files.
        whole: also score the first five minutes of records of six minutes or more.
        jobs: number of processes.
        on_record: called in this process after each record.

    Raises:
        UsageError: `jobs` is less than one.
        RecordError: no record could be scored.
    """
    work = partial(_score, extension=extension, whole=whole)
    outcomes = run_records(
        {record_name(path): path for path in paths}, work, ModelFile(), jobs=jobs, on_record=on_record
    )
    return AnnotatedRhythms(outcomes.results, outcomes.skipped)


def _score(path: Path, _: BeatModel | None, *, extension: str, whole: bool) -> AnnotatedRhythm:
    record = read_annotated_record(path, extension)
    if not record.annotations.rhythms:
        raise RecordError(f"{record.name} has no rhythm annotations in its .{extension} file.")
    fs, n_samples = record.timeline.fs, record.timeline.n_samples
    first_s = first_scored_sample(fs, n_samples, whole) / fs
    seconds = af_seconds(record.beat_times, record.annotations.rhythms, fs, first_s)
    return AnnotatedRhythm(patient_of(path), len(record.beat_times), n_samples / fs, seconds)
