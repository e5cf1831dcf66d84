"""What the experts do: which one takes which beats, how evenly they are loaded, and beats that each of them took."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.contract import BEAT, SHAPES
from ecgmoe_edge.scoring.beat_traces import BeatTrace
from ecgmoe_edge.scoring.ec57 import TRUTHS

_EXAMPLES = 8
_FEWEST_BEATS = 20  # of a rhythm that has a row


@dataclass(frozen=True)
class ExpertUse:
    """One bank of experts over all records."""

    path: str
    by_class: NDArray[np.int64]  # (TRUTHS, experts) beats
    rhythms: tuple[str, ...]  # as annotated, the commonest first
    by_rhythm: NDArray[np.int64]  # (rhythms, experts) beats
    waves: tuple[NDArray[np.float32], ...]  # of each expert (examples, 103), in R amplitudes
    wave_names: tuple[tuple[str, ...], ...]  # of each of these: record, time, truth

    @property
    def load(self) -> NDArray[np.float64]:
        """Share of the beats that each expert took, (experts,)."""
        total = self.by_class.sum(0)
        return np.asarray(total / max(1, total.sum()))

    @property
    def evenness(self) -> float:
        """Entropy of the load over that of an even one: 1 where all work alike, 0 where one does it all."""
        shares = self.load[self.load > 0]
        experts = self.by_class.shape[1]
        return float(-(shares * np.log(shares)).sum() / np.log(experts)) if experts > 1 else 1.0

    @property
    def told_apart(self) -> float:
        """Mutual information of expert and true class over the entropy of the class: 0 where the router is blind to
        what the class is, 1 where the expert alone tells it.
        """
        joint = self.by_class / max(1, self.by_class.sum())
        classes, experts = joint.sum(1, keepdims=True), joint.sum(0, keepdims=True)
        held = joint > 0
        shared = float((joint[held] * np.log(joint[held] / (classes * experts)[held])).sum())
        present = classes[classes > 0]
        entropy = float(-(present * np.log(present)).sum())
        return shared / entropy if entropy > 0 else 0.0


def expert_uses(records: Sequence[tuple[str, BeatTrace]]) -> list[ExpertUse]:
    """Of every bank that the model has, over the traced records (name, trace)."""
    paths = dict.fromkeys(path for _, trace in records for path in trace.experts)
    return [_use(path, [(name, trace) for name, trace in records if path in trace.experts]) for path in paths]


def _use(path: str, records: Sequence[tuple[str, BeatTrace]]) -> ExpertUse:
    experts = max(trace.expert_counts[path] for _, trace in records)
    by_class = np.zeros((len(TRUTHS), experts), np.int64)
    of_rhythm: dict[str, NDArray[np.int64]] = {}
    for _, trace in records:
        taken = trace.experts[path]
        for row, truth in enumerate(TRUTHS):
            by_class[row] += np.bincount(taken[trace.truth == truth], minlength=experts)
        for rhythm in np.unique(trace.rhythm[trace.rhythm != ""]).tolist():
            counts = np.bincount(taken[trace.rhythm == rhythm], minlength=experts)
            of_rhythm[rhythm] = of_rhythm.get(rhythm, np.zeros(experts, np.int64)) + counts
    common = sorted((name for name, row in of_rhythm.items() if row.sum() >= _FEWEST_BEATS),
                    key=lambda name: -int(of_rhythm[name].sum()))  # fmt: skip
    examples = [example_beats(records, partial(_taken, path=path, expert=expert)) for expert in range(experts)]
    return ExpertUse(
        path=path,
        by_class=by_class,
        rhythms=tuple(common),
        by_rhythm=np.array([of_rhythm[name] for name in common], np.int64).reshape(-1, experts),
        waves=tuple(waves for waves, _ in examples),
        wave_names=tuple(names for _, names in examples),
    )


def _taken(trace: BeatTrace, path: str, expert: int) -> NDArray[np.bool_]:
    return np.asarray(trace.experts[path] == expert)


def example_beats(
    records: Sequence[tuple[str, BeatTrace]], wanted: Callable[[BeatTrace], NDArray[np.bool_]]
) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """Waveforms (examples, 103) and names of wanted beats, spread evenly over all of them: they stand for the rest and
    are not picked.
    """
    chosen = [(name, trace, np.flatnonzero(wanted(trace))) for name, trace in records]
    every = [(name, trace, int(beat)) for name, trace, beats in chosen for beat in beats]
    places = np.unique(np.linspace(0, len(every) - 1, _EXAMPLES).round().astype(np.int64)) if every else ()
    shown = [every[place] for place in places]
    waves = np.array([trace.waves[beat] for _, trace, beat in shown], np.float32).reshape(-1, SHAPES[BEAT][-1])
    return waves, tuple(f"{name} at {trace.time_s[beat]:.0f} s, {trace.truth[beat]}" for name, trace, beat in shown)
