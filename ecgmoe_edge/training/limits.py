"""Resources of a run: the processor, and a time limit after which the run stops and can be resumed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Literal, TypeAlias

from ecgmoe_edge.errors import UsageError

if TYPE_CHECKING:
    import torch

DeviceName: TypeAlias = Literal["auto", "cpu", "cuda"]


class OutOfTime(Exception):  # noqa: N818 - not an error: the run stops as requested
    """The time limit is reached. The progress is saved, and the same command resumes from there."""


class Clock:
    """A time limit that starts when the object is created."""

    def __init__(self, minutes: float | None = None) -> None:
        """Start the clock with a limit in minutes; None for no limit."""
        self._end = None if minutes is None else time.monotonic() + 60.0 * minutes

    def check(self, needed_s: float = 0.0) -> None:
        """Check that time is left.

        Raises:
            OutOfTime: at most `needed_s` seconds are left.
        """
        if self._end is not None and time.monotonic() + needed_s >= self._end:
            raise OutOfTime


def choose_device(name: DeviceName = "auto") -> torch.device:
    """Choose the processor; "auto" takes a CUDA device if there is one.

    On a GPU, matrices are multiplied in TF32. Only on a CPU is a run reproducible bit for bit.

    Raises:
        UsageError: "cuda" was requested, and there is no CUDA device.
    """
    import torch  # imported late, because the processes that make examples do not need it

    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise UsageError("torch finds no CUDA device here. Give --device cpu, or install torch for this GPU.")
    if name == "cpu" or not available:
        return torch.device("cpu")
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.allow_tf32 = True
    return torch.device("cuda")
