"""What one record gives for each task besides the beats: the live run's answers beside what is known of the record.

One answer a record is made of one answer a beat as a monitor could make it at the record's end: the mean over its
beats, of logits where there are classes. Beats of the first five seconds are left out where there are later ones, since
a model has seen too little before. (Over 600 records of `cinc-fit`, the mean F1 of the mean of logits was a point above
that of the mean of probabilities.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.contract import routes_by_path, unusable_outputs
from ecgmoe_edge.errors import ModelError, RecordError
from ecgmoe_edge.records.annotations import BeatAnnotations, read_annotations
from ecgmoe_edge.records.facts import facts_of
from ecgmoe_edge.records.layouts import KnownRecord
from ecgmoe_edge.records.opening import chosen_leads, open_of_many
from ecgmoe_edge.records.recording import Lead, OpenOptions, Recording, Remark
from ecgmoe_edge.scoring.ec57 import first_scored
from ecgmoe_edge.scoring.live_run import LiveRun, run_live
from ecgmoe_edge.scoring.rhythm_durations import rhythm_durations
from ecgmoe_edge.streaming.beat_model import BeatModel
from ecgmoe_edge.streaming.monitor import Monitor
from ecgmoe_edge.streaming.signal.mains import AUTO, MainsChoice
from ecgmoe_edge.streaming.signal.windows import BEAT_GRID, MODEL_RATE_HZ, WIDE_GRID
from ecgmoe_edge.tasks import Task, task_named

SETTLED_S = 5.0
RR_WINDOW_S = 10.0
_BLOCK_S = 60.0


@dataclass(frozen=True)
class TaskOptions:
    """How records are run; the same for all of them."""

    task: str  # a name of `tasks.TASKS`
    lead: Lead | None = None  # None: II of PTB-XL, as models are trained on it; else the first that holds a signal
    invert: bool = False
    mains: MainsChoice = AUTO
    whole: bool = False  # score the first five minutes too
    extension: str = "atr"
    stated: OpenOptions | None = None  # of tables, which do not state it themselves


@dataclass(frozen=True)
class TaskRecord:
    """One record's truth and answer. What does not concern its task is left at its default."""

    name: str
    patient: str
    lead: str
    duration_s: float
    beats: int
    truth: str | float | None = None  # class, or in the task's unit
    answer: str | float | None = None  # None: nothing could be said
    probabilities: Mapping[str, float] = field(
        default_factory=dict
    )  # class -> share, from the mean of the beats' logits
    table: NDArray[np.float64] | None = None  # s, (RHYTHMS, ANSWERS) by duration
    rr_errors_ms: NDArray[np.float64] | None = None  # (windows, 2): of the model (NaN: none), of the detector alone
    experts: Mapping[str, tuple[int, ...]] = field(default_factory=dict)  # path -> beats that each expert took
    remarks: tuple[Remark, ...] = ()


def answer_record(known: KnownRecord, model: BeatModel | None, options: TaskOptions) -> TaskRecord:
    """Run one record through the live pipeline and set its answers beside what is known.

    Raises:
        RecordError: the record cannot be read, holds no signal, or nothing is known of it for this task.
        SignalError: the front end cannot take its rate.
        ModelError: the model answers with NaN or infinity.
    """
    record = open_of_many(known.path, options.stated)
    task = task_named(options.task)
    truth = _truth(known, record, task)
    annotated = _annotations(known, record, task, options.extension)
    lead = options.lead if options.lead is not None else "II" if known.layout == "ptbxl" else None
    chosen = chosen_leads(record, None if lead is None else [lead])
    (position,) = chosen.positions
    monitor = Monitor(model, record.fs, leads=(record.leads[position],), invert=options.invert, mains=options.mains)
    live = run_live(monitor, record.blocks(_BLOCK_S, leads=[position]))
    if unusable := unusable_outputs(live.outputs):
        raise ModelError(f"The model answers {known.name} with no number ({', '.join(unusable)}): train it again.")
    answer: str | float | None = None
    probabilities, table, errors = dict[str, float](), None, None
    if task.score == "intervals" and annotated is not None:
        errors = _rr_errors(live, annotated, model, record, options.whole)
    elif task.score == "rhythm" and annotated is not None:
        first_s = first_scored(record.fs, record.n_samples, options.whole) / record.fs
        table = rhythm_durations(annotated.rhythms, live.rhythms, record.fs, first_s)
    elif task.kind == "regression":
        answer = _mean_answer(live, task.name)
    elif model is not None:
        probabilities = _record_probabilities(live, task.name, model)
        unanswered = "noisy" if task.score == "rhythm" else None  # no beat at all is what noise looks like
        answer = max(probabilities, key=probabilities.__getitem__) if probabilities else unanswered
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
        experts=expert_counts(live),
        remarks=chosen.remarks,
    )


def expert_counts(live: LiveRun) -> dict[str, tuple[int, ...]]:
    """Path -> how many beats each of its experts took."""
    return {
        path: tuple(np.bincount(logits.argmax(1), minlength=logits.shape[1]).tolist())
        for path, logits in routes_by_path(live.outputs).items()
    }


def _truth(known: KnownRecord, record: Recording, task: Task) -> str | float | None:
    """A class or a number of the whole record; None where the truth is in its annotations."""
    fact = {**facts_of(record), **known.facts}.get(task.name)
    if fact is None and task.scope == "recording":
        raise RecordError(f"The {task.name} of {known.name} is not known: neither a table nor its header has it.")
    return float(fact) if task.kind == "regression" and fact is not None else fact


def _annotations(known: KnownRecord, record: Recording, task: Task, extension: str) -> BeatAnnotations | None:
    if task.scope == "recording" or task.name in known.facts:
        return None
    annotated = read_annotations(record, extension, beats_needed=task.score != "rhythm")
    if task.score == "rhythm" and not annotated.rhythms:
        raise RecordError(f"{known.name} has no rhythm annotations: its .{extension} file notes no rhythm.")
    return annotated


def _settled(live: LiveRun) -> NDArray[np.int64]:
    times = np.array([beat.time_s for beat in live.beats])
    late = np.flatnonzero(times >= SETTLED_S)
    return late if late.size else np.arange(times.size)


def _mean_answer(live: LiveRun, task: str) -> float | None:
    chosen = _settled(live)
    return float(live.outputs[task][chosen].mean()) if chosen.size else None


def _record_probabilities(live: LiveRun, task: str, model: BeatModel) -> dict[str, float]:
    chosen = _settled(live)
    if not chosen.size:
        return {}
    mean = live.outputs[task][chosen].astype(np.float64).mean(0)
    shares = np.exp(mean - mean.max())
    return {name: float(share) for name, share in zip(model.classes[task], shares / shares.sum(), strict=True)}


def _rr_errors(
    live: LiveRun, annotated: BeatAnnotations, model: BeatModel | None, record: Recording, whole: bool
) -> NDArray[np.float64]:
    """At each beat, the error in ms of the mean RR of the 10 s that end with its window; (windows, 2)."""
    ahead = WIDE_GRID[-1] if model is not None and model.context_samples else BEAT_GRID[-1]
    samples = np.array([beat.sample for beat in live.beats], np.int64)
    end = samples + ahead / MODEL_RATE_HZ * record.fs
    truth = mean_rr_ms(annotated.samples, end, record.fs)
    for first, last in annotated.flutter:  # no beats are annotated there
        truth[(end >= first) & (end - RR_WINDOW_S * record.fs <= last)] = np.nan
    # The detector alone: the beats that it had told when this one came out.
    detector = np.full(len(samples), np.nan)
    rr = np.array([np.nan if beat.rr_ms is None else beat.rr_ms for beat in live.beats])
    start = np.searchsorted(samples, end - RR_WINDOW_S * record.fs)
    for beat, oldest in enumerate(start.tolist()):
        inside = rr[oldest + 1 : beat + 1]
        known = inside[~np.isnan(inside)]
        detector[beat] = known.mean() if known.size else np.nan
    said = 1000.0 * live.outputs["rr"][:, 0] if "rr" in live.outputs else np.full(len(samples), np.nan)
    region = (samples >= first_scored(record.fs, record.n_samples, whole)) & ~np.isnan(truth)
    return np.stack([said - truth, detector - truth], axis=1)[region]


def mean_rr_ms(r_peaks: NDArray[np.int64], end: NDArray[np.float64], fs: float) -> NDArray[np.float64]:
    """Mean RR interval in ms of the R peaks in the 10 s before each sample of `end`; NaN where fewer than two
    intervals lie there or the record had not lasted so long.

    >>> mean_rr_ms(np.arange(0, 3000, 200), np.array([2000.0, 2750.0]), fs=250.0)  # 75 per minute
    array([ nan, 800.])
    """
    first = np.searchsorted(r_peaks, end - RR_WINDOW_S * fs)
    last = np.searchsorted(r_peaks, end, side="right") - 1
    known = (end >= RR_WINDOW_S * fs) & (last - first >= 2)
    mean = np.full(len(end), np.nan)
    mean[known] = (r_peaks[last[known]] - r_peaks[first[known]]) / (last - first)[known] * (1000.0 / fs)
    return mean
