"""Runs one record and compares the predictions of one task (rhythm, mean RR, age or sex) with its labels.

The prediction for a record is the mean over its beats: of the output for a regression, of the logits for a
classification. A monitor could compute it at the end of the record. Beats of the first five seconds are excluded if
there are later beats, because the model has too little context there. (Over 600 records of `cinc-fit`, the mean F1 was
one percentage point higher with the mean of logits than with the mean of probabilities.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.contract import routes_by_path, unusable_outputs
from ecgmoe_edge.errors import ModelError, RecordError
from ecgmoe_edge.records.annotations import BeatAnnotations, read_annotations
from ecgmoe_edge.records.layouts import KnownRecord
from ecgmoe_edge.records.opening import chosen_leads, open_in_batch
from ecgmoe_edge.records.recording import Lead, OpenOptions, Recording, Remark, facts_of
from ecgmoe_edge.scoring.cosen import THRESHOLD, af_seconds, cosen
from ecgmoe_edge.scoring.ec57 import first_scored_sample
from ecgmoe_edge.scoring.live_run import LiveRun, run_live
from ecgmoe_edge.scoring.rhythm_durations import rhythm_durations
from ecgmoe_edge.streaming.beat_model import BeatModel
from ecgmoe_edge.streaming.monitor import Monitor
from ecgmoe_edge.streaming.signal.mains import AUTO, MainsChoice
from ecgmoe_edge.streaming.signal.windows import BEAT_GRID, MODEL_RATE_HZ, WIDE_GRID
from ecgmoe_edge.tasks import Task, task_named

WARM_UP_S = 5.0  # beats before this time are excluded from the mean of a record
RR_WINDOW_S = 10.0
_BLOCK_S = 60.0


@dataclass(frozen=True)
class TaskOptions:
    """How all records are run and scored."""

    task: str  # name of a task in `tasks.TASKS`
    lead: Lead | None = None  # None: II for PTB-XL, on which models are trained; else the first lead with a signal
    invert: bool = False  # reverse the polarity
    mains: MainsChoice = AUTO
    whole: bool = False  # also score the first five minutes
    extension: str = "atr"  # extension of the annotation file
    stated: OpenOptions | None = None  # sampling rate, unit and so on of files that do not state them


@dataclass(frozen=True)
class TaskRecord:
    """Label and prediction of one record; fields of other tasks keep their defaults."""

    name: str
    patient: str
    lead: str
    duration_s: float
    beats: int
    truth: str | float | None = None  # class, or value in the unit of the task
    answer: str | float | None = None  # prediction; None: there is none
    #: Class -> probability, from the mean logits of the beats.
    probabilities: Mapping[str, float] = field(default_factory=dict)
    table: NDArray[np.float64] | None = None  # (RHYTHMS, ANSWERS) durations, s
    rr_errors_ms: NDArray[np.float64] | None = None  # (windows, 2): model (NaN without one), detector alone
    #: (3,) AF annotated and reported by CoSEn, annotated only, reported only: in s, or 0 and 1 for a whole record.
    af_by_cosen: NDArray[np.float64] | None = None
    experts: Mapping[str, tuple[int, ...]] = field(default_factory=dict)  # path -> number of beats of each expert
    remarks: tuple[Remark, ...] = ()


def answer_record(known: KnownRecord, model: BeatModel | None, options: TaskOptions) -> TaskRecord:
    """Run one record through the live pipeline and compare its predictions with the labels.

    Args:
        known: the record and its known labels.
        model: the loaded model; None for the R-peak detector alone.
        options: how the record is run and scored.

    Raises:
        RecordError: the record cannot be read, has no signal, or has no label for this task.
        SignalError: the front end does not support the sampling rate.
        ModelError: an output of the model is NaN or infinite.
    """
    record = open_in_batch(known.path, options.stated)
    task = task_named(options.task)
    truth = _truth(known, record, task)
    annotated = _annotations(known, record, task, options.extension)
    lead = options.lead if options.lead is not None else "II" if known.layout == "ptbxl" else None
    chosen = chosen_leads(record, None if lead is None else [lead])
    (position,) = chosen.positions
    monitor = Monitor(model, record.fs, leads=(record.leads[position],), invert=options.invert, mains=options.mains)
    live = run_live(monitor, record.blocks(_BLOCK_S, leads=[position]))
    if unusable := unusable_outputs(live.outputs):
        raise ModelError(
            f"For {known.name} the model outputs NaN or infinity ({', '.join(unusable)}): train the model again."
        )
    answer: str | float | None = None
    probabilities, table, errors, af_by_cosen = dict[str, float](), None, None, None
    if task.score == "intervals" and annotated is not None:
        errors = _rr_errors(live, annotated, model, record, options.whole)
    elif task.score == "rhythm" and annotated is not None:
        first_s = first_scored_sample(record.fs, record.n_samples, options.whole) / record.fs
        table = rhythm_durations(annotated.rhythms, live.rhythms, record.fs, first_s)
        times = np.array([beat.time_s for beat in live.beats])
        af_by_cosen = af_seconds(times, annotated.rhythms, record.fs, first_s)
    elif task.kind == "regression":
        answer = _mean_answer(live, task.name)
    elif model is not None:
        probabilities = _record_probabilities(live, task.name, model)
        unanswered = "noisy" if task.score == "rhythm" else None  # a record without a detected beat counts as noisy
        answer = max(probabilities, key=probabilities.__getitem__) if probabilities else unanswered
        if task.score == "rhythm":
            af_by_cosen = _af_of_record_by_cosen(live, truth == "AF")
    return TaskRecord(
        name=known.name,
        patient=known.patient,
        lead=record.leads[position],
        duration_s=record.n_samples / record.fs,
        beats=len(live.beats),
        truth=truth,
        answer=answer,
        probabilities=probabilities,
        table=table,
        rr_errors_ms=errors,
        af_by_cosen=af_by_cosen,
        experts=expert_counts(live),
        remarks=chosen.remarks,
    )


def _af_of_record_by_cosen(live: LiveRun, annotated: bool) -> NDArray[np.float64]:
    """The three numbers of `af_seconds`, as 0 and 1, for a record with one label: the value after the last beat."""
    values = cosen(np.array([beat.rr_ms for beat in live.beats if beat.rr_ms is not None]) / 1000.0)
    reported = bool(len(values)) and bool(values[-1] >= THRESHOLD)
    return np.array([annotated and reported, annotated and not reported, reported and not annotated], np.float64)


def expert_counts(live: LiveRun) -> dict[str, tuple[int, ...]]:
    """For each path, the number of beats for which each expert was selected."""
    return {
        path: tuple(np.bincount(logits.argmax(1), minlength=logits.shape[1]).tolist())
        for path, logits in routes_by_path(live.outputs).items()
    }


def _truth(known: KnownRecord, record: Recording, task: Task) -> str | float | None:
    """Label of the whole record, a class or a number; None if the labels are in its annotations."""
    fact = {**facts_of(record), **known.facts}.get(task.name)
    if fact is None and task.scope == "recording":
        raise RecordError(f"The {task.name} of {known.name} is unknown: neither a table nor the header states it.")
    return float(fact) if task.kind == "regression" and fact is not None else fact


def _annotations(known: KnownRecord, record: Recording, task: Task, extension: str) -> BeatAnnotations | None:
    if task.scope == "recording" or task.name in known.facts:
        return None
    annotated = read_annotations(record, extension, beats_needed=task.score != "rhythm")
    if task.score == "rhythm" and not annotated.rhythms:
        raise RecordError(f"{known.name} has no rhythm annotations in its .{extension} file.")
    return annotated


def _beats_after_warm_up(live: LiveRun) -> NDArray[np.int64]:
    times = np.array([beat.time_s for beat in live.beats])
    late = np.flatnonzero(times >= WARM_UP_S)
    return late if late.size else np.arange(times.size)


def _mean_answer(live: LiveRun, task: str) -> float | None:
    chosen = _beats_after_warm_up(live)
    return float(live.outputs[task][chosen].mean()) if chosen.size else None


def _record_probabilities(live: LiveRun, task: str, model: BeatModel) -> dict[str, float]:
    chosen = _beats_after_warm_up(live)
    if not chosen.size:
        return {}
    mean = live.outputs[task][chosen].astype(np.float64).mean(0)
    exponentials = np.exp(mean - mean.max())
    softmax = exponentials / exponentials.sum()
    return {name: float(probability) for name, probability in zip(model.classes[task], softmax, strict=True)}


def _rr_errors(
    live: LiveRun, annotated: BeatAnnotations, model: BeatModel | None, record: Recording, whole: bool
) -> NDArray[np.float64]:
    """Error of the mean RR interval, ms, in the 10 s window that ends with the input window of each beat.

    Returns:
        `(windows, 2)`: error of the model and of the detector alone.
    """
    ahead = WIDE_GRID[-1] if model is not None and model.context_samples else BEAT_GRID[-1]
    samples = np.array([beat.sample for beat in live.beats], np.int64)
    end = samples + ahead / MODEL_RATE_HZ * record.fs
    truth = mean_rr_ms(annotated.samples, end, record.fs)
    for first, last in annotated.flutter:  # no beats are annotated during flutter
        truth[(end >= first) & (end - RR_WINDOW_S * record.fs <= last)] = np.nan
    # The detector alone knows the beats up to this one.
    detector = np.full(len(samples), np.nan)
    rr = np.array([np.nan if beat.rr_ms is None else beat.rr_ms for beat in live.beats])
    start = np.searchsorted(samples, end - RR_WINDOW_S * record.fs)
    for beat, oldest in enumerate(start.tolist()):
        inside = rr[oldest + 1 : beat + 1]
        known = inside[~np.isnan(inside)]
        detector[beat] = known.mean() if known.size else np.nan
    predicted = 1000.0 * live.outputs["rr"][:, 0] if "rr" in live.outputs else np.full(len(samples), np.nan)
    scored = (samples >= first_scored_sample(record.fs, record.n_samples, whole)) & ~np.isnan(truth)
    return np.stack([predicted - truth, detector - truth], axis=1)[scored]


def mean_rr_ms(r_peaks: NDArray[np.int64], end: NDArray[np.float64], fs: float) -> NDArray[np.float64]:
    """Mean RR interval in the 10 s before each sample of `end`.

    Args:
        r_peaks: R peaks, `(n,)` in samples, ascending.
        end: end of each window, `(windows,)` in samples.
        fs: sampling rate, Hz.

    Returns:
        `(windows,)` in ms; NaN if the window holds fewer than two intervals or begins before the record.

    >>> mean_rr_ms(np.arange(0, 3000, 200), np.array([2000.0, 2750.0]), fs=250.0)
    array([ nan, 800.])
    """
    first = np.searchsorted(r_peaks, end - RR_WINDOW_S * fs)
    last = np.searchsorted(r_peaks, end, side="right") - 1
    known = (end >= RR_WINDOW_S * fs) & (last - first >= 2)
    mean = np.full(len(end), np.nan)
    mean[known] = (r_peaks[last[known]] - r_peaks[first[known]]) / (last - first)[known] * (1000.0 / fs)
    return mean
