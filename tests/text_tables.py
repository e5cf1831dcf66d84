"""Tables of samples for tests: random signals, written as text and read back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.records.formats.csv_record import CsvRecord


def random_signal(n: int = 300, seed: int = 0) -> NDArray[np.float64]:
    return np.round(np.random.default_rng(seed).normal(0, 0.4, n), 4)


def write_table(folder: Path, text: str, name: str = "ecg.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def all_samples(record: CsvRecord) -> NDArray[np.float64]:
    return np.concatenate(list(record.blocks(7.0)), axis=1)


def with_comma(value: float) -> str:
    return f"{value:.4f}".replace(".", ",")
