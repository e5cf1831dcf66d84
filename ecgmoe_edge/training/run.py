"""Whole runs as started by the command line: train the teacher, distil a student, quantize it; one folder per run."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ecgmoe_edge.durable_files import write_text
from ecgmoe_edge.errors import UsageError
from ecgmoe_edge.model.macs import count_macs
from ecgmoe_edge.model.streaming_models import trained_heads
from ecgmoe_edge.model.student import Student, StudentConfig, load_student, save_student
from ecgmoe_edge.model.teacher import EcgMoe
from ecgmoe_edge.model.teacher_file import load_teacher, save_teacher
from ecgmoe_edge.tasks import STUDENT_TASKS
from ecgmoe_edge.training.augment import Augmenter, read_noise
from ecgmoe_edge.training.cache import ExampleSets, build_examples, front_end_digest
from ecgmoe_edge.training.checkpoint import tensors_digest
from ecgmoe_edge.training.config import TrainingConfig
from ecgmoe_edge.training.distil import distil
from ecgmoe_edge.training.fit import fit_teacher, trained_tasks
from ecgmoe_edge.training.limits import Clock, DeviceName, choose_device
from ecgmoe_edge.training.loop import FitResult
from ecgmoe_edge.training.sampling import epoch_indices
from ecgmoe_edge.training.survey import Survey, listed
from ecgmoe_edge.training.validate import Run, validate

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
    sets = _load_examples(config, data_dir, out_dir, cache, jobs, clock, progress, strict, on_survey)
    torch.manual_seed(config.seed)
    model = EcgMoe(config.teacher)
    augmenter = _augmenter(config, data_dir)
    result = fit_teacher(model, sets, config, augmenter, out_dir, device=processor, clock=clock, progress=progress)
    path = out_dir / "teacher.safetensors"
    trained = tuple(name for name in trained_tasks(sets.fit) if name in config.teacher.tasks)
    save_teacher(path, model, _metadata(config) | {"trained_tasks": ",".join(trained)})
    _write_report(
        path, config, sets, result, lambda batch: model(*batch.teacher_inputs(), tasks=trained), tasks=trained
    )
    return path


def distill(
    config: TrainingConfig,
    data_dir: Path,
    out_dir: Path,
    *,
    teacher: Path,
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
        teacher: weights of the teacher.
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
    teacher_model = load_teacher(teacher, trust_code=trust_code)
    trained = trained_heads(teacher, teacher_model)
    wanted = _usual_tasks(width, trained) if tasks is None else tasks
    if untrained := set(wanted) - set(trained):
        raise UsageError(
            f"{teacher} was not trained for {', '.join(sorted(untrained))}, so a student cannot learn it from this "
            "teacher. Train a teacher on recordings with such labels; see docs/training.md."
        )
    sizes = {} if morphology_widths is None else {"morphology_widths": morphology_widths}
    student_config = StudentConfig.named(width, tasks=wanted, **sizes)
    sets = _load_examples(config, data_dir, out_dir, cache, jobs, clock, progress, strict, on_survey)
    torch.manual_seed(config.seed)
    student = Student(student_config)
    name = f"student-{width}"
    result = distil(
        student,
        teacher_model,
        sets,
        config,
        _augmenter(config, data_dir),
        out_dir,
        settings=config.distil.float_stage,
        name=name,
        tasks=student_config.tasks,
        device=processor,
        clock=clock,
        progress=progress,
    )
    path = out_dir / f"{name}.safetensors"
    save_student(path, student, _metadata(config))
    _write_report(
        path,
        config,
        sets,
        result,
        lambda batch: student(*batch.student_inputs(), route="hard"),
        tasks=student_config.tasks,
        student=student_config,
    )
    return path


def _usual_tasks(width: str, trained: tuple[str, ...]) -> tuple[str, ...]:
    usual = ("beat",) if width == "nano" else STUDENT_TASKS
    return tuple(task for task in usual if task in trained) or ("beat",)


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
        teacher: weights of the teacher.
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
    teacher_model, start = load_teacher(teacher, trust_code=trust_code), load_student(student)
    settings = settings or QatSettings(tasks=start.config.tasks)
    name = name or f"{student.stem}-qat"
    if not set(settings.tasks) <= set(start.config.tasks):
        missing = ", ".join(task for task in settings.tasks if task not in start.config.tasks)
        raise UsageError(f"{student} has no head for {missing}. Distil a student for these tasks.")
    sets = _load_examples(config, data_dir, out_dir, cache, jobs, clock, progress, strict, on_survey)
    augmenter = _augmenter(config, data_dir)
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
        on_epoch=freeze_late,
        clock=clock,
        progress=progress,
    )
    path = out_dir / f"{name}.safetensors"
    save_qat(path, model, _metadata(config))
    _write_report(
        path,
        config,
        sets,
        result,
        lambda batch: model(*batch.student_inputs(), route="hard"),
        tasks=settings.tasks,
        student=dataclasses.replace(start.config, tasks=settings.tasks),
    )
    return path


def _load_examples(
    config: TrainingConfig,
    data_dir: Path,
    out_dir: Path,
    cache: Path | None,
    jobs: int,
    clock: Clock | None,
    progress: bool,
    strict: bool,
    on_survey: Callable[[Survey], None] | None,
) -> ExampleSets:
    _check_folder(out_dir, "-o")
    if cache is not None:
        _check_folder(cache, "--cache")
    cache = cache or out_dir / "examples"
    sets = build_examples(
        config, data_dir, cache, jobs=jobs, clock=clock, progress=progress, strict=strict, on_survey=on_survey
    )
    if not sets.validation:
        raise UsageError(
            "No data set of the configuration has usable validation records, so no epoch can be chosen. "
            "List some under `validation`, or give a `validation_share`."
            + (f" {listed(sets.left_out)}" if sets.left_out else "")
        )
    return sets


def _check_folder(folder: Path, option: str) -> None:
    """Refuse a path that cannot be a folder, before the examples are made."""
    for path in (folder, *folder.parents):
        if path.exists() and not path.is_dir():
            raise UsageError(f"{path} is a file where a folder is needed; give another folder with {option}.")


def _augmenter(config: TrainingConfig, data_dir: Path) -> Augmenter:
    return Augmenter(config.augment, None if config.noise is None else read_noise(config.noise, data_dir))


def _metadata(config: TrainingConfig) -> dict[str, str]:
    return {"training": config.digest(), "front_end": front_end_digest()[:16]}


def _write_report(
    path: Path,
    config: TrainingConfig,
    sets: ExampleSets,
    result: FitResult,
    run: Run,
    *,
    tasks: tuple[str, ...],
    student: StudentConfig | None = None,
) -> None:
    """Write a JSON file next to the weights, with configuration, versions, records and validation figures.

    For a student, the figures include its multiply-accumulates and those of its dense twin.
    """
    macs = None if student is None else count_macs(student)
    twin_macs = None if student is None else count_macs(student.dense_twin()).most
    report: dict[str, Any] = {
        "weights": path.name,
        "trained_tasks": list(tasks),
        "configuration": config.to_json(),
        "front_end": front_end_digest()[:16],
        "versions": {"torch": torch.__version__, "numpy": np.__version__},
        "left_out": dict(sets.left_out),
        "fitted_on": _records_by_set(sets.fit.records),
        "validated_on": {name: _records_by_set(one.records)[name] for name, one in sets.validation.items()},
        "fit": {key: value for key, value in dataclasses.asdict(result).items() if key not in ("rows", "metrics")},
        "validation": {
            name: validate(run, one, macs=macs, dense_twin_macs=twin_macs).to_json()
            for name, one in sets.validation.items()
        },
    }
    write_text(path.with_suffix(".json"), json.dumps(report, indent=1) + "\n")


def _records_by_set(records: tuple[str, ...]) -> dict[str, str]:
    """Group the names "set/record" by data set, in one string each, so that the file stays readable."""
    names: dict[str, dict[str, None]] = {}
    for record in records:
        data, _, name = record.partition(":")[0].partition("/")  # all runs of a record count as one record
        names.setdefault(data, {})[name] = None
    return {data: " ".join(of_set) for data, of_set in names.items()}
