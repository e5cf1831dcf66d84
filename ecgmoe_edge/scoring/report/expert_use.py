"""Use of the experts: which expert is selected for which beats, how even the load is, and examples of beats."""

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
_FEWEST_BEATS = 20  # a rhythm with fewer beats gets no row


@dataclass(frozen=True)
class ExpertUse:
    """Use of the experts of one path over all records."""

    path: str
    by_class: NDArray[np.int64]  # (TRUTHS, experts) number of beats
    rhythms: tuple[str, ...]  # annotated rhythms, the most frequent first
    by_rhythm: NDArray[np.int64]  # (rhythms, experts) number of beats
    waves: tuple[NDArray[np.float32], ...]  # for each expert (examples, 82), in units of the R amplitude
    wave_names: tuple[tuple[str, ...], ...]  # record, time and true class of each example

    @property
    def load(self) -> NDArray[np.float64]:
        """Share of the beats for which each expert was selected, `(experts,)`."""
        total = self.by_class.sum(0)
        return np.asarray(total / max(1, total.sum()))

    @property
    def evenness(self) -> float:
        """Entropy of the load divided by the entropy of an equal load: 1 for equal load, 0 if one expert has it all."""
        shares = self.load[self.load > 0]
        experts = self.by_class.shape[1]
        return float(-(shares * np.log(shares)).sum() / np.log(experts)) if experts > 1 else 1.0

    @property
    def class_information(self) -> float:
        """Mutual information of expert and true class, divided by the entropy of the class.

        It is 0 if the selected expert does not depend on the class, and 1 if it determines the class.
        """
        joint = self.by_class / max(1, self.by_class.sum())
        classes, experts = joint.sum(1, keepdims=True), joint.sum(0, keepdims=True)
        positive = joint > 0
        mutual = float((joint[positive] * np.log(joint[positive] / (classes * experts)[positive])).sum())
        present = classes[classes > 0]
        entropy = float(-(present * np.log(present)).sum())
        return mutual / entropy if entropy > 0 else 0.0


def expert_uses(records: Sequence[tuple[str, BeatTrace]]) -> list[ExpertUse]:
    """The use of the experts of each path of the model.

    Args:
        records: name and trace of each record.
    """
    paths = dict.fromkeys(path for _, trace in records for path in trace.experts)
    return [_use(path, [(name, trace) for name, trace in records if path in trace.experts]) for path in paths]


def _use(path: str, records: Sequence[tuple[str, BeatTrace]]) -> ExpertUse:
    experts = max(trace.expert_counts[path] for _, trace in records)
    by_class = np.zeros((len(TRUTHS), experts), np.int64)
    rhythm_counts: dict[str, NDArray[np.int64]] = {}
    for _, trace in records:
        selected = trace.experts[path]
        for row, truth in enumerate(TRUTHS):
            by_class[row] += np.bincount(selected[trace.truth == truth], minlength=experts)
        for rhythm in np.unique(trace.rhythm[trace.rhythm != ""]).tolist():
            counts = np.bincount(selected[trace.rhythm == rhythm], minlength=experts)
            rhythm_counts[rhythm] = rhythm_counts.get(rhythm, np.zeros(experts, np.int64)) + counts
    frequent = [name for name, counts in rhythm_counts.items() if counts.sum() >= _FEWEST_BEATS]
    frequent.sort(key=lambda name: -int(rhythm_counts[name].sum()))
    examples = [example_beats(records, partial(_selected, path=path, expert=expert)) for expert in range(experts)]
    return ExpertUse(
        path=path,
        by_class=by_class,
        rhythms=tuple(frequent),
        by_rhythm=np.array([rhythm_counts[name] for name in frequent], np.int64).reshape(-1, experts),
        waves=tuple(waves for waves, _ in examples),
        wave_names=tuple(names for _, names in examples),
    )


def _selected(trace: BeatTrace, path: str, expert: int) -> NDArray[np.bool_]:
    return np.asarray(trace.experts[path] == expert)


def example_beats(
    records: Sequence[tuple[str, BeatTrace]], wanted: Callable[[BeatTrace], NDArray[np.bool_]]
) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """Examples of the wanted beats, taken at even intervals from all of them so that they are representative.

    Args:
        records: name and trace of each record.
        wanted: selects beats of a trace, `(n,)`.

    Returns:
        Waveforms, `(examples, 82)` in units of the R amplitude, and record, time and true class of each.
    """
    chosen = [(name, trace, np.flatnonzero(wanted(trace))) for name, trace in records]
    every = [(name, trace, int(beat)) for name, trace, beats in chosen for beat in beats]
    places = np.unique(np.linspace(0, len(every) - 1, _EXAMPLES).round().astype(np.int64)) if every else ()
    shown = [every[place] for place in places]
    waves = np.array([trace.waves[beat] for _, trace, beat in shown], np.float32).reshape(-1, SHAPES[BEAT][-1])
    return waves, tuple(f"{name} at {trace.time_s[beat]:.0f} s, {trace.truth[beat]}" for name, trace, beat in shown)
