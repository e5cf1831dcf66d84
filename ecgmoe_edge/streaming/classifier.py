"""From beats to the outputs of a model: the stage between front end and labels."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge import contract  # as a module, since it imports this package itself
from ecgmoe_edge.streaming.beat_model import BeatModel
from ecgmoe_edge.streaming.beats import BeatContext, LeadView
from ecgmoe_edge.streaming.signal.windows import BEAT_GRID, LONG_CORE, WIDE_GRID

Inputs = Mapping[str, NDArray[np.float32]]
_BATCH = 128  # number of beats in one call of a batched model


@dataclass(frozen=True)
class Answer:
    """The outputs of a model for one beat, one row for each lead that shows it, the beat's own lead first."""

    outputs: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)  # by name, (leads, width)
    windows: NDArray[np.float32] | None = None  # (leads, 82) on BEAT_GRID, in R amplitudes; None if the model got none
    features: NDArray[np.float32] | None = None  # (leads, 27), centred and scaled, as the model gets them
    seconds: float = 0.0  # computing time of inputs and inference

    @classmethod
    def of(cls, inputs: Inputs, outputs: Mapping[str, NDArray[np.float32]], seconds: float) -> Answer:
        """Return the answer of a model to its inputs."""
        windows = inputs[contract.BEAT][:, 0, : BEAT_GRID.size]  # without the end that only a model with context gets
        return cls(outputs, windows, inputs[contract.FEATURES], seconds)

    @property
    def waveform(self) -> NDArray[np.float32] | None:
        """Window (82,) of the beat's own lead, in R amplitudes."""
        return None if self.windows is None else self.windows[0]


class Classifier:
    """Runs a model on the beats of the front end; it has no state between beats.

    Args:
        model: the model.
    """

    def __init__(self, model: BeatModel) -> None:
        self.model = model
        self.context = model.context_samples
        # A model with context is trained on windows with room for shift and stretch; its input is their middle.
        self.grid = WIDE_GRID if self.context else BEAT_GRID
        self._core = LONG_CORE if self.context else slice(None)

    def inputs(self, beat: BeatContext) -> Inputs:
        """Return the model's inputs for a beat, one row for each lead."""
        views: tuple[BeatContext | LeadView, ...] = (beat, *beat.others)
        return contract.assemble_inputs(
            np.stack([view.window[self._core] for view in views]),
            np.stack([view.template[self._core] for view in views]),
            np.array([view.amplitude for view in views], np.float32),
            beat.rr_features[None].repeat(len(views), axis=0),
            beat.rr_sequence[None].repeat(len(views), axis=0),
            np.stack([view.context for view in views]) if self.context else None,
        )

    def answer(self, beat: BeatContext) -> Answer:
        """Run the model on one beat."""
        started = time.perf_counter()
        inputs = self.inputs(beat)
        outputs = self.model.infer(inputs)
        return Answer.of(inputs, outputs, time.perf_counter() - started)

    def answer_all(self, beats: Sequence[BeatContext]) -> list[Answer]:
        """Run the model on many beats, in their order; in batches if the model is `batched`."""
        if not self.model.batched:
            return [self.answer(beat) for beat in beats]
        answers: list[Answer] = []
        for start in range(0, len(beats), _BATCH):
            started = time.perf_counter()
            batch = [self.inputs(beat) for beat in beats[start : start + _BATCH]]
            outputs = self.model.infer({name: np.concatenate([one[name] for one in batch]) for name in batch[0]})
            ends = np.cumsum([len(one[contract.BEAT]) for one in batch]).tolist()
            seconds = (time.perf_counter() - started) / len(batch)
            answers += [
                Answer.of(one, {name: x[begin:end] for name, x in outputs.items()}, seconds)
                for one, begin, end in zip(batch, [0, *ends], ends, strict=False)
            ]
        return answers
