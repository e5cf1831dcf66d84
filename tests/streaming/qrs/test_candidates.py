"""Candidates of one lead: any chunking, equal peaks, and the energy after them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from ecgmoe_edge.streaming.qrs.candidates import Candidate, CandidateFinder
from ecgmoe_edge.streaming.signal.history import History

FS = 250.0


def found(y: NDArray[np.float64], cuts: Sequence[int] = ()) -> list[Candidate]:
    signal = History(round(2 * FS))
    finder = CandidateFinder(FS, signal)
    candidates: list[Candidate] = []
    for piece in np.split(y, list(cuts)):
        if piece.size:
            signal.release()
            signal.append(piece)
            candidates += finder.process(piece)
            assert all(candidate.known_at <= signal.stop for candidate in candidates)
    finder.break_off(signal.stop)
    return candidates


def pulses(times_s: Sequence[float], heights: Sequence[float], seconds: float = 10.0) -> NDArray[np.float64]:
    t = np.arange(round(seconds * FS)) / FS
    return sum((h * np.exp(-(((t - s) / 0.012) ** 2)) for s, h in zip(times_s, heights, strict=True)), np.zeros(t.size))


@pytest.mark.parametrize("chunk", [1, 3, 50, 700])
def test_candidates_are_identical_for_any_chunking(chunk: int) -> None:
    y = pulses([1.0, 2.0, 2.4, 4.0, 5.5, 8.0], [1.0, 0.4, 1.3, 0.7, 1.0, 2.0])
    y += np.random.default_rng(3).normal(0.0, 0.02, y.size)
    whole, cut = found(y), found(y, range(chunk, y.size, chunk))
    assert len(whole) > 10
    for a, b in zip(whole, cut, strict=True):
        assert (a.at, a.known_at, a.settled_at, a.sample, a.energy, a.shape) == (
            b.at, b.known_at, b.settled_at, b.sample, b.energy, b.shape,
        )  # fmt: skip
        assert a.following == b.following
        np.testing.assert_array_equal(a.waveform, b.waveform)


def test_the_first_of_equal_peaks_is_the_candidate() -> None:
    """Rectangles with equal edges give peaks of energy of almost the same height within 150 ms."""
    y = np.zeros(1000)
    y[400:420] = 1.0  # both edges have the same energy, except for the ringing of the filters
    y[500:520] = 1.0
    candidates = found(y)
    ats = [candidate.at for candidate in candidates]
    assert ats == sorted(set(ats))
    assert np.diff(ats).min(initial=1000) >= round(0.15 * FS)


def test_the_energy_after_a_candidate_is_the_largest_150_to_300_ms_later() -> None:
    alone = found(pulses([3.0], [1.0]))[0]
    before_another = found(pulses([3.0, 3.22], [0.5, 1.0]))[0]
    assert alone.following < 0.3
    assert before_another.following > 1.5
