"""Time saved by sharing: one pass of the teacher for all tasks compared with one single-task model per task.

The single-task models have the same backbones, experts and fusion and one head each; LoRA is merged everywhere. Two
further ratios of the same run: the student relative to that pass, and the student with one expert per path relative to
all experts. All are timed alternately, many times, so the ratios are valid on a busy machine, too. Medians of CPU time
are printed.

    python benchmarks/sharing.py [--teacher FILE] [--student FILE] [--rounds N] [--json]
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import torch
from torch import Tensor

import ecgmoe_edge
from ecgmoe_edge.contract import BEAT, SHAPES, SHAPES_WITH_CONTEXT
from ecgmoe_edge.model.shared_layers import merge_adapters
from ecgmoe_edge.model.student import load_student
from ecgmoe_edge.model.teacher import EcgMoe
from ecgmoe_edge.model.teacher_file import load_teacher

SHIPPED = Path(ecgmoe_edge.__file__).parent / "pretrained"
BATCHES = (1, 32)


def inputs(n: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Random inputs of the teacher for `n` beats: times do not depend on their values."""
    g = torch.Generator().manual_seed(1)
    beat, features, rr, context = (torch.randn(n, *shape, generator=g) for shape in SHAPES_WITH_CONTEXT.values())
    rr[:, 0] *= 0.1
    rr[:, 1] = 1.0  # all RR intervals are known
    return beat, features, rr, context


def single_task(teacher: EcgMoe, task: str) -> EcgMoe:
    """A model for one task with all parts of the teacher."""
    model = EcgMoe(msgspec.structs.replace(teacher.config, tasks=(task,), lora_rank=0)).eval()
    merge_adapters(model, (task,))
    return model


def medians(work: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median milliseconds of CPU time of each, run alternately."""
    times: dict[str, list[float]] = {name: [] for name in work}
    for turn in range(rounds + 2):
        for name, do in work.items():
            started = time.process_time()
            do()
            if turn >= 2:  # the first rounds allocate memory
                times[name].append(1000.0 * (time.process_time() - started))
    return {name: statistics.median(each) for name, each in times.items()}


def measure(teacher_file: Path, student_file: Path, rounds: int) -> list[dict[str, float]]:
    """One row of times and ratios for each batch size."""
    teacher, student = load_teacher(teacher_file), load_student(student_file)
    tasks = teacher.config.tasks
    singles = {task: single_task(teacher, task) for task in tasks}
    merge_adapters(teacher, tasks)
    rows = []
    for n in BATCHES:
        given = inputs(n)
        beat, features, rr, _ = given
        of_student = beat[..., : SHAPES[BEAT][-1]], features, rr  # the beat window of a student ends earlier
        work: dict[str, Callable[[], object]] = {
            "shared": lambda given=given: teacher(*given),  # type: ignore[misc]
            "student": lambda given=of_student: student(*given),  # type: ignore[misc]
            "student, all experts": lambda given=of_student: student(*given, route="soft"),  # type: ignore[misc]
        }
        work |= {task: lambda model=model, given=given: model(*given) for task, model in singles.items()}  # type: ignore[misc]
        with torch.inference_mode():
            ms = medians(work, rounds)
        apart = sum(ms[task] for task in tasks)
        rows.append(
            {
                "batch": n,
                "shared_ms": ms["shared"],
                "single_task_models_ms": apart,
                "faster_percent": 100.0 * (1.0 - ms["shared"] / apart),
                "student_ms": ms["student"],
                "student_to_shared": ms["student"] / ms["shared"],
                "student_all_experts_ms": ms["student, all experts"],
                "student_to_all_experts": ms["student"] / ms["student, all experts"],
            }
        )
    return rows


def main() -> None:
    """Print one line per batch size, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", type=Path, default=SHIPPED / "teacher.safetensors")
    parser.add_argument("--student", type=Path, default=SHIPPED / "student-small.safetensors")
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = measure(arguments.teacher, arguments.student, arguments.rounds)
    if arguments.json:
        json.dump({"sharing": rows}, sys.stdout, indent=2)
        print()
        return
    for row in rows:
        print(
            f"batch {row['batch']:>3.0f}: one shared pass {row['shared_ms']:.2f} ms, one model a task "
            f"{row['single_task_models_ms']:.2f} ms: {row['faster_percent']:.0f} % faster\n"
            f"           student {row['student_ms']:.2f} ms ({row['student_to_shared']:.2f} of the shared pass; "
            f"{row['student_to_all_experts']:.2f} of itself with all experts)"
        )


if __name__ == "__main__":
    main()
