"""Scores atrial fibrillation from the RR intervals of annotated beats: no signal, no R-peak detector.

This shows how well a model, and CoSEn, separate fibrillation by RR intervals alone. It works for databases of which
only the annotations are at hand, such as a day of each patient of the Long-Term AF Database.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.contract import CONTEXT_S, RHYTHM_TASK
from ecgmoe_edge.errors import RecordError, UsageError
from ecgmoe_edge.records.annotations_alone import read_annotated_record
from ecgmoe_edge.records.databases import patient_of
from ecgmoe_edge.records.names import record_name
from ecgmoe_edge.scoring.cosen import af_figures, af_seconds, cosen_figures
from ecgmoe_edge.scoring.ec57 import first_scored_sample
from ecgmoe_edge.scoring.record_runs import ModelFile, OnRecord, run_records
from ecgmoe_edge.scoring.rhythm_durations import af_durations, reported_af
from ecgmoe_edge.scoring.rhythm_from_intervals import reported_rhythms
from ecgmoe_edge.streaming.beat_model import BeatModel


@dataclass(frozen=True)
class AnnotatedRhythm:
    """Atrial fibrillation in one record: annotated, and reported from the annotated beats."""

    patient: str
    beats: int
    duration_s: float
    #: (3,) s, as `rhythm_durations.af_durations` returns them.
    af_by_cosen: NDArray[np.float64]
    af_by_model: NDArray[np.float64] | None  # None without a model


@dataclass(frozen=True)
class AnnotatedRhythms:
    """Results of all records."""

    records: Mapping[str, AnnotatedRhythm]
    skipped: Mapping[str, str] = field(default_factory=dict)  # record -> reason

    def to_json(self) -> dict[str, Any]:
        """Figures for JSON, in per cent and s."""
        each = self.records.values()
        patients = [one.patient for one in each]
        by_model = [one.af_by_model for one in each if one.af_by_model is not None]
        return {
            "task": "rhythm",
            "beats": "annotated",
            "records": len(self.records),
            "patients": len(set(patients)),
            "hours": round(sum(one.duration_s for one in each) / 3600.0, 3),
            "skipped_records": dict(self.skipped),
            "cosen": cosen_figures(patients, np.array([one.af_by_cosen for one in each])),
            "model_af": af_figures(patients, np.array(by_model)) if by_model else None,
            "per_record": {
                name: {
                    "patient": one.patient,
                    "beats": one.beats,
                    "duration_s": round(one.duration_s, 3),
                    **_seconds(one.af_by_cosen),
                    "model_af": None if one.af_by_model is None else _seconds(one.af_by_model),
                }
                for name, one in self.records.items()
            },
        }


def _seconds(af: NDArray[np.float64]) -> dict[str, float]:
    names = ("annotated_and_reported_s", "annotated_only_s", "reported_only_s")
    return {name: round(float(value), 1) for name, value in zip(names, af, strict=True)}


def score_annotated_beats(
    paths: Sequence[Path],
    model: ModelFile,
    extension: str = "atr",
    *,
    whole: bool = False,
    jobs: int = 1,
    on_record: OnRecord | None = None,
) -> AnnotatedRhythms:
    """Score atrial fibrillation by the model and by CoSEn of the annotated beats, by duration, over WFDB records.

    Args:
        paths: the records; their signals may be missing.
        model: the model; without one, CoSEn alone is scored.
        extension: extension of the annotation files.
        whole: also score the first five minutes of records of six minutes or more.
        jobs: number of processes.
        on_record: called in this process after each record.

    Raises:
        UsageError: the model has no task rhythm or needs the signal, or `jobs` is less than one.
        RecordError: no record could be scored.
        BundleError, ModelError, MissingExtra: the model cannot be loaded, or an output is NaN or infinite.
    """
    _check_model(model.open())
    work = partial(_score, extension=extension, whole=whole)
    outcomes = run_records({record_name(path): path for path in paths}, work, model, jobs=jobs, on_record=on_record)
    return AnnotatedRhythms(outcomes.results, outcomes.skipped)


def _check_model(model: BeatModel | None) -> None:
    if model is None:
        return
    remedy = "Give another one with --bundle or --student, or --only rpeaks to score CoSEn alone."
    if RHYTHM_TASK not in model.tasks:
        raise UsageError(f"This model does not recognise rhythms; its tasks are {', '.join(model.tasks)}. {remedy}")
    if model.context_samples:
        raise UsageError(
            f"This model needs the last {CONTEXT_S} s of the signal, and --annotated-beats reads no signal. {remedy}"
        )


def _score(path: Path, model: BeatModel | None, *, extension: str, whole: bool) -> AnnotatedRhythm:
    record = read_annotated_record(path, extension)
    if not record.annotations.rhythms:
        raise RecordError(f"{record.name} has no rhythm annotations in its .{extension} file.")
    fs, n_samples = record.timeline.fs, record.timeline.n_samples
    first_s = first_scored_sample(fs, n_samples, whole) / fs
    times, rhythms = record.beat_times, record.annotations.rhythms
    by_cosen = af_seconds(times, rhythms, fs, first_s)
    by_model = None
    if model is not None:
        by_model = af_durations(rhythms, *reported_af(reported_rhythms(times, model)), fs, first_s)
    return AnnotatedRhythm(patient_of(path), len(times), n_samples / fs, by_cosen, by_model)
