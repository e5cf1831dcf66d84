"""Does a bank of experts of unequal cost save multiplications, and what does it cost in F1?

Three students of one width, trained for beat and rhythm on the same batches with the same seeds and number of steps:

- the dense twin: the full morphology expert alone and one rhythm expert;
- the bank: morphology experts of unequal cost, with the loss of `training.bank_loss`;
- the control: one dense network that needs about as many multiplications as a beat of the bank does in the mean,
  distilled from the bank. If the control is as good, the choice of experts gains nothing over a smaller network.

Bank and dense twin learn from labels alone. Patient-grouped cross-validation (by a stable hash of the record) over DS1,
svdb and the training part of CinC 2017. F1 (per cent) is that of all patients of DS1 and svdb together and of each data
set, after the decision rule. Multiply-accumulates are those of the routes of the same beats, with merged LoRA.
Differences are paired by seed: their mean, and its standard error over the seeds. The width `tiny` is half of nano.

    python -m experiments.mixture_vs_dense [--data DIR] [--width tiny|nano|small|base] [--cost-weight X] [--epochs N]
        [--seeds N] [--json]
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ecgmoe_edge.contract import routes_by_path
from ecgmoe_edge.model.macs import count_macs, relative_costs
from ecgmoe_edge.model.shared_layers import Route, load_balance
from ecgmoe_edge.model.student import Student, StudentConfig
from ecgmoe_edge.streaming.decision import DecisionRule
from ecgmoe_edge.tasks import tasks_named
from ecgmoe_edge.training.augment import Batch
from ecgmoe_edge.training.bank_loss import bank_loss
from ecgmoe_edge.training.config import Distillation, Draw, Fit, Losses
from ecgmoe_edge.training.distil import distillation_losses
from ecgmoe_edge.training.examples import UNKNOWN
from ecgmoe_edge.training.fit import labels_losses, loss_weights
from ecgmoe_edge.training.validate import beat_scores, decide
from experiments.short_fit import CROSS_VALIDATED, Subset, load_folds, predict, short_fit

TASKS = ("beat", "rhythm")
MORPHOLOGY_WIDTHS = (0.0, 0.25, 1.0)  # of the bank
DRAW = Draw(other=0)
TWIN, BANK, CONTROL = NETS = ("dense twin", "bank", "control")
#: Compared pairs: the first minus the second.
PAIRS = ((BANK, TWIN), (CONTROL, TWIN), (BANK, CONTROL))
MACS = "mean MACs"
_CPU = torch.device("cpu")

#: Losses of each beat of a batch, (b,), by task, from the outputs of a student.
LossesOf = Callable[[Mapping[str, Tensor], Batch], Mapping[str, Tensor]]


@dataclass(frozen=True)
class Answers:
    """What one network answers to the annotated beats of one data set."""

    truth: NDArray[np.int8]  # annotated class, (n,)
    label: NDArray[np.int64]  # class after the decision rule, (n,)
    macs: NDArray[np.int64]  # multiply-accumulates of each beat, (n,)


def student_config(width: str) -> StudentConfig:
    """Configuration of the bank."""
    sizes = {"waveform": 4, "dim": 8, "rank": 2} if width == "tiny" else {}
    return StudentConfig.named(
        "nano" if width == "tiny" else width, tasks=TASKS, morphology_widths=MORPHOLOGY_WIDTHS, **sizes
    )


def control_config(bank: StudentConfig, mean_macs: float) -> StudentConfig:
    """Configuration of the dense network with one expert of each path whose multiplications are nearest to a number."""
    twin = bank.dense_twin()
    candidates = [replace(twin, morphology_widths=(percent / 100.0,)) for percent in range(0, 101, 5)]
    return min(candidates, key=lambda one: abs(count_macs(one).most - mean_macs))


def fit(
    config: StudentConfig, losses_of: LossesOf, subset: Subset, epochs: int, seed: int, cost_weight: float
) -> Student:
    """Train one student with the loss of its bank."""
    torch.manual_seed(seed)
    student = Student(config)
    weights, balance = loss_weights(Losses()), Fit().balance
    costs = relative_costs(count_macs(config).experts["morphology"])

    def loss_of(batch: Batch, epoch: int) -> Tensor:
        route: Route = "soft" if epoch < 1 else "hard"
        outputs = student.each_expert(*batch.student_inputs(), route=route)
        each = [losses_of(one, batch) for one in outputs]
        losses = torch.stack([torch.stack([weights[task] * one[task] for task in TASKS]).sum(0) for one in each], 1)
        rhythm = load_balance(outputs[0]["route_rhythm"])
        return bank_loss(losses, outputs[0]["route_morphology"], costs, cost_weight) + balance * rhythm

    short_fit(student, loss_of, subset, DRAW, epochs=epochs, seed=seed, device=_CPU)
    return student


def from_labels(outputs: Mapping[str, Tensor], batch: Batch) -> Mapping[str, Tensor]:
    """Losses of the labels alone."""
    return {task.name: labels_losses(task, outputs[task.name], batch.labels) for task in tasks_named(TASKS)}


def from_network(teacher: Student) -> LossesOf:
    """Losses of distillation from another student."""

    def losses(outputs: Mapping[str, Tensor], batch: Batch) -> Mapping[str, Tensor]:
        with torch.no_grad():
            targets = teacher(*batch.student_inputs())
        return distillation_losses(outputs, targets, batch, Distillation(), TASKS)

    return losses


def answers_of(student: Student, subset: Subset) -> dict[str, Answers]:
    """Answers to the validation beats of the data sets with beat labels."""
    macs = count_macs(student.config)
    found = {}
    for data, examples in subset.validation.items():
        known = examples.labels["beat"] != UNKNOWN
        if not known.any():
            continue
        outputs = predict(lambda batch: student(*batch.student_inputs()), examples, _CPU)
        routes = {path: logits.argmax(1)[known] for path, logits in routes_by_path(outputs).items()}
        label = decide(outputs, examples, DecisionRule())[known]
        found[data] = Answers(examples.labels["beat"][known], label, macs.of_beats(routes))
    return found


def answers_of_fold(
    width: str, subset: Subset, epochs: int, seed: int, cost_weight: float
) -> dict[str, dict[str, Answers]]:
    """Train the three networks on the patients outside a fold; their answers to the fold, by network and data set."""
    torch.set_num_threads(1)
    config, common = student_config(width), (subset, epochs, seed, cost_weight)
    twin = fit(config.dense_twin(), from_labels, *common)
    bank = fit(config, from_labels, *common)
    answers = {TWIN: answers_of(twin, subset), BANK: answers_of(bank, subset)}
    mean_macs = float(np.concatenate([one.macs for one in answers[BANK].values()]).mean())
    control = fit(control_config(config, mean_macs), from_network(bank), *common)
    return answers | {CONTROL: answers_of(control, subset)}


def pooled(folds: Sequence[Mapping[str, Answers]]) -> dict[str, float]:
    """Figures of one network over the patients of all folds, of all data sets together and of each."""
    by_data = {data: [fold[data] for fold in folds] for data in folds[0]}
    found: dict[str, float] = {}
    for data, answers in {"": [one for each in by_data.values() for one in each], **by_data}.items():
        truth, label = (np.concatenate([getattr(one, name) for one in answers]) for name in ("truth", "label"))
        if not data:
            found[MACS] = float(np.concatenate([one.macs for one in answers]).mean())
        scores = beat_scores(truth, label)
        for name in ("S", "V"):
            found[f"{data} {name} F1".strip()] = math.nan if (f1 := scores[name].f1) is None else f1
    return found


def compare(
    subsets: Sequence[Subset], width: str, epochs: int, seeds: int, jobs: int, cost_weight: float
) -> dict[str, list[dict[str, float]]]:
    """Figures of each network, one seed after the other."""
    results: dict[str, list[dict[str, float]]] = {name: [] for name in NETS}
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
        fits = {
            seed: [pool.submit(answers_of_fold, width, subset, epochs, seed, cost_weight) for subset in subsets]
            for seed in range(1, seeds + 1)
        }
        for seed, futures in fits.items():
            folds = [future.result() for future in futures]
            for name in NETS:
                found = pooled([fold[name] for fold in folds])
                results[name].append(found)
                print(f"seed {seed} {name:<12}" + "  ".join(f"{c} {found[c]:,.1f}" for c in found), file=sys.stderr)
    return results


def differences(results: Mapping[str, Sequence[Mapping[str, float]]]) -> dict[str, dict[str, tuple[float, float]]]:
    """The first network of each pair minus the second, by figure: mean over the seeds and its standard error."""
    found: dict[str, dict[str, tuple[float, float]]] = {}
    for first, second in PAIRS:
        columns = found[f"{first} - {second}"] = {}
        for column in results[first][0]:
            each = [a[column] - b[column] for a, b in zip(results[first], results[second], strict=True)]
            error = statistics.stdev(each) / math.sqrt(len(each)) if len(each) > 1 else math.nan
            columns[column] = (statistics.mean(each), error)
    return found


def table(results: Mapping[str, Sequence[Mapping[str, float]]]) -> str:
    """Means over the seeds, and the differences with their standard errors."""
    columns = list(results[TWIN][0])
    lines = [f"{'':<24}" + "".join(f"{column:>20}" for column in columns)]
    for name, runs in results.items():
        means = (statistics.mean(run[column] for run in runs) for column in columns)
        lines.append(f"{name:<24}" + "".join(f"{mean:>20,.1f}" for mean in means))
    for name, of_column in differences(results).items():
        cells = (f"{mean:+,.1f} +- {error:,.1f}" for mean, error in (of_column[column] for column in columns))
        lines.append(f"{name:<24}" + "".join(f"{cell:>20}" for cell in cells))
    return "\n".join(lines)


def main() -> None:
    """Train, compare, print a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of recordings; default: the variable ECGMOE_DATA")
    parser.add_argument("--work", type=Path, default=Path("runs/ablation"), help="folder for the cached examples")
    parser.add_argument("--width", choices=("tiny", "nano", "small", "base"), default="nano")
    parser.add_argument("--cost-weight", type=float, default=Distillation().cost_weight, help="weight of the cost")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--folds", type=int, default=4, help="folds of the cross-validation")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes; default: one per core")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    data = arguments.data or (Path(os.environ["ECGMOE_DATA"]) if "ECGMOE_DATA" in os.environ else None)
    if data is None:
        parser.error("give --data, or set ECGMOE_DATA")
    if not arguments.cost_weight >= 0:
        parser.error("--cost-weight must be 0 or more")
    subsets = load_folds(data, arguments.work / "examples", CROSS_VALIDATED, arguments.folds, arguments.jobs)
    results = compare(
        subsets, arguments.width, arguments.epochs, arguments.seeds, arguments.jobs, arguments.cost_weight
    )
    if arguments.json:
        about = {"width": arguments.width, "cost_weight": arguments.cost_weight, "epochs": arguments.epochs}
        print(json.dumps(about | {"results": results, "differences": differences(results)}, indent=1))
    else:
        print(table(results))


if __name__ == "__main__":
    main()
