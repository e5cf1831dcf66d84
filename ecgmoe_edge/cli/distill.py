"""`distill`: distils a student from the teacher, first in float, then with quantization-aware training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

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

EXAMPLES = (
    "ecgmoe-edge distill --data ~/physionet",
    "ecgmoe-edge distill --teacher ./runs/mine/teacher.safetensors --width nano -o ./runs/mine",
    "ecgmoe-edge distill --width small --morphology-widths 0,0.25,0.5 --cost-weight 0.1",
    "ecgmoe-edge distill --student ./runs/student/student-base.safetensors --symmetric",
)


def distill(
    teacher: Annotated[Path, typer.Option("--teacher", metavar="FILE", help="Weights written by `train`.")] = Path(
        "runs/teacher/teacher.safetensors"
    ),
    width: Annotated[Literal["nano", "small", "base"], typer.Option("--width", help="Size of the student.")] = "small",
    student: Annotated[
        Path | None,
        typer.Option("--student", metavar="FILE", help="Quantize this float student; distil no other."),
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
            help="Loss by which the most expensive expert must be better than the cheapest. Default: configured.",
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
    """Distil a student from the teacher, then train it with quantization-aware training (QAT).

    QAT uses merged LoRA and hard routers, as on the device, and runs on the CPU. The same command continues a run that
    was stopped or killed. `export --student` accepts the weights that this command writes.
    """
    if student is not None and float_only:
        raise UsageError("--student skips the float stage and --float-only skips QAT: nothing is left to do.")
    if student is not None and morphology_widths is not None:
        raise UsageError("--student has its experts already: omit --morphology-widths, or distil another student.")
    check_folders({"-o": out, "--cache": cache})
    require("train", "torch", "safetensors", "tqdm", "wfdb", "matplotlib")
    if not float_only:
        require("export", "torchao")
    quiet_libraries()
    from msgspec.structs import replace

    from ecgmoe_edge.records.splits import data_folder
    from ecgmoe_edge.training.config import load_config
    from ecgmoe_edge.training.limits import Clock, OutOfTime
    from ecgmoe_edge.training.run import distill as run_distillation

    settings, folder, clock = (
        with_leads(load_config(config, trust_code=trust_code), wanted_leads(leads)),
        data_folder(data),
        Clock(minutes),
    )
    if cost_weight is not None:
        settings = replace(settings, distil=replace(settings.distil, cost_weight=cost_weight))
    report = SurveyReport()
    jobs = jobs or cores()
    try:
        if student is None:
            student = run_distillation(
                settings,
                folder,
                out,
                teacher=teacher,
                width=width,
                morphology_widths=_fractions(morphology_widths),
                cache=cache,
                jobs=jobs,
                threads=threads,
                device=device,
                clock=clock,
                progress=True,
                strict=strict,
                on_survey=report,
                trust_code=trust_code,
            )
        if float_only:
            result_files(as_json, report.to_json(), student=student)
            return

        from ecgmoe_edge.compress.qat import QatSettings
        from ecgmoe_edge.model.student import load_student
        from ecgmoe_edge.training.run import quantize

        quantized = quantize(
            settings,
            folder,
            out,
            student=student,
            teacher=teacher,
            settings=QatSettings(symmetric=symmetric, tasks=load_student(student).config.tasks),
            name=f"{student.stem}-qat" + ("-symmetric" if symmetric else ""),
            cache=cache,
            jobs=jobs,
            threads=threads,
            clock=clock,
            progress=True,
            strict=strict,
            on_survey=report,
            trust_code=trust_code,
        )
    except OutOfTime:
        stopped_early(as_json, out, report.to_json())
    else:
        result_files(as_json, report.to_json(), student=student, quantized=quantized)


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
