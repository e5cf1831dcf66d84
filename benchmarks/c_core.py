"""Speed and events of the C engine, side by side with sleepecg and with the numpy reference in one run.

    python benchmarks/c_core.py [--json] [--hours 24] [--set shipped --set drawn --set ds1 --set svdb-fit]

- rpeaks_to_sleepecg: speed of the R-peak detection over an hour at 360 Hz, the shipped recording repeated, relative to
  that of sleepecg, which searches the whole signal at once.
- day_s: processor seconds for 24 h of one lead at 250 Hz through the whole monitor with the shipped bundle; the day is
  drawn, with 72 beats a minute. --hours measures a shorter time, from which the day follows.
- live_factor: R peaks alone, 20 ms a push, seconds of signal for a second of processor time.
- two_leads_to_one: processor time of the R-peak detection in two leads, relative to one.
- events_compared, events_different: those of `tools.compare_engines` over the sets.

All times are processor times of one core, measured alternately in several rounds; the median counts. The figures of the
numpy reference are printed beside them. Without the extension in this installation, it is built with gcc first.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
from numpy.typing import NDArray
from sleepecg import heartbeats

from benchmarks.rpeaks import generated_minute
from ecgmoe_edge.calibration_data import load_calibration
from ecgmoe_edge.errors import EcgmoeError
from ecgmoe_edge.runtime import load_bundle, shipped_bundle
from ecgmoe_edge.streaming import Monitor, c_engine
from tools import c_extension, compare_engines, golden_events

ROUNDS = 5
DAY_FS = 250.0
LIVE_CHUNK_S = 0.020
BLOCK_S = 60.0
LIVE_S = 120.0  # signal of one live round; the reference gets a tenth


def seconds_of(work: Callable[[], object]) -> float:
    """Processor time of a function."""
    started = time.process_time()
    work()
    return time.process_time() - started


def detect(x: NDArray[np.float64], fs: float, engine: str, chunk_s: float = BLOCK_S) -> None:
    """Detect R peaks in a signal (leads, n), mV."""
    monitor = Monitor(None, fs, leads=[f"lead {k}" for k in range(len(x))], engine=engine)
    step = round(chunk_s * fs)
    for at in range(0, x.shape[1], step):
        monitor.push(x[:, at : at + step])
    monitor.flush()


def medians(variants: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Median processor time of each variant; they are run alternately."""
    times: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(ROUNDS):
        for name, work in variants.items():
            times[name].append(seconds_of(work))
    return {name: float(np.median(each)) for name, each in times.items()}


def rpeak_figures() -> dict[str, float]:
    """Figures of the R-peak detection."""
    recording = load_calibration()
    fs, first = recording.fs, recording.signal[0]
    hour = np.tile(first, 12)[None]
    two = np.vstack((hour, -0.5 * hour))
    short, live = hour[:, : hour.shape[1] // 12], hour[:, : round(LIVE_S * fs)]
    few = live[:, : live.shape[1] // 10]
    taken = medians(
        {
            "sleepecg": lambda: heartbeats.detect_heartbeats(hour[0], fs),
            "c": lambda: detect(hour, fs, "c"),
            "c two": lambda: detect(two, fs, "c"),
            "c live": lambda: detect(live, fs, "c", LIVE_CHUNK_S),
            "numpy": lambda: detect(short, fs, "numpy"),
            "numpy live": lambda: detect(few, fs, "numpy", LIVE_CHUNK_S),
        }
    )
    return {
        "rpeaks_to_sleepecg": taken["sleepecg"] / taken["c"],
        "numpy_rpeaks_to_sleepecg": taken["sleepecg"] / 12.0 / taken["numpy"],
        "live_factor": LIVE_S / taken["c live"],
        "numpy_live_factor": LIVE_S / 10.0 / taken["numpy live"],
        "two_leads_to_one": taken["c two"] / taken["c"],
    }


def day_seconds(hours: float, engine: str) -> float:
    """Processor time of a day of one lead, from that of some hours."""
    random = np.random.default_rng(0)
    minute = generated_minute(DAY_FS, random)
    block = np.tile(minute, 10)
    monitor = Monitor(load_bundle(shipped_bundle(), threads=1), DAY_FS, engine=engine)
    taken = 0.0
    for _ in range(round(hours * 6)):
        x = (block + random.normal(0.0, 0.02, block.size))[None]
        started = time.process_time()
        monitor.push(x)
        taken += time.process_time() - started
    return taken * 24.0 / hours


def main() -> None:
    """Print a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=2.0, help="hours of the day that are measured; default 2")
    parser.add_argument(
        "--set", dest="sets", action="append", choices=golden_events.SETS, help="default: shipped, drawn"
    )
    parser.add_argument("--data", type=Path, help="folder of the databases (default: ECGMOE_DATA)")
    parser.add_argument("--jobs", type=int, default=1, help="processes of the comparison; default 1")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        try:
            extension = None
            if c_engine.extension() is None:
                extension = c_extension.build(Path(folder))
                c_extension.use(extension)
            figures = rpeak_figures()
            figures["day_s"] = day_seconds(arguments.hours, "c")
            figures["numpy_day_s"] = day_seconds(min(arguments.hours, 1.0), "numpy")
            rows = [
                row
                for name in arguments.sets or ("shipped", "drawn")
                for row in compare_engines.run(name, arguments.data, arguments.jobs, extension, single=False)
            ]
        except EcgmoeError as reason:
            parser.exit(reason.exit_code, f"error: {reason}\n")
    figures["events_compared"] = sum(row.events for row in rows)
    figures["events_different"] = sum(row.different for row in rows)
    if arguments.json:
        json.dump({name: round(value, 3) for name, value in figures.items()}, sys.stdout, indent=2)
        print()
        return
    for name, value in figures.items():
        print(f"{name:26} {value:12,.3f}".rstrip("0").rstrip("."))


if __name__ == "__main__":
    main()
