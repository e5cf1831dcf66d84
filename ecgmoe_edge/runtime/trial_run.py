"""First inference of a model, while its bundle is loaded: an unusable model is refused before a stream begins."""

from __future__ import annotations

import numpy as np

from ecgmoe_edge.contract import INPUTS, LARGEST_ANSWER, LIMITS, SHAPES, unusable_outputs
from ecgmoe_edge.errors import BundleError, SignalError
from ecgmoe_edge.runtime.engine import Engine
from ecgmoe_edge.runtime.manifest import Manifest

_RANDOM_BEATS = 3  # besides one beat of zeros, so that several experts run; about 0.5 ms per beat


def try_model(engine: Engine, manifest: Manifest, where: str) -> None:
    """Run the model on zeros and on random inputs within the limits that a monitor guarantees.

    The first inference of any runtime is slow. Because it is made here, the first beat of a stream is not delayed.

    Args:
        engine: the engine of the bundle.
        manifest: the manifest of the bundle.
        where: the bundle, for messages.

    Raises:
        BundleError: the model does not accept the inputs of a monitor, or an output is not finite, absurdly large, or
            of another shape than in the manifest.
    """
    random = np.random.default_rng(0)
    inputs = {
        name: np.concatenate(
            (np.zeros((1, *SHAPES[name])), LIMITS[name] * random.uniform(-1.0, 1.0, (_RANDOM_BEATS, *SHAPES[name])))
        ).astype(np.float32)
        for name in INPUTS
    }
    try:
        outputs = engine.run(inputs)
    except SignalError as error:
        raise BundleError(
            f"{where} does not accept the inputs of a monitor: {error} Export the bundle again."
        ) from error
    for spec in manifest.outputs:
        shape, wanted = outputs[spec.name].shape, (_RANDOM_BEATS + 1, *spec.shape[1:])
        if shape != wanted:
            raise BundleError(
                f"{where} gives {spec.name} in the shape {shape} for {_RANDOM_BEATS + 1} beats; its manifest has "
                f"{wanted}. Export the bundle again."
            )
    if unusable := unusable_outputs(outputs):
        raise BundleError(
            f"{where} gives {', '.join(unusable)} with NaN, infinity or more than {LARGEST_ANSWER:g} for inputs "
            "within their limits, so its labels are meaningless. Train it again, or export the bundle from "
            "other weights."
        )
