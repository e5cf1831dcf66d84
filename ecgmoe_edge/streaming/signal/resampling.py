"""Resampling: all of it that is done in numpy.

- `resample`: a whole signal. Polyphase by default: band-limited to the lower of the two rates, against aliasing.
  `method="linear"` interpolates without such a filter, for signals that are band-limited already.
- `resample_blocks`: a stream, block by block, by a windowed sinc, for any ratio of rates. Any division into blocks
  gives the same samples.
- `read_linear`: each row of an array at its own positions, for the augmentation that stretches and shifts beats.

Sample 0 keeps its time. An invalid sample (NaN) makes the samples nearest to it NaN, and affects no others.

Beat windows are interpolated by `windows` instead, without a state between two beats. The downsampling in a network has
to be differentiable and is therefore done in torch (`model.backbones.resample`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.signal import resample_poly

from ecgmoe_edge.errors import SignalError

Method: TypeAlias = Literal["polyphase", "linear"]
Ends: TypeAlias = Literal["line", "mean", "constant"]
Missing: TypeAlias = Literal["keep", "bridge"]

HALF = 16  # taps on each side, in samples of the lower of the two rates
BLOCK = 4096  # input samples that are collected before output is computed
LARGEST_TERM = 1000  # largest numerator or denominator of the ratio of two rates, for a whole signal


def resample(
    signal: NDArray[np.float64],
    fs: float,
    rate: float,
    *,
    method: Method = "polyphase",
    ends: Ends = "line",
    missing: Missing = "keep",
) -> NDArray[np.float64]:
    """Resample a whole signal from `fs` Hz to `rate` Hz.

    Args:
        signal: `(n,)` or `(leads, n)`.
        fs: its sampling rate, Hz.
        rate: the new rate, Hz. The ratio of the two is rounded to a fraction with terms of at most 1000.
        method: "polyphase" filters against aliasing (`scipy.signal.resample_poly`, Kaiser window, beta 5) and gives
            ceil(n * rate / fs) samples; "linear" interpolates between neighbours, unfiltered, and gives
            floor(n * rate / fs) samples.
        ends: how the polyphase filter extends the signal beyond its ends: by the "line" through its first and last
            sample, by its "mean", or by zero ("constant").
        missing: what becomes of NaN. "keep": the nearest new samples are NaN. "bridge": a straight line between the
            valid neighbours; the result has length 0 if a lead has no valid sample.

    Returns:
        `(m,)` or `(leads, m)`; the signal itself if the rates are equal and there is nothing to bridge.

    Raises:
        SignalError: a rate is not a finite number above 0.
    """
    if not all(np.isfinite(each) and each > 0 for each in (fs, rate)):
        raise SignalError(f"A signal cannot be brought from {fs} Hz to {rate} Hz: give rates above 0.")
    invalid = np.isnan(signal)
    if invalid.any():
        if missing == "bridge" and invalid.all(axis=-1).any():
            return np.zeros((*signal.shape[:-1], 0))
        signal = np.apply_along_axis(_bridged, -1, signal)
    if method == "linear":
        at = np.arange(int(signal.shape[-1] * rate / fs)) * fs / rate
        places = np.arange(signal.shape[-1])
        made = np.apply_along_axis(lambda row: np.interp(at, places, row), -1, signal)
    else:
        ratio = Fraction(rate / fs).limit_denominator(LARGEST_TERM)
        up, down = ratio.numerator, ratio.denominator
        made = signal if up == down else np.asarray(resample_poly(signal, up, down, axis=-1, padtype=ends))
    if missing == "keep" and invalid.any():
        nearest = np.rint(np.arange(made.shape[-1]) * fs / rate).astype(np.int64).clip(0, invalid.shape[-1] - 1)
        made = np.where(invalid[..., nearest], np.nan, made)
    return made


def read_linear(rows: NDArray[np.float32], at: NDArray[np.float64]) -> NDArray[np.float32]:
    """Interpolate each row of `rows` (rows, n) linearly at its own positions `at` (rows, m).

    Positions are in samples, and limited to the ends of the row.
    """
    at = at.clip(0, rows.shape[1] - 1.001)
    low = at.astype(np.int64)
    part = (at - low).astype(np.float32)
    row = np.arange(len(rows))[:, None]
    return np.asarray(rows[row, low] * (1.0 - part) + rows[row, low + 1] * part, np.float32)


def _bridged(row: NDArray[np.float64]) -> NDArray[np.float64]:
    """Replace invalid samples by the line between their valid neighbours; zeros if no sample is valid."""
    invalid = np.isnan(row)
    if invalid.all():
        return np.zeros_like(row)
    places = np.arange(len(row))
    return np.interp(places, places[~invalid], row[~invalid])


def resample_blocks(
    blocks: Iterable[NDArray[np.float64]], fs: float | Fraction, rate: Fraction
) -> Iterator[NDArray[np.float64]]:
    """Resample blocks (leads, n) from `fs` Hz to `rate` Hz; sample 0 keeps its time, and NaN stays NaN."""
    step = Fraction(fs).limit_denominator(1_000_000) / rate  # input samples per output sample
    reach = int(np.ceil(HALF * max(1.0, float(step))))
    made = 0  # number of output samples so far
    first = 0  # input sample number of kept[:, 0]
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
    """Return output samples `made` to `until` (exclusive). Beyond its ends the input is constant.

    Args:
        kept: input samples (leads, n), the first of which has number `first`.
        first: see `kept`.
        made: first output sample.
        until: end of the output samples.
        step: input samples per output sample.
        reach: input samples on each side that an output sample depends on.
    """
    at = np.arange(made, until) * step.numerator / step.denominator - first
    base = np.floor(at).astype(np.int64)
    offsets = np.arange(-reach + 1, reach + 1)
    places = np.clip(base[:, None] + offsets, 0, kept.shape[1] - 1)
    distance = (base[:, None] + offsets) - at[:, None]
    stretch = max(1.0, float(step))  # the kernel is wider if the output has the lower rate
    kernel = np.sinc(distance / stretch) * np.cos(np.pi * np.clip(distance / (2 * reach), -0.5, 0.5)) ** 2
    kernel /= kernel.sum(axis=1, keepdims=True)
    missing = np.isnan(kept)
    out = np.einsum("lnk,nk->ln", np.where(missing, 0.0, kept)[:, places], kernel)
    nearest = np.clip(np.rint(at).astype(np.int64), 0, kept.shape[1] - 1)
    out[missing[:, nearest]] = np.nan
    return np.asarray(out, dtype=np.float64)
