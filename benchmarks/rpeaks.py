"""R peaks: the live detector compared with offline detectors, on the same records and with the same scoring.

    python benchmarks/rpeaks.py [--split NAME | --records A,B] [--noise] [--memory] [--without xqrs] [--out DIR]

Scores follow EC57: the first lead (and a separate row for all leads together), without the first five minutes. Speed is
hours of ECG per second of processor time of one core, without reading; ours takes the record in blocks of five minutes.
Delay is the time from the R peak to the sample at which the detector is certain of it. The other detectors need the
complete recording before they give the first beat.

--out DIR writes rpeaks-NAME.md, .png and .json there; if DIR/rpeaks.md has marks for NAME, the table is put between
them (`tools/rpeaks_page.py` repeats this from the JSON).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # one core each; set before numpy is loaded
sys.path.append(str(Path(__file__).resolve().parent.parent))

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from ecgmoe_edge.calibration_data import load_calibration
from ecgmoe_edge.errors import EcgmoeError, RecordError, UsageError
from ecgmoe_edge.records.annotations import read_annotations
from ecgmoe_edge.records.names import record_name
from ecgmoe_edge.records.registry import open_recording
from ecgmoe_edge.records.splits import locate, noise_record
from ecgmoe_edge.scoring.ec57 import Counts, score_record, total_peaks
from ecgmoe_edge.scoring.evaluation import unscorable
from ecgmoe_edge.scoring.noise_stress import NOISE_KINDS, SNRS_DB, NoiseLevel, noisy_blocks
from ecgmoe_edge.scoring.offline_reference import DETECTORS, detect_offline
from ecgmoe_edge.streaming import Monitor
from ecgmoe_edge.streaming.events import Beat
from tools.rpeaks_page import FUSED, OURS, markdown, write_page

NAMES = (OURS, FUSED, *DETECTORS)
BLOCK_S = 300.0
LIVE_CHUNK_S = 0.020
WARM_UP_S = 20.0
NOISE_RECORDS = ("118", "119")  # the clean records of PhysioNet's own noise stress test
QUICK_RECORDS = 4
QUICK_SNRS_DB = (12.0, 0.0)
STREAM_HOURS, QUICK_STREAM_HOURS = 24, 2
STREAM_FS = 250.0


@dataclass
class Tally:
    """Results of one detector on some records."""

    within_150ms: list[Counts] = field(default_factory=list)
    within_50ms: list[Counts] = field(default_factory=list)
    hours: float = 0.0
    cpu_s: float = 0.0
    delays_ms: list[float] = field(default_factory=list)  # only the live detector has any

    def add(self, other: Tally) -> None:
        """Add the results of the same detector on other records."""
        self.within_150ms += other.within_150ms
        self.within_50ms += other.within_50ms
        self.hours += other.hours
        self.cpu_s += other.cpu_s
        self.delays_ms += other.delays_ms

    def figures(self) -> dict[str, Any]:
        """Figures in per cent, hours per second and ms."""
        near, nearer = total_peaks(self.within_150ms).to_json(), total_peaks(self.within_50ms).to_json()
        delay = None
        if self.delays_ms:
            delay = {"mean": round(float(np.mean(self.delays_ms)), 1)}
            delay["p95"] = round(float(np.percentile(self.delays_ms, 95)), 1)
        return {
            **{f"{key}150": near[key] for key in ("se", "ppv", "f1", "fn", "fp")},
            **{f"{key}50": nearer[key] for key in ("se", "ppv", "f1")},
            "hours_per_s": round(self.hours / self.cpu_s, 3) if self.cpu_s else None,
            "delay_ms": delay,
        }


@dataclass(frozen=True)
class Task:
    """One detector on one record, clean or with noise."""

    detector: str
    record: Path
    noise: NoiseLevel | None = None


def run_task(task: Task) -> Tally:
    """Detect, score and time; in a worker process."""
    record = open_recording(task.record)
    annotated = read_annotations(record)
    leads = range(len(record.leads)) if task.detector == FUSED else (0,)
    if task.noise is None:
        signal = record.read(leads=list(leads))
    else:  # every lead gets its own signal of the noise record
        of_leads = (noisy_blocks(record, lead, annotated, task.noise, BLOCK_S) for lead in leads)
        signal = np.concatenate([np.concatenate(list(blocks), axis=1) for blocks in of_leads])
    detect(task.detector, signal[:, : round(WARM_UP_S * record.fs)], record.fs)  # imports and caches are not timed
    started = time.process_time()
    peaks, delays = detect(task.detector, signal, record.fs)
    cpu_s = time.process_time() - started
    score = score_record(annotated, peaks, fs=record.fs, n_samples=record.n_samples)
    return Tally([score.rpeaks], [score.rpeaks_close], record.n_samples / record.fs / 3600.0, cpu_s, delays)


def detect(detector: str, signal: NDArray[np.float64], fs: float) -> tuple[NDArray[np.int64], list[float]]:
    """R peaks of a signal (leads, n) in samples, and the delay of each in ms if the detector is live."""
    if detector not in (OURS, FUSED):
        return detect_offline(signal[0], fs, detector), []
    monitor = Monitor(None, fs, leads=[f"lead {k}" for k in range(len(signal))])
    block = round(BLOCK_S * fs)
    events = [event for at in range(0, signal.shape[1], block) for event in monitor.push(signal[:, at : at + block])]
    beats = [event for event in [*events, *monitor.flush()] if isinstance(event, Beat)]
    return np.array([beat.sample for beat in beats], np.int64), [beat.detection_delay_ms for beat in beats]


def run_all(tasks: Sequence[Task], jobs: int) -> Iterator[tuple[Task, Tally]]:
    """The tally of every task, in order of completion, with a progress bar on stderr."""
    with tqdm(total=len(tasks), unit="record", file=sys.stderr, disable=None) as bar:
        if jobs == 1:
            for task in tasks:
                yield task, run_task(task)
                bar.update()
            return
        with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
            futures = {pool.submit(run_task, task): task for task in tasks}
            try:
                for future in as_completed(futures):
                    yield futures[future], future.result()
                    bar.update()
            finally:
                pool.shutdown(cancel_futures=True)


def live_cost() -> float:
    """Seconds of signal per second of processor time, pushed in 20 ms chunks, on the shipped recording."""
    recording = load_calibration()
    monitor = Monitor(None, recording.fs)
    step = round(LIVE_CHUNK_S * recording.fs)
    started = time.process_time()
    for at in range(0, recording.signal.shape[1], step):
        monitor.push(recording.signal[:1, at : at + step])
    return float(recording.signal.shape[1] / recording.fs / (time.process_time() - started))


def stream_memory(hours: int) -> dict[str, float | int]:
    """Resident memory, MiB, of a process that runs the detector over hours of generated ECG, one second per push."""
    rng = np.random.default_rng(0)
    minute = generated_minute(STREAM_FS, rng)
    second = round(STREAM_FS)
    monitor = Monitor(None, STREAM_FS)
    after_hour = []
    for _ in range(hours):
        for at in range(0, 3600 * second, second):
            place = at % len(minute)
            monitor.push((minute[place : place + second] + rng.normal(0.0, 0.02, second))[None])
        after_hour.append(resident_mib())
    return {
        "hours": hours,
        "after_first_hour_mib": round(after_hour[0], 2),
        "at_end_mib": round(after_hour[-1], 2),
        "growth_mib": round(after_hour[-1] - after_hour[0], 2),
    }


def generated_minute(fs: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """A minute of P, QRS and T waves at 72 per minute with some variability, `(n,)` mV; it can be repeated."""
    time_s = np.arange(round(60.0 * fs)) / fs
    beats = (np.arange(72) + 0.5 + rng.uniform(-0.04, 0.04, 72)) * 60.0 / 72.0
    waves = ((-0.18, 0.025, 0.12), (-0.035, 0.010, -0.08), (0.0, 0.011, 1.1), (0.035, 0.011, -0.2), (0.26, 0.045, 0.28))
    signal = np.zeros(len(time_s))
    for after_s, width_s, height_mv in waves:
        for centre in beats + after_s:
            signal += height_mv * np.exp(-0.5 * ((time_s - centre) / width_s) ** 2)
    return signal


def resident_mib() -> float:
    """Memory of this process that is in use now, MiB."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError as missing:
        raise UsageError("--memory reads /proc/self/statm: run it on Linux.") from missing
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def measure(arguments: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """The figures of each detector, as --json prints them."""
    names = [name for name in NAMES if name not in arguments.without]
    paths = locate(arguments.data, split=arguments.split, records=arguments.records)
    left_out = unscorable(paths, ["0"])
    for name, why in left_out.items():
        print(f"left out: {name}: {why}", file=sys.stderr)
    paths = [path for path in paths if record_name(path) not in left_out]
    if not paths:
        raise RecordError("Not one of the records can be scored.")
    snrs = arguments.snr
    if all(len(open_recording(path).leads) == 1 for path in paths):
        names = [name for name in names if name != FUSED]
    if arguments.quick:
        paths = paths[:: max(1, len(paths) // QUICK_RECORDS)][:QUICK_RECORDS]
        snrs = tuple(snr for snr in snrs if snr in QUICK_SNRS_DB) or snrs[:1]
    # The slowest first, so that no process is alone with one of them at the end.
    tasks = [Task(name, path) for name in reversed(names) for path in paths]
    if arguments.noise:
        noise = noise_record(arguments.data, arguments.noise)
        noisy = locate(arguments.data, records=NOISE_RECORDS)
        levels = [NoiseLevel(noise, snr) for snr in snrs]
        tasks = [Task(name, path, level) for name in reversed(names) for level in levels for path in noisy] + tasks
    tallies: dict[tuple[str, float | None], Tally] = {}
    for task, tally in run_all(tasks, arguments.jobs):
        tallies.setdefault((task.detector, task.noise.snr_db if task.noise else None), Tally()).add(tally)

    figures = {name: tallies[name, None].figures() for name in names}
    if arguments.noise:
        for name in names:
            at_snr = {f"{snr:g}": total_peaks(tallies[name, snr].within_150ms).to_json() for snr in snrs}
            figures[name]["noise"] = {arguments.noise: at_snr}
    if OURS in names:
        figures[OURS]["live_times_real_time"] = round(live_cost(), 1)
    if arguments.memory and OURS in names:
        # In its own process, so that other loaded modules do not count.
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as alone:
            hours = QUICK_STREAM_HOURS if arguments.quick else STREAM_HOURS
            figures[OURS]["memory"] = alone.submit(stream_memory, hours).result()
    return figures


def main() -> None:
    """Print a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of recordings; default: the variable ECGMOE_DATA")
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument("--records", type=lambda text: text.split(","), help="A,B,...; default: all of mitdb")
    chosen.add_argument("--split", help="a named split, such as svdb-val")
    parser.add_argument("--without", action="append", default=[], choices=NAMES, help="leave a detector out")
    parser.add_argument(
        "--noise", nargs="?", const="em", choices=NOISE_KINDS, help="118 and 119 with noise; default em"
    )
    parser.add_argument("--snr", type=lambda text: tuple(map(float, text.split(","))), default=SNRS_DB, help="dB,...")
    parser.add_argument("--memory", action="store_true", help="memory over a 24 h stream as well")
    parser.add_argument("--quick", action="store_true", help="a few records, ratios and hours")
    parser.add_argument("--jobs", type=int, default=2, help="processes; default 2")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write table, plot and JSON there")
    arguments = parser.parse_args()
    if arguments.jobs < 1 or set(NAMES) <= set(arguments.without):
        parser.error("--jobs is 1 or more, and one detector at least must be left.")
    try:
        figures = measure(arguments)
    except EcgmoeError as reason:
        parser.exit(reason.exit_code, f"error: {reason}\n")
    name = arguments.split or ("records" if arguments.records else "mitdb")
    name += "-quick" if arguments.quick else ""
    command = " ".join(["python benchmarks/rpeaks.py", *without_paths(sys.argv[1:])])
    if arguments.out is not None:
        write_page(arguments.out, name, figures, command)
    if arguments.json:
        json.dump(figures, sys.stdout, indent=2)
        print()
    else:
        print(markdown(figures, command, f"rpeaks-{name}.png"))


def without_paths(words: Sequence[str]) -> list[str]:
    """The words of the command without paths of this machine and without output options."""
    kept, skip = [], False
    for word in words:
        if not skip and not word.startswith(("--data=", "--out=")) and word not in ("--data", "--out", "--json"):
            kept.append(word)
        skip = word in ("--data", "--out")
    return kept


if __name__ == "__main__":
    main()
