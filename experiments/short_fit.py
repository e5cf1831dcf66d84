"""A fixed subset of the recordings and a short training run on it, for experiments that compare models.

Figures are those of `ds1-val`, `svdb-val`, and of records that a stable hash holds out of the training parts of CinC
2017 and PTB-XL. If many patients are needed, they are those of a cross-validation over all of DS1, svdb and the
training part of CinC 2017. It is a part of `python -m experiments.ablation` and
`python -m experiments.mixture_vs_dense`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ecgmoe_edge.contract import routes_by_path
from ecgmoe_edge.model.shared_layers import load_balance
from ecgmoe_edge.records.splits import hash_fraction
from ecgmoe_edge.tasks import BEAT_CLASSES, RHYTHM_CLASSES, tasks_named
from ecgmoe_edge.training.augment import Augmenter, Batch, clean_batch, read_noise
from ecgmoe_edge.training.batches import drawn_batches
from ecgmoe_edge.training.cache import build_examples
from ecgmoe_edge.training.config import Augment, DataSet, Draw, Losses, Noise, TrainingConfig
from ecgmoe_edge.training.examples import UNKNOWN, Examples
from ecgmoe_edge.training.fit import loss_weights, task_loss
from ecgmoe_edge.training.loop import one_cycle

_INNER_SHARE = 0.2  # fraction of the records of CinC 2017 and PTB-XL for validation
BEATS = (
    DataSet(
        "mitdb", "mitdb", fit=("split:ds1-fit",), validation=("split:ds1-val",), leave_out=("201",), rhythm=True,
        beats_per_record=800,
    ),
    DataSet("svdb", "svdb", fit=("split:svdb-fit",), validation=("split:svdb-val",), beats_per_record=800),
)  # fmt: skip
RECORDS = (
    DataSet(
        "cinc2017", "cinc2017", "cinc2017", fit=("split:cinc-fit",), most_records=900, beats_per_record=6, first_s=10.0
    ),
    DataSet("ptbxl", "ptbxl", "ptbxl", fit=("split:ptbxl-fit",), leads=(1,), beats_per_record=4, first_s=5.0),
)
NOISE = Noise("nstdb", ("bw", "em", "ma"))
CROSS_VALIDATED = (
    DataSet("mitdb", "mitdb", fit=("split:ds1",), leave_out=("201",), rhythm=True, beats_per_record=800),
    DataSet("svdb", "svdb", fit=("split:svdb-fit", "split:svdb-val"), beats_per_record=800),
    RECORDS[0],
)

#: Loss of one batch in one epoch, counted from 0.
Loss = Callable[[Batch, int], Tensor]


@dataclass(frozen=True)
class Subset:
    """Examples for training, and validation examples by data set."""

    fit: Examples
    validation: Mapping[str, Examples]
    augmenter: Augmenter


def load_subset(data_dir: Path, cache: Path, data: tuple[DataSet, ...], jobs: int) -> Subset:
    """The subset, from the front end or from `cache`."""
    sets = build_examples(TrainingConfig(data), data_dir, cache, jobs=jobs)
    inner = np.array(
        [
            name.startswith(("cinc2017/", "ptbxl/")) and hash_fraction(f"inner {name}") < _INNER_SHARE
            for name in sets.fit.records
        ]
    )
    of_example = inner[sets.fit.record]
    validation = dict(sets.validation)
    for name in ("cinc2017", "ptbxl"):
        ours = np.array([record.startswith(f"{name}/") for record in sets.fit.records])[sets.fit.record]
        if (of_example & ours).any():
            validation[name] = sets.fit.take(np.flatnonzero(of_example & ours))
    fit = sets.fit.take(np.flatnonzero(~of_example))
    return Subset(fit, validation, Augmenter(Augment(), read_noise(NOISE, data_dir)))


def load_folds(data_dir: Path, cache: Path, data: tuple[DataSet, ...], folds: int, jobs: int) -> list[Subset]:
    """Cross-validation over the training records of `data`, divided into folds by a stable hash of their names."""
    examples = build_examples(TrainingConfig(data), data_dir, cache, jobs=jobs).fit
    fold = np.array([int(folds * hash_fraction(f"fold {name}")) for name in examples.records])[examples.record]
    set_of = np.array([name.split("/")[0] for name in examples.records])[examples.record]
    augmenter = Augmenter(Augment(), read_noise(NOISE, data_dir))
    subsets = []
    for k in range(folds):
        validation = {one.name: examples.take(np.flatnonzero((fold == k) & (set_of == one.name))) for one in data}
        subsets.append(Subset(examples.take(np.flatnonzero(fold != k)), validation, augmenter))
    return subsets


def short_fit(
    model: nn.Module,
    loss_of: Loss,
    subset: Subset,
    draw: Draw,
    *,
    epochs: int,
    seed: int,
    device: torch.device,
    batch: int = 192,
    rate: float = 2e-3,
) -> None:
    """Train `model` with the project's optimiser and one-cycle rate; the batches depend on the seed only."""
    optimizer = torch.optim.AdamW(model.parameters(), rate, weight_decay=1e-3)
    batches_of = drawn_batches(subset.fit, subset.augmenter, draw, batch)
    for epoch in range(epochs):
        model.train()
        torch.manual_seed(1000 * seed + epoch)
        steps, batches = batches_of(np.random.default_rng([seed, epoch]))
        for step, one in enumerate(batches):
            for group in optimizer.param_groups:
                group["lr"] = one_cycle(epoch * steps + step, epochs * steps, rate, 0.15)
            loss = loss_of(one.to(device), epoch)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(model.parameters(), 2.0)
            optimizer.step()
    model.eval()


def losses_of(outputs: Mapping[str, Tensor], batch: Batch, tasks: tuple[str, ...], *, balance: float = 0.02) -> Tensor:
    """Masked losses of the tasks' labels with the teacher's weights, and the load of the routers.

    `training.fit` also learns about unlabelled beats from the rhythm; this is left out: one label trains one task.
    """
    weights = loss_weights(Losses())
    parts = [weights[t.name] * task_loss(t, outputs[t.name], batch.labels[t.name]) for t in tasks_named(tasks)]
    parts += [balance * load_balance(value) for value in routes_by_path(outputs).values()]
    return torch.stack(parts).sum()


def predict(
    run: Callable[[Batch], Mapping[str, Tensor]], examples: Examples, device: torch.device
) -> dict[str, NDArray[np.float32]]:
    """Outputs of all examples by name, (n, width)."""
    parts: dict[str, list[NDArray[np.float32]]] = {}
    with torch.inference_mode():
        for batch in _cut(examples, device):
            for name, value in run(batch).items():
                parts.setdefault(name, []).append(value.float().cpu().numpy())
    return {name: np.concatenate(arrays) for name, arrays in parts.items()}


def _cut(examples: Examples, device: torch.device) -> Iterator[Batch]:
    for start in range(0, len(examples), 512):
        yield clean_batch(examples, np.arange(start, min(start + 512, len(examples)), dtype=np.int64)).to(device)


def figures(
    outputs: Mapping[str, Mapping[str, NDArray[np.float32]]], validation: Mapping[str, Examples]
) -> dict[str, float]:
    """Validation figures by name, such as "svdb V F1" (per cent), from the outputs on each validation set."""
    found: dict[str, float] = {}
    for data, examples in validation.items():
        answer = outputs[data]
        known = examples.labels["beat"] != UNKNOWN
        if known.any():
            guess = answer["beat"][known].argmax(1)
            for name in ("S", "V"):
                found[f"{data} {name} F1"] = f1(examples.labels["beat"][known], guess, BEAT_CLASSES.index(name))
            found[f"{data} log loss"] = balanced_log_loss(examples.labels["beat"][known], answer["beat"][known])
        if data == "cinc2017":
            guess = answer["rhythm"].argmax(1)
            each = [f1(examples.labels["rhythm"], guess, RHYTHM_CLASSES.index(name)) for name in ("N", "AF", "other")]
            found["rhythm mean F1"] = sum(each) / 3.0
        if data == "ptbxl":
            found["sex F1"] = 0.5 * sum(f1(examples.labels["sex"], answer["sex"].argmax(1), label) for label in (0, 1))
            found["age MAE, years"] = _mae(answer["age"], examples.labels["age"], "age")
        if data == "mitdb" and "rr" in answer:
            found["RR MAE, ms"] = 1000.0 * _mae(answer["rr"], examples.labels["rr"], "rr")
    return found


def f1(truth: NDArray[np.int8], guess: NDArray[np.int64], label: int) -> float:
    """F1 of one class in per cent; NaN where it does not occur."""
    annotated, predicted = int((truth == label).sum()), int((guess == label).sum())
    hit = int(((truth == label) & (guess == label)).sum())
    return 200.0 * hit / (annotated + predicted) if annotated else math.nan


def balanced_log_loss(truth: NDArray[np.int8], logits: NDArray[np.float32]) -> float:
    """Mean over N, S and V of the mean cross entropy of their beats: smoother than an F1 of few patients."""
    shifted = logits - logits.max(1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    each = [-log_p[truth == label, label].mean() for label in range(3) if (truth == label).any()]
    return float(np.mean(each))


def _mae(output: NDArray[np.float32], truth: NDArray[np.float32], name: str) -> float:
    (task,) = tasks_named((name,))
    known = np.isfinite(truth)
    return float(np.abs(output[known, 0] * task.scale + task.offset - truth[known]).mean())
