"""Front end, model and labeller of one stream, both stages in C: samples in, events out.

The front end works through a whole push; then the model runs on all its beats, and the labeller on all its items.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge import contract  # as a module, since it imports this package itself
from ecgmoe_edge.streaming.beat_model import BeatModel
from ecgmoe_edge.streaming.c_engine import extension
from ecgmoe_edge.streaming.c_engine.constants import labeller_constants
from ecgmoe_edge.streaming.c_engine.event_names import EventNames
from ecgmoe_edge.streaming.c_engine.front_end import CFrontEnd
from ecgmoe_edge.streaming.events import Event, GapReason
from ecgmoe_edge.streaming.patient.own_layer import LAYER_CLASSES, LAYER_INPUTS, PatientLayer
from ecgmoe_edge.streaming.rhythm.limits import RhythmLimits

_BATCH = 512  # number of rows in one call of a batched model
_BEAT = 0  # ecgmoe_event_kind


class CStages:
    """The stages of a monitor in C.

    Args:
        front_end: the front end.
        model: the model; None for R peaks only.
        leads: names of the leads.
        limits: limits of the rhythm alarms.
        layer: the patient's own layer.
    """

    def __init__(
        self,
        front_end: CFrontEnd,
        model: BeatModel | None,
        leads: Sequence[str],
        limits: RhythmLimits | None = None,
        layer: PatientLayer | None = None,
    ) -> None:
        module = extension()
        if module is None:
            raise ImportError("this installation has no C engine")
        self._front_end, self._core, self._model, self._limits = front_end, front_end.core, model, limits
        classes: Mapping[str, Sequence[str]] = {} if model is None else model.classes
        self._names = EventNames(front_end.fs, leads, classes, limits)
        self._widths: tuple[int, ...] = ()
        self._labeller = module.Labeller(self._constants(), *_layer_numbers(layer, leads))

    def _constants(self) -> Any:
        """Return the constants of the labeller with the outputs of the model as they are known by now."""
        model = self._model
        return labeller_constants(
            self._front_end.fs,
            classes={} if model is None else model.classes,
            outputs=dict(zip(self._names.outputs, self._widths, strict=True)),
            rule=None if model is None else model.decision,
            limits=self._limits,
        )

    def use_layer(self, active: bool) -> None:
        """Set whether the patient's own layer decides the labels."""
        self._labeller.use_layer(active)

    def push(self, samples: NDArray[np.float64]) -> list[Event]:
        """Return the events of samples (leads, n) in mV."""
        events: list[Event] = []
        for part in self._front_end.parts(samples):
            if self._core.push(part):
                events += self._events()
        return events

    def detect(self, samples: NDArray[np.float64]) -> None:
        """Run the front end alone; `label` gives the events."""
        self._core.push(np.ascontiguousarray(samples))

    def label(self) -> list[Event]:
        """Return the events of what `detect` found."""
        return self._events()

    def gap(self, lost: int | None, reason: GapReason, *, at_least: bool) -> list[Event]:
        """Return the events of a gap; arguments as in `FrontEnd.gap`."""
        self._front_end.lose(lost, reason, at_least=at_least)
        return self._events()

    def lead_off(self, mask: Sequence[bool]) -> list[Event]:
        """Set which leads are off from the next sample on, and return the events of that."""
        self._front_end.set_lead_off(mask)
        return self._events()

    def flush(self) -> list[Event]:
        """Return the remaining events at the end of the stream."""
        self._core.flush()
        return [*self._events(), *map(self._names.event, self._labeller.flush())]

    def _events(self) -> list[Event]:
        """Return the events of the items that wait in the front end."""
        started = time.perf_counter()
        outputs: tuple[NDArray[np.float32], ...] | None = None
        seconds: list[float] = []
        if self._core.beats:
            outputs, seconds = self._answers()
        found = self._labeller.take(self._core, outputs)
        share = 0.0
        if seconds:
            share = (time.perf_counter() - started - sum(seconds)) / len(seconds)
        beat_seconds = iter(seconds)
        names = self._names
        return [
            names.beat(each, next(beat_seconds) + share) if each[0] == _BEAT else names.event(each) for each in found
        ]

    def _answers(self) -> tuple[tuple[NDArray[np.float32], ...] | None, list[float]]:
        """Run the model on all beats; return its outputs (rows, width) and the computing time of each beat."""
        model, beats, rows = self._model, self._core.beats, self._core.rows
        if model is None:
            return None, [0.0] * beats
        inputs = {
            name: np.empty((rows, *contract.SHAPES[name]), np.float32)
            for name in (contract.BEAT, contract.FEATURES, contract.RR_SEQUENCE)
        }
        self._core.inputs(*inputs.values())
        answers, seconds = _run_batches(model, inputs, beats) if model.batched else self._run_each(model, inputs)
        return self._together(answers), seconds

    def _run_each(
        self, model: BeatModel, inputs: Mapping[str, NDArray[np.float32]]
    ) -> tuple[list[Mapping[str, NDArray[np.float32]]], list[float]]:
        answers: list[Mapping[str, NDArray[np.float32]]] = []
        seconds: list[float] = []
        row = 0
        before = time.perf_counter()
        for count in self._core.views():
            stop = row + count
            answers.append(model.infer({name: x[row:stop] for name, x in inputs.items()}))
            row = stop
            now = time.perf_counter()
            seconds.append(now - before)
            before = now
        return answers, seconds

    def _together(self, answers: Sequence[Mapping[str, NDArray[np.float32]]]) -> tuple[NDArray[np.float32], ...]:
        """Return the outputs of all beats, one array for each output, as the labeller takes them."""
        names = tuple(answers[0])
        if len(answers) == 1:
            joined = [answers[0][name] for name in names]
        else:
            joined = [np.concatenate([answer[name] for answer in answers]) for name in names]
        outputs = tuple(np.ascontiguousarray(x, np.float32) for x in joined)
        widths = tuple(x.shape[1] for x in outputs)
        if (names, widths) != (self._names.outputs, self._widths):
            self._names.outputs, self._widths = names, widths
            self._labeller.use_constants(self._constants())
        return outputs


def _run_batches(
    model: BeatModel, inputs: Mapping[str, NDArray[np.float32]], beats: int
) -> tuple[list[Mapping[str, NDArray[np.float32]]], list[float]]:
    started = time.perf_counter()
    rows = len(inputs[contract.BEAT])
    answers = [model.infer({name: x[at : at + _BATCH] for name, x in inputs.items()}) for at in range(0, rows, _BATCH)]
    return answers, [(time.perf_counter() - started) / beats] * beats


def _layer_numbers(layer: PatientLayer | None, leads: Sequence[str]) -> tuple[Any, int, int, float]:
    """Return the weights of all leads, a mask of the leads that have some, the layer's first lead, and its S share."""
    if layer is None:
        return None, 0, 0, np.nan
    weights = np.zeros((len(leads), LAYER_INPUTS, len(LAYER_CLASSES)))
    for lead, matrix in layer.weights.items():
        weights[leads.index(lead)] = matrix
    mask = sum(1 << leads.index(lead) for lead in layer.weights)
    share = np.nan if layer.margin_share_s is None else layer.margin_share_s
    return weights, mask, leads.index(layer.leads[0]), share
