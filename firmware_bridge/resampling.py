"""A recording at another device's rate, block by block: windowed-sinc interpolation, so that any ratio will do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

HALF = 16  # taps on each side, in samples of the slower of the two rates
BLOCK = 4096  # samples read before the next are made


def resample(
    blocks: Iterable[NDArray[np.float64]], fs: float | Fraction, rate: Fraction
) -> Iterator[NDArray[np.float64]]:
    """Blocks (leads, n) at `fs` Hz as blocks at `rate` Hz; sample 0 stays where it is, NaN stays NaN."""
    step = Fraction(fs).limit_denominator(1_000_000) / rate  # samples in for a sample out
    reach = int(np.ceil(HALF * max(1.0, float(step))))
    made = 0
    first = 0  # index of kept[:, 0]
    kept: NDArray[np.float64] | None = None
    for block in blocks:
        kept = block if kept is None else np.concatenate([kept, block], axis=1)
        if kept.shape[1] < BLOCK:
            continue
        until = int((first + kept.shape[1] - reach) / step)
        if until > made:
            yield _interpolate(kept, first, made, until, step, reach)
            made = until
            begin = max(0, int(made * step) - reach - first)
            kept, first = kept[:, begin:], first + begin
    if kept is not None:
        until = int(np.ceil((first + kept.shape[1]) / step))
        if until > made:
            yield _interpolate(kept, first, made, until, step, reach)


def _interpolate(
    kept: NDArray[np.float64], first: int, made: int, until: int, step: Fraction, reach: int
) -> NDArray[np.float64]:
    """Samples made..until of the output. Beyond the ends the outermost samples go on."""
    at = np.arange(made, until) * step.numerator / step.denominator - first
    base = np.floor(at).astype(np.int64)
    offsets = np.arange(-reach + 1, reach + 1)
    places = np.clip(base[:, None] + offsets, 0, kept.shape[1] - 1)
    distance = (base[:, None] + offsets) - at[:, None]
    slower = max(1.0, float(step))
    kernel = np.sinc(distance / slower) * np.cos(np.pi * np.clip(distance / (2 * reach), -0.5, 0.5)) ** 2
    kernel /= kernel.sum(axis=1, keepdims=True)
    missing = np.isnan(kept)
    out = np.einsum("lnk,nk->ln", np.where(missing, 0.0, kept)[:, places], kernel)
    nearest = np.clip(np.rint(at).astype(np.int64), 0, kept.shape[1] - 1)
    out[missing[:, nearest]] = np.nan
    return np.asarray(out, dtype=np.float64)
