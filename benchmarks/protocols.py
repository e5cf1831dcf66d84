"""Cost of decoding each wire format, without a port: load on one core at the device's rate, and speed reserve.

    python benchmarks/protocols.py [--seconds 60] [--json]

The bytes are those of a device without faults, in pieces of 0.1 s as read from a port. `ecgmoe` and `cyton` are also
measured with 8 channels at 1000 Hz.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, dataclass
from fractions import Fraction

from ecgmoe_edge.firmware_bridge.items import Settings, WireFormat
from ecgmoe_edge.firmware_bridge.protocols import all_protocols, get_protocol
from ecgmoe_edge.firmware_bridge.simulated_stream import example_settings, simulate

PIECE_S = 0.1
EIGHT = Settings(rate=Fraction(1000), leads=tuple(f"ch{number}" for number in range(1, 9)))


@dataclass(frozen=True)
class Cost:
    """Cost of one format; the lower of two runs."""

    protocol: str
    rate_hz: float
    leads: int
    bytes_per_s: float
    core_percent: float
    us_per_sample: float


def cost(wire_format: WireFormat, seconds: float, settings: Settings | None = None) -> Cost:
    """Decode this many seconds of signal."""
    settings = settings or example_settings(wire_format)
    encoder = wire_format.make_encoder(settings)
    rate = float(encoder.rate)
    sent = simulate(wire_format, round(seconds * rate), settings=settings)
    per_piece = max(1, round(PIECE_S * rate / sent.per_frame))
    pieces = [b"".join(sent.frames[at : at + per_piece]) for at in range(0, len(sent.frames), per_piece)]
    best = float("inf")
    for _ in range(2):
        decoder = wire_format.make_decoder(settings)
        decoder.feed(sent.preamble)
        started = time.process_time()
        for piece in pieces:
            decoder.feed(piece)
        best = min(best, time.process_time() - started)
    samples = decoder.counts.samples
    played_s = samples / rate
    total = sum(map(len, pieces))
    return Cost(
        wire_format.name, rate, len(encoder.leads), total / played_s, 100 * best / played_s, 1e6 * best / samples
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="seconds of signal for each format")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    costs = [cost(wire_format, options.seconds) for wire_format in all_protocols()]
    costs += [cost(get_protocol(name), options.seconds, EIGHT) for name in ("ecgmoe", "cyton")]
    if options.json:
        print(json.dumps([asdict(one) for one in costs], indent=1))
        return
    print(f"{'protocol':22} {'Hz':>6} {'leads':>5} {'bytes/s':>8} {'% of a core':>12} {'us/sample':>10}")
    for one in costs:
        print(
            f"{one.protocol:22} {one.rate_hz:6.0f} {one.leads:5} {one.bytes_per_s:8.0f} {one.core_percent:12.2f} "
            f"{one.us_per_sample:10.2f}"
        )


if __name__ == "__main__":
    main()
