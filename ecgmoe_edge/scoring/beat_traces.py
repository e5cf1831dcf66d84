"""The scored beats of a record with true class, scores, selected experts and waveform: the input of a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.contract import routes_by_path
from ecgmoe_edge.records.annotations import BeatAnnotations
from ecgmoe_edge.records.recording import Recording
from ecgmoe_edge.scoring.ec57 import TOLERANCE_S, TRUTHS, scored_region
from ecgmoe_edge.scoring.live_run import LiveRun
from ecgmoe_edge.scoring.matching import pair_beats
from ecgmoe_edge.tasks import BEAT_ANSWERS

RUN_BEATS = 3  # V beats in a row that make a run


@dataclass(frozen=True)
class VRun:
    """A run of three annotated V beats or more."""

    start_s: float
    end_s: float
    beats: int
    called_v: int  # beats of the run that were labelled V
    found: bool  # at least three consecutive beats were labelled V


@dataclass(frozen=True)
class BeatTrace:
    """The scored beats of one record: n detected beats, and m annotated beats that were not detected."""

    time_s: NDArray[np.float64]  # (n,) time of R, s
    truth: NDArray[np.str_]  # (n,) one of TRUTHS; "none" if no beat is annotated there
    label: NDArray[np.str_]  # (n,) N, S, V, F or ?
    scores: NDArray[np.float32]  # (n, 5) probabilities of BEAT_ANSWERS, after the decision rule; 0 if it has none
    experts: Mapping[str, NDArray[np.int8]]  # path -> (n,) index of the selected expert
    expert_counts: Mapping[str, int]  # path -> number of experts
    rhythm: NDArray[np.str_]  # (n,) annotated rhythm, "" if none is annotated
    waves: NDArray[np.float16]  # (n, 82) waveforms on BEAT_GRID in units of the R amplitude
    missed_s: NDArray[np.float64]  # (m,) time of each missed beat, s
    missed_class: NDArray[np.str_]  # (m,) AAMI class of each missed beat
    v_runs: tuple[VRun, ...]


def trace_beats(live: LiveRun, annotated: BeatAnnotations, record: Recording, *, whole: bool) -> BeatTrace | None:
    """Combine a live run with the annotations of its record.

    Args:
        live: a run with a model and with `keep_waves`.
        annotated: the annotated beats and rhythms of the record.
        record: supplies the sampling rate and the length.
        whole: include the first five minutes.

    Returns:
        The trace, or None if the record is paced (its beats have no AAMI class) or no beat was classified.
    """
    if annotated.paced or not live.beats or live.beats[0].label is None:
        return None
    samples = np.array([beat.sample for beat in live.beats], np.int64)
    order = np.argsort(samples, kind="stable")
    samples = samples[order]
    beats = [live.beats[position] for position in order]
    region = scored_region(annotated, record.fs, record.n_samples, whole)
    pairing = pair_beats(annotated.samples, samples, TOLERANCE_S * record.fs)
    partner = pairing.reference_index
    truth = np.where(partner >= 0, annotated.classes[partner], TRUTHS[-1])
    label = np.array([beat.label for beat in beats], np.str_)
    kept = np.where(partner >= 0, region.contains(annotated.samples[partner]), region.contains(samples))
    missed = region.contains(annotated.samples) & (pairing.detection_index < 0)
    called = np.where(pairing.detection_index >= 0, label[pairing.detection_index], "")
    routes = {path: x[order] for path, x in routes_by_path(live.outputs).items()}
    return BeatTrace(
        time_s=samples[kept] / record.fs,
        truth=truth[kept],
        label=label[kept],
        scores=np.array([[beat.scores.get(name, 0.0) for name in BEAT_ANSWERS] for beat in beats], np.float32)[kept],
        experts={path: logits.argmax(1).astype(np.int8)[kept] for path, logits in routes.items()},
        expert_counts={path: logits.shape[1] for path, logits in routes.items()},
        rhythm=_rhythm_at(annotated, samples)[kept],
        waves=live.waves[order][kept].astype(np.float16),
        missed_s=annotated.samples[missed] / record.fs,
        missed_class=annotated.classes[missed],
        v_runs=_v_runs(annotated, called, region.contains(annotated.samples), record.fs),
    )


def _rhythm_at(annotated: BeatAnnotations, samples: NDArray[np.int64]) -> NDArray[np.str_]:
    rhythm = np.full(len(samples), "", dtype="<U8")
    for segment in annotated.rhythms:
        rhythm[(samples >= segment.start) & (samples < segment.end)] = segment.label
    return rhythm


def _v_runs(
    annotated: BeatAnnotations, called: NDArray[np.str_], scored: NDArray[np.bool_], fs: float
) -> tuple[VRun, ...]:
    runs = []
    for first, stop in _stretches((annotated.classes == "V").tolist()):
        if stop - first < RUN_BEATS or not scored[first]:
            continue
        called_v = (called[first:stop] == "V").tolist()
        longest = max((b - a for a, b in _stretches(called_v)), default=0)
        start, end = annotated.samples[first] / fs, annotated.samples[stop - 1] / fs
        runs.append(VRun(float(start), float(end), stop - first, sum(called_v), longest >= RUN_BEATS))
    return tuple(runs)


def _stretches(flags: Sequence[bool]) -> list[tuple[int, int]]:
    """Start and end (exclusive) of each stretch of True."""
    padded = np.diff(np.concatenate([[0], np.asarray(flags, np.int8), [0]]))
    return list(zip(np.flatnonzero(padded == 1).tolist(), np.flatnonzero(padded == -1).tolist(), strict=True))
