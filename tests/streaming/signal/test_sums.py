"""Moving sums are right, the same for any chunking, and do not drift; other sums are in a stated order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ecgmoe_edge.streaming.signal.sums import MovingSums, add_rows, ordered_mean, ordered_sum, plain_sum

Sums = tuple[NDArray[np.float64], NDArray[np.float64]]


def summed(x: NDArray[np.float64], width: int, block: int, cuts: list[int]) -> Sums:
    sums = MovingSums(len(x), width, block)
    parts = [sums.process(part) for part in np.split(x, sorted(cuts), axis=1) if part.shape[1]]
    over_width, over_block = zip(*parts, strict=True)
    return np.concatenate(over_width, axis=1), np.concatenate(over_block)


@settings(max_examples=40, deadline=None)
@given(
    cuts=st.lists(st.integers(1, 399), max_size=30),
    width=st.integers(2, 40),
    block=st.integers(40, 120),
    seed=st.integers(0, 99),
)
def test_moving_sums_are_right_and_identical_for_any_chunking(
    cuts: list[int], width: int, block: int, seed: int
) -> None:
    x = np.random.default_rng(seed).exponential(size=(3, 400))
    whole, over_block = summed(x, width, block, [])
    for got, again in zip((whole, over_block), summed(x, width, block, cuts), strict=True):
        np.testing.assert_array_equal(got, again)
    padded = np.concatenate((np.zeros((3, block)), x), axis=1)
    for at in range(400):
        end = block + at + 1
        np.testing.assert_allclose(whole[:, at], padded[:, end - width : end].sum(axis=1), rtol=1e-10)
        assert over_block[at] == pytest.approx(padded[0, end - block : end].sum())


def test_a_moving_sum_does_not_drift() -> None:
    x = np.full((1, 1000), 0.1)
    sums = MovingSums(1, 25, 250)
    first = sums.process(x)[0][0, -1]
    for _ in range(2000):  # 2 h at 250 Hz
        last = sums.process(x)[0][0, -1]
    assert last == first == pytest.approx(2.5, rel=1e-12)


def test_a_restart_forgets_everything() -> None:
    x = np.random.default_rng(0).exponential(size=(2, 100))
    used = MovingSums(2, 10, 30)
    used.process(x)
    used.restart()
    for got, fresh in zip(used.process(x), MovingSums(2, 10, 30).process(x), strict=True):
        np.testing.assert_array_equal(got, fresh)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_an_ordered_sum_adds_as_a_plain_loop_does(axis: int) -> None:
    x = np.random.default_rng(1).normal(size=(9, 30, 103)).astype(np.float32)
    expected = np.zeros(np.delete(x.shape, axis), np.float32)
    for part in np.moveaxis(x, axis, 0):
        expected = expected + part
    np.testing.assert_array_equal(ordered_sum(x, axis), expected)
    np.testing.assert_array_equal(ordered_sum(np.asfortranarray(x), axis), expected)
    np.testing.assert_array_equal(ordered_mean(x, axis), expected / np.float32(x.shape[axis]))


@pytest.mark.parametrize("shape", [(16, 16), (25, 8), (103, 2)])
def test_rows_are_added_as_a_plain_loop_does(shape: tuple[int, int]) -> None:
    x = np.random.default_rng(2).normal(size=shape)
    expected = np.zeros(shape[1])
    for row in x:
        expected = expected + row
    np.testing.assert_array_equal(add_rows(x), expected)


def test_a_plain_sum_is_not_compensated() -> None:
    values = [1e16, 1.0, -1e16, 1.0]
    assert plain_sum(values) == 1.0  # with compensation it would be 2
    assert plain_sum([]) == 0.0
