"""Is the mixture better? Two banks of four experts compared with one expert per bank, at the same work per beat.

All networks are trained for both tasks, beat and rhythm, on the same batches with the same seeds and the same number of
steps. The mixture has two variants: hard routing from the second epoch on; and identical experts at the start with soft
routing for the first third and hard routing after it. Figures are given for each seed, with the mean difference from
the dense network and its standard error over the seeds. Multiply-accumulates of a beat are counted with hard routing
and merged LoRA; the mixture has its routers in addition. The width `tiny` is half of nano.

From labels alone, the networks are evaluated by patient-grouped cross-validation (by a stable hash of the record) over
DS1, svdb and the training part of CinC 2017; figures are those of all patients together. With `--teacher`, networks are
trained with the losses of distillation, on a part of the teacher's training data, and evaluated on validation patients,
whom neither the teacher nor the networks were trained on. "from the teacher" is then the mean divergence
KL(teacher || network) of a beat, in millinats.

    python -m experiments.mixture_vs_dense [--data DIR] [--teacher [FILE]] [--width tiny|nano|small|base] [--epochs N]
        [--seeds N] [--json]
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ecgmoe_edge.contract import INPUTS, SHAPES, routes_by_path
from ecgmoe_edge.model.shared_layers import Route, load_balance
from ecgmoe_edge.model.student import Student, StudentConfig
from ecgmoe_edge.model.teacher import EcgMoe
from ecgmoe_edge.model.teacher_file import load_teacher
from ecgmoe_edge.training.augment import Batch
from ecgmoe_edge.training.config import Distillation, Draw, Losses
from ecgmoe_edge.training.distil import distillation_losses
from ecgmoe_edge.training.examples import join
from ecgmoe_edge.training.fit import loss_weights
from experiments.short_fit import (
    CROSS_VALIDATED,
    HELD_OUT,
    Subset,
    figures,
    load_folds,
    load_held_out,
    losses_of,
    predict,
    short_fit,
)

TASKS = ("beat", "rhythm")
DRAW = Draw(other=0)
COLUMNS = ("mitdb S F1", "mitdb V F1", "svdb S F1", "svdb V F1", "rhythm mean F1", "mitdb log loss", "svdb log loss")
DIVERGENCES = ("beat from the teacher", "rhythm from the teacher")
SHIPPED = Path(__file__).parents[1] / "ecgmoe_edge" / "pretrained" / "teacher.safetensors"
EXPERTS = {"dense, 1 + 1": 1, "4 + 4, from alike": 4, "4 + 4, hard": 4}
SOFT_SHARE = {"4 + 4, from alike": 1.0 / 3.0}  # fraction of the epochs; otherwise the first epoch only

#: Outputs of one fold, by data set and by name.
Answers = dict[str, dict[str, NDArray[np.float32]]]


def macs_of_a_beat(model: Student) -> int:
    """Multiply-accumulates of one beat with hard routing and merged adapters."""
    counted = [0]

    def count(layer: nn.Module, _: object, output: Tensor) -> None:
        weight = layer.get_parameter("weight")
        counted[0] += weight[0].numel() * output[0].numel()

    hooks = [part.register_forward_hook(count) for part in model.modules() if isinstance(part, nn.Linear | nn.Conv2d)]
    with torch.inference_mode():
        model.eval()(*(torch.zeros(1, *SHAPES[name]) for name in INPUTS))
    for hook in hooks:
        hook.remove()
    return counted[0]


def student(width: str, experts: int) -> Student:
    """A student for both tasks with this number of experts in each bank."""
    sizes = {"waveform": 4, "dim": 8, "rank": 2} if width == "tiny" else {}
    banks = {"morphology_experts": experts, "rhythm_experts": experts, "tasks": TASKS}
    return Student(StudentConfig.named("nano" if width == "tiny" else width, **sizes, **banks))


def answers_of_fold(
    name: str, width: str, subset: Subset, epochs: int, seed: int, teacher: Path | None = None
) -> Answers:
    """Train one network on the patients outside a fold, from labels or a teacher, and run it on the fold."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    model, soft_epochs = student(width, EXPERTS[name]), round(SOFT_SHARE.get(name, 0.0) * epochs) or 1
    if name in SOFT_SHARE:
        model.start_alike()
    taught_by = None if teacher is None else load_teacher(teacher)

    def run(batch: Batch, route: Route = "hard") -> dict[str, Tensor]:
        outputs: dict[str, Tensor] = model(*batch.student_inputs(), route=route)
        return outputs

    def loss_of(batch: Batch, epoch: int) -> Tensor:
        outputs = run(batch, "soft" if epoch < soft_epochs else "hard")
        return losses_of(outputs, batch, TASKS) if taught_by is None else taught_losses(outputs, taught_by, batch)

    cpu = torch.device("cpu")
    short_fit(model, loss_of, subset, DRAW, epochs=epochs, seed=seed, device=cpu)
    return {data: predict(run, examples, cpu) for data, examples in subset.validation.items()}


def taught_losses(outputs: dict[str, Tensor], teacher: EcgMoe, batch: Batch, *, balance: float = 0.02) -> Tensor:
    """Losses of distillation: the teacher's probabilities, the labels, and the load of the routers."""
    with torch.no_grad():
        taught = teacher(*batch.teacher_inputs(), tasks=TASKS)
    weights = loss_weights(Losses())
    losses = distillation_losses(outputs, taught, batch, Distillation(), TASKS)
    parts = [weights[task] * loss for task, loss in losses.items()]
    parts += [balance * load_balance(value) for value in routes_by_path(outputs).values()]
    return torch.stack(parts).sum()


def answers_of_teacher(teacher: Path, subset: Subset) -> Answers:
    """The teacher's outputs for the validation patients."""
    model = load_teacher(teacher)

    def run(batch: Batch) -> dict[str, Tensor]:
        outputs: dict[str, Tensor] = model(*batch.teacher_inputs(), tasks=TASKS)
        return outputs

    return {data: predict(run, examples, torch.device("cpu")) for data, examples in subset.validation.items()}


def divergences(answers: Answers, taught: Answers) -> dict[str, float]:
    """Mean KL(teacher || network) of a beat over the validation patients, millinats, for each task."""
    found = {}
    for task, column in zip(TASKS, DIVERGENCES, strict=True):
        net = torch.from_numpy(np.concatenate([answers[data][task] for data in taught])).log_softmax(1)
        teacher = torch.from_numpy(np.concatenate([taught[data][task] for data in taught])).log_softmax(1)
        found[column] = 1000.0 * float((teacher.exp() * (teacher - net)).sum(1).mean())
    return found


def pooled(answers: Sequence[Answers], subsets: Sequence[Subset]) -> dict[str, float]:
    """Figures over the patients of all folds together."""
    outputs, validation = {}, {}
    for data in subsets[0].validation:
        names = answers[0][data]
        outputs[data] = {name: np.concatenate([fold[data][name] for fold in answers]) for name in names}
        validation[data] = join([subset.validation[data] for subset in subsets])
    return figures(outputs, validation)


def compare(
    subsets: Sequence[Subset], width: str, epochs: int, seeds: int, jobs: int, teacher: Path | None = None
) -> dict[str, list[dict[str, float]]]:
    """Figures of each network, one seed after the other."""
    results: dict[str, list[dict[str, float]]] = {name: [] for name in EXPERTS}
    taught = None if teacher is None else answers_of_teacher(teacher, subsets[0])
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
        fits = {
            (seed, name): [
                pool.submit(answers_of_fold, name, width, subset, epochs, seed, teacher) for subset in subsets
            ]
            for seed in range(1, seeds + 1)
            for name in EXPERTS
        }
        for (seed, name), folds in fits.items():
            answers = [fold.result() for fold in folds]
            found = pooled(answers, subsets) | ({} if taught is None else divergences(answers[0], taught))
            results[name].append(found)
            print(f"seed {seed} {name:<18}" + "  ".join(f"{c} {found[c]:.2f}" for c in found), file=sys.stderr)
    return results


def differences(results: dict[str, list[dict[str, float]]]) -> dict[str, dict[str, tuple[float, float]]]:
    """Each mixture minus the dense net, by figure: mean over the seeds and its standard error."""
    (_, dense), *mixtures = results.items()
    found: dict[str, dict[str, tuple[float, float]]] = {}
    for name, mixture in mixtures:
        found[name] = {}
        for column in dense[0]:
            each = [m[column] - d[column] for m, d in zip(mixture, dense, strict=True)]
            error = statistics.stdev(each) / math.sqrt(len(each)) if len(each) > 1 else math.nan
            found[name][column] = (statistics.mean(each), error)
    return found


def main() -> None:
    """Train, compare, print a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of recordings; default: the variable ECGMOE_DATA")
    parser.add_argument(
        "--teacher", type=Path, nargs="?", const=SHIPPED, help="distil from it; without FILE: from the shipped one"
    )
    parser.add_argument("--work", type=Path, default=Path("runs/ablation"), help="folder for the cached examples")
    parser.add_argument("--width", choices=("tiny", "nano", "small", "base"), default="nano")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--folds", type=int, default=4, help="folds of the cross-validation, without --teacher")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes; default: one per core")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    data = arguments.data or (Path(os.environ["ECGMOE_DATA"]) if "ECGMOE_DATA" in os.environ else None)
    if data is None:
        parser.error("give --data, or set ECGMOE_DATA")
    if arguments.teacher is not None and not arguments.teacher.is_file():
        parser.error(f"--teacher {arguments.teacher} is not a file")
    cache = arguments.work / "examples"
    if arguments.teacher is None:
        subsets = load_folds(data, cache, CROSS_VALIDATED, arguments.folds, arguments.jobs)
    else:
        subsets = [load_held_out(data, cache, HELD_OUT, arguments.jobs)]
    macs = {name: macs_of_a_beat(student(arguments.width, experts)) for name, experts in EXPERTS.items()}
    results = compare(subsets, arguments.width, arguments.epochs, arguments.seeds, arguments.jobs, arguments.teacher)
    if arguments.json:
        print(json.dumps({"macs_of_a_beat": macs, "results": results, "differences": differences(results)}, indent=1))
        return
    columns = COLUMNS if arguments.teacher is None else COLUMNS + DIVERGENCES
    print(f"{'':<18}{'MACs a beat':>12}" + "".join(f"{column:>25}" for column in columns))
    for name, runs in results.items():
        means = (statistics.mean(run[column] for run in runs) for column in columns)
        print(f"{name:<18}{macs[name]:>12,}" + "".join(f"{mean:>25.2f}" for mean in means))
    for name, of_column in differences(results).items():
        cells = (f"{mean:+.2f} +- {error:.2f}" for mean, error in (of_column[column] for column in columns))
        print(f"{name + ' - dense':<30}" + "".join(f"{cell:>25}" for cell in cells))


if __name__ == "__main__":
    main()
