"""Gain and cost of compression: profile, runtime, precision, size, speed and loss of accuracy in one table.

Every file is written here, from the shipped weights, into --out: each profile's own, its float twin, and the small
student with all experts in float (`Student.forward` with the soft route). All are timed alternately, many times, on
the beats of the shipped recording, with one thread, in CPU time; ratios are of medians. Accuracy is that of the
validation records (never DS2), on detected beats, after the decision rule; F1 is the mean of `ds1-val` and `svdb-val`.
Without recordings the accuracies are left out. Answers of models are cached beside the examples, under a digest of
model and beats.

    python benchmarks/compression.py [--json] [--steps] [--out DIR] [--data DIR] [--cache DIR] [--weights DIR]

`--steps` prints the accuracy after each step of the chain instead: teacher, float student, merged LoRA,
quantization-aware training, file.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.append(str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch

import ecgmoe_edge
from benchmarks import chain
from benchmarks.compressed_files import Exported, arena_bytes, write_files
from ecgmoe_edge.cli.preparation import quiet_libraries
from ecgmoe_edge.compress.merge import merge_student
from ecgmoe_edge.compress.qat import load_qat
from ecgmoe_edge.contract import BEAT, CONTEXT, FEATURES, SHAPES_WITH_CONTEXT
from ecgmoe_edge.converters.calibration import CalibrationBeats, shipped_beats
from ecgmoe_edge.converters.parity import compare, torch_model
from ecgmoe_edge.errors import EcgmoeError, RecordError, UsageError
from ecgmoe_edge.model.student import load_student
from ecgmoe_edge.model.teacher_file import load_teacher
from ecgmoe_edge.runtime import load_bundle, shipped_bundle
from ecgmoe_edge.training.augment import Batch
from ecgmoe_edge.training.validate import Run, Validation

SHIPPED = Path(ecgmoe_edge.__file__).parent / "pretrained"
TURNS = 31
BEATS_A_TURN = 20
LOADS = 15
RHYTHMS = ("N", "AF", "other")  # the CinC 2017 challenge scored the mean F1 of these


@dataclass(frozen=True)
class Weights:
    """The models of a folder that `ecgmoe-edge train` and `distill` wrote."""

    folder: Path

    def teacher(self) -> chain.Step:
        """The teacher."""
        path = self.folder / "teacher.safetensors"

        def start() -> Run:
            model = load_teacher(path).eval()
            return lambda batch: model(*batch.teacher_inputs(), tasks=("beat", "rhythm"))

        return chain.Step("teacher", path.read_bytes(), start)

    def student(self, width: str) -> chain.Step:
        """A float student, one expert per path."""
        path = self.folder / f"student-{width}.safetensors"

        def start() -> Run:
            model = load_student(path)
            return lambda batch: model(*batch.student_inputs(), route="hard")

        return chain.Step("float student", path.read_bytes(), start)

    def merged(self, width: str) -> chain.Step:
        """The float student with LoRA and BatchNorm merged."""
        path = self.folder / f"student-{width}.safetensors"

        def start() -> Run:
            model = merge_student(load_student(path))
            return lambda batch: model(*batch.student_inputs())

        return chain.Step("merged", path.read_bytes(), start)

    def quantized(self, width: str) -> chain.Step:
        """The student after quantization-aware training, with fake quantization."""
        path = self.qat_path(width)

        def start() -> Run:
            model = load_qat(path).to_eval()
            return lambda batch: model(*batch.student_inputs())

        return chain.Step("fake-quantized", path.read_bytes(), start)

    def qat_path(self, width: str, symmetric: bool = False) -> Path:
        """The file of a quantization-aware student."""
        return self.folder / f"student-{width}-qat{'-symmetric' if symmetric else ''}.safetensors"


def in_turns(work: Mapping[str, Callable[[int], object]], turns: int) -> dict[str, float]:
    """Median microseconds of CPU time per beat of each, run alternately; each receives the number of the beat."""
    times: dict[str, list[float]] = {name: [] for name in work}
    for turn in range(turns + 2):
        for name, do in work.items():
            started = time.process_time()
            for beat in range(BEATS_A_TURN):
                do(beat)
            if turn >= 2:  # the first rounds allocate memory
                times[name].append(1e6 * (time.process_time() - started) / BEATS_A_TURN)
    return {name: statistics.median(each) for name, each in times.items()}


def time_all(files: Sequence[Exported], weights: Weights, beats: CalibrationBeats, turns: int) -> dict[str, float]:
    """Microseconds per beat of every file and of one shared pass of the teacher (torch, batch 1)."""
    feeds = [{name: x[i : i + 1] for name, x in beats.inputs.items()} for i in range(BEATS_A_TURN)]
    teacher = weights.teacher().start()
    inputs = [{name: torch.from_numpy(np.ascontiguousarray(x)) for name, x in feed.items()} for feed in feeds]
    # The teacher gets a longer beat and the context; its time does not depend on their values.
    long_beat, context = (torch.randn(1, *SHAPES_WITH_CONTEXT[name]) for name in (BEAT, CONTEXT))
    batches = [
        Batch(**feed, context=context, long_beat=long_beat, long_features=feed[FEATURES], labels={}) for feed in inputs
    ]
    work: dict[str, Callable[[int], object]] = {"teacher": lambda i: teacher(batches[i])}
    work |= {file.name: file.timed(feeds) for file in files}
    with torch.inference_mode():
        return in_turns(work, turns)


def load_ms() -> float:
    """Median milliseconds to load the shipped bundle, including the check of the digests and the session."""
    took = []
    for _ in range(LOADS):
        started = time.process_time()
        load_bundle(shipped_bundle())
        took.append(1000.0 * (time.process_time() - started))
    return statistics.median(took)


def agreement(
    weights: Weights, file: Exported, beats: CalibrationBeats, sets: chain.ValidationSets | None
) -> dict[str, float]:
    """Fraction of beats on which a file and its fake-quantized student agree: in labels, and in routes."""
    if sets is None:
        print("No recordings: agreement is that on the shipped recording.", file=sys.stderr)
        sides = [
            (torch_model(load_qat(weights.qat_path(file.width)).to_eval())(beats.inputs), file.infer(beats.inputs))
        ]
    else:
        steps = sets.answers(weights.quantized(file.width)), sets.answers(file.step())
        sides = [(steps[0][split], steps[1][split]) for split in sets.examples]
    reports = [compare(one, other) for one, other in sides]
    total = sum(report.beats for report in reports)
    return {
        "label": sum(min(report.label_agreement.values()) * report.beats for report in reports) / total,
        "route": sum(report.route_agreement * report.beats for report in reports) / total,
    }


def measure(
    weights: Weights, out: Path, sets: chain.ValidationSets | None, turns: int
) -> tuple[dict[str, Any], list[list[str]]]:
    """The figures, and the rows of the table."""
    beats = shipped_beats()
    files = {file.name: file for file in write_files(weights.folder, weights.qat_path, out)}
    micros = time_all(list(files.values()), weights, beats, turns)
    small, dense, nano = files["small_static"], files["small_dense"], files["nano_tflite"]
    agree = agreement(weights, small, beats, sets)
    lost = {}
    if sets is not None:
        f1 = {
            "teacher": sets.f1(weights.teacher(), "V"),
            **{name: sets.f1(files[name].step(), "V") for name in (small.name, nano.name)},
        }
        lost = {
            "v_f1_lost_small": _minus(f1["teacher"], f1[small.name]),
            "v_f1_lost_nano": _minus(f1[small.name], f1[nano.name]),
        }
    figures = {
        "static_vs_dense": round(micros[small.name] / micros[dense.name], 4),
        "static_vs_teacher": round(micros[small.name] / micros["teacher"], 5),
        "label_agreement": round(agree["label"], 5),
        "route_agreement": round(agree["route"], 5),
        "v_f1_lost_small": lost.get("v_f1_lost_small"),
        "v_f1_lost_nano": lost.get("v_f1_lost_nano"),
        "nano_tflite_bytes": nano.path.stat().st_size,
        "nano_arena_bytes": arena_bytes(nano.path.read_bytes()),
        "load_ms": round(load_ms(), 2),
        "files": {"small_static": str(small.path), "small_dense": str(dense.path)},
    }
    return figures, _rows(list(files.values()), micros, weights, sets)


def _minus(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else round(before - after, 2)


def _rows(
    files: Sequence[Exported], micros: Mapping[str, float], weights: Weights, sets: chain.ValidationSets | None
) -> list[list[str]]:
    head = ["profile", "student", "runtime", "precision", "KB", "us a beat", "of the teacher", "V", "S", "rhythm"]
    rows = [head, ["", "teacher", "torch", "float32", "", f"{micros['teacher']:.0f}", "1", *[""] * 3]]
    full = None if sets is None else sets.validations(weights.teacher())
    if full is not None:
        rows[-1][-3:] = [_said(value) for value in _f1s(full)]
    for file in files:
        cells = [file.profile, file.width, file.runtime, file.precision, f"{file.path.stat().st_size / 1000:.0f}"]
        cells += [f"{micros[file.name]:.0f}", f"1/{micros['teacher'] / micros[file.name]:.0f}"]
        if sets is None or full is None:
            rows.append([*cells, "", "", ""])
        else:
            rows.append([*cells, *(_said(value) for value in _f1s(sets.validations(file.step())))])
    return rows


def _f1s(validations: Mapping[str, Validation]) -> list[float | None]:
    """F1 of V and S, means of the two splits with beats, and the mean F1 of three rhythms."""
    found: list[float | None] = []
    for label in ("V", "S"):
        scores = [one.decided[label].f1 for name, one in validations.items() if name in chain.BEAT_SPLITS]
        found.append(statistics.mean(score for score in scores if score is not None))
    rhythm = validations["cinc-val"].rhythm
    found.append(statistics.mean(rhythm[name].f1 or 0.0 for name in RHYTHMS) if rhythm else None)
    return found


def steps(weights: Weights, out: Path, sets: chain.ValidationSets, widths: Sequence[str]) -> list[list[str]]:
    """Rows of the accuracy after each step: F1 of V and S on both splits with beats, and of rhythms."""
    files = {file.name: file for file in write_files(weights.folder, weights.qat_path, out)}
    kinds = {"small": ("small_static", "small_tflite"), "nano": ("nano_tflite",)}
    rows = [["student", "step", "V ds1-val", "V svdb-val", "S ds1-val", "S svdb-val", "rhythm cinc-val"]]
    chains: list[tuple[str, chain.Step]] = [("", weights.teacher())]
    for width in widths:
        chains += [(width, step(width)) for step in (weights.student, weights.merged, weights.quantized)]
        chains += [(width, files[name].step()) for name in kinds[width]]
    for width, step in chains:
        found = sets.validations(step)
        beats = [found[split].decided[label].f1 for label in ("V", "S") for split in chain.BEAT_SPLITS]
        rows.append([width, step.name, *(_said(value) for value in (*beats, _f1s(found)[2]))])
    return rows


def _said(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _print(rows: Sequence[Sequence[str]]) -> None:
    """Print a table that is also valid Markdown."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for number, row in enumerate(rows):
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |")
        if number == 0:
            print("| " + " | ".join("-" * width for width in widths) + " |")


def main() -> None:
    """Print the table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--steps", action="store_true", help="accuracy after each step of the chain")
    parser.add_argument("--out", type=Path, default=Path("compression-benchmark"), help="folder for the files")
    parser.add_argument("--data", type=Path, help="folder of recordings; default: the variable ECGMOE_DATA")
    parser.add_argument("--cache", type=Path, default=Path("runs/examples"), help="folder of examples")
    parser.add_argument("--weights", type=Path, default=SHIPPED, help="folder of teacher and students")
    parser.add_argument("--turns", type=int, default=TURNS, help="number of measurements of each file")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    weights = Weights(arguments.weights)
    sets: chain.ValidationSets | None = None
    try:
        try:
            sets = chain.ValidationSets.of(arguments.data, arguments.cache, arguments.cache.parent / "answers")
        except (RecordError, UsageError) as error:
            print(f"Accuracies are left out: {error}", file=sys.stderr)
            if arguments.steps:
                sys.exit(error.exit_code)
        if arguments.steps and sets is not None:
            _print(steps(weights, arguments.out, sets, ("small", "nano")))
            return
        figures, rows = measure(weights, arguments.out, sets, arguments.turns)
    except EcgmoeError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    if arguments.json:
        json.dump(figures, sys.stdout, indent=2)
        print()
        return
    _print(rows)
    for name, value in figures.items():
        print(f"{name}: {value}")


if __name__ == "__main__":
    quiet_libraries()
    main()
