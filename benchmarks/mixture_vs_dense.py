"""Does the mixture pay? The student's two banks of four experts against one expert a bank: the same work a beat.

Both are fitted from the labels on the same batches with the same seeds and the same number of steps. The mixture comes
in two ways: hard from the first batch, and from experts that start alike with a soft route for the first third, hard
after it. Validation figures (`ds1-val`, `svdb-val`) are printed for each seed, and the mean difference from the dense
net with its standard error over the seeds. Multiply-accumulates of a beat are counted on the hard route, LoRA merged;
the mixture has its routers on top. The width `tiny` is half of nano.

    python -m benchmarks.mixture_vs_dense [--data DIR] [--width tiny|nano|small|base] [--epochs N] [--seeds N] [--json]
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import sys
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.short_fit import BEATS, Subset, figures, load_subset, losses_of, predict, short_fit
from ecgmoe_edge.model.routing import Route
from ecgmoe_edge.model.student import Student, StudentConfig
from ecgmoe_edge.training.augment import Batch
from ecgmoe_edge.training.config import Draw
from ecgmoe_edge.training.limits import choose_device

DRAW = Draw(rhythm=0, other=0)
COLUMNS = ("mitdb S F1", "mitdb V F1", "mitdb log loss", "svdb S F1", "svdb V F1", "svdb log loss")
EXPERTS = {"dense, 1 + 1": 1, "4 + 4, from alike": 4, "4 + 4, hard": 4}
SOFT_SHARE = {"4 + 4, from alike": 1.0 / 3.0}  # of the epochs


def macs_of_a_beat(model: Student) -> int:
    """Multiply-accumulates of one beat on the hard route, adapters merged."""
    counted = [0]

    def count(layer: nn.Module, _: object, output: Tensor) -> None:
        weight = layer.get_parameter("weight")
        counted[0] += weight[0].numel() * output[0].numel()

    hooks = [part.register_forward_hook(count) for part in model.modules() if isinstance(part, nn.Linear | nn.Conv2d)]
    with torch.inference_mode():
        model.eval()(torch.zeros(1, 2, 103), torch.zeros(1, 27), torch.zeros(1, 2, 32))
    for hook in hooks:
        hook.remove()
    return counted[0]


def student(width: str, experts: int) -> Student:
    """A student for beats alone with so many experts in each bank."""
    sizes = {"waveform": 4, "dim": 8, "rank": 2} if width == "tiny" else {}
    banks = {"morphology_experts": experts, "rhythm_experts": experts, "tasks": ("beat",)}
    return Student(StudentConfig.named("nano" if width == "tiny" else width, **sizes, **banks))


def run_one(
    model: Student, subset: Subset, epochs: int, seed: int, device: torch.device, soft_share: float
) -> dict[str, float]:
    """Fit one net, its route soft for a share of the epochs; its validation figures."""
    model.to(device)

    def run(batch: Batch, route: Route = "hard") -> dict[str, Tensor]:
        outputs: dict[str, Tensor] = model(*batch.student_inputs(), route=route)
        return outputs

    def loss_of(batch: Batch, epoch: int) -> Tensor:
        return losses_of(run(batch, "soft" if epoch < soft_share * epochs else "hard"), batch, ("beat",))

    short_fit(model, loss_of, subset, DRAW, epochs=epochs, seed=seed, device=device)
    return figures({name: predict(run, one, device) for name, one in subset.judges.items()}, subset.judges)


def compare(
    subset: Subset, width: str, epochs: int, seeds: int, device: torch.device
) -> dict[str, list[dict[str, float]]]:
    """Figures of each net, a seed after the other."""
    results: dict[str, list[dict[str, float]]] = {name: [] for name in EXPERTS}
    for seed in range(1, seeds + 1):
        for name, experts in EXPERTS.items():
            torch.manual_seed(seed)
            model, soft_share = student(width, experts), SOFT_SHARE.get(name, 0.0)
            if soft_share:
                model.start_alike()
            found = run_one(model, subset, epochs, seed, device, soft_share)
            results[name].append(found)
            print(f"seed {seed} {name:<18}" + "  ".join(f"{c} {found[c]:.2f}" for c in COLUMNS), file=sys.stderr)
    return results


def differences(results: dict[str, list[dict[str, float]]]) -> dict[str, dict[str, tuple[float, float]]]:
    """Each mixture minus the dense net, by figure: mean over the seeds and its standard error."""
    (_, dense), *mixtures = results.items()
    found: dict[str, dict[str, tuple[float, float]]] = {}
    for name, mixture in mixtures:
        found[name] = {}
        for column in COLUMNS:
            each = [m[column] - d[column] for m, d in zip(mixture, dense, strict=True)]
            error = statistics.stdev(each) / math.sqrt(len(each)) if len(each) > 1 else math.nan
            found[name][column] = (statistics.mean(each), error)
    return found


def main() -> None:
    """Fit, compare, print a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of recordings; default: the variable ECGMOE_DATA")
    parser.add_argument("--work", type=Path, default=Path("runs/ablation"), help="keeps the examples")
    parser.add_argument("--width", choices=("tiny", "nano", "small", "base"), default="nano")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    data = arguments.data or (Path(os.environ["ECGMOE_DATA"]) if "ECGMOE_DATA" in os.environ else None)
    if data is None:
        parser.error("give --data, or set ECGMOE_DATA")
    device = choose_device(arguments.device)
    subset = load_subset(data, arguments.work / "examples", BEATS, os.cpu_count() or 1)
    macs = {name: macs_of_a_beat(student(arguments.width, experts)) for name, experts in EXPERTS.items()}
    results = compare(subset, arguments.width, arguments.epochs, arguments.seeds, device)
    if arguments.json:
        print(json.dumps({"macs_of_a_beat": macs, "results": results, "differences": differences(results)}, indent=1))
        return
    print(f"{'':<18}{'MACs a beat':>12}" + "".join(f"{column:>17}" for column in COLUMNS))
    for name, runs in results.items():
        means = (statistics.mean(run[column] for run in runs) for column in COLUMNS)
        print(f"{name:<18}{macs[name]:>12,}" + "".join(f"{mean:>17.2f}" for mean in means))
    for name, of_column in differences(results).items():
        cells = (f"{mean:+.2f} +- {error:.2f}" for mean, error in of_column.values())
        print(f"{name + ' - dense':<30}" + "".join(f"{cell:>17}" for cell in cells))


if __name__ == "__main__":
    main()
