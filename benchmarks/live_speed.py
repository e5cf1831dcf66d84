"""How many times faster than real time the live pipeline runs on one core, in 100 ms and 20 ms chunks.

All variants are timed in turns in one run, several times, so that their ratios hold on a busy machine too:

    python benchmarks/live_speed.py [--bundle PATH ...] [--json]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from ecgmoe_edge.calibration_data import load_calibration
from ecgmoe_edge.runtime import load_bundle, shipped_bundle
from ecgmoe_edge.runtime.bundle import Bundle
from ecgmoe_edge.streaming import Monitor

CHUNKS_MS = (100, 20)
ROUNDS = 3


def time_once(bundle: Bundle | None, chunk_ms: int) -> float:
    """Seconds of signal per second of computing, over the shipped recording."""
    recording = load_calibration()
    step = round(recording.fs * chunk_ms / 1000)
    monitor = Monitor(bundle, recording.fs, leads=recording.leads)
    started = time.perf_counter()
    for at in range(0, recording.signal.shape[1], step):
        monitor.push(recording.signal[:, at : at + step])
    monitor.flush()
    took_s = time.perf_counter() - started
    return float(recording.signal.shape[1] / recording.fs / took_s)


def measure(paths: list[Path]) -> dict[str, float]:
    """Variant to its median speed in times real time."""
    variants: dict[str, tuple[Bundle | None, int]] = {}
    for chunk_ms in CHUNKS_MS:
        variants[f"R peaks only, {chunk_ms} ms"] = (None, chunk_ms)
        for path in paths:
            bundle = load_bundle(path, threads=1)
            name = f"{bundle.manifest.name} {bundle.manifest.model.precision}, {chunk_ms} ms"
            variants[name if name not in variants else f"{path} {name}"] = (bundle, chunk_ms)
    speeds: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(ROUNDS):
        for name, (bundle_or_none, chunk_ms) in variants.items():
            speeds[name].append(time_once(bundle_or_none, chunk_ms))
    return {name: sorted(each)[ROUNDS // 2] for name, each in speeds.items()}


def main() -> None:
    """Print a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, action="append", help="bundle to time; may be given more than once")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    speeds = measure(arguments.bundle or [shipped_bundle()])
    if arguments.json:
        json.dump({"times_real_time": speeds}, sys.stdout, indent=2)
        print()
        return
    first = next(iter(speeds.values()))
    for name, speed in speeds.items():
        print(f"{name:<40} {speed:8.0f} times real time   ratio {speed / first:.2f}")


if __name__ == "__main__":
    main()
