"""Training examples: the output of the streaming front end for each beat of a recording, with the known labels.

The front end is the one that runs on the device. This module does not filter, detect R peaks or compute features.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.contract import CONTEXT_S, CONTEXT_SAMPLES, RR_SEQUENCE, SHAPES
from ecgmoe_edge.errors import RecordError
from ecgmoe_edge.records.annotations import BeatAnnotations, read_annotations
from ecgmoe_edge.records.opening import open_in_batch
from ecgmoe_edge.records.recording import Recording, facts_of, position_of
from ecgmoe_edge.scoring.matching import pair_beats
from ecgmoe_edge.scoring.noise_stress import NoiseLevel, noisy_blocks
from ecgmoe_edge.streaming.beats import BeatContext
from ecgmoe_edge.streaming.frontend import FrontEnd
from ecgmoe_edge.streaming.patient.rr_history import RR_FEATURE_NAMES
from ecgmoe_edge.streaming.signal.resampling import resample
from ecgmoe_edge.streaming.signal.windows import WIDE_GRID
from ecgmoe_edge.tasks import ARTEFACT, BEAT_ANSWERS, BEAT_CLASSES, RHYTHM_CLASSES, TASK_NAMES, TASKS, Task
from ecgmoe_edge.training.sources import Source, rhythm_index

#: A detected beat gets the label of the annotated beat within this time (ANSI/AAMI EC57).
MATCH_S = 0.150
_ARTEFACT = BEAT_ANSWERS.index(ARTEFACT)
_NOISE_BLOCK_S = 60.0
#: Label of the rhythm of a beat that is not in atrial fibrillation; nothing else is known of it.
NOT_AF = len(RHYTHM_CLASSES) + RHYTHM_CLASSES.index("AF")
#: A beat gets a rhythm label only if the rhythm has lasted for this time, since the model needs some beats of it.
SETTLED_S = 5.0
UNKNOWN = -1
Labels: TypeAlias = NDArray[Any]  # int8 index of the class, or float32 value in the unit of the task


@dataclass(frozen=True)
class Examples:
    """The beats of some records: arrays of n beats. An unknown label is UNKNOWN (-1) or NaN.

    The beats of a record are contiguous and in the order of time.
    """

    window: NDArray[np.float32]  # (n, 118) mV on WIDE_GRID
    template: NDArray[np.float32]  # (n, 118) mV
    amplitude: NDArray[np.float32]  # (n,) mV; 0: the example has no waveform, only RR intervals
    rr_features: NDArray[np.float32]  # (n, 15)
    rr_sequence: NDArray[np.float32]  # (n, 2, 32)
    context: NDArray[np.float16]  # (n, 1280) mV
    sample: NDArray[np.int64]  # (n,) R peak, as sample number of the recording
    record: NDArray[np.int32]  # (n,) index into `records`
    labels: Mapping[str, Labels]  # labels (n,) by task
    records: tuple[str, ...]  # `Source.name` of each run: "set/record" or "set/record:lead=1,inverted"

    def __len__(self) -> int:
        return len(self.sample)

    def take(self, index: NDArray[np.int64]) -> Examples:
        """Select examples by an index array; `records` stays the same."""
        return from_arrays({name: array[index] for name, array in self.arrays().items()}, self.records)

    def with_labels(self, **labels: Labels) -> Examples:
        """Return the same examples with other labels (n,) for some tasks."""
        return replace(self, labels={**self.labels, **labels})

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return all arrays by name, in the order of `ARRAYS`; an array of labels has the name of its task."""
        return {name: self.labels[name] if name in TASK_NAMES else getattr(self, name) for name in ARRAYS}


_NUMBERS = ("window", "template", "amplitude", "rr_features", "rr_sequence", "context")
ARRAYS = (*(field.name for field in fields(Examples) if field.name not in ("labels", "records")), *TASK_NAMES)


def from_arrays(arrays: Mapping[str, NDArray[Any]], records: tuple[str, ...]) -> Examples:
    """Make examples from the result of `Examples.arrays` and the names of the records."""
    inputs = {name: array for name, array in arrays.items() if name not in TASK_NAMES}
    return Examples(**inputs, labels={name: arrays[name] for name in TASK_NAMES}, records=records)


def join(parts: Sequence[Examples]) -> Examples:
    """Concatenate examples.

    Raises:
        RecordError: `parts` is empty.
    """
    if not parts:
        raise RecordError("No recording gave any example. Check the data folder and the configuration.")
    offsets = np.cumsum([0, *(len(part.records) for part in parts)])
    all_arrays = [part.arrays() for part in parts]
    arrays = {name: np.concatenate([each[name] for each in all_arrays]) for name in ARRAYS if name != "record"}
    record = np.concatenate([part.record + offset for part, offset in zip(parts, offsets, strict=False)])
    names = tuple(name for part in parts for name in part.records)
    return from_arrays({**arrays, "record": record.astype(np.int32)}, names)


def examples_of(source: Source) -> Examples:
    """Run the front end on one record and label the detected beats.

    A detection without a matching annotation is an artefact. The beat label is UNKNOWN for a Q beat, in ventricular
    flutter, and outside the annotated part of the record. These beats are not used to learn beat classes, but the
    decision rule needs them as patient history.

    Raises:
        RecordError: the record cannot be read, lacks the lead, its values are too large for the model inputs, or noise
            cannot be added to it.
        SignalError: the front end does not support the sampling rate.
    """
    record = open_in_batch(source.path)
    annotations = read_annotations(record, source.data.annotator) if source.data.labels == "beats" else None
    beats = [beat for beat in _through_front_end(record, source, annotations) if beat.complete]
    scale = 1.0 if source.rate is None else record.fs / source.rate
    samples = np.array([round(beat.sample * scale) for beat in beats], np.int64)
    facts = {**facts_of(record), **dict(source.facts)}
    labels = {task.name: whole_labels(task, facts.get(task.name), len(beats)) for task in TASKS}
    if annotations is not None:
        if source.record not in source.data.without_beat_labels:
            labels["beat"] = _beat_labels(annotations, samples, record.fs)
        if source.data.rhythm:
            labels["rhythm"] = rhythm_labels(annotations, samples, record.fs)
        if source.data.without_af and source.record not in source.data.maybe_af:
            labels["rhythm"] = _without_af(labels["rhythm"], source.data.without_af)
    if source.data.labels != "mimic-iv-ecg":
        end = samples + WIDE_GRID[-1] / 128.0 * record.fs
        labels["rr"] = _mean_rr(samples if annotations is None else annotations.samples, end, record.fs)
    kept = kept_beats(samples / record.fs, source.data.first_s, source.data.beats_per_record)
    with np.errstate(over="ignore"):  # a value that is too large for its type becomes infinite and is refused below
        examples = _examples(source, beats, kept, samples, labels)
    if not all(np.isfinite(getattr(examples, name)).all() for name in _NUMBERS):
        raise RecordError(f"The values of {record.name} are too large for float32. Correct its unit or gain.")
    return examples


def whole_labels(task: Task, fact: str | float | None, n: int) -> Labels:
    """Return the labels (n,) of `n` beats of a recording that share one fact, such as the age of the patient.

    Args:
        task: the task.
        fact: class or value for the whole recording; None if unknown.
        n: number of beats.

    Raises:
        RecordError: the fact is not a class of the task.
    """
    if task.kind == "regression":
        return np.full(n, np.nan if fact is None else fact, np.float32)
    if fact is not None and fact not in task.classes:
        raise RecordError(f"{fact!r} is none of the classes of {task.name}: {', '.join(task.classes)}.")
    return np.full(n, UNKNOWN if fact is None else task.classes.index(str(fact)), np.int8)


def is_known(labels: Labels) -> NDArray[np.bool_]:
    """Return, for each label, whether it is known, (n,)."""
    return np.isfinite(labels) if labels.dtype.kind == "f" else labels != UNKNOWN


def _examples(
    source: Source,
    beats: Sequence[BeatContext],
    kept: NDArray[np.int64],
    samples: NDArray[np.int64],
    labels: Mapping[str, Labels],
) -> Examples:
    chosen, n = [beats[i] for i in kept], len(kept)
    width = len(WIDE_GRID)
    return Examples(
        window=_stack([one.window for one in chosen], (n, width)),
        template=_stack([one.template for one in chosen], (n, width)),
        amplitude=np.array([one.amplitude for one in chosen], np.float32),
        rr_features=_stack([one.rr_features for one in chosen], (n, len(RR_FEATURE_NAMES))),
        rr_sequence=_stack([one.rr_sequence for one in chosen], (n, *SHAPES[RR_SEQUENCE])),
        context=_stack([one.context for one in chosen], (n, CONTEXT_SAMPLES)).astype(np.float16),
        sample=samples[kept],
        record=np.zeros(n, np.int32),
        labels={name: of_task[kept] for name, of_task in labels.items()},
        records=(source.name,),
    )


def _stack(rows: Sequence[NDArray[np.float32]], shape: tuple[int, ...]) -> NDArray[np.float32]:
    return np.asarray(rows, np.float32).reshape(shape)  # sets the shape also if there are no rows


def _through_front_end(record: Recording, source: Source, annotations: BeatAnnotations | None) -> list[BeatContext]:
    """Return the beats as the lead of the source shows them."""
    fs = source.rate or record.fs
    positions = [position_of(record, lead) for lead in source.together or (source.lead,)]
    names = [record.leads[position] for position in positions]
    front_end = FrontEnd(fs, names, invert=source.inverted, grid=WIDE_GRID, context=CONTEXT_SAMPLES)
    blocks: Iterable[NDArray[np.float64]] = record.blocks(leads=positions)
    if source.noise is not None:
        if annotations is None:
            raise RecordError(f"{record.name} has no annotated beats, at which the amplitude of noise is measured.")
        level = NoiseLevel(*source.noise, part="first half")
        each = [noisy_blocks(record, position, annotations, level, _NOISE_BLOCK_S) for position in positions]
        blocks = (np.concatenate(of_leads) for of_leads in zip(*each, strict=True))
    if source.rate is not None and source.rate != record.fs:
        whole = np.concatenate(list(blocks), axis=1)
        # Gaps are bridged by a flat line.
        blocks = [np.stack([resample(lead, record.fs, source.rate, missing="bridge") for lead in whole])]
    items = [item for block in blocks for item in front_end.push(block)]
    beats = [item for item in (*items, *front_end.flush()) if isinstance(item, BeatContext)]
    if len(positions) == 1:
        return beats
    lead = record.leads[position_of(record, source.lead)]
    return [shown for beat in beats if (shown := beat.shown_by(lead)) is not None]


def _beat_labels(annotations: BeatAnnotations, samples: NDArray[np.int64], fs: float) -> NDArray[np.int8]:
    """Return the beat label of detections at `samples`, (n,); those without an annotated beat are artefacts."""
    of_class = {name: BEAT_CLASSES.index(name) if name in BEAT_CLASSES else UNKNOWN for name in "NSVFQ"}
    of_beat = np.array([of_class[name] for name in annotations.classes], np.int8)
    annotated = annotations.samples
    if not len(annotated):
        return np.full(len(samples), UNKNOWN, np.int8)
    partner = pair_beats(annotated, samples, MATCH_S * fs).reference_index
    labels = np.where(partner >= 0, of_beat[partner], _ARTEFACT).astype(np.int8)
    outside = (samples < annotated[0] - MATCH_S * fs) | (samples > annotated[-1] + MATCH_S * fs)
    for first, last in annotations.flutter:
        outside |= (samples >= first) & (samples <= last)
    return np.where(outside, UNKNOWN, labels).astype(np.int8)


def _without_af(rhythm: Labels, share: float) -> Labels:
    """Label a fraction of the beats of unknown rhythm, evenly spaced, as not in atrial fibrillation."""
    counted = np.floor(np.arange(1, len(rhythm) + 1) * share)
    chosen = np.diff(counted, prepend=0.0) > 0
    return np.where(chosen & (rhythm == UNKNOWN), NOT_AF, rhythm).astype(np.int8)


def rhythm_labels(annotations: BeatAnnotations, samples: NDArray[np.int64], fs: float) -> NDArray[np.int8]:
    """Return the rhythm label of beats at `samples`, (n,); UNKNOWN in the first seconds of a rhythm."""
    labels = np.full(len(samples), UNKNOWN, np.int8)
    for segment in annotations.rhythms:
        known_from = segment.start + (SETTLED_S * fs if segment.start > SETTLED_S * fs else 0)
        labels[(samples >= known_from) & (samples < segment.end)] = rhythm_index(segment.label)
    labels[samples < SETTLED_S * fs] = UNKNOWN
    return labels


def _mean_rr(r_peaks: NDArray[np.int64], end: NDArray[np.float64], fs: float) -> NDArray[np.float32]:
    """Return the mean RR interval in s within the context that ends at each sample of `end`.

    It is NaN if the context begins before the recording, or contains fewer than two RR intervals.
    """
    first = np.searchsorted(r_peaks, end - CONTEXT_S * fs)
    last = np.searchsorted(r_peaks, end, side="right") - 1
    known = (end >= CONTEXT_S * fs) & (last - first >= 2)
    rr = np.full(len(end), np.nan, np.float32)
    rr[known] = (r_peaks[last[known]] - r_peaks[first[known]]) / (last - first)[known] / fs
    return rr


def kept_beats(time_s: NDArray[np.float64], first_s: float, most: int) -> NDArray[np.int64]:
    """Return the indices of the beats from `first_s` on, evenly thinned to at most `most` (0: all)."""
    index = np.flatnonzero(time_s >= first_s)
    if most and len(index) > most:
        index = index[np.linspace(0, len(index) - 1, most).round().astype(np.int64)]
    return index.astype(np.int64)
