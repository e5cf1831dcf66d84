"""A run that is given a file for its folder says so at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from ecgmoe_edge.errors import UsageError
from ecgmoe_edge.model.teacher import EcgMoe, save_teacher
from ecgmoe_edge.training.config import TrainingConfig
from ecgmoe_edge.training.run import distill, train


@pytest.mark.parametrize("inside", ["", "deeper/still"])
@pytest.mark.parametrize("option", ["-o", "--cache"])
def test_a_file_where_a_folder_must_be_is_refused_by_its_option(
    option: str, inside: str, patients: Path, tiny_config: TrainingConfig, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    out, cache = (file / inside, None) if option == "-o" else (tmp_path / "run", file / inside)
    with pytest.raises(UsageError, match=f"{file} is a file where a folder is needed; name another.*{option}"):
        train(tiny_config, patients, out, cache=cache)
    assert file.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [file]


def test_a_student_is_not_distilled_into_a_file_either(
    patients: Path, tiny_config: TrainingConfig, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.touch()
    teacher = tmp_path / "teacher.safetensors"
    save_teacher(teacher, EcgMoe(tiny_config.teacher))
    with pytest.raises(UsageError, match="is a file where a folder is needed"):
        distill(tiny_config, patients, file, teacher=teacher, width="nano")
