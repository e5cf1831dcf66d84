"""Scores how likely received bytes belong to a framed protocol, by the fraction of bytes in valid frames."""

from __future__ import annotations

from collections.abc import Callable

from ecgmoe_edge.firmware_bridge.formats.framed import FramedDecoder

CERTAIN_BITS = 48.0  # passed check bits for full certainty: random bytes pass them with probability 2**-48


def framed_score(decoder: FramedDecoder, data: bytes, check_bits: float, minimum: int = 3) -> float:
    """Score of `data` for a protocol: the fraction of bytes in valid frames, reduced if there were only a few frames.

    Args:
        decoder: a new decoder of the protocol.
        data: received bytes.
        check_bits: check bits of one frame (see `WireFormat.check_bits`).
        minimum: with fewer frames the score is 0.

    Returns:
        0 to 1.
    """
    decoder.feed(data)
    counts = decoder.counts
    frames = counts.frames - counts.unknown_frames
    if frames < minimum or not data:
        return 0.0
    good = len(data) - counts.junk_bytes - decoder.pending
    share = max(0.0, good / len(data))
    if decoder.counter_range is not None:
        share *= max(0.0, 1 - counts.lost_frames / frames)
    return share * min(1.0, frames * check_bits / CERTAIN_BITS)


def recogniser(make: Callable[[], FramedDecoder], check_bits: float, minimum: int = 3) -> Callable[[bytes], float]:
    """A function for `WireFormat.recognise`; the arguments are those of `framed_score`."""
    return lambda data: framed_score(make(), data, check_bits, minimum)
