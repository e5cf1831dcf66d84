"""Reading a day of ECG from an EDF file: time and memory of this package, pyEDFlib and edfio.

The file is generated: three ECG leads of 250 Hz and one respiration signal, in data records of 1 s. Each reader gives
every sample of the three leads in mV, in blocks of 60 s (edfio has no blocks and reads the complete file). Each round
runs in its own process, and the readers alternate, so the ratios are valid on a busy machine, too. Processor time is
the median of the rounds:

    python benchmarks/edf_reading.py [--hours 24] [--rounds 5] [--json]
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.records.registry import known_formats, open_recording

OURS, PYEDFLIB, EDFIO = "open_recording", "pyEDFlib", "edfio"
LEADS, FS, RESP_FS, BLOCK_S = 3, 250, 25, 60


def draw(path: Path, hours: float) -> None:
    """An EDF of noise, written an hour at a time."""
    seconds = round(hours * 3600)
    rates = [*[FS] * LEADS, RESP_FS]
    fixed: list[tuple[object, int]] = [
        ("0", 8),
        ("X X X X", 80),
        ("Startdate X X X X", 80),
        ("01.01.01", 8),
        ("00.00.00", 8),
    ]
    fixed += [(256 * (len(rates) + 1), 8), ("", 44), (seconds, 8), (1, 8), (len(rates), 4)]
    labels = [("ECG I", "ECG II", "ECG V1", "Resp")]
    columns = [(labels[0], 16), ([""] * 4, 80), (["uV"] * 4, 8), ([-32768] * 4, 8), ([32767] * 4, 8)]
    columns += [([-32768] * 4, 8), ([32767] * 4, 8), ([""] * 4, 80), (rates, 8), ([""] * 4, 32)]
    header = "".join(str(value).ljust(size) for value, size in fixed)
    header += "".join(str(value).ljust(size) for values, size in columns for value in values)
    rng = np.random.default_rng(0)
    with path.open("wb") as file:
        file.write(header.encode("ascii"))
        for start in range(0, seconds, 3600):
            size = (min(3600, seconds - start), sum(rates))
            file.write(rng.integers(-2000, 2000, size).astype("<i2").tobytes())


def _ours(path: Path) -> Iterator[NDArray[np.float64]]:
    yield from open_recording(path).blocks(BLOCK_S)


def _pyedflib(path: Path) -> Iterator[NDArray[np.float64]]:
    import pyedflib

    with pyedflib.EdfReader(str(path)) as reader:
        for start in range(0, int(reader.getNSamples()[0]), FS * BLOCK_S):
            yield np.stack([reader.readSignal(lead, start, FS * BLOCK_S) for lead in range(LEADS)]) * 1e-3


def _edfio(path: Path) -> Iterator[NDArray[np.float64]]:
    import edfio

    yield np.stack([signal.data for signal in edfio.read_edf(path).signals[:LEADS]]) * 1e-3


READERS = {OURS: _ours, PYEDFLIB: _pyedflib, EDFIO: _edfio}


def read_once(reader: str, path: Path) -> dict[str, float]:
    """Processor seconds, largest memory in MB, and the sum of all samples, in this process."""
    known_formats()  # imports are not measured
    if reader != OURS:
        import_module(reader.lower())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.process_time()
    total, samples = 0.0, 0
    for block in READERS[reader](path):
        total += float(block[0, 0])
        samples += block.shape[1]
    seconds = time.process_time() - started
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    return {"seconds": seconds, "grown_mb": grown, "samples": samples, "sum": total}


def measure(hours: float, rounds: int) -> dict[str, dict[str, float]]:
    """For each reader: median seconds, growth of the process in MB, and seconds relative to pyEDFlib's."""
    found: dict[str, list[dict[str, float]]] = {reader: [] for reader in READERS}
    with TemporaryDirectory() as folder:
        path = Path(folder) / "day.edf"
        draw(path, hours)
        for _ in range(rounds):
            for reader, results in found.items():
                command = [sys.executable, __file__, "--reader", reader, "--file", str(path)]
                results.append(json.loads(subprocess.run(command, check=True, capture_output=True).stdout))
    lengths = {result["samples"] for results in found.values() for result in results}
    if lengths != {round(hours * 3600) * FS}:
        raise AssertionError(f"The readers gave {lengths} samples a lead.")
    theirs = float(np.median([result["seconds"] for result in found[PYEDFLIB]]))
    figures = {}
    for reader, results in found.items():
        seconds = float(np.median([result["seconds"] for result in results]))
        grown = max(result["grown_mb"] for result in results)
        figures[reader] = {"seconds": seconds, "grown_mb": grown, "times_pyedflib": seconds / theirs}
    return figures


def main() -> None:
    """Measure all readers, or run as one of the measured processes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--reader", choices=READERS, help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.reader:
        print(json.dumps(read_once(chosen.reader, chosen.file)))
        return
    figures = measure(chosen.hours, chosen.rounds)
    if chosen.json:
        print(json.dumps(figures))
        return
    print(f"{chosen.hours:g} h of {LEADS} leads at {FS} Hz, blocks of {BLOCK_S} s, median of {chosen.rounds}")
    for reader, figure in figures.items():
        print(
            f"{reader:15} {figure['seconds']:7.2f} s  {figure['times_pyedflib']:5.2f} x pyEDFlib  "
            f"memory +{figure['grown_mb']:.0f} MB"
        )


if __name__ == "__main__":
    main()
