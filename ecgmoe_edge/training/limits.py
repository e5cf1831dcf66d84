"""What a run may use: which processor, and how many minutes before it stops cleanly to be gone on with later."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Literal, TypeAlias

from ecgmoe_edge.errors import UsageError

if TYPE_CHECKING:
    import torch

DeviceName: TypeAlias = Literal["auto", "cpu", "cuda"]


class OutOfTime(Exception):  # noqa: N818 - no error: the run was asked to stop
    """The minutes are over; what was done is on the disk, and the same command goes on from there."""


class Clock:
    """Minutes that a run may take from the moment this is made; None never ends."""

    def __init__(self, minutes: float | None = None) -> None:
        self._end = None if minutes is None else time.monotonic() + 60.0 * minutes

    def check(self, needed_s: float = 0.0) -> None:
        """Raise OutOfTime if less than `needed_s` seconds are left, or none.

        Raises:
            OutOfTime: as said.
        """
        if self._end is not None and time.monotonic() + needed_s >= self._end:
            raise OutOfTime


def choose_device(name: DeviceName = "auto") -> torch.device:
    """The processor that fits: a CUDA device where there is one and nothing else was asked for.

    On a GPU, matrices are multiplied in TF32; a run is repeatable to the bit on a CPU only.

    Raises:
        UsageError: a GPU was asked for and there is none.
    """
    import torch  # late: the processes that make examples need the clock alone

    there = torch.cuda.is_available()
    if name == "cuda" and not there:
        raise UsageError("torch finds no CUDA device here. Give --device cpu, or install torch for this GPU.")
    if name == "cpu" or not there:
        return torch.device("cpu")
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.allow_tf32 = True
    return torch.device("cuda")
