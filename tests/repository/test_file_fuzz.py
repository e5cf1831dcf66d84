"""Damaged files are refused with one sentence or read normally: no traceback, crash, excessive memory or hang."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))
from benchmarks import fuzz_files

# Number of files for the slow kinds: the processes that read weights import torch.
FEW = {"student": 10, "qat student": 0, "teacher": 3, "onnx": 15, "onnx fields": 10, "manifest": 20}
FEW |= {"bundle zip": 20, "bundle folder": 10}
each = pytest.mark.parametrize("kind", sorted(fuzz_files.kinds()))


def check(kind: str, files: int) -> None:
    try:
        made = fuzz_files.kinds()[kind]()
    except ImportError as missing:
        pytest.skip(f"{missing.name} is not installed")
    tally = fuzz_files.fuzz(made, files, seed=1)
    assert tally.faults == []
    assert tally.files == files == tally.refused + tally.same + tally.other
    assert tally.refused > files / 3


@each
def test_some_damaged_files(kind: str) -> None:
    if files := FEW.get(kind, 60):
        check(kind, files)


@pytest.mark.slow
@each
def test_thousands_of_damaged_files(kind: str) -> None:
    check(kind, 5_000)
