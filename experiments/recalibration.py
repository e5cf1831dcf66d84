"""Does training the routers again with hard routing help? Figures before and after, on the validation records.

Experts, embeddings and tail are frozen. Every combination of experts is run on beats of the training records (clean,
drawn as for an epoch). The two routers are trained to lower the expected loss: the sum over the experts of probability
times loss. Hard routing is evaluated.

    python -m experiments.recalibration [--student FILE] [--data DIR] [--cache DIR] [--steps N] [--json]
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as fn

import ecgmoe_edge
from benchmarks.chain import BEAT_SPLITS, Step, ValidationSets
from ecgmoe_edge.cli.preparation import quiet_libraries
from ecgmoe_edge.errors import EcgmoeError
from ecgmoe_edge.model.student import Student, load_student
from ecgmoe_edge.records.splits import data_folder
from ecgmoe_edge.training.augment import Batch, clean_batch
from ecgmoe_edge.training.cache import cached_examples
from ecgmoe_edge.training.config import load_config
from ecgmoe_edge.training.examples import UNKNOWN, Examples, join
from ecgmoe_edge.training.sampling import epoch_indices
from ecgmoe_edge.training.sources import divide

SHIPPED = Path(ecgmoe_edge.__file__).parent / "pretrained" / "student-small.safetensors"


def fitting_examples(data: Path | None, cache: Path) -> Examples:
    """The training records with beat labels, first lead, not inverted."""
    folder, parts = data_folder(data), []
    for settings in load_config().data:
        if settings.name in ("mitdb", "svdb"):
            plain = [
                s for s in divide(settings, folder).fit if s.lead == settings.leads[0] and not s.inverted and not s.rate
            ]
            parts += [cached_examples(source, cache) for source in plain]
    return join(parts)


def losses_of_all(student: Student, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs of the two routers, and the beat loss of every pair of experts, (beats, morphology, rhythm)."""
    with torch.no_grad():
        z_morphology, z_rhythm, _, _, *gates = student.trunk(*batch.student_inputs())
        period = torch.cat([z_morphology.mean((2, 3)), z_rhythm], 1)
        ys = [
            [expert(z) for expert in bank]
            for bank, z in ((student.morphology, z_morphology), (student.rhythm, z_rhythm))
        ]
        labels = batch.labels["beat"].long()
        which = student.tasks.index("beat")
        rows = [
            [fn.cross_entropy(student.tail(y, other, *gates)[which], labels, reduction="none") for other in ys[1]]
            for y in ys[0]
        ]
    return period, z_rhythm, torch.stack([torch.stack(row, 1) for row in rows], 1)


def recalibrate(student: Student, examples: Examples, steps: int, *, seed: int = 1) -> Student:
    """A copy of a student with its routers trained on the losses of its experts."""
    rng = np.random.default_rng(seed)
    index = epoch_indices(examples, load_config().draw, rng)
    index = index[examples.labels["beat"][index] != UNKNOWN]
    parts = [
        losses_of_all(student, clean_batch(examples, part)) for part in np.array_split(index, max(1, len(index) // 512))
    ]
    period, z_rhythm, losses = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
    fitted = copy.deepcopy(student)
    routers = nn.ModuleList([fitted.trunk.route_morphology, fitted.trunk.route_rhythm])
    optimizer = torch.optim.AdamW(routers.parameters(), 3e-3, weight_decay=1e-3)
    for _ in range(steps):
        rows = torch.from_numpy(rng.integers(0, len(losses), 1024))
        p_morphology = routers[0](period[rows]).softmax(1)
        p_rhythm = routers[1](z_rhythm[rows]).softmax(1)
        expected = torch.einsum("bm,bmr,br->b", p_morphology, losses[rows], p_rhythm).mean()
        optimizer.zero_grad()
        expected.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return fitted.eval()


def main() -> None:
    """Print F1 before and after, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--student", type=Path, default=SHIPPED)
    parser.add_argument("--data", type=Path, help="folder of recordings; default: the variable ECGMOE_DATA")
    parser.add_argument("--cache", type=Path, default=Path("runs/examples"), help="folder of examples")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    try:
        student = load_student(arguments.student)
        sets = ValidationSets.of(arguments.data, arguments.cache, arguments.cache.parent / "answers", BEAT_SPLITS)
        fitted = recalibrate(student, fitting_examples(arguments.data, arguments.cache), arguments.steps)
    except EcgmoeError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    figures = {}
    for name, model in (("as trained", student), ("recalibrated", fitted)):
        weights = b"".join(tensor.numpy().tobytes() for tensor in model.state_dict().values())
        step = Step(name, weights, lambda model=model: lambda batch: model(*batch.student_inputs()))  # type: ignore[misc]
        found = sets.validations(step)
        figures[name] = {f"{c} F1 {split}": found[split].decided[c].f1 for c in ("V", "S") for split in BEAT_SPLITS}
    if arguments.json:
        json.dump(figures, sys.stdout, indent=2)
        print()
        return
    for name, scores in figures.items():
        print(f"{name:>13}: " + ", ".join(f"{key} {value or 0.0:.1f}" for key, value in scores.items()))


if __name__ == "__main__":
    quiet_libraries()
    main()
