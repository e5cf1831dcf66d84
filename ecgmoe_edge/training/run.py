"""Whole runs as started by the command line: train a teacher; distil, extend and quantize a student."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from ecgmoe_edge.errors import UsageError
from ecgmoe_edge.model.student import Student, StudentConfig, load_student, save_student
from ecgmoe_edge.model.teacher import EcgMoe
from ecgmoe_edge.model.teacher_file import save_teacher
from ecgmoe_edge.tasks import STUDENT_TASKS
from ecgmoe_edge.training.checkpoint import tensors_digest
from ecgmoe_edge.training.config import TrainingConfig
from ecgmoe_edge.training.distil import distil
from ecgmoe_edge.training.extension import Extension, fit_extension
from ecgmoe_edge.training.fit import fit_teacher, trained_tasks
from ecgmoe_edge.training.limits import Clock, DeviceName, choose_device
from ecgmoe_edge.training.run_folder import load_examples, make_augmenter, run_metadata, write_report
from ecgmoe_edge.training.sampling import epoch_indices
from ecgmoe_edge.training.survey import Survey
from ecgmoe_edge.training.teachers import load_teaching_model, refuse_untrained

if TYPE_CHECKING:
    from ecgmoe_edge.compress.qat import QatSettings

_CALIBRATION_BATCHES = 8  # number of batches that set the initial ranges of the quantization-aware student


def train(
    config: TrainingConfig,
    data_dir: Path,
    out_dir: Path,
    *,
    cache: Path | None = None,
    jobs: int = 1,
    threads: int = 1,
    device: DeviceName = "auto",
    clock: Clock | None = None,
    progress: bool = False,
    strict: bool = False,
    on_survey: Callable[[Survey], None] | None = None,
) -> Path:
    """Train the teacher, or resume an interrupted run.

    Files in `out_dir`: teacher.safetensors; teacher.metrics.csv, one row per epoch; teacher.curves.png, a plot of these
    metrics; teacher.json, with configuration, data and validation; and the checkpoint.

    Args:
        config: what to train on and how.
        data_dir: folder that contains the folders of the data sets.
        out_dir: folder for the files; it is created if absent.
        cache: folder for the examples; None takes `examples` in `out_dir`.
        jobs: number of processes that make examples.
        threads: number of torch threads; only with the same number is the result the same bit for bit.
        device: where the model runs; "auto" takes a GPU if there is one.
        clock: time limit; None for no limit.
        progress: whether to show progress bars on stderr.
        strict: whether to raise an error if a record cannot be used; otherwise it is left out.
        on_survey: called before the long work with the records that are left out and the remarks on the others.

    Returns:
        The path of the weights.

    Raises:
        EcgmoeError: data, configuration or checkpoint cannot be used; the message says what to do.
        OutOfTime: the time limit is reached; the same call resumes the run.
    """
    torch.set_num_threads(threads)
    processor = choose_device(device)
    if config.teacher.leads != 1:
        raise UsageError(
            "A training example has one lead, so [teacher] leads must be 1. To train on several leads, list them in "
            "[[data]] leads."
        )
    sets = load_examples(config, data_dir, out_dir, cache, jobs, clock, progress, strict, on_survey)
    torch.manual_seed(config.seed)
    model = EcgMoe(config.teacher)
    augmenter = make_augmenter(config, data_dir)
    result = fit_teacher(model, sets, config, augmenter, out_dir, device=processor, clock=clock, progress=progress)
    path = out_dir / "teacher.safetensors"
    trained = tuple(name for name in trained_tasks(sets.fit) if name in config.teacher.tasks)
    save_teacher(path, model, run_metadata(config) | {"trained_tasks": ",".join(trained)})
    write_report(path, config, sets, result, lambda batch: model(*batch.teacher_inputs(), tasks=trained), tasks=trained)
    return path


def distill(
    config: TrainingConfig,
    data_dir: Path,
    out_dir: Path,
    *,
    teacher: Path,
    start: Path | None = None,
    width: str = "small",
    morphology_widths: tuple[float, ...] | None = None,
    tasks: tuple[str, ...] | None = None,
    cache: Path | None = None,
    jobs: int = 1,
    threads: int = 1,
    device: DeviceName = "auto",
    clock: Clock | None = None,
    progress: bool = False,
    strict: bool = False,
    on_survey: Callable[[Survey], None] | None = None,
    trust_code: bool = False,
) -> Path:
    """Distil a float student from the teacher, or resume an interrupted run.

    Files in `out_dir`: student-<width>.safetensors, .metrics.csv, .json and the checkpoint.

    Args:
        config: see `train`.
        data_dir: see `train`.
        out_dir: see `train`.
        teacher: weights of the teacher, or of a float student that teaches this one.
        start: weights of a float student that the fit begins with; None begins with random weights.
        width: width of the student: "nano", "small" or "base".
        morphology_widths: fraction of the full number of channels of each morphology expert, in ascending order; None
            takes those of the width.
        tasks: tasks of the student; None takes those of beat and rhythm that the teacher was trained for, and only beat
            for the nano student.
        cache: see `train`.
        jobs: see `train`.
        threads: see `train`.
        device: see `train`.
        clock: see `train`.
        progress: see `train`.
        strict: see `train`.
        on_survey: see `train`.
        trust_code: whether to run code that the teacher's file names; see `load_teacher`.

    Returns:
        The path of the weights.

    Raises:
        EcgmoeError: data, configuration, teacher or checkpoint cannot be used; the message says what to do.
        OutOfTime: the time limit is reached; the same call resumes the run.
    """
    torch.set_num_threads(threads)
    processor = choose_device(device)
    teacher_model, trained = load_teaching_model(teacher, trust_code=trust_code)
    wanted = _usual_tasks(width, trained) if tasks is None else tasks
    refuse_untrained(teacher, trained, wanted)
    sizes = {} if morphology_widths is None else {"morphology_widths": morphology_widths}
    student_config = StudentConfig.named(width, tasks=wanted, artefact_answer=config.distil.artefact_answer, **sizes)
    name = f"student-{width}"
    path = out_dir / f"{name}.safetensors"
    begun_from = None if start is None else _load_start(start, student_config, path)
    sets = load_examples(config, data_dir, out_dir, cache, jobs, clock, progress, strict, on_survey)
    torch.manual_seed(config.seed)
    student = Student(student_config) if begun_from is None else begun_from
    result = distil(
        student,
        teacher_model,
        sets,
        config,
        make_augmenter(config, data_dir),
        out_dir,
        settings=config.distil.float_stage,
        name=name,
        tasks=student_config.tasks,
        begun_from="" if begun_from is None else tensors_digest(begun_from),
        device=processor,
        clock=clock,
        progress=progress,
    )
    save_student(path, student, run_metadata(config))
    write_report(
        path,
        config,
        sets,
        result,
        lambda batch: student(*batch.student_inputs(), route="hard"),
        tasks=student_config.tasks,
        student=student_config,
        begun_from=start,
    )
    return path


def _load_start(path: Path, wanted: StudentConfig, written: Path) -> Student:
    """Load the student that a fit begins with.

    Args:
        path: the file.
        wanted: configuration of the student to be distilled.
        written: file that the fit will write.

    Raises:
        ModelError: the file is not a float student.
        UsageError: its configuration is not the wanted one, or the fit would replace it.
    """
    if path.resolve() == written.resolve():
        raise UsageError(f"The run would replace {path}, which it begins with. Give another folder with -o.")
    student = load_student(path)
    found, asked = dataclasses.asdict(student.config), dataclasses.asdict(wanted)
    if different := [f"{key} {found[key]} instead of {asked[key]}" for key in asked if found[key] != asked[key]]:
        raise UsageError(
            f"{path} has {'; '.join(different)}, so a fit of the wanted student cannot begin with its weights. Give a "
            "student of the same configuration, or change --width, --morphology-widths, --teacher or [distil] "
            "artefact_answer."
        )
    return student


def _usual_tasks(width: str, trained: tuple[str, ...]) -> tuple[str, ...]:
    usual = ("beat",) if width == "nano" else STUDENT_TASKS
    return tuple(task for task in usual if task in trained) or ("beat",)


def extend(
    config: TrainingConfig,
    data_dir: Path,
    out_dir: Path,
    *,
    student: Path,
    cache: Path | None = None,
    jobs: int = 1,
    threads: int = 1,
    device: DeviceName = "auto",
    clock: Clock | None = None,
    progress: bool = False,
    strict: bool = False,
    on_survey: Callable[[Survey], None] | None = None,
) -> Path:
    """Extend a float student by a light morphology expert and fit its rhythm task again, or resume an interrupted run.

    All other weights stay the same, see `training.extension`. Files in `out_dir`: student-<width>-extended.safetensors,
    .metrics.csv, .curves.png, .json and the checkpoint.

    Args:
        config: see `train`.
        data_dir: see `train`.
        out_dir: see `train`.
        student: weights of the float student; the file is not changed.
        cache: see `train`.
        jobs: see `train`.
        threads: see `train`.
        device: see `train`.
        clock: see `train`.
        progress: see `train`.
        strict: see `train`.
        on_survey: see `train`.

    Returns:
        The path of the weights of the extended student.

    Raises:
        EcgmoeError: data, configuration, student or checkpoint cannot be used; the message says what to do.
        OutOfTime: the time limit is reached; the same call resumes the run.
    """
    torch.set_num_threads(threads)
    processor = choose_device(device)
    start = load_student(student)
    torch.manual_seed(config.seed)
    # Before the long work on the examples, because it refuses unsuitable students.
    model = Extension(start, light_expert=config.distil.extension_light_expert)
    name = f"student-{StudentConfig.named(start.config.width).width}-extended"
    sets = load_examples(config, data_dir, out_dir, cache, jobs, clock, progress, strict, on_survey)
    result = fit_extension(
        model,
        sets,
        config,
        make_augmenter(config, data_dir),
        out_dir,
        name=name,
        begun_from=tensors_digest(start),
        device=processor,
        clock=clock,
        progress=progress,
    )
    extended = model.merged()
    path = out_dir / f"{name}.safetensors"
    save_student(path, extended, run_metadata(config))
    write_report(
        path,
        config,
        sets,
        result,
        lambda batch: extended(*batch.student_inputs(), route="hard"),
        tasks=extended.tasks,
        student=extended.config,
        begun_from=student,
    )
    return path


def quantize(
    config: TrainingConfig,
    data_dir: Path,
    out_dir: Path,
    *,
    student: Path,
    teacher: Path,
    settings: QatSettings | None = None,
    name: str | None = None,
    cache: Path | None = None,
    jobs: int = 1,
    threads: int = 1,
    clock: Clock | None = None,
    progress: bool = False,
    strict: bool = False,
    on_survey: Callable[[Survey], None] | None = None,
    trust_code: bool = False,
) -> Path:
    """Continue the training of a distilled student with quantization-aware training, or resume an interrupted run.

    LoRA is merged, routing is hard, and the int8 ranges are trained. Files in `out_dir`: <name>.safetensors,
    .metrics.csv, .json and the checkpoint. The stage is short and runs on the CPU, which the graphs that torchao
    prepares are made for.

    Args:
        config: see `train`.
        data_dir: see `train`.
        out_dir: see `train`.
        student: weights of the float student.
        teacher: weights of the teacher, or of a float student such as the same one (self-distillation). Then experts of
            unequal cost keep their routes.
        settings: None quantizes all tasks of the student with zero points.
        name: prefix of the names of the files; None takes that of the student's file, with "-qat".
        cache: see `train`.
        jobs: see `train`.
        threads: see `train`.
        clock: see `train`.
        progress: see `train`.
        strict: see `train`.
        on_survey: see `train`.
        trust_code: whether to run code that the teacher's file names; see `load_teacher`.

    Returns:
        The path of the weights.

    Raises:
        EcgmoeError: data, configuration, models or checkpoint cannot be used; the message says what to do.
        OutOfTime: the time limit is reached; the same call resumes the run.
    """
    from ecgmoe_edge.compress.qat import QatSettings, QatStudent, save_qat  # imported late: torchao needs seconds

    torch.set_num_threads(threads)
    (teacher_model, trained), start = load_teaching_model(teacher, trust_code=trust_code), load_student(student)
    settings = settings or QatSettings(tasks=start.config.tasks)
    name = name or f"{student.stem}-qat"
    if not set(settings.tasks) <= set(start.config.tasks):
        missing = ", ".join(task for task in settings.tasks if task not in start.config.tasks)
        raise UsageError(f"{student} has no head for {missing}. Distil a student for these tasks.")
    refuse_untrained(teacher, trained, settings.tasks)
    sets = load_examples(config, data_dir, out_dir, cache, jobs, clock, progress, strict, on_survey)
    augmenter = make_augmenter(config, data_dir)
    torch.manual_seed(config.seed)
    model = QatStudent(start, settings)
    stage, rng = config.distil.qat_stage, np.random.default_rng(config.seed)
    drawn = epoch_indices(sets.fit, config.draw, rng)[: stage.batch * _CALIBRATION_BATCHES]
    parts = np.array_split(drawn, min(_CALIBRATION_BATCHES, len(drawn)))
    model.calibrate([augmenter.batch(sets.fit, part, rng).student_inputs() for part in parts])

    def freeze_late(epoch: int, _: torch.nn.Module) -> None:
        if epoch >= stage.epochs - max(1, stage.epochs // 3):
            model.freeze_observers()  # the last epochs train with the ranges that the device will use

    result = distil(
        model,
        teacher_model,
        sets,
        config,
        augmenter,
        out_dir,
        settings=stage,
        name=name,
        tasks=settings.tasks,
        begun_from=tensors_digest(start),
        keep_routes=isinstance(teacher_model, Student),
        on_epoch=freeze_late,
        clock=clock,
        progress=progress,
    )
    path = out_dir / f"{name}.safetensors"
    save_qat(path, model, run_metadata(config))
    write_report(
        path,
        config,
        sets,
        result,
        lambda batch: model(*batch.student_inputs(), route="hard"),
        tasks=settings.tasks,
        student=dataclasses.replace(start.config, tasks=settings.tasks),
        begun_from=student,
    )
    return path
