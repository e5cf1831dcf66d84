"""Training examples from annotations alone: RR intervals and rhythm labels of records whose signal is not at hand.

The Long-Term AF Database has a day of annotated rhythm of each patient: 1,671 hours, 891 of them atrial fibrillation.
The rhythm path of a model sees RR intervals only, so it can learn from them. Only the labels N and AF are used: other
rhythms are short or differ between databases, and the S and V labels of this database do not transfer to others.

Such an example has no waveform (its amplitude is 0). In a training batch it gets the waveform of a random beat with the
same rhythm label (`training.augment`), so that the waveform path sees nothing unusual and learns nothing new from it.
"""

from __future__ import annotations

import numpy as np

from ecgmoe_edge.contract import CONTEXT_SAMPLES, RR_SEQUENCE, SHAPES
from ecgmoe_edge.errors import RecordError
from ecgmoe_edge.records.annotations_alone import AnnotatedRecord, read_annotated_record
from ecgmoe_edge.streaming.patient.rr_history import RR_FEATURE_NAMES, RRHistory
from ecgmoe_edge.streaming.signal.windows import WIDE_GRID
from ecgmoe_edge.tasks import RHYTHM_CLASSES, TASKS
from ecgmoe_edge.training.examples import UNKNOWN, Examples, kept_beats, rhythm_labels, whole_labels
from ecgmoe_edge.training.sources import Source

_LONGEST_RR_S = 4.0  # a longer interval is a gap of the annotations
_LEARNT = tuple(RHYTHM_CLASSES.index(name) for name in ("N", "AF"))


def read_rhythms(source: Source) -> AnnotatedRecord:
    """Read the annotations of a record.

    Raises:
        RecordError: they cannot be read, or contain no rhythm.
    """
    record = read_annotated_record(source.path, source.data.annotator)
    if not record.annotations.rhythms:
        raise RecordError(f"{record.name} has no rhythm annotations in its .{source.data.annotator} file.")
    return record


def examples_without_signal(source: Source) -> Examples:
    """Make the examples of a record from the annotated beats, with the RR features of the live stream.

    Raises:
        RecordError: the annotations cannot be read, or contain no rhythm.
    """
    record = read_rhythms(source)
    samples, fs = record.annotations.samples, record.timeline.fs
    kept = kept_beats(record.beat_times, source.data.first_s, source.data.beats_per_record)
    n, width = len(kept), len(WIDE_GRID)
    rr_features = np.zeros((n, len(RR_FEATURE_NAMES)), np.float32)
    rr_sequence = np.zeros((n, *SHAPES[RR_SEQUENCE]), np.float32)
    row_of = {int(beat): row for row, beat in enumerate(kept)}
    history = RRHistory()
    for beat, rr in enumerate(np.diff(record.beat_times, prepend=-np.inf).tolist()):
        features, sequence = history.add(rr if rr <= _LONGEST_RR_S else None)
        if (row := row_of.get(beat)) is not None:
            rr_features[row], rr_sequence[row] = features, sequence
    labels = {task.name: whole_labels(task, None, n) for task in TASKS}
    rhythm = rhythm_labels(record.annotations, samples, fs)[kept]
    labels["rhythm"] = np.where(np.isin(rhythm, _LEARNT), rhythm, UNKNOWN).astype(np.int8)
    return Examples(
        window=np.zeros((n, width), np.float32),
        template=np.zeros((n, width), np.float32),
        amplitude=np.zeros(n, np.float32),
        rr_features=rr_features,
        rr_sequence=rr_sequence,
        context=np.zeros((n, CONTEXT_SAMPLES), np.float16),
        sample=samples[kept],
        record=np.zeros(n, np.int32),
        labels=labels,
        records=(source.name,),
    )
