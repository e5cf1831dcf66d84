"""Weights files of others run no code of their own naming, and ask for no memory that they do not hold."""

from __future__ import annotations

import json
import os
import shutil
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import ecgmoe_edge
from ecgmoe_edge.cli.evaluate_model import student_in_torch
from ecgmoe_edge.compress.qat import load_qat
from ecgmoe_edge.errors import ModelError
from ecgmoe_edge.model import weights_file
from ecgmoe_edge.model.student import Student, StudentConfig, load_student, save_student
from ecgmoe_edge.model.teacher import EcgMoe
from ecgmoe_edge.model.teacher_config import BackboneSpec, TeacherConfig
from ecgmoe_edge.model.teacher_file import load_teacher, save_teacher
from ecgmoe_edge.model.weights_file import read_metadata
from ecgmoe_edge.training.config import load_config


@pytest.fixture(scope="module")
def small() -> EcgMoe:
    return EcgMoe(TeacherConfig(backbones=(BackboneSpec("dlinear", length=80),), d=8, heads=2, stem=2))


@pytest.fixture
def student(tmp_path: Path) -> Path:
    save_student(tmp_path / "student.safetensors", Student(StudentConfig.named("nano")))
    return tmp_path / "student.safetensors"


def change(path: Path, name: str, tensor: torch.Tensor | None = None, **metadata: str) -> None:
    with safe_open(path, framework="pt") as file:
        held = dict(file.metadata())
    tensors = load_file(path)
    if tensor is not None:
        tensors[name] = tensor
    save_file(tensors, path, metadata={**held, **metadata})


def seal(path: Path) -> None:
    """Write the checksums that fit the content, as an attacker would."""
    with safe_open(path, framework="pt") as file:
        held = dict(file.metadata())
    tensors = load_file(path)
    held["tensors_sha256"] = weights_file._digest(tensors)
    held["metadata_sha256"] = weights_file._metadata_digest(held)
    save_file(tensors, path, metadata=held)


def naming(path: Path, model: EcgMoe, factory: str) -> Path:
    """A teacher's file that names a function for a backbone."""
    (path.parent / "w.safetensors").write_bytes(b"")
    save_teacher(path, model)
    config = msgspec.to_builtins(model.config)
    spec = {"kind": "pretrained", "length": 80, "factory": factory, "weights": str(path.parent / "w.safetensors")}
    config["backbones"] = [*config["backbones"], spec]
    change(path, "", config=json.dumps(config))
    seal(path)
    return path


@pytest.mark.parametrize("factory", ["left_a_mark:make", "sys:exit", "os:getcwd", "http.server:test"])
def test_code_that_a_file_names_is_not_even_imported(
    small: EcgMoe, tmp_path: Path, factory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "left_a_mark.py").write_text(f"open({str(tmp_path / 'mark')!r}, 'w')\n")
    monkeypatch.syspath_prepend(tmp_path)
    path = naming(tmp_path / "t.safetensors", small, factory)
    with pytest.raises(ModelError, match=r"which was not run.*--trust-code.*entry point"):
        load_teacher(path)
    assert not (tmp_path / "mark").exists()
    assert "left_a_mark" not in sys.modules


@pytest.mark.parametrize("factory", ["sys:exit", "exits_at_import:make"])
def test_trusted_code_that_ends_the_program_does_not(
    small: EcgMoe, tmp_path: Path, factory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "exits_at_import.py").write_text("import sys\nsys.exit()\n")
    monkeypatch.syspath_prepend(tmp_path)
    path = naming(tmp_path / "t.safetensors", small, factory)
    with pytest.raises(ModelError, match="SystemExit"):
        load_teacher(path, trust_code=True)


def test_a_training_configuration_names_code_only_where_that_is_trusted(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text(
        '[[data]]\nname = "a"\nfolder = "a"\nvalidation = ["x"]\n[[teacher.backbones]]\nkind = "pretrained"\n'
        'factory = "mine:make"\nweights = "w"\nlength = 80\n'
    )
    with pytest.raises(ModelError, match="--trust-code"):
        load_config(path)
    assert load_config(path, trust_code=True).teacher.backbones[0].factory == "mine:make"


@pytest.mark.parametrize("size", [2000, 10**9])
@pytest.mark.parametrize("field", ["waveform", "dim", "rank", "rhythm_experts"])
def test_a_configuration_that_asks_for_more_than_the_file_holds_is_refused(
    student: Path, field: str, size: int
) -> None:
    config = json.loads(read_metadata(student)["config"])
    change(student, "", config=json.dumps({**config, field: size}))
    with pytest.raises(ModelError):
        load_student(student)


@pytest.mark.parametrize("widths", [[1.0] * 60, [1.0] * 10**5, [2.0], ["1"], {"a": 1}, 1.0, None])
def test_a_bank_of_experts_that_is_not_in_the_file_is_refused(student: Path, widths: object) -> None:
    config = json.loads(read_metadata(student)["config"])
    change(student, "", config=json.dumps({**config, "morphology_widths": widths}))
    with pytest.raises(ModelError):
        load_student(student)


@pytest.mark.parametrize(
    "wanted",
    [{"d": 10**9}, {"d": 2048}, {"rhythm_experts": 10**6}, {"morphology_kernels": [3] * 1000}, {"lora_rank": -1}],
)
def test_the_same_of_a_teacher(small: EcgMoe, tmp_path: Path, wanted: dict[str, Any]) -> None:
    path = tmp_path / "t.safetensors"
    save_teacher(path, small)
    change(path, "", config=json.dumps(msgspec.to_builtins(small.config) | wanted))
    with pytest.raises(ModelError):
        load_teacher(path)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused_by_name(student: Path, bad: float) -> None:
    name, tensor = next((n, t) for n, t in load_file(student).items() if t.is_floating_point())
    change(student, name, torch.full_like(tensor, bad))
    with pytest.raises(ModelError, match=r"contains NaN or infinity"):
        load_student(student)


def test_a_damaged_number_is_found(student: Path) -> None:
    content = bytearray(student.read_bytes())
    content[-1000] ^= 1
    student.write_bytes(content)
    with pytest.raises(ModelError, match=r"is damaged|NaN"):
        load_student(student)


def test_finite_weights_that_answer_without_sense_are_refused(student: Path) -> None:
    tensors = load_file(student)
    # In every normalization, since which experts run depends on their random weights.
    impossible = {name: torch.full_like(each, -1.0) for name, each in tensors.items() if name.endswith("running_var")}
    for name, values in impossible.items():
        change(student, name, values)
    seal(student)
    with pytest.raises(ModelError, match="its labels are meaningless"):
        student_in_torch(student)


@pytest.mark.parametrize("length", [0, 1 << 62, (1 << 64) - 1, 50 << 20])
def test_a_header_longer_than_its_file_is_refused(student: Path, length: int) -> None:
    student.write_bytes(struct.pack("<Q", length) + student.read_bytes()[8:])
    with pytest.raises(ModelError, match="cannot be read as safetensors"):
        load_student(student)


def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    for path in (tmp_path / "pipe", tmp_path / "loop", tmp_path, Path("/dev/zero")):
        with pytest.raises(ModelError, match="The weights cannot be read"):
            load_teacher(path)


def test_weights_that_cannot_be_written_leave_the_old(
    student: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors import torch as writer

    good = student.read_bytes()

    def half(tensors: Any, path: str, metadata: Any = None) -> None:
        Path(path).write_bytes(good[:1000])

    monkeypatch.setattr(writer, "save_file", half)
    with pytest.raises(ModelError, match="cannot be written"):
        save_student(student, Student(StudentConfig.named("nano")))
    assert student.read_bytes() == good
    assert [path.name for path in tmp_path.iterdir()] == [student.name]


def test_changed_words_of_a_header_are_found(student: Path) -> None:
    tensors = load_file(student)
    with safe_open(student, framework="pt") as file:
        held = file.metadata()
    save_file(tensors, student, metadata={**held, "note": "changed"})
    with pytest.raises(ModelError, match="is damaged"):
        load_student(student)


SHIPPED = Path(ecgmoe_edge.__file__).parent / "pretrained"
LOAD: dict[str, Callable[[Path], object]] = {
    "student-nano.safetensors": load_student,
    "student-nano-qat.safetensors": load_qat,
    "teacher.safetensors": load_teacher,
}


@pytest.mark.parametrize("name", sorted(LOAD))
def test_a_copy_of_shipped_weights_with_one_changed_bit_is_refused_wherever_it_lies(name: str, tmp_path: Path) -> None:
    content = bytearray((SHIPPED / name).read_bytes())
    path = tmp_path / "mine.safetensors"
    path.write_bytes(content)
    LOAD[name](path)
    for at in (-1, -5000, len(content) // 2):
        content[at] ^= 1
        path.write_bytes(content)
        with pytest.raises(ModelError, match=r"is damaged|NaN"):
            LOAD[name](path)
        content[at] ^= 1


def test_shipped_weights_whose_configuration_was_changed_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "w"
    shutil.copy(SHIPPED / "student-nano-qat.safetensors", path)
    change(path, "", config=read_metadata(path)["config"].replace('"dropout": 0.2', '"dropout": 0.3'))
    with pytest.raises(ModelError, match="is damaged"):
        load_qat(path)


@pytest.mark.parametrize("missing", ["tensors_sha256", "metadata_sha256"])
def test_a_file_without_its_checksums_is_refused(student: Path, missing: str) -> None:
    with safe_open(student, framework="pt") as file:
        held = file.metadata()
    del held[missing]
    save_file(load_file(student), student, metadata=held)
    with pytest.raises(ModelError, match="is damaged"):
        load_student(student)


@pytest.mark.parametrize("old", ["teacher", "student", "qat"])
def test_a_file_of_an_older_version_is_refused_with_what_to_do(student: Path, old: str) -> None:
    with safe_open(student, framework="pt") as file:
        held = file.metadata()
    save_file(load_file(student), student, metadata={**held, "format": f"ecgmoe-edge {old} 1"})
    for load in LOAD.values():
        with pytest.raises(ModelError, match=r"older version.*again with `ecgmoe-edge (train|distill)`"):
            load(student)
