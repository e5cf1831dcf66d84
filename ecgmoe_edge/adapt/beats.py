"""The beats of one patient's recording as the monitor gives them, with the inputs of the patient's own layer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.contract import BEAT, BEAT_TASK, SHAPES
from ecgmoe_edge.scoring.ec57 import TOLERANCE_S
from ecgmoe_edge.scoring.live_run import AnsweredRecord, LiveRun, answer_record, label_record
from ecgmoe_edge.scoring.matching import pair_beats
from ecgmoe_edge.streaming.beats import BeatContext
from ecgmoe_edge.streaming.classifier import Answer
from ecgmoe_edge.streaming.events import Beat
from ecgmoe_edge.streaming.labeller import Labeller
from ecgmoe_edge.streaming.monitor import Monitor
from ecgmoe_edge.streaming.patient.own_layer import LAYER_CLASSES, LAYER_INPUTS, PatientLayer, layer_inputs
from ecgmoe_edge.streaming.patient.rr_history import TO_MEAN_OF_8

UNLABELLED = -1


@dataclass(frozen=True)
class LeadBeats:
    """The usable beats that one lead shows."""

    beats: NDArray[np.int64]  # (k,) index of each beat in the recording, ascending
    logits: NDArray[np.float64]  # (k, 4) logits of LAYER_CLASSES from the shared model
    inputs: NDArray[np.float64]  # (k, LAYER_INPUTS) inputs of the layer


@dataclass(frozen=True)
class Outcome:
    """What the decision rule makes of each beat, with or without a layer."""

    labels: NDArray[np.str_]  # (n,) N, S, V, F or ?
    scores: NDArray[np.float64]  # (n, 4) probability of each of LAYER_CLASSES; 0 if it has none


@dataclass(frozen=True)
class PatientBeats:
    """All beats of a recording, in the order of the monitor.

    A beat is usable if the monitor gives it a class: its quality suffices and the model does not answer artefact.
    """

    leads: tuple[str, ...]
    fs: float
    answered: AnsweredRecord
    new_labeller: Callable[[PatientLayer | None], Labeller]
    run: LiveRun  # with the shared model alone

    @cached_property
    def samples(self) -> NDArray[np.int64]:
        """R peaks, (n,)."""
        return np.array([beat.sample for beat in self.run.beats], np.int64)

    @property
    def times_s(self) -> NDArray[np.float64]:
        """R peaks in s, (n,)."""
        return self.samples / self.fs

    @cached_property
    def usable(self) -> NDArray[np.bool_]:
        """Whether each beat can get a label, (n,)."""
        return np.array([beat.label is not None and beat.reason is None for beat in self.run.beats], bool)

    @cached_property
    def shared(self) -> Outcome:
        """The outcome of the shared model alone."""
        return _outcome(self.run.beats)

    @cached_property
    def windows(self) -> NDArray[np.float32]:
        """Windows in R amplitudes of the lead that shows each beat best, (n, 82)."""
        empty = np.zeros(SHAPES[BEAT][-1], np.float32)
        windows = [empty if answer.waveform is None else answer.waveform for answer in self.answered.answers]
        return np.array(windows, np.float32).reshape(-1, empty.size)

    @cached_property
    def earliness(self) -> NDArray[np.float64]:
        """Logarithm of the RR interval over the mean of the 8 before, (n,)."""
        return np.array([beat.rr_features[TO_MEAN_OF_8] for beat in self.answered.beats], np.float64)

    @cached_property
    def by_lead(self) -> Mapping[str, LeadBeats]:
        """The usable beats of each lead."""
        classes = self.new_labeller(None).classes
        columns = [classes.index(name) for name in LAYER_CLASSES]
        rows: dict[str, list[tuple[int, int, Answer]]] = {lead: [] for lead in self.leads}
        for index in np.flatnonzero(self.usable).tolist():
            beat, answer = self.answered.beats[index], self.answered.answers[index]
            for row, lead in enumerate(_leads_of(beat, self.leads)):
                rows[lead].append((index, row, answer))
        return {lead: _lead_beats(found, columns) for lead, found in rows.items()}

    @cached_property
    def inputs(self) -> NDArray[np.float64]:
        """Inputs of the layer in the lead that shows each beat best, (n, LAYER_INPUTS); 0 for an unusable beat."""
        inputs = np.zeros((len(self.samples), LAYER_INPUTS))
        first = [
            self.leads.index(beat.lead) if beat.lead in self.leads else 0  # None: there is only one lead
            for beat in self.answered.beats
        ]
        for position, lead in enumerate(self.leads):
            beats = self.by_lead[lead].beats
            own = np.array([first[beat] == position for beat in beats.tolist()], bool)
            inputs[beats[own]] = self.by_lead[lead].inputs[own]
        return inputs

    def outcome(self, layer: PatientLayer | None, count: int | None = None) -> Outcome:
        """Return the outcome with a layer, of all beats or of the first `count` ones."""
        return _outcome(label_record(self.new_labeller(layer), self._first(count)).beats)

    def class_of(self, samples: NDArray[np.int64], classes: Sequence[str]) -> NDArray[np.int64]:
        """Assign labels to beats within 150 ms.

        Args:
            samples: R peaks of the labels, (m,), ascending.
            classes: AAMI class of each label, (m,).

        Returns:
            Index in LAYER_CLASSES of each usable beat with such a label; UNLABELLED for the others, (n,).
        """
        order = np.argsort(self.samples, kind="stable")
        pairs = pair_beats(samples, self.samples[order], TOLERANCE_S * self.fs)
        found = np.full(len(self.samples), UNLABELLED, np.int64)
        known = [LAYER_CLASSES.index(name) if name in LAYER_CLASSES else UNLABELLED for name in classes]
        for position, label in enumerate(pairs.reference_index.tolist()):
            if label >= 0:
                found[order[position]] = known[label]
        return np.where(self.usable, found, UNLABELLED)

    def _first(self, count: int | None) -> AnsweredRecord:
        if count is None:
            return self.answered
        left = count
        for position, item in enumerate(self.answered.items):
            if isinstance(item, BeatContext):
                if not left:
                    return AnsweredRecord(self.answered.items[:position], self.answered.answers[:count])
                left -= 1
        return self.answered


def patient_beats(monitor: Monitor, answered: AnsweredRecord, run: LiveRun | None = None) -> PatientBeats:
    """Return the beats of a record that has passed the front end and the classifier of `monitor`.

    Args:
        monitor: the monitor.
        answered: the record.
        run: the same record, labelled without a layer, if this is known.
    """
    run = run or label_record(monitor.new_labeller(), answered)
    return PatientBeats(monitor.leads, monitor.fs, answered, monitor.new_labeller, run)


def collect_beats(monitor: Monitor, blocks: Iterable[NDArray[np.float64]]) -> PatientBeats:
    """Run a record through a new monitor and return its beats; arguments as for `scoring.live_run.run_live`."""
    return patient_beats(monitor, answer_record(monitor, blocks))


def _outcome(beats: Sequence[Beat]) -> Outcome:
    return Outcome(
        np.array([beat.label or "?" for beat in beats], np.str_),
        np.array([[beat.scores.get(name, 0.0) for name in LAYER_CLASSES] for beat in beats]).reshape(-1, 4),
    )


def _leads_of(beat: BeatContext, leads: Sequence[str]) -> list[str]:
    """Return the lead of each row of the model's answer."""
    return [leads[0] if lead is None else lead for lead in (beat.lead, *(view.lead for view in beat.others))]


def _lead_beats(found: Sequence[tuple[int, int, Answer]], columns: Sequence[int]) -> LeadBeats:
    if not found:
        empty = np.zeros((0, LAYER_INPUTS))
        return LeadBeats(np.zeros(0, np.int64), np.zeros((0, len(columns))), empty)
    logits = np.array([answer.outputs[BEAT_TASK][row][columns] for _, row, answer in found], np.float64)
    features = np.array([answer.features[row] for _, row, answer in found if answer.features is not None])
    windows = np.array([answer.windows[row] for _, row, answer in found if answer.windows is not None])
    return LeadBeats(
        np.array([index for index, _, _ in found], np.int64), logits, layer_inputs(logits, features, windows)
    )
