"""The live monitor: samples in, events out, beat by beat."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge import contract  # as a module: it imports this package itself, so its names may come later
from ecgmoe_edge.errors import SignalError
from ecgmoe_edge.streaming.beat_model import BeatModel
from ecgmoe_edge.streaming.beats import LeadView
from ecgmoe_edge.streaming.decision import EARLY, Decision, heard_together
from ecgmoe_edge.streaming.events import Beat, End, Event, Gap, LeadChange, LeadOff, Saturation
from ecgmoe_edge.streaming.features import TO_MEAN_OF_8
from ecgmoe_edge.streaming.frontend import UNUSABLE, BeatContext, FrontEnd, Item
from ecgmoe_edge.streaming.rhythm import RhythmTracker
from ecgmoe_edge.streaming.totals import Percentiles
from ecgmoe_edge.streaming.windows import BEAT_CORE, BEAT_GRID, WIDE_GRID

POOR_QUALITY = 0.005  # below it a beat is `?`: chosen on ds1-fit; `benchmarks/signal_quality.py` says what it costs


class Monitor:
    """Beat-by-beat monitoring of a stream.

    bundle: what `load_bundle` gives, or None to find R peaks only (labels are None then). fs: device rate in Hz,
    100-1000. leads: names of the rows of what is pushed; R peaks are found in all of them together, and the first
    two that show a beat well say what it is. invert: electrodes were swapped. mains: 50 or 60 Hz for a notch.

    Every method returns the events that it made certain, in order. Any chunking gives the same events, `compute_ms`
    aside. Raises SignalError for a rate or a shape that cannot be used.
    """

    def __init__(
        self,
        bundle: BeatModel | None,
        fs: float,
        leads: Sequence[str] = ("II",),
        invert: bool = False,
        *,
        mains: int | None = None,
    ) -> None:
        if not leads:
            raise SignalError("A monitor needs at least one lead: give their names, such as leads=('II',).")
        self._bundle = bundle
        self._leads = tuple(leads)
        # The full-precision model sees the last 10 s as well, to where its training examples end.
        self._context = bundle.context_samples if bundle else 0
        grid = WIDE_GRID if self._context else BEAT_GRID if bundle else None
        self._front = FrontEnd(fs, self._leads, mains=mains, invert=invert, grid=grid, context=self._context)
        self._fs = self._front.fs
        self._classes = bundle.classes["beat"] if bundle else ()
        rhythms = bundle.classes.get("rhythm", ()) if bundle else ()
        self._decision = Decision(bundle.decision, self._classes, rhythms) if bundle else None
        self._rhythm = RhythmTracker(rhythms)
        self._received = self._lost = self._unusable = self._gaps = 0
        self._counts: Counter[str] = Counter(dict.fromkeys((*self._classes, "?"), 0) if bundle else {})
        self._delays, self._compute = Percentiles(), Percentiles()
        self._rr_sum_ms = 0.0
        self._rr_count = 0

    def push(self, samples: NDArray[np.float64]) -> list[Event]:
        """Take samples (leads, n), float64, in mV; NaN marks unusable ones."""
        x = np.asarray(samples, np.float64)
        if x.ndim != 2 or x.shape[0] != len(self._leads):
            raise SignalError(
                f"Samples of shape {x.shape} do not fit {len(self._leads)} lead(s) {', '.join(self._leads)}: "
                "push an array of shape (leads, samples) in mV."
            )
        self._received += x.shape[1]
        return self._events(self._front.push(x))

    def gap(self, n_lost: int | None, reason: str) -> list[Event]:
        """Note that `n_lost` samples never came (None: nobody knows how many)."""
        self._lost += n_lost or 0
        return self._events(self._front.gap(n_lost, reason))

    def lead_off(self, mask: Sequence[bool]) -> list[Event]:
        """Note which leads are off, one flag a lead; nothing is made of a lead while it is off."""
        if len(mask) != len(self._leads):
            raise SignalError(f"{len(mask)} lead-off flags do not fit {len(self._leads)} lead(s).")
        events = self._events(self._front.lead_off(mask))
        names = tuple(name for name, off in zip(self._leads, mask, strict=True) if off)
        at = self._front.position
        return [*events, LeadOff(at, at / self._fs, names)]

    def flush(self) -> list[Event]:
        """End the stream: what is left, and `End` with the totals."""
        events = self._events(self._front.flush())
        events += self._rhythm.interrupt()
        events.append(
            End(
                samples=self._received,
                lost=self._lost,
                unusable=self._unusable,
                gaps=self._gaps,
                duration_s=(self._received + self._lost) / self._fs,
                beats=dict(self._counts),
                mean_heart_rate_bpm=60000.0 * self._rr_count / self._rr_sum_ms if self._rr_count else None,
                delay_ms=self._delays.summary(),
                compute_ms=self._compute.summary(),
            )
        )
        return events

    def _events(self, items: Sequence[Item | LeadChange]) -> list[Event]:
        events: list[Event] = []
        for item in items:
            if isinstance(item, BeatContext):
                events += self._beat(item)
            else:
                if isinstance(item, Gap):
                    self._gaps += 1
                    self._unusable += item.lost or 0 if item.reason == UNUSABLE else 0
                if self._breaks_off(item):
                    events += self._rhythm.interrupt()
                events.append(item)
        return events

    def _breaks_off(self, item: Gap | Saturation | LeadChange) -> bool:
        """Whether nothing is known of the rhythm from there on."""
        if isinstance(item, LeadChange):
            return item.broken
        return isinstance(item, Gap) or len(self._leads) == 1

    def _beat(self, context: BeatContext) -> list[Event]:
        started = time.perf_counter()
        label: str | None = None
        scores: dict[str, float] = {}
        experts: dict[str, int] = {}
        rhythm_logits = None
        if self._bundle is not None and self._decision is not None:
            inputs = self._inputs(context)
            outputs = self._bundle.infer(inputs)
            poor = not context.complete or context.quality < POOR_QUALITY
            shape = None if poor else inputs["beat"][0, 0]
            rhythm_logits = outputs["rhythm"].mean(axis=0) if "rhythm" in outputs else None
            early = bool(context.rr_features[TO_MEAN_OF_8] < EARLY)
            heard = heard_together(outputs["beat"], self._classes, early=early)
            logits = self._decision.apply(heard, context.rr_features, shape, rhythm_logits)
            scores = _probabilities(logits, self._classes)
            label = "?" if poor else self._classes[int(np.argmax(logits))]
            experts = {
                name.removeprefix("route_"): int(np.argmax(value[0]))
                for name, value in outputs.items()
                if name.startswith("route_")
            }
        compute_ms = 1000.0 * (time.perf_counter() - started)
        rr_ms = None if context.rr_s is None else 1000.0 * context.rr_s
        event = Beat(
            sample=context.sample,
            time_s=context.sample / self._fs,
            rr_ms=rr_ms,
            label=label,
            scores=scores,
            experts=experts,
            quality=context.quality,
            detection_delay_ms=1000.0 * (context.known_at - 1 - context.sample) / self._fs,
            delay_ms=1000.0 * (context.ready_at - 1 - context.sample) / self._fs,
            compute_ms=compute_ms,
            search_back=context.search_back,
            lead=context.lead,
        )
        self._count(event)
        return [event, *self._rhythm.beat(event.time_s, rr_ms, label, rhythm_logits)]

    def _inputs(self, context: BeatContext) -> dict[str, NDArray[np.float32]]:
        """A row for each lead, first that of the beat's own window."""
        core = BEAT_CORE if self._context else slice(None)
        views: tuple[BeatContext | LeadView, ...] = (context, *context.others)
        return contract.assemble_inputs(
            np.stack([view.window[core] for view in views]),
            np.stack([view.template[core] for view in views]),
            np.array([view.amplitude for view in views], np.float32),
            context.rr_features[None].repeat(len(views), axis=0),
            context.rr_sequence[None].repeat(len(views), axis=0),
            np.stack([view.context for view in views]) if self._context else None,
        )

    def _count(self, beat: Beat) -> None:
        self._counts["unclassified" if beat.label is None else beat.label] += 1
        self._delays.add(beat.delay_ms)
        self._compute.add(beat.compute_ms)
        if beat.rr_ms is not None:
            self._rr_sum_ms += beat.rr_ms
            self._rr_count += 1


def _probabilities(logits: NDArray[np.float64], classes: Sequence[str]) -> dict[str, float]:
    top = float(logits.max())
    shares = [math.exp(logit - top) for logit in logits.tolist()]
    total = sum(shares)
    return {name: round(share / total, 6) for name, share in zip(classes, shares, strict=True)}
