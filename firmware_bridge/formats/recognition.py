"""How sure one can be that bytes are of a framed protocol: by how many of them are in valid frames."""

from __future__ import annotations

from collections.abc import Callable

from ecgmoe_edge.firmware_bridge.formats.framed import FramedDecoder

SURE_BITS = 48.0  # of checks passed before anything is sure: once in 2**48 by chance


def framed_score(decoder: FramedDecoder, data: bytes, check_bits: float, minimum: int = 3) -> float:
    """0..1: the share of `data` in frames that hold, damped while few were seen. The decoder must be new."""
    decoder.feed(data)
    counts = decoder.counts
    frames = counts.frames - counts.unknown_frames
    if frames < minimum or not data:
        return 0.0
    good = len(data) - counts.junk_bytes - decoder.pending
    share = max(0.0, good / len(data))
    if decoder.counter_range is not None:
        share *= max(0.0, 1 - counts.lost_frames / frames)
    return share * min(1.0, frames * check_bits / SURE_BITS)


def recogniser(make: Callable[[], FramedDecoder], check_bits: float, minimum: int = 3) -> Callable[[bytes], float]:
    """`WireFormat.recognise` of a framed protocol."""
    return lambda data: framed_score(make(), data, check_bits, minimum)
