"""What all runs share: the examples, the check of the run's folder, and the report beside the weights."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ecgmoe_edge.durable_files import write_text
from ecgmoe_edge.errors import UsageError
from ecgmoe_edge.model.macs import count_macs
from ecgmoe_edge.model.student import StudentConfig
from ecgmoe_edge.training.augment import Augmenter, read_noise
from ecgmoe_edge.training.cache import ExampleSets, build_examples, front_end_digest
from ecgmoe_edge.training.config import TrainingConfig
from ecgmoe_edge.training.limits import Clock
from ecgmoe_edge.training.loop import FitResult
from ecgmoe_edge.training.survey import Survey, listed
from ecgmoe_edge.training.validate import Run, validate


def load_examples(
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
    """Make or read the examples of a run; see `run.train` for the arguments and errors."""
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


def make_augmenter(config: TrainingConfig, data_dir: Path) -> Augmenter:
    """Return the augmentation of a configuration, with its noise recordings from `data_dir`."""
    return Augmenter(config.augment, None if config.noise is None else read_noise(config.noise, data_dir))


def run_metadata(config: TrainingConfig) -> dict[str, str]:
    """Return the metadata of a weights file: digests of the configuration and of the front end."""
    return {"training": config.digest(), "front_end": front_end_digest()[:16]}


def write_report(
    path: Path,
    config: TrainingConfig,
    sets: ExampleSets,
    result: FitResult,
    run: Run,
    *,
    tasks: tuple[str, ...],
    student: StudentConfig | None = None,
    begun_from: Path | None = None,
) -> None:
    """Write a JSON file next to the weights, with configuration, versions, records and validation figures.

    For a student, the figures include its multiply-accumulates and those of its dense twin.

    Args:
        path: the weights.
        config: configuration of the run.
        sets: examples that the model was fitted to and is validated on.
        result: result of the fit.
        run: runs the model.
        tasks: tasks that were trained.
        student: configuration of a student; None for a teacher.
        begun_from: weights that the fit began with, if they were not random.
    """
    macs = None if student is None else count_macs(student)
    twin_macs = None if student is None else count_macs(student.dense_twin()).most
    report: dict[str, Any] = {
        "weights": path.name,
        **({} if begun_from is None else {"begun_from": begun_from.name}),
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
