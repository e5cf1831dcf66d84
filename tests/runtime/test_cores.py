"""As many processors as this process may use, not as many as the machine has."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ecgmoe_edge.runtime.cores import cpu_quota, usable_cores


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content + "\n")
    return root


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "150000 100000"}, 1.5),
        ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "max 100000"}, None),
        ({"proc/self/cgroup": "0::/a/b", "sys/fs/cgroup/a/cpu.max": "50000 100000"}, 0.5),
        (
            {
                "proc/self/cgroup": "4:cpu,cpuacct:/docker/1\n2:memory:/",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "200000",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
            },
            2.0,
        ),
        (
            {
                "proc/self/cgroup": "1:cpu:/",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
            },
            None,
        ),
        ({"proc/self/cgroup": "garbage", "sys/fs/cgroup/cpu.max": "0 0"}, None),
        ({}, None),
    ],
)
def test_the_quota_is_that_of_the_control_group_or_of_one_above(
    tmp_path: Path, files: dict[str, str], quota: float | None
) -> None:
    assert cpu_quota(tree(tmp_path, files)) == quota


def test_a_share_of_a_core_is_one_and_a_quota_never_gives_more_than_the_affinity(tmp_path: Path) -> None:
    allowed = len(os.sched_getaffinity(0))
    for maximum, cores in (("10000 100000", 1), ("100000 100000", 1), ("99900000 100000", allowed)):
        tree(tmp_path, {"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": maximum})
        assert usable_cores(tmp_path) == cores


def test_the_affinity_of_the_process_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3})
    assert usable_cores(tmp_path) == 1
