"""Runs one record through the stages of a monitor and keeps the model outputs of every beat beside the events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.contract import BEAT, SHAPES
from ecgmoe_edge.streaming.beats import BeatContext
from ecgmoe_edge.streaming.classifier import Answer
from ecgmoe_edge.streaming.events import Beat, Event, Gap, Rhythm
from ecgmoe_edge.streaming.frontend import Item
from ecgmoe_edge.streaming.labeller import Labeller
from ecgmoe_edge.streaming.monitor import Monitor


@dataclass(frozen=True)
class LiveRun:
    """Events and model outputs of one record."""

    beats: tuple[Beat, ...]
    rhythms: tuple[Rhythm, ...]  # in the order in which the monitor emitted them
    outputs: Mapping[str, NDArray[np.float32]]  # name -> (beats, width): logits, router logits, regressions
    waves: NDArray[np.float32]  # (beats, 82) waveforms on BEAT_GRID in R amplitudes; (0, 82) unless they were kept
    unusable: int = 0  # samples that no lead could use: NaN or out of range, bridged holes excluded


@dataclass(frozen=True)
class AnsweredRecord:
    """The items of a front end for one record, with the answers of the model: all that a labeller needs."""

    items: tuple[Item, ...]
    answers: tuple[Answer, ...]  # one for each beat among the items; empty without a model

    @property
    def beats(self) -> tuple[BeatContext, ...]:
        """The beats among the items."""
        return tuple(item for item in self.items if isinstance(item, BeatContext))


def run_live(monitor: Monitor, blocks: Iterable[NDArray[np.float64]], *, keep_waves: bool = False) -> LiveRun:
    """Run a record through a new monitor.

    Labels and events are the same as in a live run.

    Args:
        monitor: a monitor that has received no samples, with the sampling rate and leads of the record.
        blocks: successive blocks of the record, `(leads, n)` in mV.
        keep_waves: also keep the waveform of each beat.

    Returns:
        Events, model outputs and, if kept, waveforms.
    """
    return label_record(monitor.labeller, answer_record(monitor, blocks), keep_waves=keep_waves)


def answer_record(monitor: Monitor, blocks: Iterable[NDArray[np.float64]]) -> AnsweredRecord:
    """Run a record through front end and classifier of a new monitor; arguments as for `run_live`.

    The output of the model has no effect on the front end. The beats of the whole record are therefore collected
    after the front end and classified together, which is much faster with a model that accepts batches.
    """
    items = [item for block in blocks for item in monitor.front_end.push(block)]
    items += monitor.front_end.flush()
    beats = [item for item in items if isinstance(item, BeatContext)]
    return AnsweredRecord(tuple(items), tuple(monitor.classifier.answer_all(beats)) if monitor.classifier else ())


def label_record(labeller: Labeller, record: AnsweredRecord, *, keep_waves: bool = False) -> LiveRun:
    """Label a record with a new labeller, which may have another patient's layer than the monitor of the record."""
    remaining = iter(record.answers)
    events: list[Event] = []
    for item in record.items:
        events += labeller.take(item, next(remaining, None) if isinstance(item, BeatContext) else None)
    names = record.answers[0].outputs if record.answers else {}
    waves = [answer.waveform for answer in record.answers] if keep_waves else []
    return LiveRun(
        beats=tuple(event for event in events if isinstance(event, Beat)),
        rhythms=tuple(event for event in events if isinstance(event, Rhythm)),
        outputs={name: np.concatenate([answer.outputs[name][:1] for answer in record.answers]) for name in names},
        waves=np.array(waves, np.float32).reshape(-1, SHAPES[BEAT][-1]),
        unusable=sum(event.unusable for event in events if isinstance(event, Gap) and not event.bridged),
    )
