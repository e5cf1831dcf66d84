"""One record through the stages of a monitor, with what the model answered of every beat kept beside the events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.contract import BEAT, SHAPES
from ecgmoe_edge.streaming.beats import BeatContext
from ecgmoe_edge.streaming.classifier import Answer
from ecgmoe_edge.streaming.events import Beat, Event, Rhythm
from ecgmoe_edge.streaming.monitor import Monitor


@dataclass(frozen=True)
class LiveRun:
    """What a record gave."""

    beats: tuple[Beat, ...]
    rhythms: tuple[Rhythm, ...]  # in the order in which they came out
    outputs: Mapping[str, NDArray[np.float32]]  # name -> (beats, width): logits, routers, regressions of its lead
    waves: NDArray[np.float32]  # (beats, 103) the beat's window in R amplitudes; (0, 103) unless asked for


def run_live(monitor: Monitor, blocks: Iterable[NDArray[np.float64]], *, keep_waves: bool = False) -> LiveRun:
    """Run a record through a monitor that is new.

    What a model answers never changes what the front end does next. So the beats of the whole record are gathered
    behind the front end and answered together, which is much faster with a model that takes batches. Labels and events
    are those of a live run.

    Args:
        monitor: takes the record's rate and leads.
        blocks: the record's samples block by block, as `Monitor.push` takes them.
        keep_waves: keep the waveforms too.
    """
    items = [item for block in blocks for item in monitor.front_end.push(block)]
    items += monitor.front_end.flush()
    beats = [item for item in items if isinstance(item, BeatContext)]
    answers: list[Answer] = monitor.classifier.answer_all(beats) if monitor.classifier else []
    following = iter(answers)
    events: list[Event] = []
    for item in items:
        events += monitor.labeller.take(item, next(following, None) if isinstance(item, BeatContext) else None)
    names = answers[0].outputs if answers else {}
    waves = [answer.waveform for answer in answers] if keep_waves else []
    return LiveRun(
        beats=tuple(event for event in events if isinstance(event, Beat)),
        rhythms=tuple(event for event in events if isinstance(event, Rhythm)),
        outputs={name: np.concatenate([answer.outputs[name][:1] for answer in answers]) for name in names},
        waves=np.array(waves, np.float32).reshape(-1, SHAPES[BEAT][-1]),
    )
