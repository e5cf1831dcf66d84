from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from installed_command import Cli

pytest.importorskip("torch", reason="training needs it")

from ecgmoe_edge.cli.distill import distill
from ecgmoe_edge.errors import ModelError, UsageError
from ecgmoe_edge.model.student import Student, StudentConfig, save_student
from ecgmoe_edge.training import run
from ecgmoe_edge.training.config import TrainingConfig, load_config


@pytest.mark.parametrize(("given", "used"), [(None, load_config().distil.cost_weight), (0.5, 0.5), (0.0, 0.0)])
def test_the_weight_of_the_cost_can_be_given_for_one_run(
    given: float | None, used: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configurations: list[TrainingConfig] = []

    def record(config: TrainingConfig, *_: Any, **__: Any) -> Path:
        configurations.append(config)
        return tmp_path / "student-nano.safetensors"

    monkeypatch.setattr(run, "distill", record)
    distill(cost_weight=given, data=tmp_path, out=tmp_path / "run", width="nano", float_only=True)
    assert [config.distil.cost_weight for config in configurations] == [used]


def test_the_sizes_of_the_experts_can_be_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[object] = []

    def record(*_: Any, morphology_widths: object, **__: Any) -> Path:
        given.append(morphology_widths)
        return tmp_path / "student-nano.safetensors"

    monkeypatch.setattr(run, "distill", record)
    for text in (None, "0,0.25,0.5"):
        distill(morphology_widths=text, data=tmp_path, out=tmp_path / "run", width="nano", float_only=True)
    assert given == [None, (0.0, 0.25, 0.5)]
    with pytest.raises(UsageError, match="is no list of numbers: give, for example"):
        distill(morphology_widths="a,b", data=tmp_path, out=tmp_path / "run", width="nano", float_only=True)
    with pytest.raises(UsageError, match="--student has its experts already"):
        distill(morphology_widths="0,1", student=tmp_path / "s.safetensors", data=tmp_path, out=tmp_path / "run")


@pytest.fixture
def stages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    """The options of each stage that the command runs, by its name; no stage does any work."""
    called: dict[str, dict[str, Any]] = {}

    def stand_in(stage: str, file: str) -> Any:
        def record(config: TrainingConfig, *_: Any, **options: Any) -> Path:
            called[stage] = {**options, "config": config}
            save_student(tmp_path / file, Student(StudentConfig.named("nano")))
            return tmp_path / file

        return record

    monkeypatch.setattr(run, "distill", stand_in("distill", "student-nano.safetensors"))
    monkeypatch.setattr(run, "extend", stand_in("extend", "student-nano-extended.safetensors"))
    monkeypatch.setattr(run, "quantize", stand_in("quantize", "student-nano-extended-qat.safetensors"))
    return called


def test_an_extended_student_is_quantized_with_itself_as_the_teacher(
    stages: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    pytest.importorskip("torchao")
    distill(extend=tmp_path / "mine.safetensors", cost_weight=0.3, data=tmp_path, out=tmp_path / "run")
    assert list(stages) == ["extend", "quantize"]
    assert stages["extend"]["student"] == tmp_path / "mine.safetensors"
    assert stages["extend"]["config"].distil.extension_cost == 0.3
    assert stages["extend"]["config"].distil.cost_weight == load_config().distil.cost_weight
    extended = tmp_path / "student-nano-extended.safetensors"
    assert (stages["quantize"]["student"], stages["quantize"]["teacher"]) == (extended, extended)
    assert stages["quantize"]["name"] == "student-nano-extended-qat"


def test_another_teacher_of_an_extended_student_is_checked_before_the_extension(
    stages: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    options: dict[str, Any] = {
        "extend": tmp_path / "mine.safetensors",
        "data": tmp_path,
        "out": tmp_path / "run",
        "float_only": True,
    }
    with pytest.raises(ModelError, match="absent"):
        distill(teacher=tmp_path / "absent.safetensors", **options)
    assert not stages
    distill(**options)
    assert list(stages) == ["extend"]


def test_a_distillation_can_begin_with_weights(stages: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    distill(start=tmp_path / "mine.safetensors", data=tmp_path, out=tmp_path / "run", float_only=True)
    assert stages["distill"]["start"] == tmp_path / "mine.safetensors"
    assert stages["distill"]["teacher"] == Path("runs/teacher/teacher.safetensors")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--extend", "a", "--student", "b"), "--student and --extend exclude each other: quantize a student with"),
        (("--extend", "a", "--start", "b"), "--start and --extend exclude each other"),
        (("--student", "a", "--start", "b"), "--student and --start exclude each other"),
        (("--extend", "a", "--morphology-widths", "0,1"), "--extend keeps the experts of its student"),
    ],
)
def test_options_that_exclude_each_other_are_refused(cli: Cli, options: tuple[str, ...], message: str) -> None:
    done = cli("distill", *options)
    assert (done.code, done.out) == (2, "")
    assert message in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize("option", ["--extend", "--teacher"])
def test_a_file_that_is_no_model_is_refused_in_a_sentence(cli: Cli, option: str) -> None:
    (cli.folder / "text.safetensors").write_text("no weights")
    done = cli("distill", option, "text.safetensors", "--data", ".", "--float-only")
    assert (done.code, done.out) == (3, "")
    assert "cannot be read as safetensors" in done.err.splitlines()[-1]
