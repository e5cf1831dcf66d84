"""`evaluate`: runs the whole live pipeline over annotated recordings and scores beats or another task."""

from __future__ import annotations

from dataclasses import replace
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ecgmoe_edge.cli.evaluate_model import TeacherMayStandAlone, chosen_model, describe_model
from ecgmoe_edge.cli.evaluate_patient import adaptation_protocol, layer_of
from ecgmoe_edge.cli.evaluate_task import (
    command,
    evaluate_annotated_beats,
    evaluate_other_task,
    report_progress,
    write_beat_report,
)
from ecgmoe_edge.cli.options import (
    BundleOption,
    DataOption,
    InvertOption,
    JobsOption,
    JsonOption,
    MainsOption,
    PatientOption,
    TableColumnsOption,
    TableRateOption,
    TableStepOption,
    TableTimeOption,
    TableUnitOption,
    TruncatedOption,
    TrustCodeOption,
    cores,
    mains_choice,
    stated_options,
    wanted_leads,
)
from ecgmoe_edge.cli.output import result, result_json, say, say_remarks
from ecgmoe_edge.cli.preparation import check_folders, require
from ecgmoe_edge.errors import UsageError
from ecgmoe_edge.tasks import TASK_NAMES, task_named

if TYPE_CHECKING:
    from ecgmoe_edge.records.opening import LeadsWanted
    from ecgmoe_edge.records.recording import Lead

EXAMPLES = (
    "ecgmoe-edge evaluate --data ~/physionet --split ds1-val",
    "ecgmoe-edge evaluate --data ~/physionet/mitdb --records 100,103 --only rpeaks --json",
    "ecgmoe-edge evaluate --data ~/physionet/mitdb --only rpeaks --leads all",
    "ecgmoe-edge evaluate --data ./my-records --bundle ./ecgmoe-jetson --annotations ./ours",
    "ecgmoe-edge evaluate --data ~/physionet --records 118,119 --noise em --snr 12,6,0 --csv ./tables",
    "ecgmoe-edge evaluate --data ~/physionet --split svdb-val --teacher --report ./report",
    "ecgmoe-edge evaluate --data ~/physionet --split ds1-val --adapt-minutes 5",
    "ecgmoe-edge evaluate --data ./my-records --records anna --patient anna.json",
    "ecgmoe-edge evaluate --data ~/physionet/cinc2017 --split cinc-val --task rhythm",
    "ecgmoe-edge evaluate --data ~/physionet/ltafdb --task rhythm --annotated-beats",
    "ecgmoe-edge evaluate --data ~/physionet/ptbxl --split ptbxl-fold8 --task age --teacher --json",
)
COMMAND = TeacherMayStandAlone


def _checked_task(name: str) -> str:
    if name not in TASK_NAMES:
        raise typer.BadParameter(f"{name!r} is not a task: give one of {', '.join(TASK_NAMES)}.")
    return name


def evaluate(
    data: DataOption = None,
    records: Annotated[
        str | None,
        typer.Option("--records", metavar="A,B,...", help="Names of records. Default: all records."),
    ] = None,
    split: Annotated[
        str | None, typer.Option("--split", metavar="NAME", help="A named split, such as ds1-val or ds2.")
    ] = None,
    task: Annotated[
        str,
        typer.Option("--task", metavar=f"[{'|'.join(TASK_NAMES)}]", callback=_checked_task, help="Task to score."),
    ] = "beat",
    bundle: BundleOption = None,
    teacher: Annotated[
        str | None,
        typer.Option(
            "--teacher", metavar="[FILE]", help="Run the full-precision model in torch. Without FILE: the shipped one."
        ),
    ] = None,
    student: Annotated[
        Path | None, typer.Option("--student", metavar="FILE", help="Run a student of `distill` in torch.")
    ] = None,
    only: Annotated[
        Literal["rpeaks"] | None,
        typer.Option("--only", help="Detect R peaks only, without a model. With --annotated-beats: CoSEn alone."),
    ] = None,
    jobs: JobsOption = None,
    whole: Annotated[bool, typer.Option("--whole", help="Also score the first five minutes.")] = False,
    annotator: Annotated[
        str, typer.Option("--annotator", metavar="EXT", help="Extension of the reference annotations.")
    ] = "atr",
    annotations: Annotated[
        Path | None,
        typer.Option("--annotations", metavar="DIR", help="Write the detected beats as WFDB annotations (.ecgmoe)."),
    ] = None,
    annotated_beats: Annotated[
        bool,
        typer.Option(
            "--annotated-beats",
            help="With --task rhythm: AF from the RR intervals of the annotated beats; needs no signal.",
        ),
    ] = False,
    reference: Annotated[
        Literal["neurokit"] | None, typer.Option("--reference", help="Also score an offline detector.")
    ] = None,
    noise: Annotated[
        Literal["em", "ma", "bw"] | None,
        typer.Option("--noise", help="Also score with added noise of nstdb, as PhysioNet's nst."),
    ] = None,
    snr: Annotated[
        str | None,
        typer.Option("--snr", metavar="DB,...", help="Signal-to-noise ratios for --noise. Default: 24,18,12,6,0,-6."),
    ] = None,
    patient: PatientOption = None,
    adapt_minutes: Annotated[
        float | None,
        typer.Option(
            "--adapt-minutes",
            min=0.5,
            max=1440.0,
            metavar="M",
            help="Also fit a layer to the first M minutes of each record and score the rest: patient-specific figures.",
        ),
    ] = None,
    adapt_labels: Annotated[
        int | None,
        typer.Option(
            "--adapt-labels",
            min=20,
            max=500,
            metavar="N",
            help="With --adapt-minutes (default 5): label only N beats, chosen as `adapt --suggest` does.",
        ),
    ] = None,
    retrospective: Annotated[
        bool,
        typer.Option(
            "--retrospective", help="With --adapt-labels: choose from the whole record, and score all other beats."
        ),
    ] = False,
    csv: Annotated[
        Path | None, typer.Option("--csv", metavar="DIR", help="Also write the figures as CSV files.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="DIR", help="Write a report with drawings, report.html.")
    ] = None,
    lead: Annotated[
        str | None,
        typer.Option(
            "--lead", metavar="NAME", help="One lead, by name or index from 0. Default: first voltage; II for PTB-XL."
        ),
    ] = None,
    leads: Annotated[
        str | None,
        typer.Option("--leads", metavar="all|A,B,...", help="Instead of --lead: run several leads together."),
    ] = None,
    fs: TableRateOption = None,
    unit: TableUnitOption = None,
    columns: TableColumnsOption = None,
    time_column: TableTimeOption = None,
    uv_per_lsb: TableStepOption = None,
    truncated: TruncatedOption = False,
    mains: MainsOption = "auto",
    invert: InvertOption = False,
    trust_code: TrustCodeOption = False,
    as_json: JsonOption = False,
) -> None:
    """Score the whole live pipeline on annotated recordings.

    Any folder of recordings can be used if annotations (.atr) of beats are in the same folder; for rhythm,
    annotations of rhythms are sufficient. For rhythm, age and sex, the CinC 2017 challenge and PTB-XL are also
    supported. Name a table of samples with --records. Records that cannot be used are skipped with a reason.

    Beats are scored as in EC57 and `bxb`: beats match within 150 ms, and in records of six minutes or more the first
    five minutes are not scored.

    With --adapt-minutes, a layer of each patient is fitted to his first minutes, and patient-specific figures are
    reported apart from those of the shared model; --annotations then writes the adapted labels.
    """
    require("records", "wfdb")
    check_folders({"--annotations": annotations, "--csv": csv, "--report": report})
    if reference is not None:
        require("records", "neurokit2")
    if report is not None:
        require("train", "matplotlib")
    _check_together(records=records, split=split, snr=snr, noise=noise, lead=lead, leads=leads)
    snrs_db = None if snr is None else _ratios(snr)
    chosen_leads = wanted_leads(leads)
    stated = stated_options(fs, unit, columns, time_column, uv_per_lsb, truncated=truncated)
    chosen_task = task_named(task)
    if annotated_beats:
        given: dict[str, object] = {"--lead": lead, "--leads": leads, "--invert": invert or None}
        given |= {"--noise": noise, "--reference": reference, "--annotations": annotations, "--csv": csv}
        given |= {"--report": report, "--patient": patient, "--retrospective": retrospective or None}
        given |= {"--adapt-minutes": adapt_minutes, "--adapt-labels": adapt_labels}
        _refuse_with_annotated_beats(task, [name for name, value in given.items() if value is not None])
        evaluate_annotated_beats(
            chosen_model(bundle, teacher, student, peaks_only=only == "rpeaks", trust_code=trust_code),
            data,
            split=split,
            records=_names(records),
            annotator=annotator.removeprefix("."),
            whole=whole,
            jobs=jobs or cores(),
            as_json=as_json,
        )
        return
    if chosen_task.database is None:
        raise UsageError(
            f"No recordings that this command reads state the {task} of a patient, and the shipped head is untrained. "
            "Train one on your own copy of MIMIC-IV-ECG, which also validates it; see docs/guide-own-data.md."
        )
    model = chosen_model(bundle, teacher, student, peaks_only=only == "rpeaks", trust_code=trust_code)
    names = _names(records)
    if chosen_task.score != "beats":
        given = {
            "--noise": noise,
            "--annotations": annotations,
            "--reference": reference,
            "--csv": csv,
            "--patient": patient,
            "--adapt-minutes": adapt_minutes,
            "--adapt-labels": adapt_labels,
            "--retrospective": retrospective or None,
        }
        _refuse_for_task(task, [name for name, value in given.items() if value is not None])
        evaluate_other_task(
            chosen_task,
            model,
            data,
            split=split,
            records=names,
            lead=lead if chosen_leads is None else _only(chosen_leads, task),
            stated=stated,
            invert=invert,
            mains=mains_choice(mains),
            whole=whole,
            annotator=annotator.removeprefix("."),
            jobs=jobs or cores(),
            report=report,
            as_json=as_json,
        )
        return

    layer = None if patient is None else layer_of(patient, model, adapts=bool(adapt_minutes or adapt_labels))
    if layer is not None and lead is None and chosen_leads is None:
        chosen_leads = list(layer.leads)
    protocol = adaptation_protocol(
        adapt_minutes, adapt_labels, retrospective=retrospective, peaks_only=only is not None, whole=whole
    )
    from ecgmoe_edge.records.splits import locate, noise_record
    from ecgmoe_edge.scoring.csv_tables import write_csv
    from ecgmoe_edge.scoring.evaluation import EvaluationOptions, evaluate_noise
    from ecgmoe_edge.scoring.evaluation import evaluate as run_evaluation
    from ecgmoe_edge.scoring.noise_stress import SNRS_DB
    from ecgmoe_edge.scoring.table import render_table

    options = EvaluationOptions(
        bundle=model.path,
        load=model.load,
        lead=lead,
        leads=chosen_leads,
        stated=stated,
        invert=invert,
        mains=mains_choice(mains),
        whole=whole,
        extension=annotator.removeprefix("."),
        annotations_dir=annotations,
        reference=reference,
        traces=report is not None,
        layer=layer,
        protocol=protocol,
    )
    paths = locate(data, split=split, records=names)
    noise_path = None if noise is None else noise_record(data, noise)
    scored = run_evaluation(paths, options, jobs=jobs or cores(), on_record=report_progress)
    for one in scored.results:
        say_remarks(one.name, one.remarks)
    evaluation = scored.to_json() | {"model": describe_model(model), "command": command()}
    if noise_path is not None:
        quiet = replace(options, traces=False)
        noisy = evaluate_noise(
            paths, quiet, noise_path, snrs_db or SNRS_DB, jobs=jobs or cores(), on_record=_report_noise_progress
        )
        evaluation["noise"] = noisy.to_json()
    if as_json:
        result_json(evaluation)
    else:
        result(render_table(evaluation, per_record=True))
    for file in write_csv(csv, evaluation) if csv is not None else ():
        say(f"wrote {file}")
    if report is not None:
        write_beat_report(report, scored, evaluation)


def _check_together(
    *,
    records: str | None,
    split: str | None,
    snr: str | None,
    noise: str | None,
    lead: str | None,
    leads: str | None,
) -> None:
    if records is not None and split is not None:
        raise UsageError("Give --records or --split, not both.")
    if snr is not None and noise is None:
        raise UsageError("--snr needs a kind of noise: also give --noise em, ma or bw.")
    if lead is not None and leads is not None:
        raise UsageError("Give --lead for one lead or --leads for several, not both.")


def _names(records: str | None) -> list[str] | None:
    return None if records is None else [name.strip() for name in records.split(",") if name.strip()]


def _refuse_with_annotated_beats(task: str, options: list[str]) -> None:
    if task != "rhythm":
        raise UsageError("--annotated-beats scores the rhythm: also give --task rhythm.")
    if options:
        raise UsageError(f"--annotated-beats scores the rhythm without a signal: omit {' and '.join(options)}.")


def _only(leads: LeadsWanted, task: str) -> Lead:
    if leads is None or leads == "all" or len(leads) != 1:
        raise UsageError(f"--task {task} is scored on one lead: name one, such as --leads II.")
    return leads[0]


def _refuse_for_task(task: str, options: list[str]) -> None:
    if options:
        raise UsageError(f"{' and '.join(options)} apply only to beats and R peaks: omit with --task {task}.")


def _report_noise_progress(snr_db: float, name: str, done: int, total: int, why_skipped: str | None) -> None:
    report_progress(f"{name} at {snr_db:g} dB", done, total, why_skipped)


def _ratios(listed: str) -> list[float]:
    try:
        ratios = [float(value) for value in listed.split(",")]
    except ValueError:
        ratios = []
    if not ratios or not all(isfinite(ratio) for ratio in ratios):
        raise UsageError(f"--snr {listed} is not a list of ratios. Give numbers in dB, such as 12,6,0.")
    return ratios
