"""Figures of the serial protocols and the link: losses injected and reported, load on one core, reconnection, long run.

    python benchmarks/serial.py [--quick] [--hours 8] [--json]

Losses are complete frames left out of a device's bytes, in bursts that its counter can report (null without a counter).
The load is that of the receiver for 8 channels at 1000 Hz. `link.py` in this folder measures the rest.
"""

from __future__ import annotations

import sys
from pathlib import Path

# This file has the name of pyserial's module. A script's folder is searched first, so it would be imported instead.
_HERE = Path(__file__).resolve().parent
sys.path.sort(key=lambda place: Path(place or ".").resolve() == _HERE)
sys.path.append(str(_HERE.parent))
if __name__ == "serial":
    del sys.modules["serial"]
    import serial  # noqa: F401 - pyserial takes this name; the rest of this file is for the script only
elif __name__ == "__main__":
    import argparse
    import json
    from typing import Any

    import numpy as np

    from benchmarks import link
    from ecgmoe_edge.firmware_bridge.items import WireFormat
    from ecgmoe_edge.firmware_bridge.protocols import all_protocols
    from ecgmoe_edge.firmware_bridge.simulated_stream import simulate

    LONGEST_BURST = 300  # frames
    KEPT = 16  # frames, at least, between two bursts: some decoders need a few to be sure that they are in step
    PIECE = 4000  # frames that are made at a time

    def losses(wire_format: WireFormat, frames_to_drop: int) -> tuple[int | None, int | None]:
        """Samples (per lead) left out in bursts, and reported as lost; None for both without a counter."""
        if wire_format.counter_range is None:
            return None, None
        rng = np.random.default_rng(6)
        injected = reported = dropped = seed = 0
        while dropped < frames_to_drop:
            device = simulate(wire_format, PIECE, seed)
            seed += 1
            most = min(LONGEST_BURST, wire_format.counter_range // device.per_frame - 1, len(device.frames) // 8)
            decoder = wire_format.make_decoder(device.settings)
            decoder.feed(device.preamble)
            at = 0
            while at < len(device.frames):
                kept = at + int(rng.integers(KEPT, 2 * KEPT))
                decoder.feed(b"".join(device.frames[at:kept]))
                burst = int(rng.integers(1, most + 1))
                if kept + burst + 2 >= len(device.frames):
                    decoder.feed(b"".join(device.frames[kept:]))
                    break
                dropped += burst
                injected += burst * device.per_frame
                at = kept + burst
            decoder.interrupted()
            reported += decoder.counts.lost_samples
        return injected, reported

    def main() -> None:
        """Print a table, or JSON."""
        parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
        parser.add_argument("--quick", action="store_true", help="under a minute")
        parser.add_argument("--hours", type=float, help="hours of signal in the long run, at 20 times real time")
        parser.add_argument("--json", action="store_true", help="print JSON")
        arguments = parser.parse_args()
        quick = arguments.quick
        protocols: dict[str, dict[str, Any]] = {}
        for one in all_protocols():
            injected, reported = losses(one, 1000 if quick else 10_000)
            share = link.core_share(one.name, 4.0 if quick else 30.0) if one.name in link.SHARE_OF else None
            protocols[one.name] = {
                "injected_lost": injected,
                "reported_lost": reported,
                "core_share_8ch_1khz": share,
            }
        result = {
            "protocols": protocols,
            "replug_s": link.replug(3 if quick else 20)["worst_s"],
            "soak": link.soak(arguments.hours or (1 / 12 if quick else 8.0), 20.0),
        }
        if arguments.json:
            json.dump(result, sys.stdout, indent=2)
            print()
            return
        for name, figures in protocols.items():
            print(f"{name:<22}" + ", ".join(f"{key} {value}" for key, value in figures.items()))
        print(f"replug {result['replug_s']:.2f} s at worst; soak: {result['soak']}")

    main()
