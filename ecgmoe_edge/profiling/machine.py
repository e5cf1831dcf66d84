"""Describes the machine on which figures were measured."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ecgmoe_edge.profiling import sensors
from ecgmoe_edge.runtime.cores import usable_cores


@dataclass(frozen=True)
class Machine:
    """Properties and sensors; None if there is no such sensor or it cannot be read."""

    cpu: str | None
    cores: int | None
    usable_cores: int  # available to this process: by CPU affinity and its container's quota
    architecture: str
    system: str
    python: str
    numpy: str
    cpu_mhz: dict[str, float] | None
    gpu_mhz: dict[str, dict[str, float]] | None
    temperature_c: dict[str, float] | None
    throttling: list[str] | None
    power_mode: str | None


def read_machine(root: Path) -> Machine:
    """Read the machine's description.

    Args:
        root: the file tree with /sys and /proc; `/` on the machine itself.
    """
    return Machine(
        cpu=sensors.cpu_model(root),
        cores=sensors.cpu_count(root),
        usable_cores=usable_cores(root),
        architecture=platform.machine(),
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        numpy=np.__version__,
        cpu_mhz=sensors.cpu_mhz(root),
        gpu_mhz=sensors.gpu_mhz(root),
        temperature_c=sensors.temperatures_c(root),
        throttling=sensors.throttling(root),
        power_mode=sensors.power_mode(root),
    )
