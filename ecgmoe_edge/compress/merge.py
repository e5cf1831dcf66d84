"""Preparation for quantization: merge the LoRA adapters of each task, fold BatchNorm, remove dropout.

The outputs stay the same to within rounding.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from ecgmoe_edge.compress.dispatch import Pieces
from ecgmoe_edge.errors import ModelError
from ecgmoe_edge.model.morphology_experts import ConvBlock
from ecgmoe_edge.model.student import Fusion, NormedLinear, Student, StudentConfig, Tail, Trunk
from ecgmoe_edge.tasks import refuse_untrained


class MergedFusion(nn.Module):
    """The fusion block of one task. Its LoRA adapter is merged into plain linear layers."""

    def __init__(self, fusion: Fusion, task: str) -> None:
        super().__init__()
        self.up, self.down = fusion.up.merged(task), fusion.down.merged(task)

    def forward(self, x: Tensor) -> Tensor:
        """Map (rows, d) to (rows, d)."""
        y: Tensor = x + self.down(functional.relu(self.up(x)))
        return y


class MergedTail(Tail):
    """A tail with a separate merged fusion block for each task."""

    def __init__(self, tail: Tail, config: StudentConfig) -> None:
        super().__init__(config)
        del self.fusion
        self.merged = nn.ModuleDict({task: MergedFusion(tail.fusion, task) for task in config.tasks})
        self.heads = nn.ModuleDict({task: copy.deepcopy(tail.heads[task]) for task in config.tasks})

    def fuse(self, x: Tensor, task: str) -> Tensor:
        """Apply the fusion block of `task`, (rows, d) to (rows, d)."""
        y: Tensor = self.merged[task](x)
        return y


def fold_batch_norm(module: nn.Module) -> None:
    """Fold every BatchNorm into the layer before it and remove dropout, in place.

    Args:
        module: a module in evaluation mode.
    """
    for block in module.modules():
        if isinstance(block, ConvBlock) and isinstance(block.norm, nn.BatchNorm2d):
            block.conv = fuse_conv_bn_eval(block.conv, block.norm)
            block.norm = nn.Identity()
        elif isinstance(block, NormedLinear) and isinstance(block.norm, nn.BatchNorm1d):
            block.linear = fuse_linear_bn_eval(block.linear, block.norm)
            block.norm = nn.Identity()
        if isinstance(getattr(block, "dropout", None), nn.Dropout):
            block.dropout = nn.Identity()


def merge_student(student: Student, tasks: Sequence[str] | None = None) -> Pieces:
    """Convert a student to plain pieces without LoRA and BatchNorm.

    Only the fusion block has LoRA adapters, so only the fusion block is duplicated for each task. The trunk, the
    routers and the experts are shared by all tasks.

    Args:
        student: a trained student; it is not changed.
        tasks: the tasks to keep, in this order; None keeps all.

    Returns:
        A copy with the student's outputs to within rounding.

    Raises:
        ModelError: the student has no head for one of the tasks.
    """
    config = student.config
    tasks = config.tasks if tasks is None else tuple(tasks)
    missing = sorted(set(tasks) - set(config.tasks))
    refuse_untrained(missing)
    if missing or not tasks:
        raise ModelError(f"This student answers {', '.join(config.tasks)}, not {', '.join(missing) or 'nothing'}.")
    merged = copy.deepcopy(student).eval()
    merged.trunk.gates = nn.ModuleDict({task: merged.trunk.gates[task] for task in tasks})
    tail = MergedTail(merged.tail, replace(config, tasks=tasks))
    pieces = Pieces(merged.trunk, merged.morphology, merged.rhythm, tail, tasks).eval()
    fold_batch_norm(pieces)
    return pieces.requires_grad_(True)


def select_tasks(pieces: Pieces, tasks: Sequence[str]) -> Pieces:
    """Copy merged float pieces and keep only `tasks`, in this order.

    Raises:
        ModelError: the pieces have no head for one of the tasks, or are already quantized.
    """
    missing = sorted(set(tasks) - set(pieces.tasks))
    refuse_untrained(missing)
    if missing or not tasks:
        raise ModelError(f"These weights answer {', '.join(pieces.tasks)}, not {', '.join(missing) or 'nothing'}.")
    chosen = copy.deepcopy(pieces)
    tail, trunk = chosen.tail, chosen.trunk
    if not isinstance(tail, MergedTail) or not isinstance(trunk, Trunk):
        raise ModelError("Tasks can be selected only before quantization; pass merged float pieces.")
    chosen.tasks = tail.tasks = tuple(tasks)
    trunk.gates = nn.ModuleDict({task: trunk.gates[task] for task in tasks})
    tail.merged = nn.ModuleDict({task: tail.merged[task] for task in tasks})
    tail.heads = nn.ModuleDict({task: tail.heads[task] for task in tasks})
    return chosen
