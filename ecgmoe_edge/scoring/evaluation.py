"""Runs the whole live pipeline over recordings and scores it beat by beat.

Each record is pushed through the `Monitor` in blocks, as on a device. The R peaks are those of the detector, so a beat
that the detector misses is a missed beat of its class. The figures are those of the monitor, not of the model alone.
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
from ecgmoe_edge.records.opening import LeadsWanted, chosen_leads, open_in_batch
from ecgmoe_edge.records.recording import Lead, OpenOptions, Recording, Remark
from ecgmoe_edge.scoring.beat_traces import trace_beats
from ecgmoe_edge.scoring.ec57 import TOLERANCE_S, Confusion, RecordScore, score_record
from ecgmoe_edge.scoring.live_run import AnsweredRecord, LiveRun, answer_record, label_record
from ecgmoe_edge.scoring.matching import pair_beats
from ecgmoe_edge.scoring.noise_stress import SNRS_DB, NoiseLevel, noisy_blocks
from ecgmoe_edge.scoring.offline_reference import detect_offline
from ecgmoe_edge.scoring.patient_specific import PatientScore, Protocol
from ecgmoe_edge.scoring.record_runs import LoadModel, ModelFile, OnRecord, run_records
from ecgmoe_edge.scoring.results import Evaluation, NoiseEvaluation, RecordResult, Reference
from ecgmoe_edge.streaming.beat_model import BeatModel
from ecgmoe_edge.streaming.events import ARTEFACT_REASON, Beat
from ecgmoe_edge.streaming.input_checks import distinct_names
from ecgmoe_edge.streaming.monitor import Monitor
from ecgmoe_edge.streaming.patient.own_layer import PatientLayer
from ecgmoe_edge.streaming.signal.mains import AUTO, MainsChoice

BLOCK_S = 60.0  # the events do not depend on the block length
_LEAST_MISSING_S = 1.0  # less missing time is not worth a remark


@dataclass(frozen=True)
class EvaluationOptions:
    """How all records are run and scored."""

    bundle: Path | None = None  # file or folder of the model; None: detect R peaks only
    load: LoadModel | None = None  # loads the model; None: load it as a bundle
    lead: Lead | None = None  # name or index; None: the first lead with a voltage and a signal
    leads: LeadsWanted = None  # in place of `lead`: run several leads together; "all": all voltages
    stated: OpenOptions | None = None  # sampling rate, unit and so on of files that do not state them
    invert: bool = False  # reverse the polarity
    mains: MainsChoice = AUTO
    whole: bool = False  # also score the first five minutes
    extension: str = "atr"  # extension of the annotation file
    annotations_dir: Path | None = None  # folder for the detected beats, written as WFDB annotations
    reference: Reference | None = None  # offline detector to score beside the monitor
    traces: bool = False  # keep scores, experts and waveform of each beat, for a report
    noise: NoiseLevel | None = None  # noise to add to the leads
    layer: PatientLayer | None = None  # a patient's own layer for all records
    protocol: Protocol | None = None  # fit a layer to the first minutes of each record, for patient-specific figures


def evaluate(
    records: Sequence[Path],
    options: EvaluationOptions | None = None,
    *,
    jobs: int = 1,
    on_record: OnRecord | None = None,
) -> Evaluation:
    """Run the live pipeline over records and score it against their beat annotations.

    A record is skipped, with a reason, if it cannot be read, has no signal in the chosen leads, has no beat
    annotations or has a sampling rate that the front end does not support. A record in which the detector finds no
    beat is scored, because all its beats were missed; a remark says so.

    Args:
        records: paths, as `records.splits.locate` returns them.
        options: how records are run and scored.
        jobs: number of processes; each loads the model.
        on_record: called in this process after each record.

    Returns:
        The results of all records, and the skipped records.

    Raises:
        UsageError: `jobs` is less than one, or a record is named twice.
        RecordError: no record could be scored.
        BundleError: the bundle cannot be loaded.
        MissingExtra: wfdb, the bundle's engine or the offline reference is not installed.
    """
    options = options or EvaluationOptions()
    twice = [path.name for path, count in Counter(records).items() if count > 1]
    if twice:
        raise UsageError(f"The record {twice[0]} is named more than once. Name each record once.")
    named, duplicates = one_of_each_name(records)
    outcomes = run_records(
        named,
        partial(_evaluate_record, options=options),
        ModelFile(options.bundle, options.load),
        jobs=jobs,
        on_record=on_record,
    )
    results = tuple(outcomes.results.values())
    skipped = {**outcomes.skipped, **duplicates}
    fused = any(len(one.leads) > 1 for one in results)
    return Evaluation(results, skipped, options.reference, fused, options.protocol)


def evaluate_noise(
    records: Sequence[Path],
    options: EvaluationOptions,
    noise_record: Path,
    snrs_db: Sequence[float] = SNRS_DB,
    *,
    jobs: int = 1,
    on_record: Callable[[float, str, int, int, str | None], None] | None = None,
) -> NoiseEvaluation:
    """Evaluate records with added noise, once at each signal-to-noise ratio.

    Args:
        records: as for `evaluate`.
        options: as for `evaluate`; no annotations are written.
        noise_record: path of the noise record; its name is the kind of noise (em, ma or bw).
        snrs_db: signal-to-noise ratios, dB.
        jobs: as for `evaluate`.
        on_record: as for `evaluate`, with the ratio as first argument.

    Returns:
        The evaluation at each ratio.

    Raises:
        UsageError: no ratio is given, or as for `evaluate`.
        RecordError: no record could be scored.
        BundleError, MissingExtra: as for `evaluate`.
    """
    if not snrs_db:
        raise UsageError("No signal-to-noise ratio was given. Give at least one, such as --snr 12,6,0.")
    evaluations = {}
    for snr_db in dict.fromkeys(snrs_db):
        level = replace(options, noise=NoiseLevel(noise_record, snr_db), annotations_dir=None, protocol=None)
        on_level_record = None if on_record is None else partial(on_record, snr_db)
        evaluations[snr_db] = evaluate(records, level, jobs=jobs, on_record=on_level_record)
    return NoiseEvaluation(noise_record.name, evaluations)


def evaluate_record(path: Path, options: EvaluationOptions, model: BeatModel | None) -> RecordResult:
    """Run one record through the live pipeline and score it.

    Args:
        path: path of the record.
        options: how the record is run and scored; `bundle` and `load` are not used.
        model: the loaded model; None detects R peaks only.

    Returns:
        The scores, delays and remarks of the record.

    Raises:
        RecordError: the record or its annotations cannot be read.
        SignalError: the front end does not support the sampling rate.
    """
    record = open_in_batch(path, options.stated)
    annotated = read_annotations(record, options.extension)
    chosen = chosen_leads(record, options.leads if options.lead is None else [options.lead])
    positions = chosen.positions
    names = distinct_names(chosen.names(record))
    monitor = Monitor(model, record.fs, leads=names, invert=options.invert, mains=options.mains, layer=options.layer)
    answered = answer_record(monitor, _blocks(record, positions, annotated, options.noise))
    live = label_record(monitor.labeller, answered, keep_waves=options.traces)
    beats: Sequence[Beat] = live.beats
    patient_specific = None
    if options.protocol is not None and not annotated.paced:
        patient_specific, adapted = _personalised(monitor, answered, live, annotated, record, options.protocol)
    if options.annotations_dir is not None:
        written = beats if patient_specific is None else adapted
        write_annotations(options.annotations_dir, record.name, written, record.fs)
    score, whole_score = (_score(annotated, beats, record, whole=whole) for whole in (options.whole, True))
    reference = None
    if options.reference is not None:
        # an offline detector needs the whole lead at once
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
        remarks=(*chosen.remarks, *_missing_time(live.unusable, record)),
        trace=trace_beats(live, annotated, record, whole=options.whole) if options.traces else None,
        patient_specific=patient_specific,
    )


def _score(
    annotated: BeatAnnotations, beats: Sequence[Beat], record: Recording, *, whole: bool = False, skip_s: float = 0.0
) -> RecordScore:
    return score_record(
        annotated,
        [beat.sample for beat in beats],
        [beat.label for beat in beats],
        fs=record.fs,
        n_samples=record.n_samples,
        whole=whole,
        artefacts=[beat.reason == ARTEFACT_REASON for beat in beats],
        skip_s=skip_s,
    )


def _personalised(
    monitor: Monitor,
    answered: AnsweredRecord,
    live: LiveRun,
    annotated: BeatAnnotations,
    record: Recording,
    protocol: Protocol,
) -> tuple[PatientScore, Sequence[Beat]]:
    """Return the score of a record without its labelled minutes or beats, and its beats with the layer.

    Raises:
        RecordError: no beat is left to score.
    """
    skip_s = 0.0 if protocol.retrospective else 60.0 * protocol.minutes
    if not (annotated.samples >= skip_s * record.fs).any():
        raise RecordError(
            f"{record.name} has no annotated beat after the {protocol.minutes:g} labelled minutes. Label fewer, "
            "or leave this record out."
        )
    personal = protocol.personalise(monitor, answered, live, annotated)
    scored = _without(annotated, personal.labelled, record.fs)
    of_both = [
        [beat for beat in beats if beat.sample not in personal.labelled] for beats in (live.beats, personal.beats)
    ]
    before, after = (_score(scored, beats, record, skip_s=skip_s).confusion or Confusion.empty() for beats in of_both)
    return PatientScore(before, after, personal.labels, personal.why_not), personal.beats


def _without(annotated: BeatAnnotations, detected: frozenset[int], fs: float) -> BeatAnnotations:
    """Return the annotations without the beats that are paired with these detections."""
    if not detected:
        return annotated
    samples = np.array(sorted(detected), np.int64)
    paired = pair_beats(annotated.samples, samples, TOLERANCE_S * fs).reference_index
    kept = np.ones(len(annotated.samples), bool)
    kept[paired[paired >= 0]] = False
    return replace(
        annotated, samples=annotated.samples[kept], symbols=annotated.symbols[kept], classes=annotated.classes[kept]
    )


def _missing_time(unusable: int, record: Recording) -> Iterator[Remark]:
    """Yield a remark if there is time without a valid sample: its annotated beats cannot be found."""
    missing_s = unusable / record.fs
    if missing_s >= _LEAST_MISSING_S:
        share = 100.0 * unusable / record.n_samples
        yield Remark(
            "time",
            f"{missing_s:.1f} s of {record.name} ({share:.1f} %) have no valid sample in the evaluated leads: beats "
            "annotated there count as missed.",
        )


def unscorable(records: Sequence[Path], wanted: LeadsWanted = None, extension: str = "atr") -> dict[str, str]:
    """The records that `evaluate_record` cannot score, each with the reason; no record is run.

    Args:
        records: paths of the records.
        wanted: the leads to run; None takes the first lead with a signal.
        extension: extension of the annotation files.
    """
    reasons = {record_name(path): _why_unscorable(path, wanted, extension) for path in records}
    return {name: reason for name, reason in reasons.items() if reason is not None}


def _why_unscorable(path: Path, wanted: LeadsWanted, extension: str) -> str | None:
    try:
        record = open_in_batch(path)
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
    """Blocks `(leads, n)` in mV. Each lead gets its own gain and its own signal of the noise record."""
    if noise is None:
        return record.blocks(BLOCK_S, leads=positions)
    lead_blocks = (noisy_blocks(record, position, annotated, noise, BLOCK_S) for position in positions)
    return (np.concatenate(blocks) for blocks in zip(*lead_blocks, strict=True))
