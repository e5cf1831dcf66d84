"""Speed of the live pipeline on one core relative to real time, in chunks of 20 ms, 100 ms and one sample.

With two leads, the second is the first at half its amplitude, inverted: two signals to filter and two inferences per
beat.

Processor time over the shipped recording. All variants are timed alternately in one run, several times, so their ratios
are valid on a busy machine, too. The median is printed, and the best in brackets:

    python benchmarks/live_speed.py [--bundle PATH ...] [--json]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from ecgmoe_edge.calibration_data import load_calibration
from ecgmoe_edge.runtime import load_bundle, shipped_bundle
from ecgmoe_edge.runtime.bundle import Bundle
from ecgmoe_edge.streaming import Monitor

SETUPS = {"100 ms": (100.0, 1), "20 ms": (20.0, 1), "one sample": (0.0, 1), "100 ms, two leads": (100.0, 2)}
SECONDS = 120
ROUNDS = 5
R_PEAKS = "R peaks only"


def time_once(bundle: Bundle | None, chunk_ms: float, leads: int) -> float:
    """Seconds of signal per second of computing, over the start of the shipped recording."""
    recording = load_calibration()
    step = max(1, round(recording.fs * chunk_ms / 1000))
    stop = round(SECONDS * recording.fs)
    first = recording.signal[0]
    signal = np.stack((first, -0.5 * first)[:leads])
    monitor = Monitor(bundle, recording.fs, leads=("II", "V1")[:leads])
    started = time.process_time()
    for at in range(0, stop, step):
        monitor.push(signal[:, at : min(at + step, stop)])
    monitor.flush()
    return SECONDS / (time.process_time() - started)


def measure(paths: list[Path]) -> dict[str, dict[str, float]]:
    """For each variant its median and best speed relative to real time."""
    variants: dict[str, tuple[Bundle | None, float, int]] = {}
    models = [(path, load_bundle(path, threads=1)) for path in paths]
    for setup, (chunk_ms, leads) in SETUPS.items():
        variants[f"{R_PEAKS}, {setup}"] = (None, chunk_ms, leads)
        for path, bundle in models:
            name = f"{bundle.manifest.name} {bundle.manifest.model.precision}, {setup}"
            variants[name if name not in variants else f"{path} {name}"] = (bundle, chunk_ms, leads)
    speeds: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(ROUNDS):
        for name, (bundle_or_none, chunk_ms, leads) in variants.items():
            speeds[name].append(time_once(bundle_or_none, chunk_ms, leads))
    return {name: {"median": sorted(each)[ROUNDS // 2], "best": max(each)} for name, each in speeds.items()}


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
    for name, speed in speeds.items():
        print(f"{name:<42} {speed['median']:6.0f} times real time  (best {speed['best']:.0f})")


if __name__ == "__main__":
    main()
