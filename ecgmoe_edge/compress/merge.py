"""Before quantization: adapters merged task by task, BatchNorm folded, dropout gone. The outputs stay the
same.
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
from ecgmoe_edge.model.student import ConvBlock, Fusion, NormedLinear, Student, StudentConfig, Tail, Trunk
from ecgmoe_edge.tasks import refuse_untrained


class MergedFusion(nn.Module):
    """The fusion block of one task, its LoRA adapter merged into plain linear layers."""

    def __init__(self, fusion: Fusion, task: str) -> None:
        super().__init__()
        self.up, self.down = fusion.up.merged(task), fusion.down.merged(task)

    def forward(self, x: Tensor) -> Tensor:
        """(rows, d) to (rows, d)."""
        y: Tensor = x + self.down(functional.relu(self.up(x)))
        return y


class MergedTail(Tail):
    """A tail with one merged copy of the fusion block for each task."""

    def __init__(self, tail: Tail, config: StudentConfig) -> None:
        super().__init__(config)
        del self.fusion
        self.merged = nn.ModuleDict({task: MergedFusion(tail.fusion, task) for task in config.tasks})
        self.heads = nn.ModuleDict({task: copy.deepcopy(tail.heads[task]) for task in config.tasks})

    def fuse(self, x: Tensor, task: str) -> Tensor:
        """The fusion block as `task` has it, (rows, d) to (rows, d)."""
        y: Tensor = self.merged[task](x)
        return y


def fold_batch_norm(module: nn.Module) -> None:
    """Fold every BatchNorm into the layer before it, and take dropout out, in place. The module must be in
    eval.
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
    """The student as plain pieces that answer `tasks`; a copy, equal to within rounding.

    LoRA sits on the fusion block alone, so a piece is copied for each task only there: trunk, routers and
    experts run once.

    Args:
        student: a trained student.
        tasks: those to keep, in this order; None keeps all.

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
    """A copy of merged pieces that answers fewer tasks, or in another order.

    Raises:
        ModelError: the pieces do not answer one of the tasks.
    """
    missing = sorted(set(tasks) - set(pieces.tasks))
    refuse_untrained(missing)
    if missing or not tasks:
        raise ModelError(f"These weights answer {', '.join(pieces.tasks)}, not {', '.join(missing) or 'nothing'}.")
    chosen = copy.deepcopy(pieces)
    tail, trunk = chosen.tail, chosen.trunk
    if not isinstance(tail, MergedTail) or not isinstance(trunk, Trunk):
        raise ModelError("Tasks are selected before quantization; give merged float pieces.")
    chosen.tasks = tail.tasks = tuple(tasks)
    trunk.gates = nn.ModuleDict({task: trunk.gates[task] for task in tasks})
    tail.merged = nn.ModuleDict({task: tail.merged[task] for task in tasks})
    tail.heads = nn.ModuleDict({task: tail.heads[task] for task in tasks})
    return chosen
