"""One record through the live monitor, with what the model answered of every beat kept beside the events."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.contract import BEAT, SHAPES
from ecgmoe_edge.streaming.beat_model import BeatModel
from ecgmoe_edge.streaming.decision import DecisionRule
from ecgmoe_edge.streaming.events import Beat, Rhythm
from ecgmoe_edge.streaming.monitor import Monitor

MonitorFor = Callable[[BeatModel | None], Monitor]
Blocks = Callable[[], Iterable[NDArray[np.float64]]]
_BATCH = 128


@dataclass(frozen=True)
class LiveRun:
    """What a record gave."""

    beats: tuple[Beat, ...]
    rhythms: tuple[Rhythm, ...]  # in the order in which they came out
    outputs: Mapping[str, NDArray[np.float32]]  # name -> (beats, width): logits, routers, regressions of its lead
    waves: NDArray[np.float32]  # (beats, 103) the beat's window in R amplitudes; (0, 103) unless asked for


def run_live(monitor_for: MonitorFor, blocks: Blocks, model: BeatModel | None, *, keep_waves: bool = False) -> LiveRun:
    """Push a record through a monitor.

    What a model answers never changes what it is asked next. So a `batched` model, much faster on many beats at once,
    is asked of all beats together: the record runs through the monitor twice, first to gather
    what the model is given, then with its answers. Labels and events are those of one run.

    Args:
        monitor_for: a new monitor for the record, with the model that it is given.
        blocks: the record's samples anew, block by block, as `Monitor.push` takes them.
        model: what classifies the beats; None finds R peaks only.
        keep_waves: keep the waveforms too.
    """
    if model is None:
        return _collect(monitor_for(None), blocks(), None)
    if model.batched:
        gathered = _Gather(model)
        _push_all(monitor_for(gathered), blocks())
        model = _Replay(model, gathered.given)
    listener = _Listener(model, keep_waves)
    return _collect(monitor_for(listener), blocks(), listener)


def _push_all(monitor: Monitor, blocks: Iterable[NDArray[np.float64]]) -> list[Beat | Rhythm]:
    events = [event for block in blocks for event in monitor.push(block) if isinstance(event, (Beat, Rhythm))]
    return [*events, *(event for event in monitor.flush() if isinstance(event, (Beat, Rhythm)))]


def _collect(monitor: Monitor, blocks: Iterable[NDArray[np.float64]], listener: _Listener | None) -> LiveRun:
    events = _push_all(monitor, blocks)
    beats = tuple(event for event in events if isinstance(event, Beat))
    rhythms = tuple(event for event in events if isinstance(event, Rhythm))
    heard = listener.heard if listener is not None else []
    if listener is not None and len(heard) != len(beats):
        raise AssertionError(f"the monitor asked its model {len(heard)} times for {len(beats)} beats")
    names = heard[0] if heard else {}
    return LiveRun(
        beats=beats,
        rhythms=rhythms,
        outputs={name: np.concatenate([answer[name] for answer in heard]) for name in names},
        waves=np.array(listener.waves if listener is not None else [], np.float32).reshape(-1, SHAPES[BEAT][-1]),
    )


class _Around:
    """A model in a model's place: what the monitor asks of it besides beats is the inner one's."""

    def __init__(self, model: BeatModel) -> None:
        self._model = model
        self.tasks, self.context_samples, self.batched = model.tasks, model.context_samples, model.batched

    @property
    def classes(self) -> Mapping[str, tuple[str, ...]]:
        return self._model.classes

    @property
    def decision(self) -> DecisionRule:
        return self._model.decision


class _Listener(_Around):
    """Passes every beat on and keeps what was answered."""

    def __init__(self, model: BeatModel, keep_waves: bool) -> None:
        super().__init__(model)
        self._keep_waves = keep_waves
        self.heard: list[Mapping[str, NDArray[np.float32]]] = []
        self.waves: list[NDArray[np.float32]] = []

    def infer(self, inputs: Mapping[str, NDArray[np.float32]]) -> Mapping[str, NDArray[np.float32]]:
        answer = self._model.infer(inputs)
        self.heard.append({name: value[:1] for name, value in answer.items()})
        if self._keep_waves:
            self.waves.append(inputs[BEAT][0, 0])
        return answer


class _Gather(_Around):
    """Keeps what every beat gives a model; the answers are empty and nobody listens to them."""

    def __init__(self, model: BeatModel) -> None:
        super().__init__(model)
        self.given: list[Mapping[str, NDArray[np.float32]]] = []

    def infer(self, inputs: Mapping[str, NDArray[np.float32]]) -> Mapping[str, NDArray[np.float32]]:
        self.given.append(inputs)
        rows = len(inputs[BEAT])
        return {task: np.zeros((rows, len(classes)), np.float32) for task, classes in self.classes.items()}


class _Replay(_Around):
    """Asks the model of all beats in batches, then gives the answers beat by beat."""

    def __init__(self, model: BeatModel, given: list[Mapping[str, NDArray[np.float32]]]) -> None:
        super().__init__(model)
        self._next = 0
        self._answers: list[Mapping[str, NDArray[np.float32]]] = []
        for start in range(0, len(given), _BATCH):
            part = given[start : start + _BATCH]
            outputs = model.infer({name: np.concatenate([one[name] for one in part]) for name in part[0]})
            ends = np.cumsum([len(one[BEAT]) for one in part]).tolist()
            self._answers += [
                {name: x[begin:end] for name, x in outputs.items()}
                for begin, end in zip([0, *ends], ends, strict=False)
            ]

    def infer(self, inputs: Mapping[str, NDArray[np.float32]]) -> Mapping[str, NDArray[np.float32]]:
        self._next += 1
        return self._answers[self._next - 1]
