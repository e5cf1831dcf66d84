"""Finds records that hold the same stretch of the same patient, by their sequences of RR intervals.

Two databases may contain excerpts of one Holter tape under different names. If one excerpt trains a model and the other
tests it, the test is not one on an unseen patient. A run of irregular RR intervals identifies a stretch like a
fingerprint, whatever the leads, the sampling rate and the labels; a second stretch of the same patient is not found.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.spatial import cKDTree

RUN = 16  # consecutive RR intervals that are compared at once
TOLERANCE_S = 0.012  # between two intervals: one tick of 128 Hz at each end of the interval, rounded, and a margin
_LEAST_SPREAD_S = 0.04  # standard deviation of the intervals, and of their differences to the 1st .. 4th before
_PATTERN_PERIODS = (1, 2, 3, 4)  # beats; regular rhythm, bigeminy, trigeminy and quadrigeminy look alike in everybody
_SAME_OFFSET_S = 2.0  # two tape decks run at different speeds; half an hour drifts by a second or two
_FEWEST_RUNS = 8  # runs of one pair of records with the same offset; by chance two or three agree
_STEP = 4  # of the records that are compared with the known ones, every fourth run is looked up
_LONGEST_S = 4.0  # a longer interval is a gap of the annotations


@dataclass(frozen=True)
class Overlap:
    """A stretch that two records share."""

    first: str
    second: str
    first_s: float  # start of the stretch in the first record, s
    second_s: float  # start of the stretch in the second record, s
    duration_s: float  # from the first to the last compared interval
    matched: int  # compared runs of the second record that agree
    compared: int  # compared runs of the second record in the stretch


@dataclass(frozen=True)
class _Runs:
    """The irregular runs of one record."""

    intervals: NDArray[np.float32]  # (n, RUN) s
    start_s: NDArray[np.float64]  # (n,) time of the beat before the first interval of each run


def find_overlaps(
    first: Mapping[str, NDArray[np.float64]], others: Iterable[tuple[str, NDArray[np.float64]]]
) -> Iterator[Overlap]:
    """Yield the stretches that records share.

    Args:
        first: beat times of some records, (n,) in s and ascending, by name. They are kept in memory.
        others: beat times of further records, with their names, one record at a time. A record with a name in `first`
            is compared with the records after it, so `first.items()` compares the records of `first` with each other.

    Returns:
        The overlaps, for one record of `others` after the other.
    """
    names = list(first)
    known = [_irregular_runs(times) for times in first.values()]
    owner = np.repeat(np.arange(len(known)), [len(runs.start_s) for runs in known])
    start = np.concatenate([np.zeros(0), *(runs.start_s for runs in known)])
    tree = cKDTree(np.concatenate([np.zeros((0, RUN), np.float32), *(runs.intervals for runs in known)]))
    position = {name: at for at, name in enumerate(names)}
    for name, times in others:
        runs = _irregular_runs(times, step=_STEP)
        if not len(runs.start_s) or not len(start):
            continue
        search: Any = tree.query_ball_point  # its type hints do not know that many points give many lists
        neighbours: Sequence[Sequence[int]] = search(runs.intervals, TOLERANCE_S, p=np.inf)
        counts = np.array([len(found) for found in neighbours], np.int64)
        near = np.fromiter(chain.from_iterable(neighbours), np.int64, int(counts.sum()))
        run = np.repeat(np.arange(len(counts)), counts)
        for at in np.unique(owner[near]).tolist():
            if at > position.get(name, -1):
                chosen = owner[near] == at
                yield from _stretches(names[at], name, runs, start[near[chosen]], runs.start_s[run[chosen]])


def _stretches(
    first: str, second: str, runs: _Runs, first_s: NDArray[np.float64], second_s: NDArray[np.float64]
) -> Iterator[Overlap]:
    """Yield the overlaps of one pair of records: groups of matching runs at nearly the same offset."""
    order = np.argsort(second_s - first_s, kind="stable")
    offsets = (second_s - first_s)[order]
    for group in np.split(order, np.flatnonzero(np.diff(offsets) > _SAME_OFFSET_S) + 1):
        matched = np.unique(second_s[group])
        if len(matched) >= _FEWEST_RUNS:
            begin, end = float(matched[0]), float(matched[-1])
            compared = int(np.sum((runs.start_s >= begin) & (runs.start_s <= end)))
            yield Overlap(first, second, float(first_s[group].min()), begin, end - begin, len(matched), compared)


def _irregular_runs(times: NDArray[np.float64], step: int = 1) -> _Runs:
    """Every `step`-th run of RR intervals that is neither regular nor repeats a short pattern."""
    rr = np.diff(times)
    if len(rr) < RUN:
        return _Runs(np.zeros((0, RUN), np.float32), np.zeros(0))
    runs, start_s = sliding_window_view(rr, RUN)[::step], times[: len(rr) - RUN + 1 : step]
    irregular = (runs.max(1) <= _LONGEST_S) & (runs.std(1) >= _LEAST_SPREAD_S)
    for period in _PATTERN_PERIODS:
        irregular &= (runs[:, period:] - runs[:, :-period]).std(1) >= _LEAST_SPREAD_S
    return _Runs(runs[irregular].astype(np.float32), start_s[irregular])
