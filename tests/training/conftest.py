"""Fixtures: a small WFDB folder of simulated patients with premature beats, and a training configuration for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import wfdb
from drawn_records import FS, write_patient

from ecgmoe_edge.model.teacher_config import BackboneSpec, TeacherConfig
from ecgmoe_edge.training.cache import ExampleSets, build_examples
from ecgmoe_edge.training.config import DataSet, Distillation, Draw, Fit, Noise, QatFit, TrainingConfig
from ecgmoe_edge.training.examples import Examples, join
from ecgmoe_edge.training.run import train


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
