"""The inputs and outputs of a model: names, order, shapes, units and limits.

The monitor and the training examples assemble the inputs with this module, and exported files and manifests name their
tensors by it. It needs only numpy and the streaming front end, so it is available on a device.

    input        shape           unit                                               limit
    beat         (b, 2, 82)      window and running template / R amplitude          6
    features     (b, 27)         RR and template features, centred and scaled       4
    rr_sequence  (b, 2, 32)      log (RR / running median RR), newest last, and     1.5
                                 mask
    context      (b, 1, 1280)    the last 10 s at 128 Hz / R amplitude              6

b is the number of beats. Only a model that declares `context_samples` receives `context` (`streaming.beat_model`). Its
beat window ends later: `beat` is (b, 2, 103), and the features of the T wave are those of the longer window. The
outputs of a model are one tensor per task, named like the task, with logits (b, classes) or a value (b, 1), and the
router logits of each path, `route_morphology` and `route_rhythm`, (b, experts).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.streaming.features import FEATURE_LIMIT, N_FEATURES, WAVEFORM_LIMIT, model_inputs
from ecgmoe_edge.streaming.patient.rr_history import RR_RATIO_LIMIT
from ecgmoe_edge.streaming.patient.rr_history import RR_SEQUENCE as RR_INTERVALS
from ecgmoe_edge.streaming.signal.windows import BEAT_GRID, LONG_GRID, MODEL_RATE_HZ

_Value = TypeVar("_Value")

CONTEXT_S: Final = 10
CONTEXT_SAMPLES: Final = CONTEXT_S * MODEL_RATE_HZ

BEAT: Final = "beat"
FEATURES: Final = "features"
RR_SEQUENCE: Final = "rr_sequence"
CONTEXT: Final = "context"
#: Inputs of every model, in this order.
INPUTS: Final = (BEAT, FEATURES, RR_SEQUENCE)
#: Shape of each input of a model without `context`, without the dimension of the beats.
SHAPES: Final[Mapping[str, tuple[int, ...]]] = {
    BEAT: (2, BEAT_GRID.size),
    FEATURES: (N_FEATURES,),
    RR_SEQUENCE: (2, RR_INTERVALS),
}
#: Shape of each input of a model with `context`: its beat window ends later.
SHAPES_WITH_CONTEXT: Final[Mapping[str, tuple[int, ...]]] = {
    **SHAPES,
    BEAT: (2, LONG_GRID.size),
    CONTEXT: (1, CONTEXT_SAMPLES),
}
#: Largest absolute value of each input.
LIMITS: Final[Mapping[str, float]] = {
    BEAT: WAVEFORM_LIMIT,
    FEATURES: FEATURE_LIMIT,
    RR_SEQUENCE: RR_RATIO_LIMIT,
    CONTEXT: WAVEFORM_LIMIT,
}

#: The task that every model of a monitor has, the class of the beat; also the name of its output.
BEAT_TASK: Final = "beat"
RHYTHM_TASK: Final = "rhythm"

ROUTE_PREFIX: Final = "route_"
#: The two paths of the mixture of experts; each has its own experts and router.
PATHS: Final = ("morphology", "rhythm")

#: Largest absolute value of an output. A logit of 100 already means certainty; regressions are in s or years.
LARGEST_ANSWER: Final = 1e6

_LEAST_AMPLITUDE = 1e-3  # mV; prevents division by zero if the signal is flat


def route_name(path: str) -> str:
    """Name of the router logits of a path.

    >>> route_name("rhythm")
    'route_rhythm'
    """
    return ROUTE_PREFIX + path


#: Names of the router logits, in the order of `PATHS`.
ROUTES: Final = tuple(map(route_name, PATHS))


def is_route(output: str) -> bool:
    """Whether an output of a model is router logits, and not the output of a task.

    >>> is_route("route_morphology"), is_route("beat")
    (True, False)
    """
    return output.startswith(ROUTE_PREFIX)


def path_of(route: str) -> str:
    """Path of the router logits with this name: the inverse of `route_name`.

    >>> path_of("route_rhythm")
    'rhythm'
    """
    return route.removeprefix(ROUTE_PREFIX)


def routes_by_path(outputs: Mapping[str, _Value]) -> dict[str, _Value]:
    """The router logits among the outputs of a model, by path.

    >>> routes_by_path({"beat": 0.1, "route_morphology": 0.2, "route_rhythm": 0.3})
    {'morphology': 0.2, 'rhythm': 0.3}
    """
    return {path_of(name): value for name, value in outputs.items() if is_route(name)}


def unusable_outputs(outputs: Mapping[str, NDArray[np.float32]]) -> tuple[str, ...]:
    """Names of the outputs with a value that is NaN, infinite or beyond `LARGEST_ANSWER`.

    >>> unusable_outputs({"beat": np.float32([[0, 1, 2, 3]]), "rhythm": np.float32([[0, 1, np.nan, 3]])})
    ('rhythm',)
    """
    return tuple(name for name, value in outputs.items() if not (np.abs(value) <= LARGEST_ANSWER).all())


def assemble_inputs(
    windows: NDArray[np.float32],
    templates: NDArray[np.float32],
    amplitude: NDArray[np.float32],
    rr_features: NDArray[np.float32],
    rr_sequence: NDArray[np.float32],
    context: NDArray[np.float32] | None = None,
) -> dict[str, NDArray[np.float32]]:
    """Assemble the inputs of a model.

    Args:
        windows: (b, points) beat windows, mV; on BEAT_GRID, or on LONG_GRID for a model with `context`.
        templates: (b, points) running templates, mV.
        amplitude: (b,) running R amplitudes, mV.
        rr_features: (b, 15) from `patient.rr_history.RRHistory`.
        rr_sequence: (b, 2, 32) from `patient.rr_history.RRHistory`.
        context: (b, 1280) the last 10 s at 128 Hz, mV; None for a model without this input.

    Returns:
        The inputs by name, in the order of `INPUTS`, then `context` if it is given.

    >>> window, rr, sequence = np.zeros((1, BEAT_GRID.size)), np.zeros((1, 15)), np.zeros((1, 2, 32))
    >>> inputs = assemble_inputs(window, window, np.ones(1), rr, sequence)
    >>> {name: value.shape for name, value in inputs.items()}
    {'beat': (1, 2, 82), 'features': (1, 27), 'rr_sequence': (1, 2, 32)}
    """
    beat, features = model_inputs(windows, templates, amplitude, rr_features)
    inputs = {BEAT: beat, FEATURES: features, RR_SEQUENCE: rr_sequence}
    if context is not None:
        relative = context / np.maximum(amplitude, _LEAST_AMPLITUDE)[:, None]
        limit = LIMITS[CONTEXT]
        inputs[CONTEXT] = np.clip(relative, -limit, limit).astype(np.float32, copy=False)[:, None]
    return inputs
