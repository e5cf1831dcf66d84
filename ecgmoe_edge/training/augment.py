"""Batches of model inputs from examples: unchanged, as in the live stream, or augmented for training.

Both use `contract.assemble_inputs`. The features of an augmented beat are computed from the augmented beat.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ecgmoe_edge.contract import BEAT, FEATURES, assemble_inputs
from ecgmoe_edge.errors import RecordError, UsageError
from ecgmoe_edge.records.registry import open_recording
from ecgmoe_edge.streaming.patient.rr_history import RR_FEATURE_NAMES
from ecgmoe_edge.streaming.signal.filters import monitoring_band
from ecgmoe_edge.streaming.signal.resampling import read_linear, resample
from ecgmoe_edge.streaming.signal.windows import BEAT_GRID, LONG_CORE, LONG_GRID, MODEL_RATE_HZ, WIDE_GRID
from ecgmoe_edge.tasks import RHYTHM_CLASSES
from ecgmoe_edge.training.config import Augment, Noise
from ecgmoe_edge.training.examples import Examples

_R = int(np.searchsorted(WIDE_GRID, 0))
_RATIOS = len(RR_FEATURE_NAMES) - 2  # the last two features describe the patient history and get no noise


@dataclass(frozen=True)
class Batch:
    """One batch of b beats: model inputs and labels."""

    beat: Tensor  # (b, 2, 82)
    features: Tensor  # (b, 27)
    rr_sequence: Tensor  # (b, 2, 32)
    context: Tensor  # (b, 1, 1280)
    long_beat: Tensor  # (b, 2, 103), for the teacher
    long_features: Tensor  # (b, 27), of the long beat
    labels: Mapping[str, Tensor]  # (b,) by task: class index or -1 if unknown; value in the task's unit or NaN

    def to(self, device: torch.device) -> Batch:
        """Copy the batch to a device."""
        if device.type == "cpu":
            return self
        inputs = {
            each.name: getattr(self, each.name).pin_memory().to(device, non_blocking=True)
            for each in fields(self)
            if each.name != "labels"
        }
        return Batch(**inputs, labels={name: label.to(device) for name, label in self.labels.items()})

    def student_inputs(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return `beat`, `features` and `rr_sequence`, the inputs on a device."""
        return self.beat, self.features, self.rr_sequence

    def teacher_inputs(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the inputs of a teacher: its beat ends later, and it also gets the 10 s context."""
        return self.long_beat, self.long_features, self.rr_sequence, self.context


@dataclass(frozen=True)
class _Rows:
    """Copies of the arrays of some examples, which can be changed in place."""

    window: NDArray[np.float32]
    template: NDArray[np.float32]
    amplitude: NDArray[np.float32]
    rr_features: NDArray[np.float32]
    rr_sequence: NDArray[np.float32]
    context: NDArray[np.float32]


def clean_batch(examples: Examples, index: NDArray[np.int64]) -> Batch:
    """Make a batch without augmentation: exactly the model inputs of the live stream.

    Args:
        examples: the examples.
        index: (b,) indices of the examples in the batch.
    """
    rows = _rows(examples, index)
    return _batch(examples, index, rows, rows.window[:, LONG_CORE], rows.template[:, LONG_CORE])


class Augmenter:
    """Makes augmented batches; `config.Augment` describes the kinds of augmentation."""

    def __init__(self, settings: Augment, noise: NDArray[np.float32] | None = None) -> None:
        """Set the strengths.

        Args:
            settings: strengths of the augmentation.
            noise: (kinds, samples) from `read_noise`; None adds no noise.
        """
        self.settings = settings
        self._noise = noise

    def batch(self, examples: Examples, index: NDArray[np.int64], rng: np.random.Generator) -> Batch:
        """Make an augmented batch.

        Args:
            examples: the examples; they are not changed.
            index: (b,) indices of the examples in the batch.
            rng: the only source of random numbers: the same state gives the same batch.
        """
        s, n = self.settings, len(index)
        rows = _rows(examples, index)
        _lend_waveforms(examples, index, rows, rng)
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
        self._randomize_history_length(rows, rng)
        # Only the beat gets the R-peak jitter. The template is a median over beats, so it has no jitter.
        window = _stretched(rows.window, shift, stretch)
        template = _stretched(rows.template, np.zeros(n), stretch)
        return _batch(examples, index, rows, window, template)

    def _randomize_history_length(self, rows: _Rows, rng: np.random.Generator) -> None:
        """Replace the length of the patient history by a random value.

        The 30 s records of CinC 2017 and the 30 min records of Holter recordings have different labels and rhythms. A
        model that distinguishes them by this feature learns to detect atrial fibrillation only in the short ones.
        """
        n = len(rows.rr_features)
        drawn = rng.random(n) < self.settings.memory_share
        rows.rr_features[:, -1] = np.where(drawn, rng.random(n), rows.rr_features[:, -1])

    def _add_noise(self, rows: _Rows, rng: np.random.Generator) -> None:
        assert self._noise is not None  # noqa: S101 - checked by the caller
        s, (n, length) = self.settings, rows.context.shape
        kind = rng.integers(0, len(self._noise), n)
        start = rng.integers(0, self._noise.shape[1] - length + 1, n)
        position = np.asarray(start)[:, None] + np.arange(length)
        noise = self._noise[np.asarray(kind)[:, None], position]
        level = noise[:, -rows.window.shape[1] :].std(axis=1)
        # The level over the context limits the amplification if the noise is nearly zero at the beat.
        level = np.maximum(level, np.maximum(0.3 * noise.std(axis=1), 1e-3))
        chosen = rng.random(n) < s.noise_share
        strength = rng.uniform(s.noise_least, s.noise_most, n) * chosen * rows.amplitude / level
        noise *= strength[:, None].astype(np.float32)
        rows.context[:] += noise
        rows.window[:] += noise[:, -rows.window.shape[1] :]  # the context ends where the window ends


def read_noise(noise: Noise, data_dir: Path) -> NDArray[np.float32]:
    """Read the first half of each noise record; the second half is reserved for stress tests.

    Args:
        noise: folder and names of the records; the first lead of each is used.
        data_dir: folder that contains the folder of the noise records.

    Returns:
        (kinds, samples) in mV at 128 Hz, filtered by the band-pass of the live stream.

    Raises:
        RecordError: a record cannot be read or is shorter than two minutes.
    """
    kinds = []
    for name in noise.records:
        record = open_recording(data_dir / noise.folder / name)
        half = record.read(stop=record.n_samples // 2, leads=[0])[0]
        filtered = monitoring_band(record.fs, None).process(np.nan_to_num(half))
        # Linear, because the shipped weights were trained with such noise. After the band-pass, aliasing is small.
        at_model_rate = resample(filtered, record.fs, MODEL_RATE_HZ, method="linear")
        kinds.append(at_model_rate[2 * MODEL_RATE_HZ :].astype(np.float32))  # without the transient of the filter
    shortest = min(len(kind) for kind in kinds) if kinds else 0
    if shortest < 60 * MODEL_RATE_HZ:
        raise RecordError("Noise records must be at least two minutes long; change [noise] in the configuration.")
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


def _lend_waveforms(examples: Examples, index: NDArray[np.int64], rows: _Rows, rng: np.random.Generator) -> None:
    """Give each row without a waveform that of a random beat with the same rhythm label; RR features stay its own."""
    without = np.flatnonzero(rows.amplitude == 0)
    if not len(without):
        return
    rhythm, has_waveform = examples.labels["rhythm"], examples.amplitude > 0
    for label in np.unique(rhythm[index[without]]).tolist():
        borrowers = without[rhythm[index[without]] == label]
        lenders = np.flatnonzero(has_waveform & (rhythm == label))
        if not len(lenders):
            raise UsageError(
                f"The rhythm {RHYTHM_CLASSES[label]} has annotations without signals but no beat with one. Add a data "
                "set that has signals of this rhythm."
            )
        lent = rng.choice(lenders, len(borrowers))
        rows.window[borrowers] = examples.window[lent]
        rows.template[borrowers] = examples.template[lent]
        rows.amplitude[borrowers] = examples.amplitude[lent]
        rows.context[borrowers] = examples.context[lent]


def _stretched(
    rows: NDArray[np.float32], shift: NDArray[np.float64], stretch: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Interpolate rows on WIDE_GRID linearly at LONG_GRID * stretch + shift, in grid samples."""
    return read_linear(rows, _R + LONG_GRID[None] * stretch[:, None] + shift[:, None])


def _batch(
    examples: Examples,
    index: NDArray[np.int64],
    rows: _Rows,
    window: NDArray[np.float32],
    template: NDArray[np.float32],
) -> Batch:
    """Make the batch of beats with windows and templates (b, 103) on LONG_GRID, which begins with BEAT_GRID."""
    of_rr = rows.amplitude, rows.rr_features, rows.rr_sequence
    inputs = assemble_inputs(window[:, : BEAT_GRID.size], template[:, : BEAT_GRID.size], *of_rr, rows.context)
    long = assemble_inputs(window, template, *of_rr)
    labels = {}
    for name, of_task in examples.labels.items():
        values = of_task[index]
        labels[name] = torch.from_numpy(values.astype(np.int64) if values.dtype == np.int8 else values)
    return Batch(
        **{name: torch.from_numpy(values) for name, values in inputs.items()},
        long_beat=torch.from_numpy(long[BEAT]),
        long_features=torch.from_numpy(long[FEATURES]),
        labels=labels,
    )
