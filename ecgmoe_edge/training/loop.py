"""Training loop of all fits: epochs, one-cycle learning rate, validation, best epoch, checkpoint, metrics log."""

from __future__ import annotations

import csv
import math
import random
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import numpy as np
import torch
from torch import Tensor, nn

from ecgmoe_edge.durable_files import replace_file
from ecgmoe_edge.errors import ModelError
from ecgmoe_edge.training.augment import Batch
from ecgmoe_edge.training.checkpoint import State, copy_of, load_checkpoint, save_checkpoint
from ecgmoe_edge.training.config import Fit
from ecgmoe_edge.training.curves import plot_curves
from ecgmoe_edge.training.limits import Clock

if TYPE_CHECKING:
    from tqdm import tqdm

#: Maps a batch and the number of the epoch (from 0) to the loss and its parts for the log, all scalars.
LossOf = Callable[[Batch, int], tuple[Tensor, Mapping[str, Tensor]]]
#: Returns the number of batches of an epoch and the batches; the generator is their only source of random numbers.
BatchesOf = Callable[[np.random.Generator], tuple[int, Iterator[Batch]]]
#: Returns the score (higher is better) and figures for the log. It is called with the model in evaluation mode.
Validate = Callable[[], tuple[float, Mapping[str, float]]]


@dataclass(frozen=True)
class Stage:
    """One fit: model, batches, loss, validation and output files."""

    name: str  # prefix of the files: <name>.checkpoint.safetensors, <name>.metrics.csv, <name>.curves.png
    model: nn.Module
    settings: Fit
    loss_of: LossOf
    batches_of: BatchesOf
    validate: Validate
    out_dir: Path
    digest: str  # digest of everything that the result depends on
    seed: int = 1
    on_epoch: Callable[[int, nn.Module], None] | None = None  # called before each epoch (from 0), also when resumed
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    clock: Clock = field(default_factory=Clock)
    progress: bool = False


@dataclass(frozen=True)
class FitResult:
    """Result of a fit; the model has the weights of the best epoch."""

    best_score: float
    best_epoch: int  # counted from 1
    epochs: int  # number of epochs that were run
    metrics: Path  # the CSV file of the metrics
    rows: tuple[Mapping[str, float], ...]  # the metrics of each epoch


def run_stage(stage: Stage) -> FitResult:
    """Run a fit, or resume it from its checkpoint; a finished fit is only loaded.

    The model ends on the CPU with the weights of the best epoch. On a CPU, with the same machine and versions, an
    interrupted fit gives the same result bit for bit as an uninterrupted one; on a GPU nearly the same.

    Raises:
        ModelError: the folder has a checkpoint of another run, the checkpoint cannot be written, or the loss is not
            finite.
        OutOfTime: the remaining time is not enough for another epoch. The checkpoint contains all previous epochs.
    """
    from tqdm import tqdm

    stage.out_dir.mkdir(parents=True, exist_ok=True)
    settings, model = stage.settings, stage.model.to(stage.device)
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, settings.learning_rate, weight_decay=settings.weight_decay)
    path = stage.out_dir / f"{stage.name}.checkpoint.safetensors"
    state = load_checkpoint(path, model, optimizer, stage.digest)
    pause = 0.5 if sys.stderr.isatty() else 30.0  # s between two updates of the progress bar; rare ones in a log file
    longest = 0.0
    bar: tqdm[NoReturn]
    with tqdm(desc=stage.name, unit="batch", mininterval=pause, disable=not stage.progress) as bar:
        while not state.progress.finished:
            stage.clock.check(longest)
            started = time.monotonic()
            _one_epoch(stage, optimizer, parameters, state, bar)
            save_checkpoint(path, model, optimizer, state)
            _log(stage, state)
            longest = max(longest, time.monotonic() - started)
    metrics = _log(stage, state)  # again, because the process can be killed between checkpoint and log
    model.load_state_dict(state.best)
    model.cpu().eval()
    done = state.progress
    return FitResult(done.best_score or 0.0, done.best_epoch or 0, done.epochs_done, metrics, tuple(done.rows))


def _log(stage: Stage, state: State) -> Path:
    rows, path = state.progress.rows, stage.out_dir / f"{stage.name}.metrics.csv"
    _write_rows(path, rows)
    if state.progress.finished or (rows and "score" in rows[-1]):
        plot_curves(stage.out_dir / f"{stage.name}.curves.png", stage.name, rows, state.progress.best_epoch)
    return path


def one_cycle(step: int, steps: int, highest: float, warm_up: float) -> float:
    """Return the learning rate at a step of a one-cycle schedule.

    It rises from `highest` / 25 to `highest` and then falls to `highest` / 10,000, both with the shape of a cosine:
    Smith and Topin, "Super-Convergence", 2018, with the shape of PyTorch's OneCycleLR. The rate depends only on the
    step, so a resumed fit needs no scheduler state.

    Args:
        step: number of the step, from 0.
        steps: number of steps of the whole fit.
        highest: largest learning rate.
        warm_up: fraction of the steps in which the rate rises.
    """
    rise = max(1.0, warm_up * steps)
    if step < rise:
        low, high, share = highest / 25.0, highest, step / rise
    else:
        low, high, share = highest, highest / 1e4, (step - rise) / max(1.0, steps - rise)
    return high + (low - high) * 0.5 * (1.0 + math.cos(math.pi * min(1.0, share)))


def _one_epoch(
    stage: Stage, optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter], state: State, bar: tqdm[NoReturn]
) -> None:
    settings, progress, epoch = stage.settings, state.progress, state.progress.epochs_done
    rng = _seed(stage.seed, epoch)
    if stage.on_epoch is not None:
        stage.on_epoch(epoch, stage.model)
    stage.model.train()
    started = time.monotonic()
    steps, batches = stage.batches_of(rng)
    _show_epoch(bar, stage, state, steps)
    totals: dict[str, Tensor] = {}
    for step, batch in enumerate(batches):
        stage.clock.check()
        rate = one_cycle(epoch * steps + step, settings.epochs * steps, settings.learning_rate, settings.warm_up)
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss, parts = stage.loss_of(batch, epoch)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(parameters, settings.clip)
        optimizer.step()
        for name, value in {"loss": loss, **parts}.items():  # summed on the device; reading a value waits for the GPU
            totals[name] = totals.get(name, 0.0) + value.detach().double()
        bar.update()
    sums = {name: total.item() for name, total in totals.items()}
    if not math.isfinite(sums["loss"]):
        raise ModelError("The loss is no longer finite. Lower learning_rate, or check the data for extreme values.")
    row = {"epoch": epoch + 1, "seconds": round(time.monotonic() - started, 1)}
    row |= {f"train.{name}": round(total / steps, 5) for name, total in sums.items()}
    progress.epochs_done = epoch + 1
    if _validates(settings, epoch):
        row |= _validate_epoch(stage, state)
    out_of_patience = bool(settings.patience) and progress.misses >= settings.patience
    progress.finished = progress.epochs_done >= settings.epochs or out_of_patience
    progress.rows.append(row)


def _show_epoch(bar: tqdm[NoReturn], stage: Stage, state: State, steps: int) -> None:
    done, epochs = state.progress.epochs_done, stage.settings.epochs
    bar.total = epochs * steps
    if bar.n < done * steps:  # the first epoch after a resume: earlier epochs do not count for the speed of the bar
        bar.n = bar.initial = done * steps
    best = "" if state.progress.best_score is None else f", best {state.progress.best_score:.1f}"
    bar.set_description(f"{stage.name} epoch {done + 1}/{epochs}{best}")


def _validates(settings: Fit, epoch: int) -> bool:
    left = settings.epochs - 1 - epoch  # after the last epoch, validation always runs
    return left == 0 or (epoch + 1 > settings.validate_from * settings.epochs and left % settings.validate_every == 0)


def _validate_epoch(stage: Stage, state: State) -> dict[str, float]:
    """Validate the model, and keep its tensors if it is the best so far; return the metrics."""
    stage.model.eval()
    progress = state.progress
    score, numbers = stage.validate()
    if progress.best_score is None or score > progress.best_score:
        progress.best_score, progress.best_epoch, progress.misses = score, progress.epochs_done, 0
        state.best = copy_of(stage.model)
    else:
        progress.misses += 1
    return {"score": round(score, 4), **numbers}


def _seed(seed: int, epoch: int) -> np.random.Generator:
    """Seed Python, numpy's old generator and torch for one epoch, and return the generator for the batches."""
    rng = np.random.default_rng([seed, epoch])
    random.seed(seed * 100003 + epoch)
    np.random.seed((seed * 100003 + epoch) % 2**32)  # noqa: NPY002 - for libraries that use the old generator
    torch.manual_seed(seed * 100003 + epoch)
    return rng


def _write_rows(path: Path, rows: list[dict[str, float]]) -> None:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with replace_file(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
