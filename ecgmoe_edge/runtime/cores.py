"""Number of processors that this process may use, from its CPU affinity and the CPU quota of its container."""

from __future__ import annotations

import math
import os
from pathlib import Path, PurePosixPath

V2 = Path("sys/fs/cgroup")
V1 = (Path("sys/fs/cgroup/cpu"), Path("sys/fs/cgroup/cpu,cpuacct"))


def usable_cores(root: Path = Path("/")) -> int:
    """Number of processors that this process may use, at least 1. A quota is rounded up.

    Args:
        root: root of the file system; tests give another.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota(root)
    return max(1, allowed if quota is None else min(allowed, math.ceil(quota - 1e-9)))


def cpu_quota(root: Path = Path("/")) -> float | None:
    """CPU quota of this process in processors; None if there is no limit or none can be read.

    It is the smallest limit of the process's control group and the groups above it. The kernel documents the files:
    `cpu.max` (cgroup version 2), `cpu.cfs_quota_us` and `cpu.cfs_period_us` (version 1).

    Args:
        root: root of the file system.
    """
    limits = [
        limit
        for tree, group in _groups(root)
        for folder in (group, *group.parents)
        if (limit := _limit_in(tree / str(folder).lstrip("/"))) is not None
    ]
    return min(limits, default=None)


def _groups(root: Path) -> list[tuple[Path, PurePosixPath]]:
    """Mount points of the control groups, and the group of this process in each; "/" inside a container."""
    text = _text(root / "proc/self/cgroup") or ""
    found: list[tuple[Path, PurePosixPath]] = []
    for line in text.splitlines():
        _, controllers, group = (*line.split(":", 2), "", "")[:3]
        path = PurePosixPath(group if group.startswith("/") else "/")
        if ".." in path.parts:  # the group belongs to another namespace
            path = PurePosixPath("/")
        if not controllers:
            found.append((root / V2, path))
        elif "cpu" in controllers.split(","):
            found += [(root / tree, path) for tree in V1]
    return found


def _limit_in(folder: Path) -> float | None:
    """CPU limit of one control group in processors; None if it has none."""
    quota, _, period = (_text(folder / "cpu.max") or "").partition(" ")
    if not period:
        quota, period = _text(folder / "cpu.cfs_quota_us") or "", _text(folder / "cpu.cfs_period_us") or ""
    try:
        limit = float(quota) / float(period)
    except (ValueError, ZeroDivisionError):  # no limit ("max"), or no such file
        return None
    return limit if math.isfinite(limit) and limit > 0 else None


def _text(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return None
