"""Writes WFDB records byte by byte, so that a test can make each of them wrong in one way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

GAIN = 200.0  # adu per mV


@pytest.fixture
def write_record(tmp_path: Path) -> Callable[..., Path]:
    """`write_record(name, signal_adu (leads, n) int, fs=..., ...)` writes a format 16 record; returns its path."""

    def write(
        name: str,
        signal: NDArray[np.int16],
        *,
        fs: str = "250",
        leads: Sequence[str] = ("MLII", "V1"),
        units: str = "mV",
        stated: int | None = None,
        comments: Sequence[str] = (),
        prefix: bytes = b"",
    ) -> Path:
        n_leads, n = signal.shape
        file = f"{name}.dat"
        (tmp_path / file).write_bytes(prefix + signal.T.astype("<i2").tobytes())
        kind = f"16+{len(prefix)}" if prefix else "16"
        lines = [f"{name} {n_leads} {fs} {stated if stated is not None else n}"]
        lines += [f"{file} {kind} {GAIN}/{units} 16 0 0 0 0 {leads[row]}" for row in range(n_leads)]
        lines += [f"# {comment}" for comment in comments]
        (tmp_path / f"{name}.hea").write_text("\n".join(lines) + "\n")
        return tmp_path / name

    return write
