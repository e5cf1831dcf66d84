"""Functions on decoded items: values, losses, and a form that compares equal for any chunking."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.firmware_bridge.items import Decoder, SampleLoss, Samples, WireFormat, WireItem
from ecgmoe_edge.firmware_bridge.simulated_stream import example_settings


def decoder_of(wire_format: WireFormat) -> Decoder:
    return wire_format.make_decoder(example_settings(wire_format))


def values_of(items: Sequence[WireItem]) -> NDArray[np.float64]:
    return np.concatenate([item.values for item in items if isinstance(item, Samples)], axis=1)


def losses_of(items: Sequence[WireItem]) -> list[SampleLoss]:
    return [item for item in items if isinstance(item, SampleLoss)]


def lost_in(items: Sequence[WireItem]) -> int:
    return sum(lost.samples or 0 for lost in losses_of(items))


def joined(items: Sequence[WireItem]) -> list[object]:
    """Items that compare by value, neighbouring samples joined."""
    out: list[object] = []
    for item in items:
        if not isinstance(item, Samples):
            out.append(item)
            continue
        rows = item.values.tolist()
        if out and isinstance(out[-1], tuple):
            first, before = out[-1]
            out[-1] = (first, [old + new for old, new in zip(before, rows, strict=True)])
        else:
            out.append((item.first_index, rows))
    return out
