"""A fit is resumed only if configuration, labels, pretrained networks and initial weights are the same."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from ecgmoe_edge.errors import ModelError
from ecgmoe_edge.model.student import Student, StudentConfig
from ecgmoe_edge.model.teacher import EcgMoe
from ecgmoe_edge.model.teacher_config import BackboneSpec
from ecgmoe_edge.training.augment import Augmenter
from ecgmoe_edge.training.cache import ExampleSets
from ecgmoe_edge.training.config import TrainingConfig
from ecgmoe_edge.training.distil import distil
from ecgmoe_edge.training.fit import fit_teacher


def _teacher(config: TrainingConfig) -> EcgMoe:
    torch.manual_seed(config.seed)
    return EcgMoe(config.teacher)


class _Theirs(torch.nn.Module):
    """A pretrained network from outside this package, which maps one lead to four numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.net = torch.nn.Conv1d(1, 4, 40, 40)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (b, 1, n) to (b, 4)."""
        y: torch.Tensor = self.net(x).mean(2)
        return y


def _theirs() -> torch.nn.Module:
    return _Theirs()


def test_a_checkpoint_of_another_configuration_is_refused(
    run_folder: Path, sets: ExampleSets, tiny_config: TrainingConfig
) -> None:
    other = msgspec.structs.replace(tiny_config, seed=2)
    with pytest.raises(ModelError, match="another configuration"):
        fit_teacher(EcgMoe(other.teacher), sets, other, Augmenter(other.augment), run_folder)


def test_a_checkpoint_of_other_labels_is_refused(
    run_folder: Path, sets: ExampleSets, tiny_config: TrainingConfig
) -> None:
    beat = sets.fit.labels["beat"].copy()
    beat[np.flatnonzero(beat == 0)[0]] = 2  # one N beat becomes a V beat
    corrected = ExampleSets(sets.fit.with_labels(beat=beat), sets.validation)
    with pytest.raises(ModelError, match="another configuration, data set or model"):
        fit_teacher(_teacher(tiny_config), corrected, tiny_config, Augmenter(tiny_config.augment), run_folder)


def test_a_checkpoint_with_another_pretrained_network_is_refused(
    sets: ExampleSets, tiny_config: TrainingConfig, tmp_path: Path
) -> None:
    weights = tmp_path / "theirs.safetensors"
    spec = BackboneSpec("pretrained", 160, factory=f"{__name__}:_theirs", weights=str(weights))
    teacher = msgspec.structs.replace(tiny_config.teacher, backbones=(spec,))
    fit = msgspec.structs.replace(tiny_config.fit, epochs=1)
    config = msgspec.structs.replace(tiny_config, teacher=teacher, fit=fit)
    save_file(_Theirs().state_dict(), weights)
    fit_teacher(_teacher(config), sets, config, Augmenter(config.augment), tmp_path)
    save_file(_Theirs().state_dict(), weights)  # new random weights
    with pytest.raises(ModelError, match="another configuration, data set or model"):
        fit_teacher(_teacher(config), sets, config, Augmenter(config.augment), tmp_path)


def test_a_checkpoint_of_a_student_of_another_teacher_is_refused(
    sets: ExampleSets, tiny_config: TrainingConfig, tmp_path: Path
) -> None:
    settings = tiny_config.distil.float_stage
    for seed, refused in ((1, False), (2, True)):
        torch.manual_seed(seed)
        teacher, student = EcgMoe(tiny_config.teacher), Student(StudentConfig.named("nano"))
        call = (student, teacher, sets, tiny_config, Augmenter(tiny_config.augment), tmp_path)
        if refused:
            with pytest.raises(ModelError, match="another configuration"):
                distil(*call, settings=settings)
        else:
            distil(*call, settings=msgspec.structs.replace(settings, epochs=1))


def test_a_checkpoint_of_a_student_with_other_initial_weights_is_refused(
    sets: ExampleSets, tiny_config: TrainingConfig, tmp_path: Path
) -> None:
    settings = msgspec.structs.replace(tiny_config.distil.float_stage, epochs=1)
    call = (_teacher(tiny_config), sets, tiny_config, Augmenter(tiny_config.augment), tmp_path)
    distil(Student(StudentConfig.named("nano")), *call, settings=settings, begun_from="one")
    with pytest.raises(ModelError, match="another configuration, data set or model"):
        distil(Student(StudentConfig.named("nano")), *call, settings=settings, begun_from="another")


def test_a_damaged_checkpoint_is_refused(sets: ExampleSets, tiny_config: TrainingConfig, tmp_path: Path) -> None:
    (tmp_path / "teacher.checkpoint.safetensors").write_bytes(b"\x00" * 40)
    with pytest.raises(ModelError, match="Delete it to start again"):
        fit_teacher(_teacher(tiny_config), sets, tiny_config, Augmenter(tiny_config.augment), tmp_path)
