"""A file in place of an output folder is refused at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from ecgmoe_edge.errors import UsageError
from ecgmoe_edge.model.teacher import EcgMoe
from ecgmoe_edge.model.teacher_file import save_teacher
from ecgmoe_edge.training.config import TrainingConfig
from ecgmoe_edge.training.run import distill, train


@pytest.mark.parametrize("inside", ["", "deeper/still"])
@pytest.mark.parametrize("option", ["-o", "--cache"])
def test_a_file_in_place_of_a_folder_is_refused_with_its_option(
    option: str, inside: str, patients: Path, tiny_config: TrainingConfig, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    out, cache = (file / inside, None) if option == "-o" else (tmp_path / "run", file / inside)
    with pytest.raises(UsageError, match=f"{file} is a file where a folder is needed; give another.*{option}"):
        train(tiny_config, patients, out, cache=cache)
    assert file.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [file]


def test_a_file_in_place_of_the_folder_of_a_student_is_refused(
    patients: Path, tiny_config: TrainingConfig, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.touch()
    teacher = tmp_path / "teacher.safetensors"
    save_teacher(teacher, EcgMoe(tiny_config.teacher))
    with pytest.raises(UsageError, match="is a file where a folder is needed"):
        distill(tiny_config, patients, file, teacher=teacher, width="nano")
