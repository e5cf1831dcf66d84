"""Whole runs, as the command line starts them: train the teacher, distil a student, with all files in one folder."""

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
from ecgmoe_edge.model.streaming_models import taught_tasks
from ecgmoe_edge.model.student import Student, StudentConfig, load_student, save_student
from ecgmoe_edge.model.teacher import EcgMoe, load_teacher, save_teacher
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

#: Beats that set the first ranges of the quantization-aware student.
_CALIBRATION_BATCHES = 8


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
    """Train the teacher, or go on with a run that was killed; gives the path of its weights.

    Files in `out_dir`: teacher.safetensors, teacher.metrics.csv (an epoch a row), teacher.curves.png (the same as a
    picture), teacher.json (how it was made, how it validates) and the checkpoint.

    Args:
        config: what to train on and how.
        data_dir: folder of the data sets' folders.
        out_dir: made if absent.
        cache: folder for the examples; None takes `examples` inside `out_dir`.
        jobs: processes that make examples.
        threads: of torch; the result is the same to the bit only for the same number.
        device: where the model runs; "auto" takes a GPU where there is one.
        clock: how long it may take; None for ever.
        progress: show progress bars on stderr.
        strict: refuse to begin where a record cannot be used; else it is left out.
        on_survey: called before the long work with what is left out and what is to be known of the rest.

    Raises:
        EcgmoeError: data, configuration or checkpoint do not fit; the message says what to do.
        OutOfTime: the clock ended; the same call goes on from what was done.
    """
    torch.set_num_threads(threads)
    processor = choose_device(device)
    if config.teacher.leads != 1:
        raise UsageError("Training examples have one lead; [teacher] leads has to be 1. [[data]] leads mixes several.")
    sets = _sets(config, data_dir, out_dir, cache, jobs, clock, progress, strict, on_survey)
    torch.manual_seed(config.seed)
    model = EcgMoe(config.teacher)
    augmenter = _augmenter(config, data_dir)
    result = fit_teacher(model, sets, config, augmenter, out_dir, device=processor, clock=clock, progress=progress)
    path = out_dir / "teacher.safetensors"
    trained = tuple(name for name in trained_tasks(sets.fit) if name in config.teacher.tasks)
    save_teacher(path, model, _header(config) | {"trained_tasks": ",".join(trained)})
    _describe(path, config, sets, result, lambda batch: model(*batch.teacher_inputs(), tasks=trained), tasks=trained)
    return path


def distill(
    config: TrainingConfig,
    data_dir: Path,
    out_dir: Path,
    *,
    teacher: Path,
    width: str = "small",
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
    """Distil a student of a width from the teacher, in float; or go on with a run that was killed.

    Files in `out_dir`: student-<width>.safetensors, .metrics.csv, .json and the checkpoint. See `train` for the other
    arguments. `tasks` None takes beat for the nano student and beat and rhythm for the others, where the teacher was
    trained for them. `trust_code`: whether code that the teacher's file names may run, see `load_teacher`.

    Raises:
        EcgmoeError: data, configuration, teacher or checkpoint do not fit; the message says what to do.
        OutOfTime: the clock ended; the same call goes on from what was done.
    """
    torch.set_num_threads(threads)
    processor = choose_device(device)
    taught_by = load_teacher(teacher, trust_code=trust_code)
    taught = taught_tasks(teacher, taught_by)
    wanted = _tasks_of_a_student(width, taught) if tasks is None else tasks
    if untaught := set(wanted) - set(taught):
        raise UsageError(
            f"{teacher} was not trained for {', '.join(sorted(untaught))}, so no student can learn it from there. "
            "Train one on recordings with such labels; see docs/training.md."
        )
    student_config = StudentConfig.named(width, tasks=wanted)
    sets = _sets(config, data_dir, out_dir, cache, jobs, clock, progress, strict, on_survey)
    torch.manual_seed(config.seed)
    student = Student(student_config)
    name = f"student-{width}"
    result = distil(
        student,
        taught_by,
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
    save_student(path, student, _header(config))
    _describe(
        path,
        config,
        sets,
        result,
        lambda batch: student(*batch.student_inputs(), route="hard"),
        tasks=student_config.tasks,
    )
    return path


def _tasks_of_a_student(width: str, taught: tuple[str, ...]) -> tuple[str, ...]:
    usual = ("beat",) if width == "nano" else STUDENT_TASKS
    return tuple(task for task in usual if task in taught) or ("beat",)


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
    """Train a distilled student on with quantization in the loop (merged LoRA, hard routes, int8 ranges).

    Files in `out_dir`: <name>.safetensors, .metrics.csv, .json and the checkpoint; `name` None takes the student's
    with `-qat`. `settings` None quantizes the student's own tasks asymmetrically. For the other arguments see `train`.
    It runs on the CPU: the graphs that torchao prepares are made for it, and the stage is short.

    Raises:
        EcgmoeError: data, configuration, models or checkpoint do not fit; the message says what to do.
        OutOfTime: the clock ended; the same call goes on from what was done.
    """
    from ecgmoe_edge.compress.qat import QatSettings, QatStudent, save_qat  # late: torchao takes seconds

    torch.set_num_threads(threads)
    taught_by, start = load_teacher(teacher, trust_code=trust_code), load_student(student)
    settings = settings or QatSettings(tasks=start.config.tasks)
    name = name or f"{student.stem}-qat"
    if not set(settings.tasks) <= set(start.config.tasks):
        raise UsageError(f"{student} has no head for all of {', '.join(settings.tasks)}. Distil one that has.")
    sets = _sets(config, data_dir, out_dir, cache, jobs, clock, progress, strict, on_survey)
    augmenter = _augmenter(config, data_dir)
    torch.manual_seed(config.seed)
    model = QatStudent(start, settings)
    stage, rng = config.distil.qat_stage, np.random.default_rng(config.seed)
    drawn = epoch_indices(sets.fit, config.draw, rng)[: stage.batch * _CALIBRATION_BATCHES]
    parts = np.array_split(drawn, min(_CALIBRATION_BATCHES, len(drawn)))
    model.calibrate([augmenter.batch(sets.fit, part, rng).student_inputs() for part in parts])

    def freeze_late(epoch: int, _: torch.nn.Module) -> None:
        if epoch >= stage.epochs - max(1, stage.epochs // 3):
            model.freeze_observers()  # the last epochs train for the ranges that the device will have

    result = distil(
        model,
        taught_by,
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
    save_qat(path, model, _header(config))
    _describe(
        path, config, sets, result, lambda batch: model(*batch.student_inputs(), route="hard"), tasks=settings.tasks
    )
    return path


def _sets(
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
            "No data set of the configuration has validation records that can be used, so no epoch could be chosen. "
            "Name some under `validation`, or give a `validation_share`."
            + (f" {listed(sets.left_out)}" if sets.left_out else "")
        )
    return sets


def _check_folder(folder: Path, option: str) -> None:
    """Refuse what cannot become a folder, before the examples take their time."""
    for path in (folder, *folder.parents):
        if path.exists() and not path.is_dir():
            raise UsageError(f"{path} is a file where a folder is needed; name another folder with {option}.")


def _augmenter(config: TrainingConfig, data_dir: Path) -> Augmenter:
    return Augmenter(config.augment, None if config.noise is None else read_noise(config.noise, data_dir))


def _header(config: TrainingConfig) -> dict[str, str]:
    return {"training": config.digest(), "front_end": front_end_digest()[:16]}


def _describe(
    path: Path,
    config: TrainingConfig,
    sets: ExampleSets,
    result: FitResult,
    run: Run,
    *,
    tasks: tuple[str, ...],
) -> None:
    """Write beside the weights how they were made and how they validate."""
    about: dict[str, Any] = {
        "weights": path.name,
        "trained_tasks": list(tasks),
        "configuration": config.to_json(),
        "front_end": front_end_digest()[:16],
        "versions": {"torch": torch.__version__, "numpy": np.__version__},
        "left_out": dict(sets.left_out),
        "fitted_on": _by_set(sets.fit.records),
        "validated_on": {name: _by_set(one.records)[name] for name, one in sets.validation.items()},
        "fit": {key: value for key, value in dataclasses.asdict(result).items() if key not in ("rows", "metrics")},
        "validation": {name: validate(run, one).to_json() for name, one in sets.validation.items()},
    }
    write_text(path.with_suffix(".json"), json.dumps(about, indent=1) + "\n")


def _by_set(records: tuple[str, ...]) -> dict[str, str]:
    """Names of "set/record" grouped by set, in one line each: thousands of lines would hide the rest."""
    names: dict[str, dict[str, None]] = {}
    for record in records:
        data, _, name = record.partition(":")[0].partition("/")  # the runs of a record are one
        names.setdefault(data, {})[name] = None
    return {data: " ".join(of_set) for data, of_set in names.items()}
