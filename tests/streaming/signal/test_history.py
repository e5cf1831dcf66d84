"""A history keeps the samples that it promises, for any chunking."""

from __future__ import annotations

import numpy as np
import pytest

from ecgmoe_edge.streaming.signal.history import History


@pytest.mark.parametrize("chunk", [1, 7, 50, 1000])
def test_enough_samples_before_the_last_release_and_all_since_are_kept(chunk: int) -> None:
    history, x = History(40), np.arange(1000.0)
    for at in range(0, 1000, chunk):
        history.release()
        history.append(x[at : at + chunk])
        assert history.stop == at + x[at : at + chunk].size
        assert history.start <= max(0, at - 40)
        np.testing.assert_array_equal(history.between(at - 40, history.stop), x[max(0, at - 40) : history.stop])


def test_all_appends_after_one_release_are_kept() -> None:
    history, x = History(10), np.arange(400.0)
    history.append(x[:100])
    history.release()
    for at in range(100, 400, 3):
        history.append(x[at : at + 3])
    np.testing.assert_array_equal(history.between(90, 400), x[90:])


def test_memory_does_not_grow_with_the_stream() -> None:
    history = History(40)
    for _ in range(500):
        history.release()
        history.append(np.zeros(50))
    assert history._data.size <= 8 * 40 + 50


def test_signals_that_share_their_sample_numbers_lie_in_rows() -> None:
    history = History(5, rows=2)
    history.restart(100)
    history.append(np.array([[1.0, 2.0], [3.0, 4.0]]))
    assert (history.start, history.stop) == (100, 102)
    assert history.row(1).tolist() == [3.0, 4.0]
    assert history.between(101, 105).tolist() == [2.0]
