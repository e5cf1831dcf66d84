"""The whole live pipeline over recordings, scored beat by beat: what a wearer would have seen, not what a model can.

Each record is pushed through the `Monitor` in blocks, as a device would push it; its R peaks are the detector's own
and a beat that the detector misses is a missed beat of its class.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.errors import RecordError, SignalError, UsageError
from ecgmoe_edge.records.annotations import read_annotations, write_annotations
from ecgmoe_edge.records.recording import Lead
from ecgmoe_edge.records.wfdb_record import open_record
from ecgmoe_edge.scoring.ec57 import (
    BEAT_CLASSES,
    Confusion,
    Counts,
    RecordScore,
    score_record,
    total_confusion,
    total_peaks,
)
from ecgmoe_edge.scoring.offline_reference import detect_offline
from ecgmoe_edge.streaming.beat_model import BeatModel
from ecgmoe_edge.streaming.events import Beat
from ecgmoe_edge.streaming.monitor import Monitor

Reference: TypeAlias = Literal["neurokit"]
OnRecord: TypeAlias = Callable[[str, int, int, str | None], None]  # name, done, of, why it was skipped

BLOCK_S = 60.0  # the monitor gives the same events however the samples are cut
DOMINANT_S_RECORD = "232"  # holds three quarters of DS2's S beats, most of them its usual beat


@dataclass(frozen=True)
class EvaluationOptions:
    """How records are run and scored; the same for all of them."""

    bundle: Path | None = None  # None: R peaks only
    lead: Lead = 0  # name or position; the header's first signal unless said otherwise
    invert: bool = False
    mains: int | None = None  # 50 or 60 Hz
    whole: bool = False  # score the first five minutes too
    extension: str = "atr"  # of the annotations
    annotations_dir: Path | None = None  # where our beats are written as WFDB annotations
    reference: Reference | None = None  # an offline detector to run beside the monitor


@dataclass(frozen=True)
class RecordResult:
    """What one record gave."""

    name: str
    lead: str
    fs: float
    duration_s: float
    paced: bool
    score: RecordScore
    reference: RecordScore | None
    detection_delay_ms: NDArray[np.float32]  # (beats,)
    label_delay_ms: NDArray[np.float32]  # (labelled beats,)


@dataclass(frozen=True)
class Evaluation:
    """The results of all records and the sums over them ("gross" in EC57's words: every beat weighs the same)."""

    results: tuple[RecordResult, ...]
    skipped: Mapping[str, str] = field(default_factory=dict)  # record -> why
    reference: Reference | None = None

    @property
    def rpeaks(self) -> Counts:
        """R peaks within 150 ms."""
        return total_peaks(result.score.rpeaks for result in self.results)

    @property
    def confusion(self) -> Confusion | None:
        """Truth against answer over all records without pacemaker; None where nobody classified."""
        return total_confusion(result.score.confusion for result in self.results)

    def to_json(self) -> dict[str, Any]:
        """All figures, JSON-ready, in per cent and ms; None (null) where there is nothing to divide."""
        confusion = self.confusion
        totals: dict[str, Any] = {
            "records": len(self.results),
            "skipped_records": dict(self.skipped),
            "rpeaks": _peaks_json([result.score for result in self.results]),
            "beats": _beats_json(confusion),
            "confusion": None if confusion is None else confusion.to_json(),
            "S_without_232": self._s_without_dominant(),
            "per_record": {result.name: _record_json(result) for result in self.results},
            "delay_ms": {
                "detection": _delays([result.detection_delay_ms for result in self.results]),
                "label": _delays([result.label_delay_ms for result in self.results]),
            },
        }
        if self.reference is not None:
            scores = [result.reference for result in self.results if result.reference is not None]
            totals["reference"] = {"detector": self.reference, "rpeaks": _peaks_json(scores)}
        return totals

    def _s_without_dominant(self) -> dict[str, float | int | None] | None:
        others = [result for result in self.results if result.name != DOMINANT_S_RECORD]
        confusion = total_confusion(result.score.confusion for result in others)
        if confusion is None or len(others) == len(self.results):
            return None
        return confusion.counts("S").to_json()


def evaluate(
    records: Sequence[Path],
    options: EvaluationOptions | None = None,
    *,
    jobs: int = 1,
    on_record: OnRecord | None = None,
) -> Evaluation:
    """Run the live pipeline over records and score it against their beat annotations.

    A record that cannot be read, has no beat annotations or has a rate the front end does not take is skipped, with
    its reason, and the rest goes on.

    Args:
        records: paths without extension, as `records.splits.locate` gives them.
        options: how records are run and scored.
        jobs: processes to spread the records over; each loads the bundle for itself.
        on_record: called in this process as each record is done.

    Raises:
        UsageError: no job, or two records of one name.
        RecordError: not one record could be scored.
        BundleError: the bundle cannot be loaded.
        MissingExtra: wfdb, the bundle's engine or the offline reference is not installed.
    """
    options = options or EvaluationOptions()
    if jobs < 1:
        raise UsageError(f"{jobs} jobs cannot run anything. Give --jobs 1 or more.")
    twice = [name for name, count in Counter(path.name for path in records).items() if count > 1]
    if twice:
        raise UsageError(f"The record {twice[0]} is named more than once. Name each record once.")

    outcomes: dict[str, RecordResult | str] = {}
    for name, outcome in _run(records, options, min(jobs, len(records))):
        outcomes[name] = outcome
        if on_record is not None:
            on_record(name, len(outcomes), len(records), outcome if isinstance(outcome, str) else None)
    ordered = {path.name: outcomes[path.name] for path in records}
    skipped = {name: outcome for name, outcome in ordered.items() if isinstance(outcome, str)}
    results = tuple(outcome for outcome in ordered.values() if not isinstance(outcome, str))
    if not results:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in list(skipped.items())[:3])
        raise RecordError(f"None of {len(skipped)} records could be scored. {reasons}")
    return Evaluation(results, skipped, options.reference)


def _run(records: Sequence[Path], options: EvaluationOptions, jobs: int) -> Iterator[tuple[str, RecordResult | str]]:
    model = _load(options.bundle)  # here too where workers load it for themselves: a bad bundle is told at once
    if jobs <= 1:
        for path in records:
            yield path.name, _result_or_reason(path, options, model)
        return
    # spawn: a forked child inherits locks of whatever threads the parent runs
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        futures = {pool.submit(_work, path, options): path.name for path in records}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:  # after an error or an interrupt, what has not begun is not begun
            pool.shutdown(cancel_futures=True)


def _work(path: Path, options: EvaluationOptions) -> RecordResult | str:
    """One record in a worker process."""
    return _result_or_reason(path, options, _load_once(options.bundle))


def _result_or_reason(path: Path, options: EvaluationOptions, model: BeatModel | None) -> RecordResult | str:
    try:
        return evaluate_record(path, options, model)
    except (RecordError, SignalError) as reason:
        return str(reason)


def _load(bundle: Path | None) -> BeatModel | None:
    if bundle is None:
        return None
    from ecgmoe_edge.runtime.bundle import load_bundle

    return load_bundle(bundle)


_load_once = lru_cache(maxsize=1)(_load)  # a worker lives for one evaluation, in which no bundle changes


def evaluate_record(path: Path, options: EvaluationOptions, model: BeatModel | None) -> RecordResult:
    """Run one record through the live pipeline and score it.

    Raises:
        RecordError: the record or its annotations cannot be read.
        SignalError: the front end cannot take its rate.
    """
    record = open_record(path)
    annotated = read_annotations(record, options.extension)
    position = record.position(options.lead)
    monitor = Monitor(model, record.fs, leads=(record.leads[position],), invert=options.invert, mains=options.mains)
    beats: list[Beat] = []
    for block in record.blocks(BLOCK_S, leads=[position]):
        beats.extend(event for event in monitor.push(block) if isinstance(event, Beat))
    beats.extend(event for event in monitor.flush() if isinstance(event, Beat))

    if options.annotations_dir is not None:
        write_annotations(options.annotations_dir, record.name, beats, record.fs)
    score = score_record(
        annotated,
        [beat.sample for beat in beats],
        [beat.label for beat in beats],
        fs=record.fs,
        n_samples=record.n_samples,
        whole=options.whole,
    )
    reference = None
    if options.reference is not None:
        peaks = detect_offline(record.read(leads=[position])[0], record.fs)
        reference = score_record(annotated, peaks, fs=record.fs, n_samples=record.n_samples, whole=options.whole)
    return RecordResult(
        name=record.name,
        lead=record.leads[position],
        fs=record.fs,
        duration_s=record.n_samples / record.fs,
        paced=annotated.paced,
        score=score,
        reference=reference,
        detection_delay_ms=np.array([beat.detection_delay_ms for beat in beats], dtype=np.float32),
        label_delay_ms=np.array([beat.delay_ms for beat in beats if beat.label is not None], dtype=np.float32),
    )


def _peaks_json(scores: Sequence[RecordScore]) -> dict[str, dict[str, float | int | None]]:
    return {
        "150ms": total_peaks(score.rpeaks for score in scores).to_json(),
        "50ms": total_peaks(score.rpeaks_close for score in scores).to_json(),
    }


def _beats_json(confusion: Confusion | None) -> dict[str, dict[str, float | int | None]] | None:
    return None if confusion is None else {name: confusion.counts(name).to_json() for name in BEAT_CLASSES}


def _record_json(result: RecordResult) -> dict[str, Any]:
    figures: dict[str, Any] = {
        "lead": result.lead,
        "fs_hz": result.fs,
        "duration_s": round(result.duration_s, 3),
        "paced": result.paced,
        "rpeaks": _peaks_json([result.score]),
        "beats": _beats_json(result.score.confusion),
    }
    if result.reference is not None:
        figures["reference"] = _peaks_json([result.reference])
    return figures


def _delays(of_records: Sequence[NDArray[np.float32]]) -> dict[str, float | None]:
    delays = np.concatenate(of_records)
    if not delays.size:
        return {"p50": None, "p95": None, "max": None}
    p50, p95 = np.percentile(delays, [50, 95])
    return {"p50": round(float(p50), 1), "p95": round(float(p95), 1), "max": round(float(delays.max()), 1)}
