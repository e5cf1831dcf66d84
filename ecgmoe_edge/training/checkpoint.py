"""Checkpoint of a fit after an epoch: one safetensors file, written atomically so that a kill cannot damage it.

It contains no state of random generators: each epoch seeds them from the seed of the run and the number of the epoch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
from torch import Tensor, nn
from torch.optim import Optimizer

from ecgmoe_edge.durable_files import replace_file
from ecgmoe_edge.errors import ModelError

_KIND = "ecgmoe checkpoint"


class Progress(msgspec.Struct, forbid_unknown_fields=True):
    """Progress of a fit, without its tensors."""

    digest: str  # digest of everything that the result of the fit depends on
    epochs_done: int = 0
    best_score: float | None = None
    best_epoch: int | None = None  # counted from 1
    misses: int = 0  # number of validations since the best one
    finished: bool = False
    rows: list[dict[str, int | float]] = msgspec.field(default_factory=list)  # metrics, one row per epoch


@dataclass
class State:
    """What a resumed fit needs besides model and optimizer."""

    progress: Progress
    best: dict[str, Tensor]  # tensors of the model at the best validation; empty before the first validation


def save_checkpoint(path: Path, model: nn.Module, optimizer: Optimizer, state: State) -> None:
    """Write model, optimizer and progress to `path`, atomically.

    Raises:
        ModelError: the file cannot be written, for example on a full disk. The previous checkpoint is unchanged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    tensors |= {f"best.{name}": value for name, value in state.best.items()}
    for index, slots in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{slot}": value for slot, value in slots.items()}
    header = {"kind": _KIND, "progress": msgspec.json.encode(state.progress).decode()}
    try:
        with replace_file(path) as partial:
            save_file({name: _own(value) for name, value in tensors.items()}, partial, metadata=header)
    except (OSError, SafetensorError) as error:
        raise ModelError(
            f"The checkpoint {path} cannot be written ({error}). Free space on that disk and repeat the command: it "
            "resumes after the previous epoch."
        ) from error


def load_checkpoint(path: Path, model: nn.Module, optimizer: Optimizer, digest: str) -> State:
    """Restore model and optimizer from `path`; if the file does not exist, return the state before the first epoch.

    Args:
        path: the checkpoint.
        model: gets the tensors of the checkpoint.
        optimizer: gets its state from the checkpoint.
        digest: digest of everything that the result of the fit depends on.

    Raises:
        ModelError: the file is damaged, or belongs to a run with another configuration, other data or another model.
    """
    if not path.is_file():
        return State(Progress(digest), {})
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        progress = msgspec.json.decode(header.get("progress", "null"), type=Progress)
    except (OSError, SafetensorError, msgspec.MsgspecError) as error:
        raise ModelError(f"The checkpoint {path} cannot be read ({error}). Delete it to start again.") from error
    if progress.digest != digest:
        raise ModelError(
            f"The checkpoint {path} belongs to another configuration, data set or model. "
            "Give another output folder, or delete the file to start again."
        )
    try:
        model.load_state_dict(_part(tensors, "model."))
    except RuntimeError as error:
        raise ModelError(
            f"The checkpoint {path} belongs to another model ({error}). Give another output folder."
        ) from error
    slots: dict[int, dict[str, Tensor]] = {}
    for name, value in _part(tensors, "optimizer.").items():
        index, slot = name.split(".", 1)
        slots.setdefault(int(index), {})[slot] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": slots})
    return State(progress, _part(tensors, "best."))


def tensors_digest(model: nn.Module) -> str:
    """Return a short digest of a model's weights. A student that is distilled from other weights is another run."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(_own(tensor).numpy().tobytes())
    return digest.hexdigest()[:16]


def copy_of(model: nn.Module) -> dict[str, Tensor]:
    """Copy the tensors of a model."""
    return {name: _own(value) for name, value in model.state_dict().items()}


def _own(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().contiguous().clone()  # safetensors refuses tensors that share memory


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
