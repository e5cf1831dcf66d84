"""Selects the model of `evaluate`: a bundle, the full-precision teacher, a student before export, or none."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typer.core import TyperCommand

from ecgmoe_edge.cli.preparation import quiet_libraries, require
from ecgmoe_edge.errors import ModelError, UsageError
from ecgmoe_edge.input_files import check_input_file, is_absent

if TYPE_CHECKING:
    from ecgmoe_edge.model.streaming_models import StreamingStudent, StreamingTeacher
    from ecgmoe_edge.scoring.record_runs import ModelFile

SHIPPED = "shipped"


class TeacherMayStandAlone(TyperCommand):
    """A command whose option `--teacher` may have no value, which selects the shipped teacher."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Insert the name of the shipped teacher after a `--teacher` without a value."""
        filled = []
        for position, word in enumerate(args):
            filled.append(word)
            last = position + 1 == len(args)
            if word == "--teacher" and (last or args[position + 1].startswith("-")):
                filled.append(SHIPPED)
        return super().parse_args(ctx, filled)


def chosen_model(
    bundle: Path | None, teacher: str | None, student: Path | None, *, peaks_only: bool, trust_code: bool = False
) -> ModelFile:
    """The model that the options select; by default the shipped bundle.

    Args:
        bundle: value of `--bundle`.
        teacher: value of `--teacher`.
        student: value of `--student`.
        peaks_only: run without a model.
        trust_code: allow code that the file of the teacher names to run.

    Raises:
        UsageError: the options select more than one model, or a model that is not used.
        MissingExtra: torch is needed and not installed.
        ModelError, BundleError: the file does not exist.
    """
    from ecgmoe_edge.scoring.record_runs import ModelFile

    named = [name for name, value in (("--bundle", bundle), ("--teacher", teacher), ("--student", student)) if value]
    if len(named) > 1:
        raise UsageError(f"{' and '.join(named)} each name a model. Give only one of them.")
    if peaks_only:
        if named:
            raise UsageError(f"--only rpeaks runs without a model: omit {named[0]}.")
        return ModelFile()
    if teacher is None and student is None:
        return ModelFile(bundle or _shipped_bundle())
    require("train", "torch", "safetensors")
    if teacher is not None:
        path = _shipped_teacher() if teacher == SHIPPED else _existing(Path(teacher))
        return ModelFile(path, trusted_teacher_in_torch if trust_code else teacher_in_torch)
    return ModelFile(_existing(Path(student or "")), student_in_torch)


def describe_model(model: ModelFile) -> dict[str, Any]:
    """A description of the model for JSON: kind, file, and for a bundle name, profile and precision."""
    if model.path is None:
        return {"kind": "none, R peaks alone"}
    if model.load is None:
        from ecgmoe_edge.runtime.bundle import open_bundle

        manifest = open_bundle(model.path).manifest
        words = {"name": manifest.name, "profile": manifest.profile, "precision": manifest.model.precision}
        return {"kind": "bundle", "file": model.path.name, **words}
    kind = "student in torch" if model.load is student_in_torch else "teacher, full precision"
    return {"kind": kind, "file": model.path.name}


def teacher_in_torch(path: Path) -> StreamingTeacher:
    """Load the full-precision teacher. It runs on one thread, because records run in parallel processes."""
    return _teacher(path, trust_code=False)


def trusted_teacher_in_torch(path: Path) -> StreamingTeacher:
    """Load the full-precision teacher from a trusted file, which may name code to run."""
    return _teacher(path, trust_code=True)


def _teacher(path: Path, *, trust_code: bool) -> StreamingTeacher:
    _quiet_torch()
    from ecgmoe_edge.model.streaming_models import load_streaming_teacher, refuse_unusable

    model = load_streaming_teacher(path, trust_code=trust_code)
    refuse_unusable(model, path)
    return model


def student_in_torch(path: Path) -> StreamingStudent:
    """Load a student: in float, or with simulated quantization if its file is from quantization-aware training."""
    _quiet_torch()
    from ecgmoe_edge.model.streaming_models import StreamingStudent, refuse_unusable
    from ecgmoe_edge.model.student import load_student
    from ecgmoe_edge.model.weights_file import read_metadata

    if "qat" not in read_metadata(path).get("format", ""):
        student = load_student(path)
        model = StreamingStudent(student, student.config.classes)
        refuse_unusable(model, path)
        return model
    require("export", "torchao")
    from ecgmoe_edge.compress.qat import load_qat

    simulated = load_qat(path)
    classes = {task: simulated.config.classes[task] for task in simulated.tasks}
    model = StreamingStudent(simulated, classes)
    refuse_unusable(model, path)
    return model


def _quiet_torch() -> None:
    quiet_libraries()
    import torch

    torch.set_num_threads(1)


def _existing(path: Path) -> Path:
    if is_absent(path):
        raise ModelError(f"There is no file {path}. Name weights written by `train` or `distill`.")
    check_input_file(path, "weights file")
    return path


def _shipped_teacher() -> Path:
    path = Path(str(resources.files("ecgmoe_edge"))) / "pretrained" / "teacher.safetensors"
    if not path.is_file():
        raise ModelError("This package contains no teacher. Name weights written by `train`: --teacher FILE.")
    return path


def _shipped_bundle() -> Path:
    from ecgmoe_edge.runtime import shipped_bundle

    return shipped_bundle()
