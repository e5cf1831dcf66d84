"""A model that any test of the monitor can run, and events without the time that they took."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.streaming.decision import DecisionRule
from ecgmoe_edge.streaming.events import Beat, End, Event


class FixedModel:
    """A beat model of fixed random weights: real arithmetic on all three inputs, so that any change in them shows."""

    classes: Mapping[str, tuple[str, ...]] = {"beat": ("N", "S", "V", "F"), "rhythm": ("N", "AF", "other", "noisy")}
    tasks = ("beat", "rhythm")
    decision = DecisionRule()
    context_samples = 0
    batched = False

    def __init__(self) -> None:
        random = np.random.default_rng(3)
        self._weights = {
            "beat": random.normal(0, 0.3, (2 * 103 + 27 + 64, 4)).astype(np.float32),
            "rhythm": random.normal(0, 0.3, (2 * 103 + 27 + 64, 4)).astype(np.float32),
            "route_morphology": random.normal(0, 0.3, (2 * 103 + 27 + 64, 3)).astype(np.float32),
        }

    def infer(self, inputs: Mapping[str, NDArray[np.float32]]) -> Mapping[str, NDArray[np.float32]]:
        rows = len(inputs["beat"])
        x = np.concatenate([inputs[name].reshape(rows, -1) for name in ("beat", "features", "rr_sequence")], axis=1)
        return {name: x @ weight for name, weight in self._weights.items()}


def untimed(events: Iterable[Event]) -> list[Event]:
    """The events, without what depends on the machine."""
    out: list[Event] = []
    for event in events:
        if isinstance(event, Beat):
            out.append(replace(event, compute_ms=0.0))
        elif isinstance(event, End):
            out.append(replace(event, compute_ms={}))
        else:
            out.append(event)
    return out
