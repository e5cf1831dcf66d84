"""Time saved by static top-1 routing and int8 at each width of a student; random weights are sufficient.

Each width is written three times: all experts in float, one expert per path in float, one expert per path in uint8. All
are timed alternately on the beats of the shipped recording, with one thread, in CPU time.

    python -m benchmarks.widths [--json] [--turns N] [--sizes 16/32 48/64 ...]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.compressed_files import session
from benchmarks.compression import BEATS_A_TURN, TURNS, in_turns
from ecgmoe_edge.cli.preparation import quiet_libraries
from ecgmoe_edge.compress.merge import merge_student
from ecgmoe_edge.compress.qat import QatSettings, QatStudent
from ecgmoe_edge.converters.calibration import CalibrationBeats, shipped_beats
from ecgmoe_edge.converters.targets.onnx.dense import export_dense
from ecgmoe_edge.converters.targets.onnx.static import export_onnx
from ecgmoe_edge.model.student import Student, StudentConfig

SIZES = ("16/32", "32/64", "48/64", "64/64", "80/96")  # channels / dim
KINDS = ("float32, all experts", "float32 static", "uint8 static")


def write(size: str, beats: CalibrationBeats, out: Path) -> dict[str, Path]:
    """The three files of a student with random weights, by kind."""
    waveform, dim = (int(number) for number in size.split("/"))
    torch.manual_seed(0)
    student = Student(StudentConfig.named("small", waveform=waveform, dim=dim)).eval()
    quantized = QatStudent(student, QatSettings(tasks=student.tasks))
    quantized.calibrate(beats.batches())
    integer, merged = quantized.to_eval().convert(), merge_student(student).eval()
    paths = {kind: out / f"{waveform}_{dim}_{number}.onnx" for number, kind in enumerate(KINDS)}
    export_dense(merged, paths[KINDS[0]])
    export_onnx(merged, paths[KINDS[1]])
    export_onnx(integer.folded, paths[KINDS[2]], activations="uint8")
    return paths


def timed(path: Path, feeds: list[dict[str, NDArray[np.float32]]]) -> Callable[[int], object]:
    """Run one beat by its number in a plain session."""
    run: Any = session(path).run
    return lambda beat: run(None, feeds[beat])


def main() -> None:
    """Print the table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--turns", type=int, default=TURNS, help="number of measurements of each file")
    parser.add_argument("--sizes", nargs="+", default=SIZES, metavar="CHANNELS/DIM")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    beats = shipped_beats()
    feeds = [{name: x[i : i + 1] for name, x in beats.inputs.items()} for i in range(BEATS_A_TURN)]
    with TemporaryDirectory() as folder:
        files = {size: write(size, beats, Path(folder)) for size in arguments.sizes}
        work = {f"{size} {kind}": timed(path, feeds) for size in files for kind, path in files[size].items()}
        micros = in_turns(work, arguments.turns)
    rows = {size: [micros[f"{size} {kind}"] for kind in KINDS] for size in files}
    if arguments.json:
        json.dump({size: dict(zip(KINDS, row, strict=True)) for size, row in rows.items()}, sys.stdout, indent=2)
        print()
        return
    print(f"| channels / dim | {' | '.join(KINDS)} | uint8 static to all experts |\n|{' --- |' * (len(KINDS) + 2)}")
    for size, row in rows.items():
        print(f"| {size} | {' | '.join(f'{each:.0f}' for each in row)} | {row[2] / row[0]:.2f} |")


if __name__ == "__main__":
    quiet_libraries()
    main()
