"""How many processors this process may use: by its affinity, and by the quota of the container that it runs in."""

from __future__ import annotations

import math
import os
from pathlib import Path, PurePosixPath

V2 = Path("sys/fs/cgroup")
V1 = (Path("sys/fs/cgroup/cpu"), Path("sys/fs/cgroup/cpu,cpuacct"))


def usable_cores(root: Path = Path("/")) -> int:
    """Processors that this process may keep busy, at least 1; a share of one counts as one.

    The quota is that of its control group or of one above, as the kernel documents them: `cpu.max` (version 2),
    `cpu.cfs_quota_us` and `cpu.cfs_period_us` (version 1). `root`: the file tree.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota(root)
    return max(1, allowed if quota is None else min(allowed, math.ceil(quota - 1e-9)))


def cpu_quota(root: Path = Path("/")) -> float | None:
    """Processors' worth of time that the control group gives; None without a limit, or where none is known."""
    limits = [
        limit
        for tree, group in _groups(root)
        for folder in (group, *group.parents)
        if (limit := _limit_in(tree / str(folder).lstrip("/"))) is not None
    ]
    return min(limits, default=None)


def _groups(root: Path) -> list[tuple[Path, PurePosixPath]]:
    """Where the control groups are mounted, and this process's place in each; inside a container that is the top."""
    text = _text(root / "proc/self/cgroup") or ""
    found: list[tuple[Path, PurePosixPath]] = []
    for line in text.splitlines():
        _, controllers, group = (*line.split(":", 2), "", "")[:3]
        place = PurePosixPath(group if group.startswith("/") else "/")
        if ".." in place.parts:  # of another namespace
            place = PurePosixPath("/")
        if not controllers:
            found.append((root / V2, place))
        elif "cpu" in controllers.split(","):
            found += [(root / tree, place) for tree in V1]
    return found


def _limit_in(folder: Path) -> float | None:
    quota, _, period = (_text(folder / "cpu.max") or "").partition(" ")
    if not period:
        quota, period = _text(folder / "cpu.cfs_quota_us") or "", _text(folder / "cpu.cfs_period_us") or ""
    try:
        limit = float(quota) / float(period)
    except (ValueError, ZeroDivisionError):  # "max", or no such file
        return None
    return limit if math.isfinite(limit) and limit > 0 else None


def _text(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return None
