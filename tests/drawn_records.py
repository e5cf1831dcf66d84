"""Records of simulated patients with premature beats, written as WFDB files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import wfdb

FS = 250.0
SECONDS = 60
_NORMAL = ((-0.18, 0.025, 0.12), (-0.03, 0.01, -0.1), (0.0, 0.011, 1.1), (0.035, 0.011, -0.2), (0.26, 0.045, 0.28))
_VENTRICULAR = ((0.0, 0.035, 1.4), (0.11, 0.04, -0.5), (0.32, 0.06, -0.4))


def write_patient(
    folder: Path, name: str, seed: int, seconds: float = SECONDS, gains: tuple[float, ...] = (1.0,)
) -> None:
    """Write a record with N, premature S and wide V beats, one rhythm annotation, age and sex; a lead for each gain."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * FS)) / FS
    signal = 0.01 * rng.standard_normal(len(time))
    at = 1.0
    samples: list[int] = []
    symbols: list[str] = []
    while at < seconds - 2.0:
        symbol = str(rng.choice(["N", "A", "V"], p=[0.8, 0.1, 0.1])) if len(symbols) > 10 else "N"
        at -= 0.0 if symbol == "N" else 0.25  # premature
        for centre, width, height in _VENTRICULAR if symbol == "V" else _NORMAL:
            signal += height * np.exp(-0.5 * ((time - at - centre) / width) ** 2)
        samples.append(round(at * FS))
        symbols.append(symbol)
        at += (1.05 if symbol == "V" else 0.8) * (1.0 + 0.02 * rng.standard_normal())
    n = len(gains)
    wfdb.wrsamp(
        name, FS, ["mV"] * n, ["II", "V1", "V5"][:n], signal[:, None] * gains, fmt=["16"] * n, adc_gain=[2000.0] * n,
        baseline=[0] * n, comments=[f"{40 + seed} {'M' if seed % 2 else 'F'}"], write_dir=str(folder),
    )  # fmt: skip
    notes = ["(N"] + [""] * len(symbols)
    wfdb.wrann(name, "atr", np.array([10, *samples]), ["+", *symbols], fs=FS, aux_note=notes, write_dir=str(folder))
