"""The patient's own layer: a correction of the beat logits that is fitted to labelled beats of one patient.

The layer is one matrix for each lead. It multiplies what the monitor has of every beat, the log-probabilities of the
shared model, the features, the window and a constant, and adds the product to the logits of the beat classes. The model
file stays as it is. The decision rule follows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.errors import SignalError
from ecgmoe_edge.streaming.features import N_FEATURES
from ecgmoe_edge.streaming.signal.sums import ordered_sum
from ecgmoe_edge.streaming.signal.windows import BEAT_GRID
from ecgmoe_edge.tasks import BEAT_CLASSES

LAYER_CLASSES: Final = BEAT_CLASSES
EVERY: Final = 2  # samples of the window from one input to the next; 64 Hz is enough for the form of a beat
WINDOW_INPUTS: Final = len(range(0, BEAT_GRID.size, EVERY))
#: Number of inputs: log-probabilities, features, samples of the window, and 1.
LAYER_INPUTS: Final = len(LAYER_CLASSES) + N_FEATURES + WINDOW_INPUTS + 1

# Scales that give all inputs about the same range, so that one penalty suits all weights.
WINDOW_SCALE: Final = 2.0
LOG_PROBABILITY_SCALE: Final = 1.0 / 3.0
LEAST_LOG_PROBABILITY: Final = -10.0
LARGEST_WEIGHT: Final = 100.0  # fitted weights are below 5


def layer_inputs(
    logits: NDArray[np.floating], features: NDArray[np.float32], windows: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Return the inputs (beats, LAYER_INPUTS) of the layer.

    Args:
        logits: logits of LAYER_CLASSES from the shared model, (beats, 4).
        features: the model's input "features", (beats, 27).
        windows: windows in R amplitudes, the first channel of the model's input "beat", (beats, 82).
    """
    log_probabilities = log_softmax(np.asarray(logits, np.float64))
    return np.concatenate(
        (
            np.clip(log_probabilities, LEAST_LOG_PROBABILITY, 0.0) * LOG_PROBABILITY_SCALE,
            features,
            WINDOW_SCALE * windows[:, ::EVERY],
            np.ones((len(log_probabilities), 1)),
        ),
        axis=1,
        dtype=np.float64,
    )


def log_softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the log-probabilities of logits (beats, classes)."""
    return np.asarray(logits - np.logaddexp.reduce(logits, axis=1, keepdims=True))


@dataclass(frozen=True, eq=False)
class PatientLayer:
    """The layers of one patient.

    Attributes:
        leads: all leads of the recording that the layers were fitted on; a monitor must have the same.
        weights: for each lead with a layer, its matrix (LAYER_INPUTS, 4); a lead without one keeps the shared model.
        invert: whether the monitor inverts the leads.
        margin_share_s: constant of the decision rule in place of the model's; None for the model's.

    Raises:
        ValueError: a matrix has another shape or an unusable number, or is for a lead that is not in `leads`.
    """

    leads: tuple[str, ...]
    weights: Mapping[str, NDArray[np.float64]]
    invert: bool = False
    margin_share_s: float | None = None

    def __post_init__(self) -> None:
        for lead, weights in self.weights.items():
            if lead not in self.leads:
                raise ValueError(f"there is a layer for the lead {lead}, which is not among {', '.join(self.leads)}")
            if weights.shape != (LAYER_INPUTS, len(LAYER_CLASSES)):
                raise ValueError(
                    f"the layer of lead {lead} has the shape {weights.shape}, not {(LAYER_INPUTS, len(LAYER_CLASSES))}"
                )
            if not (np.abs(weights) <= LARGEST_WEIGHT).all():
                raise ValueError(f"the layer of lead {lead} has a weight beyond +-{LARGEST_WEIGHT:g}, or no number")
        if self.margin_share_s is not None and not 0.0 <= self.margin_share_s <= 1.0:
            raise ValueError(f"margin_share_s must be from 0 to 1, and is {self.margin_share_s}")

    def check_stream(self, leads: Sequence[str], *, invert: bool) -> None:
        """Check that the layer belongs to the leads of a stream.

        Raises:
            SignalError: the stream has other leads or the other polarity.
        """
        if set(leads) != set(self.leads):
            raise SignalError(
                f"The patient's layer was fitted on {_listed(self.leads)}, and this signal has {_listed(leads)}: "
                "choose the same leads, or fit a layer on these leads with `ecgmoe-edge adapt`."
            )
        if invert != self.invert:
            raise SignalError(
                f"The patient's layer was fitted {'with' if self.invert else 'without'} --invert, and this signal is "
                f"read {'with' if invert else 'without'} it: use the same polarity."
            )

    def adapted(
        self,
        logits: NDArray[np.float32],
        classes: Sequence[str],
        features: NDArray[np.float32],
        windows: NDArray[np.float32],
        leads: Sequence[str | None],
    ) -> NDArray[np.float32]:
        """Return the logits of one beat with the layer of each lead added; that of an artefact stays.

        Args:
            logits: logits of the shared model, (leads, classes).
            classes: classes of the logits.
            features: the model's input "features", (leads, 27).
            windows: windows in R amplitudes, (leads, 82).
            leads: lead of each row; None if the stream has only one.
        """
        columns = [classes.index(name) for name in LAYER_CLASSES]
        inputs = layer_inputs(logits[:, columns], features, windows)
        own = np.array(logits, np.float32)
        for row, lead in enumerate(leads):
            weights = self.weights.get(self.leads[0] if lead is None else lead)
            if weights is not None:
                own[row, columns] += ordered_sum(inputs[row, :, None] * weights)
        return own


def _listed(leads: Sequence[str]) -> str:
    return f"lead{'s' if len(leads) > 1 else ''} {', '.join(leads)}"
