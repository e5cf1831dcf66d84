"""Fixtures: a small WFDB folder of simulated patients with premature beats, and a training configuration for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import wfdb

from ecgmoe_edge.model.teacher_config import BackboneSpec, TeacherConfig
from ecgmoe_edge.training.cache import ExampleSets, build_examples
from ecgmoe_edge.training.config import DataSet, Distillation, Draw, Fit, Noise, QatFit, TrainingConfig
from ecgmoe_edge.training.examples import Examples, join
from ecgmoe_edge.training.run import train

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


@pytest.fixture(scope="session")
def patients(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with `ward/` (p0 .. p3) and `noise/` (hum)."""
    folder = tmp_path_factory.mktemp("recordings")
    (folder / "ward").mkdir()
    (folder / "noise").mkdir()
    for seed in range(4):
        write_patient(folder / "ward", f"p{seed}", seed)
    rough = np.random.default_rng(9).standard_normal((round(130 * FS), 1))
    wfdb.wrsamp(
        "hum", FS, ["mV"], ["II"], rough, fmt=["16"], adc_gain=[2000.0], baseline=[0], write_dir=str(folder / "noise")
    )
    return folder


@pytest.fixture(scope="session")
def tiny_config() -> TrainingConfig:
    """A configuration for two epochs of a very small teacher on the simulated patients."""
    return TrainingConfig(
        data=(DataSet("ward", "ward", validation=("p3",), rhythm=True),),
        noise=Noise("noise", ("hum",)),
        draw=Draw(normal=40, s=30, v=20, rhythm=20),
        teacher=TeacherConfig(
            backbones=(BackboneSpec("conv_residual", 160, 4), BackboneSpec("dlinear", 80)),
            d=16, heads=2, stem=4, rhythm_width=16, morphology_kernels=(3, 5), rhythm_experts=2, lora_rank=2,
        ),
        fit=Fit(epochs=3, batch=32, soft_epochs=1, validate_from=0.0, validate_every=1),
        distil=Distillation(
            float_stage=Fit(epochs=2, batch=32, soft_epochs=1),
            qat_stage=QatFit(epochs=2, batch=32, learning_rate=3e-4),
        ),
    )  # fmt: skip


@pytest.fixture(scope="session")
def sets(patients: Path, tiny_config: TrainingConfig, tmp_path_factory: pytest.TempPathFactory) -> ExampleSets:
    return build_examples(tiny_config, patients, tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def examples(sets: ExampleSets) -> Examples:
    """All examples of the simulated patients, for fit and validation."""
    return join([sets.fit, *sets.validation.values()])


@pytest.fixture(scope="session")
def run_folder(patients: Path, tiny_config: TrainingConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a teacher that was trained on the simulated patients."""
    folder = tmp_path_factory.mktemp("run")
    train(tiny_config, patients, folder)
    return folder
