"""Batches of model inputs from examples: as the stream would give them, or augmented for training.

Both go through `contract.assemble_inputs`; features of an augmented beat are computed from the augmented beat.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ecgmoe_edge.contract import assemble_inputs
from ecgmoe_edge.errors import RecordError
from ecgmoe_edge.records.registry import open_recording
from ecgmoe_edge.streaming.patient.rr_history import RR_FEATURE_NAMES
from ecgmoe_edge.streaming.signal.filters import monitoring_band
from ecgmoe_edge.streaming.signal.resampling import read_linear, resample
from ecgmoe_edge.streaming.signal.windows import BEAT_GRID, MODEL_RATE_HZ, WIDE_GRID
from ecgmoe_edge.training.config import Augment, Noise
from ecgmoe_edge.training.examples import Examples

_FIRST = int(np.searchsorted(WIDE_GRID, BEAT_GRID[0]))
_CORE = slice(_FIRST, _FIRST + len(BEAT_GRID))
_R = int(np.searchsorted(WIDE_GRID, 0))
_RATIOS = len(RR_FEATURE_NAMES) - 2  # the last two say what is known; noise would make no sense in them


@dataclass(frozen=True)
class Batch:
    """One batch: the model's inputs and what is known of the answers."""

    beat: Tensor  # (b, 2, 103)
    features: Tensor  # (b, 27)
    rr_sequence: Tensor  # (b, 2, 32)
    context: Tensor  # (b, 1, 1280)
    labels: Mapping[str, Tensor]  # task -> (b,): class index or -1, or value in the task's unit or NaN

    def to(self, device: torch.device) -> Batch:
        """The same batch on `device`."""
        if device.type == "cpu":
            return self
        beat, features, rr_sequence, context = (
            tensor.pin_memory().to(device, non_blocking=True) for tensor in self.teacher_inputs()
        )
        labels = {name: label.to(device) for name, label in self.labels.items()}
        return Batch(beat, features, rr_sequence, context, labels)

    def student_inputs(self) -> tuple[Tensor, Tensor, Tensor]:
        """`beat`, `features`, `rr_sequence`: what a device has."""
        return self.beat, self.features, self.rr_sequence

    def teacher_inputs(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The same and the 10 s context."""
        return self.beat, self.features, self.rr_sequence, self.context


@dataclass(frozen=True)
class _Rows:
    """The chosen examples' arrays, free to be changed."""

    window: NDArray[np.float32]
    template: NDArray[np.float32]
    amplitude: NDArray[np.float32]
    rr_features: NDArray[np.float32]
    rr_sequence: NDArray[np.float32]
    context: NDArray[np.float32]


def clean_batch(examples: Examples, index: NDArray[np.int64]) -> Batch:
    """The examples of `index` exactly as the stream gives them to a model."""
    rows = _rows(examples, index)
    return _batch(examples, index, rows, rows.window[:, _CORE], rows.template[:, _CORE])


class Augmenter:
    """Makes augmented batches: noise, gain, R jitter, stretch, polarity, RR noise, memory; see `config.Augment`."""

    def __init__(self, settings: Augment, noise: NDArray[np.float32] | None = None) -> None:
        """`noise`: (kinds, samples) from `read_noise`, or None for none."""
        self.settings = settings
        self._noise = noise

    def batch(self, examples: Examples, index: NDArray[np.int64], rng: np.random.Generator) -> Batch:
        """The examples of `index`, augmented with numbers from `rng` alone: the same state, the same batch."""
        s, n = self.settings, len(index)
        rows = _rows(examples, index)
        if self._noise is not None:
            self._add_noise(rows, rng)
        rows.amplitude[:] *= np.exp(s.gain * rng.standard_normal(n, np.float32))
        sign = np.where(rng.random(n) < s.flip_share, np.float32(-1.0), np.float32(1.0))[:, None]
        rows.window[:] *= sign
        rows.template[:] *= sign
        rows.context[:] *= sign
        shift = rng.uniform(-1.0, 1.0, n) * s.jitter_ms / 1000.0 * MODEL_RATE_HZ
        stretch = 1.0 + rng.uniform(-1.0, 1.0, n) * s.stretch
        rows.rr_features[:, :_RATIOS] += s.feature_noise * rng.standard_normal((n, _RATIOS), np.float32)
        known = rows.rr_sequence[:, 1]
        rows.rr_sequence[:, 0] += s.feature_noise * rng.standard_normal(known.shape, np.float32) * known
        self._hide_memory(rows, rng)
        # The R peak of this beat jitters; the template is a median over beats and does not.
        window = _stretched(rows.window, shift, stretch)
        template = _stretched(rows.template, np.zeros(n), stretch)
        return _batch(examples, index, rows, window, template)

    def _hide_memory(self, rows: _Rows, rng: np.random.Generator) -> None:
        """Draw anew how long the wearers have been known.

        Half a minute of CinC 2017 and half an hour of a Holter have other labels and other rhythms. A model that can
        tell them apart by this number knows atrial fibrillation in the one and not in the other.
        """
        n = len(rows.rr_features)
        drawn = rng.random(n) < self.settings.memory_share
        rows.rr_features[:, -1] = np.where(drawn, rng.random(n), rows.rr_features[:, -1])

    def _add_noise(self, rows: _Rows, rng: np.random.Generator) -> None:
        assert self._noise is not None  # noqa: S101 - the caller has looked
        s, (n, length) = self.settings, rows.context.shape
        kind = rng.integers(0, len(self._noise), n)
        start = rng.integers(0, self._noise.shape[1] - length + 1, n)
        position = np.asarray(start)[:, None] + np.arange(length)
        noise = self._noise[np.asarray(kind)[:, None], position]
        level = noise[:, -rows.window.shape[1] :].std(axis=1)
        # Where the noise pauses at the beat, its level over the context keeps the rest from being blown up.
        level = np.maximum(level, np.maximum(0.3 * noise.std(axis=1), 1e-3))
        chosen = rng.random(n) < s.noise_share
        strength = rng.uniform(s.noise_least, s.noise_most, n) * chosen * rows.amplitude / level
        noise *= strength[:, None].astype(np.float32)
        rows.context[:] += noise
        rows.window[:] += noise[:, -rows.window.shape[1] :]  # the context ends where the window ends


def read_noise(noise: Noise, data_dir: Path) -> NDArray[np.float32]:
    """First half of each noise record's first lead, through the stream's band-pass, at 128 Hz: (kinds, samples).

    The second half is left for stress tests.

    Raises:
        RecordError: a record cannot be read or is too short.
    """
    kinds = []
    for name in noise.records:
        record = open_recording(data_dir / noise.folder / name)
        half = record.read(stop=record.n_samples // 2, leads=[0])[0]
        filtered = monitoring_band(record.fs, None).process(np.nan_to_num(half))
        # Linear, since the noise that the shipped weights were trained with is; the band-pass has left little to fold.
        at_model_rate = resample(filtered, record.fs, MODEL_RATE_HZ, method="linear")
        kinds.append(at_model_rate[2 * MODEL_RATE_HZ :].astype(np.float32))  # without the filter's start
    shortest = min(len(kind) for kind in kinds) if kinds else 0
    if shortest < 60 * MODEL_RATE_HZ:
        raise RecordError("Noise records need two minutes at least; change [noise] in the configuration.")
    return np.stack([kind[:shortest] for kind in kinds])


def _rows(examples: Examples, index: NDArray[np.int64]) -> _Rows:
    return _Rows(  # indexing with an array copies
        window=examples.window[index],
        template=examples.template[index],
        amplitude=examples.amplitude[index],
        rr_features=examples.rr_features[index],
        rr_sequence=examples.rr_sequence[index],
        context=examples.context[index].astype(np.float32),
    )


def _stretched(
    rows: NDArray[np.float32], shift: NDArray[np.float64], stretch: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Rows on WIDE_GRID read on BEAT_GRID * stretch + shift (grid samples), by linear interpolation."""
    return read_linear(rows, _R + BEAT_GRID[None] * stretch[:, None] + shift[:, None])


def _batch(
    examples: Examples,
    index: NDArray[np.int64],
    rows: _Rows,
    window: NDArray[np.float32],
    template: NDArray[np.float32],
) -> Batch:
    inputs = assemble_inputs(window, template, rows.amplitude, rows.rr_features, rows.rr_sequence, rows.context)
    labels = {}
    for name, of_task in examples.labels.items():
        values = of_task[index]
        labels[name] = torch.from_numpy(values.astype(np.int64) if values.dtype == np.int8 else values)
    return Batch(
        **{name: torch.from_numpy(values) for name, values in inputs.items()},
        labels=labels,
    )
