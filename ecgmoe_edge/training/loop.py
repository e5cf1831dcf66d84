"""The loop that every fit shares: epochs, one-cycle rate, validation, choice of the epoch, checkpoint, metrics log."""

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

#: Loss of one batch in one epoch (counted from 0), and its parts for the log, scalars.
LossOf = Callable[[Batch, int], tuple[Tensor, Mapping[str, Tensor]]]
#: Number of batches of an epoch and the batches themselves, made from that epoch's generator alone.
BatchesOf = Callable[[np.random.Generator], tuple[int, Iterator[Batch]]]
#: Score (higher is better) and numbers for the log; called with the model in evaluation mode.
Validate = Callable[[], tuple[float, Mapping[str, float]]]


@dataclass(frozen=True)
class Stage:
    """One fit: what is trained, on what, how it is judged, and where its files go."""

    name: str  # of its files: <name>.checkpoint.safetensors, <name>.metrics.csv, <name>.curves.png
    model: nn.Module
    settings: Fit
    loss_of: LossOf
    batches_of: BatchesOf
    validate: Validate
    out_dir: Path
    digest: str
    seed: int = 1
    on_epoch: Callable[[int, nn.Module], None] | None = None  # before each epoch (from 0), also when resumed
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    clock: Clock = field(default_factory=Clock)
    progress: bool = False


@dataclass(frozen=True)
class FitResult:
    """How a fit ended; the model holds the weights of the best epoch."""

    best_score: float
    best_epoch: int  # counted from 1
    epochs: int
    metrics: Path
    rows: tuple[Mapping[str, float], ...]


def run_stage(stage: Stage) -> FitResult:
    """Fit, or go on where a killed fit stood; a fit that had finished is only loaded. The model ends on the CPU.

    Bit for bit the same result whether it was interrupted or not, on the same machine and versions; on a GPU nearly.

    Raises:
        ModelError: a checkpoint of another run lies in the folder, it cannot be written, or the loss is no longer a
            number.
        OutOfTime: the clock would end before another epoch does. The checkpoint holds all epochs before.
    """
    from tqdm import tqdm

    stage.out_dir.mkdir(parents=True, exist_ok=True)
    settings, model = stage.settings, stage.model.to(stage.device)
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, settings.learning_rate, weight_decay=settings.weight_decay)
    path = stage.out_dir / f"{stage.name}.checkpoint.safetensors"
    state = load_checkpoint(path, model, optimizer, stage.digest)
    pause = 0.5 if sys.stderr.isatty() else 30.0  # a log file wants no line a second
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
    metrics = _log(stage, state)  # again: a kill may have come between checkpoint and log
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
    """Learning rate at a step: a cosine up from a 25th over the warm-up share, then one down to nearly zero.

    Smith and Topin, "Super-Convergence", 2018, with the shape that PyTorch's OneCycleLR has. A function of the step
    alone, so that a resumed fit needs no scheduler state.
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
        for name, value in {"loss": loss, **parts}.items():  # summed where they are: reading one waits for a GPU
            totals[name] = totals.get(name, 0.0) + value.detach().double()
        bar.update()
    sums = {name: total.item() for name, total in totals.items()}
    if not math.isfinite(sums["loss"]):
        raise ModelError("The loss is no longer a number. Lower learning_rate, or look for odd values in the data.")
    row = {"epoch": epoch + 1, "seconds": round(time.monotonic() - started, 1)}
    row |= {f"train.{name}": round(total / steps, 5) for name, total in sums.items()}
    progress.epochs_done = epoch + 1
    if _validates(settings, epoch):
        row |= _judge(stage, state)
    out_of_patience = bool(settings.patience) and progress.misses >= settings.patience
    progress.finished = progress.epochs_done >= settings.epochs or out_of_patience
    progress.rows.append(row)


def _show_epoch(bar: tqdm[NoReturn], stage: Stage, state: State, steps: int) -> None:
    done, epochs = state.progress.epochs_done, stage.settings.epochs
    bar.total = epochs * steps
    if bar.n < done * steps:  # the first epoch after a stop: what was done before took no time now
        bar.n = bar.initial = done * steps
    best = "" if state.progress.best_score is None else f", best {state.progress.best_score:.1f}"
    bar.set_description(f"{stage.name} epoch {done + 1}/{epochs}{best}")


def _validates(settings: Fit, epoch: int) -> bool:
    left = settings.epochs - 1 - epoch  # the last epoch always validates
    return left == 0 or (epoch + 1 > settings.validate_from * settings.epochs and left % settings.validate_every == 0)


def _judge(stage: Stage, state: State) -> dict[str, float]:
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
    """Seed python, numpy's old generator and torch for one epoch; the generator that batches are made from."""
    rng = np.random.default_rng([seed, epoch])
    random.seed(seed * 100003 + epoch)
    np.random.seed((seed * 100003 + epoch) % 2**32)  # noqa: NPY002 - for libraries that still use it
    torch.manual_seed(seed * 100003 + epoch)
    return rng


def _write_rows(path: Path, rows: list[dict[str, float]]) -> None:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with replace_file(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
