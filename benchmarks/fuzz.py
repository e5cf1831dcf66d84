"""Fuzzes the decoder of every wire format: random bytes, real streams cut and spliced with junk and with each other.

    python benchmarks/fuzz.py --bytes 10_000_000 [--protocol NAME] [--json]

For each protocol: how many bytes it was given, in how many feeds, how many frames it took from pure noise beside how
many its checks let by chance, the most bytes that it ever held back, and how much the process grew. Any exception ends
the run with the seed that repeats it.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np

from ecgmoe_edge.firmware_bridge.items import Decoder, WireFormat
from ecgmoe_edge.firmware_bridge.protocols import all_protocols
from ecgmoe_edge.firmware_bridge.simulated_stream import example_settings, simulate

PIECE = 20_000  # bytes of one kind
MOST_PENDING = 8192
# Once a false start was believed, frames go on being taken by the weaker check of a decoder in step.
FOLLOWERS = 8


@dataclass
class Fuzzed:
    """What one decoder was put through."""

    protocol: str
    bytes_fed: int = 0
    feeds: int = 0
    noise_bytes: int = 0
    frames_in_noise: int = 0
    chance: float = 0.0  # frames that the checks let pass in so much noise, on average
    most_held_back: int = 0
    grown_mb: float = 0.0
    seconds: float = 0.0


def bound(noise_bytes: int, check_bits: float) -> float:
    """Frames in noise that are no surprise: their mean number by chance, and five standard deviations."""
    mean: float = FOLLOWERS * noise_bytes * math.pow(2.0, -check_bits)
    return mean + 5 * math.sqrt(mean) + (1 if mean > 1e-3 else 0)


def fuzz(wire_format: WireFormat, total: int, seed: int = 0) -> Fuzzed:
    """Half of `total` bytes are noise to a decoder of its own, half are spoiled streams to another."""
    rng = np.random.default_rng(seed)
    result = Fuzzed(wire_format.name)
    started = time.perf_counter()
    before = _rss_mb()
    settings = example_settings(wire_format)
    noisy = wire_format.make_decoder(settings)
    noisy.feed(simulate(wire_format, 64).preamble)  # so that it knows what there is to know
    known = _taken(noisy)
    spoiled = wire_format.make_decoder(settings)
    for piece in _noise(rng, total // 2):
        _feed(noisy, piece, rng, result)
        result.noise_bytes += len(piece)
    result.frames_in_noise = _taken(noisy) - known
    result.chance = bound(result.noise_bytes, wire_format.check_bits)
    for piece in _spoiled(wire_format, rng, total - total // 2):
        _feed(spoiled, piece, rng, result)
    result.seconds = time.perf_counter() - started
    result.grown_mb = _rss_mb() - before
    return result


def _taken(decoder: Decoder) -> int:
    """Frames that it believed; those of types that it skips do no harm."""
    return decoder.counts.frames - decoder.counts.unknown_frames


def _feed(decoder: Decoder, piece: bytes, rng: np.random.Generator, result: Fuzzed) -> None:
    """In cuts of any length, sometimes with the port gone in between."""
    at = 0
    while at < len(piece):
        size = int(rng.choice((1, 7, 64, 1000, 4096)))
        decoder.feed(piece[at : at + size])
        at += size
        result.feeds += 1
        draw = rng.random()
        if draw < 0.002:
            decoder.interrupted()
        elif draw < 0.004:
            decoder.silent(float(rng.exponential(2.0)))
        result.most_held_back = max(result.most_held_back, getattr(decoder, "pending", 0))
    result.bytes_fed += len(piece)


def _noise(rng: np.random.Generator, total: int) -> Iterator[bytes]:
    """Bytes without structure."""
    for first in range(0, total, PIECE):
        yield rng.bytes(min(PIECE, total - first))


def _spoiled(wire_format: WireFormat, rng: np.random.Generator, total: int) -> Iterator[bytes]:
    """Real frames with bytes changed, cut out, put in; pieces of other protocols; runs of one byte."""
    streams = [np.frombuffer(simulate(wire_format, 512, seed).all_bytes, dtype=np.uint8) for seed in range(4)]
    others = [np.frombuffer(simulate(other, 64).all_bytes, dtype=np.uint8) for other in all_protocols()]
    made = 0
    while made < total:
        data = streams[int(rng.integers(len(streams)))].copy()
        places = rng.random(len(data)) < rng.choice((0.0, 1e-4, 1e-3, 1e-2))
        data[places] ^= rng.integers(1, 256, int(places.sum()), dtype=np.uint8)
        parts = np.split(data, np.sort(rng.integers(0, len(data), int(rng.integers(0, 12)))))
        for number in range(len(parts)):
            kind = int(rng.integers(12))
            if kind == 0:
                parts[number] = parts[number][int(rng.integers(0, 40)) :]
            elif kind == 1:
                parts[number] = others[int(rng.integers(len(others)))]
            elif kind == 2:
                parts[number] = np.full(int(rng.integers(1, 300)), rng.integers(256), dtype=np.uint8)
            elif kind == 3:
                parts[number] = np.tile(parts[number][:50], 5)
        piece = np.concatenate(parts)[: total - made].tobytes()
        made += len(piece) or 1
        yield piece


def _rss_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Fuzz and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bytes", type=int, default=10_000_000, help="for each protocol")
    parser.add_argument("--protocol", action="append", help="only this one; may be given again")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    results = [
        fuzz(wire_format, options.bytes, options.seed)
        for wire_format in all_protocols()
        if not options.protocol or wire_format.name in options.protocol
    ]
    if options.json:
        print(json.dumps([asdict(result) for result in results], indent=1))
    else:
        heads = f"{'bytes':>11} {'feeds':>8} {'frames in noise':>16} {'by chance':>10} {'held':>6} {'MB':>5} {'s':>6}"
        print(f"{'protocol':22} {heads}")
        for r in results:
            print(
                f"{r.protocol:22} {r.bytes_fed:11,} {r.feeds:8,} {r.frames_in_noise:16} {r.chance:10.3g} "
                f"{r.most_held_back:6} {r.grown_mb:5.1f} {r.seconds:6.1f}"
            )
    wrong = [r.protocol for r in results if r.frames_in_noise > r.chance or r.most_held_back > MOST_PENDING]
    if wrong:
        sys.exit(f"Out of bounds: {', '.join(wrong)}")


if __name__ == "__main__":
    main()
