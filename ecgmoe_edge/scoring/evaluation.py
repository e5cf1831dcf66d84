"""The whole live pipeline over recordings, scored beat by beat: what a wearer would have seen, not what a model can.

Each record is pushed through the `Monitor` in blocks, as a device would push it; its R peaks are the detector's own
and a beat that the detector misses is a missed beat of its class.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.errors import RecordError, UsageError
from ecgmoe_edge.records.annotations import BeatAnnotations, read_annotations, write_annotations
from ecgmoe_edge.records.databases import origin_of
from ecgmoe_edge.records.names import one_of_each_name, record_name
from ecgmoe_edge.records.opening import LeadsWanted, chosen_leads, open_of_many
from ecgmoe_edge.records.recording import Lead, OpenOptions, Recording
from ecgmoe_edge.scoring.beat_traces import trace_beats
from ecgmoe_edge.scoring.ec57 import score_record
from ecgmoe_edge.scoring.live_run import run_live
from ecgmoe_edge.scoring.noise_stress import SNRS_DB, NoiseLevel, noisy_blocks
from ecgmoe_edge.scoring.offline_reference import detect_offline
from ecgmoe_edge.scoring.record_runs import LoadModel, ModelFile, OnRecord, run_records
from ecgmoe_edge.scoring.results import Evaluation, NoiseEvaluation, RecordResult, Reference
from ecgmoe_edge.streaming.beat_model import BeatModel
from ecgmoe_edge.streaming.input_checks import distinct_names
from ecgmoe_edge.streaming.monitor import Monitor
from ecgmoe_edge.streaming.signal.mains import AUTO, MainsChoice

BLOCK_S = 60.0  # the monitor gives the same events however the samples are cut


@dataclass(frozen=True)
class EvaluationOptions:
    """How records are run and scored; the same for all of them."""

    bundle: Path | None = None  # None: R peaks only
    load: LoadModel | None = None  # how to load it; None: as a bundle
    lead: Lead | None = None  # name or position; None: the header's first that is a voltage and holds a signal
    leads: LeadsWanted = None  # instead: these together; "all": that are voltages
    stated: OpenOptions | None = None  # of tables, which do not state it themselves
    invert: bool = False
    mains: MainsChoice = AUTO
    whole: bool = False  # score the first five minutes too
    extension: str = "atr"  # of the annotations
    annotations_dir: Path | None = None  # where our beats are written as WFDB annotations
    reference: Reference | None = None  # an offline detector to run beside the monitor
    traces: bool = False  # keep each beat with its truth, scores, experts and waveform, for a report
    noise: NoiseLevel | None = None  # added to the lead before anything sees it


def evaluate(
    records: Sequence[Path],
    options: EvaluationOptions | None = None,
    *,
    jobs: int = 1,
    on_record: OnRecord | None = None,
) -> Evaluation:
    """Run the live pipeline over records and score it against their beat annotations.

    A record that cannot be read, holds no signal in these leads, has no beat annotations or has a rate the front end
    does not take is skipped, with its reason, and the rest goes on. One whose signal shows no beat is scored, for a
    detector that finds none has missed them; a remark says so.

    Args:
        records: paths, as `records.splits.locate` gives them.
        options: how records are run and scored.
        jobs: processes to spread the records over; each loads the bundle for itself.
        on_record: called in this process as each record is done.

    Raises:
        UsageError: no job, or a record that is named twice.
        RecordError: not one record could be scored.
        BundleError: the bundle cannot be loaded.
        MissingExtra: wfdb, the bundle's engine or the offline reference is not installed.
    """
    options = options or EvaluationOptions()
    twice = [path.name for path, count in Counter(records).items() if count > 1]
    if twice:
        raise UsageError(f"The record {twice[0]} is named more than once. Name each record once.")
    named, of_same_name = one_of_each_name(records)
    outcomes = run_records(
        named,
        partial(_evaluate_record, options=options),
        ModelFile(options.bundle, options.load),
        jobs=jobs,
        on_record=on_record,
    )
    results = tuple(outcomes.of.values())
    skipped = {**outcomes.skipped, **of_same_name}
    return Evaluation(results, skipped, options.reference, fused=any(len(one.leads) > 1 for one in results))


def evaluate_noise(
    records: Sequence[Path],
    options: EvaluationOptions,
    noise_record: Path,
    snrs_db: Sequence[float] = SNRS_DB,
    *,
    jobs: int = 1,
    on_record: Callable[[float, str, int, int, str | None], None] | None = None,
) -> NoiseEvaluation:
    """Evaluate records with noise added, once at each signal-to-noise ratio.

    Args:
        records: as for `evaluate`.
        options: as for `evaluate`; annotations are not written.
        noise_record: path of the noise; its name is that of the kind.
        snrs_db: signal-to-noise ratios, dB.
        jobs: as for `evaluate`.
        on_record: as for `evaluate`, with the ratio first.

    Raises:
        UsageError: no ratio, and as for `evaluate`.
        RecordError: not one record could be scored.
        BundleError, MissingExtra: as for `evaluate`.
    """
    if not snrs_db:
        raise UsageError("No signal-to-noise ratio was given. Give at least one, such as --snr 12,6,0.")
    evaluations = {}
    for snr_db in dict.fromkeys(snrs_db):
        level = replace(options, noise=NoiseLevel(noise_record, snr_db), annotations_dir=None)
        told = None if on_record is None else partial(on_record, snr_db)
        evaluations[snr_db] = evaluate(records, level, jobs=jobs, on_record=told)
    return NoiseEvaluation(noise_record.name, evaluations)


def evaluate_record(path: Path, options: EvaluationOptions, model: BeatModel | None) -> RecordResult:
    """Run one record through the live pipeline and score it.

    Raises:
        RecordError: the record or its annotations cannot be read.
        SignalError: the front end cannot take its rate.
    """
    record = open_of_many(path, options.stated)
    annotated = read_annotations(record, options.extension)
    chosen = chosen_leads(record, options.leads if options.lead is None else [options.lead])
    positions = chosen.positions
    names = distinct_names(chosen.names(record))
    monitor = Monitor(model, record.fs, leads=names, invert=options.invert, mains=options.mains)
    live = run_live(monitor, _blocks(record, positions, annotated, options.noise), keep_waves=options.traces)
    beats = live.beats

    if options.annotations_dir is not None:
        write_annotations(options.annotations_dir, record.name, beats, record.fs)
    score, whole_score = (
        score_record(
            annotated,
            [beat.sample for beat in beats],
            [beat.label for beat in beats],
            fs=record.fs,
            n_samples=record.n_samples,
            whole=whole,
        )
        for whole in (options.whole, True)
    )
    reference = None
    if options.reference is not None:
        # an offline detector wants the whole lead at once
        signal = np.concatenate([block[0] for block in _blocks(record, positions[:1], annotated, options.noise)])
        peaks = detect_offline(signal, record.fs)
        reference = score_record(annotated, peaks, fs=record.fs, n_samples=record.n_samples, whole=options.whole)
    return RecordResult(
        name=record.name,
        leads=names,
        fs=record.fs,
        duration_s=record.n_samples / record.fs,
        paced=annotated.paced,
        score=score,
        whole_score=whole_score,
        reference=reference,
        detection_delay_ms=np.array([beat.detection_delay_ms for beat in beats], dtype=np.float32),
        label_delay_ms=np.array([beat.delay_ms for beat in beats if beat.label is not None], dtype=np.float32),
        origin=origin_of(record.path),
        remarks=chosen.remarks,
        trace=trace_beats(live, annotated, record, whole=options.whole) if options.traces else None,
    )


def unscorable(records: Sequence[Path], wanted: LeadsWanted = None, extension: str = "atr") -> dict[str, str]:
    """Which records `evaluate_record` would refuse, and why, without running them."""
    reasons = {record_name(path): _why_unscorable(path, wanted, extension) for path in records}
    return {name: reason for name, reason in reasons.items() if reason is not None}


def _why_unscorable(path: Path, wanted: LeadsWanted, extension: str) -> str | None:
    try:
        record = open_of_many(path)
        read_annotations(record, extension)
        chosen_leads(record, wanted)
    except RecordError as reason:
        return str(reason)
    return None


def _evaluate_record(path: Path, model: BeatModel | None, options: EvaluationOptions) -> RecordResult:
    return evaluate_record(path, options, model)


def _blocks(
    record: Recording, positions: Sequence[int], annotated: BeatAnnotations, noise: NoiseLevel | None
) -> Iterator[NDArray[np.float64]]:
    """Blocks (leads, n) in mV; with noise each lead has its own gain and its own signal of the noise record."""
    if noise is None:
        return record.blocks(BLOCK_S, leads=positions)
    of_leads = (noisy_blocks(record, position, annotated, noise, BLOCK_S) for position in positions)
    return (np.concatenate(blocks) for blocks in zip(*of_leads, strict=True))
