"""`distill`: distils or extends a student in float, then continues with quantization-aware training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from ecgmoe_edge.cli.options import (
    CacheOption,
    ConfigOption,
    DataOption,
    DeviceOption,
    JobsOption,
    JsonOption,
    MinutesOption,
    StrictOption,
    ThreadsOption,
    TrainingLeadsOption,
    TrustCodeOption,
    cores,
    wanted_leads,
)
from ecgmoe_edge.cli.output import result_files, stopped_early
from ecgmoe_edge.cli.preparation import check_folders, quiet_libraries, require
from ecgmoe_edge.cli.survey_report import SurveyReport, with_leads
from ecgmoe_edge.errors import UsageError

_USUAL_TEACHER = Path("runs/teacher/teacher.safetensors")

EXAMPLES = (
    "ecgmoe-edge distill --data ~/physionet",
    "ecgmoe-edge distill --teacher ./runs/mine/teacher.safetensors --width nano -o ./runs/mine",
    "ecgmoe-edge distill --width small --morphology-widths 0,0.25,0.5 --cost-weight 0.1",
    "ecgmoe-edge distill --student ./runs/student/student-base.safetensors --symmetric",
    "ecgmoe-edge distill --start ./runs/student/student-small.safetensors -o ./runs/again",
    "ecgmoe-edge distill --extend ./runs/student/student-small.safetensors --config extended -o ./runs/extended",
)


def distill(
    teacher: Annotated[
        Path | None,
        typer.Option(
            "--teacher",
            metavar="FILE",
            help="Weights to learn from: a teacher written by `train`, or a float student. Default: with --extend, the "
            f"extended student; else {_USUAL_TEACHER}.",
        ),
    ] = None,
    width: Annotated[Literal["nano", "small", "base"], typer.Option("--width", help="Size of the student.")] = "small",
    student: Annotated[
        Path | None,
        typer.Option("--student", metavar="FILE", help="Quantize this float student; distil no other."),
    ] = None,
    start: Annotated[
        Path | None,
        typer.Option("--start", metavar="FILE", help="Begin with the weights of this float student."),
    ] = None,
    extend: Annotated[
        Path | None,
        typer.Option(
            "--extend",
            metavar="FILE",
            help="Extend this float student by a light morphology expert, and fit its rhythm task again; distil no "
            "other. All other weights stay the same.",
        ),
    ] = None,
    float_only: Annotated[bool, typer.Option("--float-only", help="Stop before quantization.")] = False,
    symmetric: Annotated[
        bool, typer.Option("--symmetric", help="Set all zero points to 0, as the profile jetson needs.")
    ] = False,
    morphology_widths: Annotated[
        str | None,
        typer.Option(
            "--morphology-widths",
            metavar="F,F,...",
            help="Channels of each morphology expert as a fraction of the full number, ascending; 0: one linear layer. "
            "Default: equal, full experts.",
        ),
    ] = None,
    cost_weight: Annotated[
        float | None,
        typer.Option(
            "--cost-weight",
            metavar="X",
            min=0.0,
            help="Loss by which the most expensive expert must be better than the cheapest; with --extend, a full one "
            "than the light one. Default: configured.",
        ),
    ] = None,
    config: ConfigOption = None,
    data: DataOption = None,
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="Folder of the run.")] = Path("runs/student"),
    cache: CacheOption = None,
    jobs: JobsOption = None,
    threads: ThreadsOption = 1,
    device: DeviceOption = "auto",
    minutes: MinutesOption = None,
    leads: TrainingLeadsOption = None,
    strict: StrictOption = False,
    trust_code: TrustCodeOption = False,
    as_json: JsonOption = False,
) -> None:
    """Distil a student from the teacher, or extend one, then train it with quantization-aware training (QAT).

    QAT uses merged LoRA and hard routers, as on the device, and runs on the CPU. The same command continues a run that
    was stopped or killed. `export --student` accepts the weights that this command writes.
    """
    _refuse_conflicts(student, start, extend, morphology_widths, float_only=float_only)
    check_folders({"-o": out, "--cache": cache})
    require("train", "torch", "safetensors", "tqdm", "wfdb", "matplotlib")
    if not float_only:
        require("export", "torchao")
    quiet_libraries()
    from msgspec.structs import replace

    from ecgmoe_edge.model.weights_file import read_metadata
    from ecgmoe_edge.records.splits import data_folder
    from ecgmoe_edge.training import run
    from ecgmoe_edge.training.config import load_config
    from ecgmoe_edge.training.limits import Clock, OutOfTime

    settings, folder, clock = (
        with_leads(load_config(config, trust_code=trust_code), wanted_leads(leads)),
        data_folder(data),
        Clock(minutes),
    )
    if cost_weight is not None:
        key = "cost_weight" if extend is None else "extension_cost"
        settings = replace(settings, distil=replace(settings.distil, **{key: cost_weight}))
    report = SurveyReport()
    of_every_stage: dict[str, Any] = {
        "cache": cache,
        "jobs": jobs or cores(),
        "threads": threads,
        "clock": clock,
        "progress": True,
        "strict": strict,
        "on_survey": report,
    }
    try:
        if extend is not None:
            if teacher is not None:
                read_metadata(teacher)  # a wrong file is found before the long work
            student = run.extend(settings, folder, out, student=extend, device=device, **of_every_stage)
            teacher = teacher or student
        elif student is None:
            student = run.distill(
                settings,
                folder,
                out,
                teacher=teacher or _USUAL_TEACHER,
                start=start,
                width=width,
                morphology_widths=_fractions(morphology_widths),
                device=device,
                trust_code=trust_code,
                **of_every_stage,
            )
        if float_only:
            result_files(as_json, report.to_json(), student=student)
            return

        from ecgmoe_edge.compress.qat import QatSettings
        from ecgmoe_edge.model.student import load_student

        quantized = run.quantize(
            settings,
            folder,
            out,
            student=student,
            teacher=teacher or _USUAL_TEACHER,
            settings=QatSettings(symmetric=symmetric, tasks=load_student(student).config.tasks),
            name=f"{student.stem}-qat" + ("-symmetric" if symmetric else ""),
            trust_code=trust_code,
            **of_every_stage,
        )
    except OutOfTime:
        stopped_early(as_json, out, report.to_json())
    else:
        result_files(as_json, report.to_json(), student=student, quantized=quantized)


def _refuse_conflicts(
    student: Path | None, start: Path | None, extend: Path | None, morphology_widths: str | None, *, float_only: bool
) -> None:
    """Check options that exclude each other.

    Raises:
        UsageError: two of them are given.
    """
    if student is not None and float_only:
        raise UsageError("--student skips the float stage and --float-only skips QAT: nothing is left to do.")
    if student is not None and morphology_widths is not None:
        raise UsageError("--student has its experts already: omit --morphology-widths, or distil another student.")
    if extend is not None and morphology_widths is not None:
        raise UsageError("--extend keeps the experts of its student and adds a light one: omit --morphology-widths.")
    stages = {"--student": student, "--start": start, "--extend": extend}
    if len(given := [name for name, path in stages.items() if path is not None]) > 1:
        raise UsageError(
            f"{' and '.join(given)} exclude each other: quantize a student with --student, distil again from its "
            "weights with --start, or extend it with --extend."
        )


def _fractions(text: str | None) -> tuple[float, ...] | None:
    """Read numbers that are separated by commas; None for None.

    Raises:
        UsageError: the text has something else.
    """
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise UsageError(f"--morphology-widths {text} is no list of numbers: give, for example, 0,0.25,0.5.") from error
