"""A model's first inference, made while its bundle is loaded: what cannot be used is refused before a stream begins."""

from __future__ import annotations

import numpy as np

from ecgmoe_edge.contract import INPUTS, LARGEST_ANSWER, LIMITS, SHAPES, unusable_outputs
from ecgmoe_edge.errors import BundleError, SignalError
from ecgmoe_edge.runtime.engine import Engine
from ecgmoe_edge.runtime.manifest import Manifest

_DRAWN = 3  # rows of drawn inputs beside one of zeros: several experts of a path run; half a millisecond each


def try_model(engine: Engine, manifest: Manifest, where: str) -> None:
    """Run the model on zeros and on inputs drawn within the limits that a monitor keeps to.

    The first inference is the slow one of any runtime, so the first beat of a stream is answered as fast as others.

    Raises:
        BundleError: it does not take what a monitor gives, or an answer is not finite or of another shape than the
            manifest says; `where` names the bundle.
    """
    random = np.random.default_rng(0)
    inputs = {
        name: np.concatenate(
            (np.zeros((1, *SHAPES[name])), LIMITS[name] * random.uniform(-1.0, 1.0, (_DRAWN, *SHAPES[name])))
        ).astype(np.float32)
        for name in INPUTS
    }
    try:
        outputs = engine.run(inputs)
    except SignalError as error:
        raise BundleError(f"{where} does not take the inputs of a monitor: {error} Export the bundle again.") from error
    for spec in manifest.outputs:
        shape, wanted = outputs[spec.name].shape, (_DRAWN + 1, *spec.shape[1:])
        if shape != wanted:
            raise BundleError(
                f"{where} answers {spec.name} in the shape {shape} for {_DRAWN + 1} beats; its manifest says {wanted}. "
                "Export the bundle again."
            )
    if unusable := unusable_outputs(outputs):
        raise BundleError(
            f"{where} answers {', '.join(unusable)} with NaN, infinity or more than {LARGEST_ANSWER:g} for inputs "
            "within their limits, so its labels mean nothing. Train it again, or export the bundle from other weights."
        )
