"""From the outputs of a model to labels and rhythm: the last stage, with its own patient history."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge import contract  # as a module, since it imports this package itself
from ecgmoe_edge.streaming.beats import BeatContext
from ecgmoe_edge.streaming.classifier import Answer
from ecgmoe_edge.streaming.decision import EARLY, Decision, DecisionRule, combined_logits
from ecgmoe_edge.streaming.events import ARTEFACT_REASON, Beat, BeatReason, Event, ModelFault
from ecgmoe_edge.streaming.frontend import Item
from ecgmoe_edge.streaming.model_faults import ModelFaults
from ecgmoe_edge.streaming.patient.own_layer import PatientLayer
from ecgmoe_edge.streaming.patient.rr_history import TO_MEAN_OF_8
from ecgmoe_edge.streaming.rhythm.limits import RhythmLimits
from ecgmoe_edge.streaming.rhythm.silence import SignalEnd, Silence
from ecgmoe_edge.streaming.rhythm.tracker import RhythmTracker
from ecgmoe_edge.streaming.signal.quality import POOR_QUALITY


@dataclass(frozen=True)
class _Labelled:
    """The label of one beat, and what led to it."""

    label: str | None = None
    reason: BeatReason | None = None
    scores: Mapping[str, float] = field(default_factory=dict)
    experts: Mapping[str, int] = field(default_factory=dict)
    rhythm_logits: NDArray[np.float32] | None = None
    shared_label: str | None = None
    faults: Sequence[ModelFault] = ()


class Labeller:
    """Turns the items of a front end, each beat with the model's answer, into events.

    Args:
        fs: sampling rate, Hz.
        classes: classes of each task, at least of "beat"; empty without a model.
        rule: constants of the decision rules, from the model.
        limits: limits of the rhythm alarms.
        layer: the patient's own layer; None for the shared model alone.

    Attributes:
        layer_active: whether the patient's own layer decides the labels; False without one. It can be changed between
            two beats. The patient history of the shared model is always kept beside that of the layer, so that both
            know all beats.
    """

    def __init__(
        self,
        fs: float,
        classes: Mapping[str, tuple[str, ...]],
        rule: DecisionRule | None = None,
        limits: RhythmLimits | None = None,
        layer: PatientLayer | None = None,
    ) -> None:
        self._fs = fs
        self.classes = classes.get(contract.BEAT_TASK, ())  # answers of the model for a beat; empty without a model
        rhythms = classes.get(contract.RHYTHM_TASK, ())
        shared = rule or DecisionRule()
        self._decision = Decision(shared, self.classes, rhythms) if self.classes else None
        self._layer, self._own_decision = layer, None
        if layer is not None:
            share = shared.margin_share_s if layer.margin_share_s is None else layer.margin_share_s
            self._own_decision = Decision(replace(shared, margin_share_s=share), self.classes, rhythms)
        self.layer_active = layer is not None
        self._rhythm = RhythmTracker(rhythms, limits)
        self._faults = ModelFaults(fs)

    def take(self, item: Item, answer: Answer | None = None) -> list[Event]:
        """Return the events of one item; `answer` is that of the model for a beat, None without a model."""
        if isinstance(item, BeatContext):
            return self._beat(item, answer)
        if isinstance(item, Silence):
            return [*self._rhythm.silence(item.since / self._fs, item.seconds, after_beat=item.after_beat)]
        if isinstance(item, SignalEnd):
            return [*self._rhythm.interrupt(item.sample / self._fs, lead_lost=item.lead_lost)]
        return [item]

    def flush(self) -> list[Event]:
        """Return the remaining events at the end of the stream."""
        return [*self._faults.flush()]

    def _beat(self, beat: BeatContext, answer: Answer | None) -> list[Event]:
        started = time.perf_counter()
        found = self._labelled(beat, answer)
        seconds = 0.0 if answer is None else answer.seconds
        rr_ms = None if beat.rr_s is None else 1000.0 * beat.rr_s
        event = Beat(
            sample=beat.sample,
            time_s=beat.sample / self._fs,
            rr_ms=rr_ms,
            label=found.label,
            scores=found.scores,
            experts=found.experts,
            quality=beat.quality,
            detection_delay_ms=1000.0 * (beat.known_at - 1 - beat.sample) / self._fs,
            delay_ms=1000.0 * (beat.ready_at - 1 - beat.sample) / self._fs,
            compute_ms=1000.0 * (seconds + time.perf_counter() - started),
            search_back=beat.search_back,
            lead=beat.lead,
            reason=None if found.label is None else found.reason,
            shared_label=found.shared_label,
        )
        if found.reason == ARTEFACT_REASON:
            rhythm_events = self._rhythm.artefact(event.time_s)
        else:
            rhythm_events = self._rhythm.beat(
                event.time_s,
                rr_ms,
                found.label,
                found.rhythm_logits,
                quality=beat.quality,
                poor=found.reason is not None,
                no_qrs=beat.no_qrs,
                recurrence=beat.recurrence,
            )
        return [event, *found.faults, *rhythm_events]

    def _labelled(self, beat: BeatContext, answer: Answer | None) -> _Labelled:
        reason = _why_poor(beat)
        if answer is None or self._decision is None:
            return _Labelled(reason=reason)
        unusable = contract.unusable_outputs(answer.outputs)
        if unusable:
            # Neither the decision rules nor the rhythm learn from it.
            return _Labelled("?", reason or "model", faults=self._faults.add(beat.sample, unusable))
        outputs = answer.outputs
        rhythm = outputs.get(contract.RHYTHM_TASK)
        rhythm_logits = None if rhythm is None else rhythm.mean(axis=0)
        early = bool(beat.rr_features[TO_MEAN_OF_8] < EARLY)
        combined = combined_logits(outputs[contract.BEAT_TASK], self.classes, early=early)
        if reason is None and self._decision.is_artefact(combined, beat.quality):
            reason = ARTEFACT_REASON
        learn = reason is None
        logits = self._decision.apply(combined, beat.rr_features, answer.waveform, rhythm_logits, learn=learn)
        label = "?" if reason else self.classes[self._decision.best_class(logits)]
        shared_label = None
        if self._own_decision is not None:
            own = self._own_logits(beat, answer, early=early)
            own_logits = self._own_decision.apply(own, beat.rr_features, answer.waveform, rhythm_logits, learn=learn)
            if self.layer_active and reason is None:
                own_label = self.classes[self._own_decision.best_class(own_logits)]
                shared_label = None if own_label == label else label
                logits, label = own_logits, own_label
        return _Labelled(
            label,
            reason,
            scores=_probabilities(logits, self.classes),
            experts={path: int(np.argmax(value[0])) for path, value in contract.routes_by_path(outputs).items()},
            rhythm_logits=rhythm_logits,
            shared_label=shared_label,
        )

    def _own_logits(self, beat: BeatContext, answer: Answer, *, early: bool) -> NDArray[np.float32]:
        """Return the logits (classes,) of a beat after the patient's own layer, the leads combined."""
        by_lead = answer.outputs[contract.BEAT_TASK]
        if self._layer is not None and answer.features is not None and answer.windows is not None:
            leads = (beat.lead, *(view.lead for view in beat.others))
            by_lead = self._layer.adapted(by_lead, self.classes, answer.features, answer.windows, leads)
        return combined_logits(by_lead, self.classes, early=early)


def _why_poor(beat: BeatContext) -> BeatReason | None:
    """Return why a beat is too poor for a label, whatever the model answers; None if it is not."""
    if not beat.complete:
        return "incomplete"
    if beat.no_qrs:
        return "no QRS"
    return "quality" if beat.quality < POOR_QUALITY else None


def _probabilities(logits: NDArray[np.float64], classes: Sequence[str]) -> dict[str, float]:
    """Return the softmax of logits (classes,), rounded, by class."""
    top = float(logits.max())
    shares = [math.exp(logit - top) for logit in logits.tolist()]
    total = sum(shares)
    return {name: round(share / total, 6) for name, share in zip(classes, shares, strict=True)}
