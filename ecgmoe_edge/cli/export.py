"""`export`: converts a student to a bundle for a device profile, if it passes the gates."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ecgmoe_edge.cli.macs_lines import macs_lines
from ecgmoe_edge.cli.options import DataOption, JsonOption, wanted_leads
from ecgmoe_edge.cli.output import result, result_json, say, say_remarks
from ecgmoe_edge.cli.preparation import check_folders, quiet_libraries, require
from ecgmoe_edge.errors import ModelError, RecordError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ecgmoe_edge.converters.accuracy import AccuracyCheck
    from ecgmoe_edge.converters.calibration import CalibrationBeats
    from ecgmoe_edge.converters.export import ExportRequest, ExportResult
    from ecgmoe_edge.device_profiles import Profile
    from ecgmoe_edge.runtime.manifest import DataSource

EXAMPLES = (
    "ecgmoe-edge export --profile jetson",
    "ecgmoe-edge export --all -o ./bundles",
    "ecgmoe-edge export --profile raspberry-pi --calibration ./my-records -o ./my-pi",
    "ecgmoe-edge export --profile ./my-board.toml --student ./runs/student/student-small-qat.safetensors",
)
_GATE_SPLIT = "ds1-val"  # not the test half DS2
_COUNTED_SPLIT = "svdb-val"  # its beats are counted by the experts that they take, like those of the gate


def export(
    profile: Annotated[
        str | None, typer.Option("--profile", metavar="P", help="Name of a profile, or your own TOML file.")
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Export for every shipped profile and compare the costs.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", metavar="DIR", help="Folder to write. Default: ./ecgmoe-P; with --all ./bundles."),
    ] = None,
    student: Annotated[
        Path | None,
        typer.Option("--student", metavar="FILE", help="Weights written by `distill`. Default: the shipped ones."),
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option("--calibration", metavar="DIR", help="Recordings for int8 ranges and parity. Default: shipped."),
    ] = None,
    leads: Annotated[
        str | None,
        typer.Option(
            "--leads",
            metavar="A,B,...",
            help="Leads of --calibration, by name or index, each used alone; all: every voltage. Default: the first.",
        ),
    ] = None,
    data: DataOption = None,
    tasks: Annotated[
        str | None, typer.Option("--tasks", metavar="A,B", help="Tasks of the bundle. Default: those of the profile.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing bundle.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Write a bundle for a board, or fail and write nothing.

    The exported file is compared with its PyTorch model: number of experts, routes, labels, scores and size. With
    annotated recordings (--data or ECGMOE_DATA), V and S must not lose more F1 than the profile allows; without them,
    these gates are recorded as not run. With --all, a profile with a failed gate is skipped and the exit code is 1.
    """
    from ecgmoe_edge.converters.targets import target_named
    from ecgmoe_edge.device_profiles import list_profiles, load_profile

    if every == (profile is not None):
        raise UsageError("Choose a board: --profile P, or --all for every shipped profile.")
    if every and student is not None:
        raise UsageError(
            "--all uses the shipped students, because profiles differ in width. Use --student with --profile."
        )
    if leads is not None and calibration is None:
        raise UsageError("--leads selects leads of --calibration: also give --calibration DIR.")
    check_folders({"-o": out})
    wanted = wanted_leads(leads)
    boards = [load_profile(name) for name in (list_profiles() if profile is None else (profile,))]
    require("export", "torch", "torchao", "safetensors")
    for board in boards:
        require("export", *target_named(board.runtime.format).modules)

    quiet_libraries()
    import torch

    from ecgmoe_edge.converters.calibration import folder_beats
    from ecgmoe_edge.converters.export import ExportRequest, export_model

    torch.set_num_threads(1)
    beats = None if calibration is None else folder_beats(calibration, wanted)
    if beats is not None:
        for name, why in beats.left_out.items():
            say(f"Not used for calibration: {name}: {why}")
        for name, remarks in beats.remarks.items():
            say_remarks(name, remarks)

    def request(board: Profile) -> ExportRequest:
        weights = student or _shipped_student(board)
        say(f"{weights.name} for {board.title}. This takes a minute or two.")
        return ExportRequest(
            weights=weights,
            profile=board,
            tasks=None if tasks is None else tuple(task.strip() for task in tasks.split(",") if task.strip()),
            calibration=beats,
            accuracy=_accuracy(data, board),
            training_data=_training_data(weights),
            command=_command(board, student, tasks, calibration, leads),
            overwrite=overwrite,
        )

    if every:
        _export_every((request(board) for board in boards), out or Path("bundles"), as_json)
        return
    exported = export_model(request(boards[0]), out or Path(f"ecgmoe-{boards[0].name}"))
    if as_json:
        result_json({**_json(exported), **_calibration_json(beats)})
        return
    _say_gates(exported)
    result(str(exported.folder))


def _export_every(requests: Iterator[ExportRequest], out: Path, as_json: bool) -> None:
    """Write all bundles, then print the table; exit with 1 if a bundle is missing."""
    from dataclasses import asdict

    from ecgmoe_edge.converters.every_profile import export_every, table

    rows = []
    for row, exported in export_every(requests, out):
        rows.append(row)
        if exported is None:
            say(f"{row.profile}: {row.why}")
        else:
            _say_gates(exported)
    if as_json:
        result_json([asdict(row) | {"passed": row.passed} for row in rows])
    else:
        result(table(rows))
        say("time: per beat on this computer, relative to the same student in float32 with all experts running.")
    if not all(row.passed for row in rows):
        raise typer.Exit(1)


def _say_gates(exported: ExportResult) -> None:
    for note in exported.notes:
        say(note)
    for gate in exported.manifest.gates:
        say(f"{gate.name}: {gate.status}" + (f", {gate.why}" if gate.status == "not run" else f", {gate.value:.4g}"))
    for line in macs_lines(exported.manifest.model.macs):
        say(line)


def _shipped_student(board: Profile) -> Path:
    """The shipped weights that fit the profile best: trained with its quantization scheme, or else in float."""
    from importlib import resources

    folder = Path(str(resources.files("ecgmoe_edge"))) / "pretrained"
    width = board.model.width
    grid = "-qat-symmetric" if board.precision.symmetric_activations else "-qat"
    names = [f"student-{width}{grid}.safetensors", f"student-{width}.safetensors"]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise ModelError(f"This package contains no student of width {width}. Name your own weights with --student.")


def _command(
    board: Profile, student: Path | None, tasks: str | None, calibration: Path | None, leads: str | None = None
) -> str:
    """The command for the manifest, with names of files and without their folders, which do not exist elsewhere."""
    given = {
        "--student": student and student.name,
        "--tasks": tasks,
        "--calibration": calibration and calibration.name,
        "--leads": leads,
    }
    options = "".join(f" {option} {value}" for option, value in given.items() if value)
    return f"ecgmoe-edge export --profile {board.name}{options}"


def _accuracy(data: Path | None, board: Profile) -> AccuracyCheck | None:
    """The accuracy gates on `ds1-val`, or on all records of a folder without this split; None without a data folder.

    Records of the test half DS2 in a folder `mitdb` are never used.
    """
    import os

    from ecgmoe_edge.records.splits import DEFAULT_DATABASE, DS2, ENVIRONMENT, locate

    if data is None and not os.environ.get(ENVIRONMENT):
        return None
    require("records", "wfdb")
    from ecgmoe_edge.converters.accuracy import accuracy_on

    try:
        records, name = locate(data, split=_GATE_SPLIT), _GATE_SPLIT
    except RecordError:
        found = locate(data)
        records = [path for path in found if path.parent.name != DEFAULT_DATABASE or path.name not in DS2]
        if not records:
            raise
        name = f"{len(records)} records of {records[0].parent.name}"
    try:
        more = {_COUNTED_SPLIT: locate(data, split=_COUNTED_SPLIT)} if name == _GATE_SPLIT else {}
    except RecordError:
        more = {}
    return accuracy_on(records, name, board.gates.accuracy_drop_points, also_counted=more)


def _training_data(weights: Path) -> tuple[DataSource, ...]:
    """The training data listed in `training_data.json` in the folder of the weights; empty if there is no such file."""
    import msgspec

    from ecgmoe_edge.runtime.manifest import DataSource

    stated = weights.with_name("training_data.json")
    if not stated.is_file():
        return ()
    try:
        return msgspec.json.decode(stated.read_bytes(), type=tuple[DataSource, ...])
    except msgspec.MsgspecError as error:
        raise ModelError(f"{stated} does not list data sets ({error}). See docs/guide-own-data.md.") from error


def _calibration_json(beats: CalibrationBeats | None) -> dict[str, object]:
    """For JSON: the recordings that were not used, with reasons, and the remarks about the others."""
    from ecgmoe_edge.records.plausibility import remarks_json

    left_out, remarks = (beats.left_out, beats.remarks) if beats is not None else ({}, {})
    return {"left_out": dict(left_out), "remarks": {name: remarks_json(each) for name, each in remarks.items()}}


def _json(exported: ExportResult) -> dict[str, object]:
    import msgspec

    return {
        "bundle": str(exported.folder),
        "model": {"file": exported.model.path.name, "bytes": exported.model.bytes},
        "gates": msgspec.to_builtins(exported.manifest.gates),
        "metrics": msgspec.to_builtins(exported.manifest.metrics),
        "macs": msgspec.to_builtins(exported.manifest.model.macs),
        "notes": list(exported.notes),
    }
