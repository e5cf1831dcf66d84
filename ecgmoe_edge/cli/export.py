"""`export`: a student into a bundle for a device profile, through gates that fail."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ecgmoe_edge.cli.folders import check_folders
from ecgmoe_edge.cli.options import DataOption, JsonOption, wanted_leads
from ecgmoe_edge.cli.output import result, result_json, say, say_remarks
from ecgmoe_edge.cli.quiet import quiet_libraries
from ecgmoe_edge.cli.requirements import require
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
_GATE_SPLIT = "ds1-val"  # never the test half


def export(
    profile: Annotated[
        str | None, typer.Option("--profile", metavar="P", help="A profile by name, or a TOML file of your own.")
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Every profile that ships, and a table of what each costs.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", metavar="DIR", help="Folder to write. Default: ./ecgmoe-P; with --all ./bundles."),
    ] = None,
    student: Annotated[
        Path | None,
        typer.Option("--student", metavar="FILE", help="Weights that `distill` wrote. Default: the shipped ones."),
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
            help="Leads of --calibration, by name or position, each by itself; all: every voltage. Default: the first.",
        ),
    ] = None,
    data: DataOption = None,
    tasks: Annotated[
        str | None, typer.Option("--tasks", metavar="A,B", help="Tasks of the bundle. Default: the profile's.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a bundle that is there.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Write a bundle for a board, or fail and write nothing.

    The file is compared with the PyTorch model that it was made of: experts counted, routes, labels, scores, size.
    With annotated recordings (--data or ECGMOE_DATA), V and S may not lose more F1 than the profile allows; without
    them, those gates are written as not run. With --all, a profile whose gate fails is left out and the command ends
    with 1.
    """
    from ecgmoe_edge.converters.targets import target_named
    from ecgmoe_edge.device_profiles import list_profiles, load_profile

    if every == (profile is not None):
        raise UsageError("Say for which board: --profile P, or --all for every profile that ships.")
    if every and student is not None:
        raise UsageError(
            "--all takes the shipped students, since profiles differ in width. Use --student with --profile."
        )
    if leads is not None and calibration is None:
        raise UsageError("--leads says which leads of --calibration are taken: give --calibration DIR as well.")
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
            say(f"Left out of the calibration: {name}: {why}")
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
    """Write all bundles, then the table; exit code 1 where one is missing."""
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
        say("time: of a beat on this computer, over the same student in float32 with all experts running.")
    if not all(row.passed for row in rows):
        raise typer.Exit(1)


def _say_gates(exported: ExportResult) -> None:
    for note in exported.notes:
        say(note)
    for gate in exported.manifest.gates:
        say(f"{gate.name}: {gate.status}" + (f", {gate.why}" if gate.status == "not run" else f", {gate.value:.4g}"))


def _shipped_student(board: Profile) -> Path:
    """The shipped weights that fit the profile best: trained on its own integer grid, or else in float."""
    from importlib import resources

    folder = Path(str(resources.files("ecgmoe_edge"))) / "pretrained"
    width = board.model.width
    grid = "-qat-symmetric" if board.precision.symmetric_activations else "-qat"
    names = [f"student-{width}{grid}.safetensors", f"student-{width}.safetensors"]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise ModelError(f"This package ships no student of width {width}. Name weights of your own with --student.")


def _command(
    board: Profile, student: Path | None, tasks: str | None, calibration: Path | None, leads: str | None = None
) -> str:
    """What was asked for, for the manifest; files by their names, since where they lay says nothing elsewhere."""
    given = {
        "--student": student and student.name,
        "--tasks": tasks,
        "--calibration": calibration and calibration.name,
        "--leads": leads,
    }
    options = "".join(f" {option} {value}" for option, value in given.items() if value)
    return f"ecgmoe-edge export --profile {board.name}{options}"


def _accuracy(data: Path | None, board: Profile) -> AccuracyCheck | None:
    """The accuracy gates on `ds1-val`, or on all records of a folder that has no such split; None without a folder.

    The test half DS2 in a folder `mitdb` decides nothing.
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
    return accuracy_on(records, name, board.gates.accuracy_drop_points)


def _training_data(weights: Path) -> tuple[DataSource, ...]:
    """What `training_data.json` beside the weights says they were trained on; nothing where there is none."""
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
    """Which recordings were left out and why, and what is to be known of the others."""
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
        "notes": list(exported.notes),
    }
