"""`evaluate`: the whole live pipeline over annotated recordings, scored beat by beat."""

from __future__ import annotations

from math import isfinite
from pathlib import Path
from typing import Annotated, Literal

import typer

from ecgmoe_edge.cli.options import (
    BundleOption,
    DataOption,
    InvertOption,
    JobsOption,
    JsonOption,
    MainsOption,
    cores,
)
from ecgmoe_edge.cli.output import result, result_json, say
from ecgmoe_edge.cli.requirements import require
from ecgmoe_edge.errors import UsageError

EXAMPLES = (
    "ecgmoe-edge evaluate --data ~/physionet --split ds1-val",
    "ecgmoe-edge evaluate --data ~/physionet/mitdb --records 100,103 --only rpeaks --json",
    "ecgmoe-edge evaluate --data ./my-records --bundle ./ecgmoe-jetson --annotations ./ours",
    "ecgmoe-edge evaluate --data ~/physionet --records 118,119 --noise em --snr 12,6,0 --csv ./tables",
)


def evaluate(
    data: DataOption = None,
    records: Annotated[
        str | None,
        typer.Option("--records", metavar="A,B,...", help="Record names. Default: all there are."),
    ] = None,
    split: Annotated[
        str | None, typer.Option("--split", metavar="NAME", help="A named split, such as ds1-val or ds2.")
    ] = None,
    bundle: BundleOption = None,
    only: Annotated[
        Literal["rpeaks"] | None, typer.Option("--only", help="Find R peaks only, without a model.")
    ] = None,
    jobs: JobsOption = None,
    whole: Annotated[bool, typer.Option("--whole", help="Score the first five minutes too.")] = False,
    annotations: Annotated[
        Path | None,
        typer.Option("--annotations", metavar="DIR", help="Write our beats there as WFDB annotations (.ecgmoe)."),
    ] = None,
    reference: Annotated[
        Literal["neurokit"] | None, typer.Option("--reference", help="Add an offline detector beside ours.")
    ] = None,
    noise: Annotated[
        Literal["em", "ma", "bw"] | None,
        typer.Option("--noise", help="Then again with noise of nstdb added, as PhysioNet's nst adds it."),
    ] = None,
    snr: Annotated[
        str | None,
        typer.Option("--snr", metavar="DB,...", help="Signal-to-noise ratios for --noise. Default: 24,18,12,6,0,-6."),
    ] = None,
    csv: Annotated[
        Path | None, typer.Option("--csv", metavar="DIR", help="Write the figures there as CSV tables too.")
    ] = None,
    lead: Annotated[str, typer.Option("--lead", metavar="NAME", help="Lead by name, or by number from 0.")] = "0",
    mains: MainsOption = None,
    invert: InvertOption = False,
    as_json: JsonOption = False,
) -> None:
    """Score the whole live pipeline on annotated recordings.

    Any WFDB folder, rate, leads and record names, as long as beat annotations (.atr) lie beside the records.
    Scored beat by beat as EC57 and `bxb` do: pairs within 150 ms, the first five minutes left out of records of
    six minutes and more.
    """
    require("records", "wfdb")
    if reference is not None:
        require("records", "neurokit2")
    if records is not None and split is not None:
        raise UsageError("Give --records or --split, not both.")
    if only is not None and bundle is not None:
        raise UsageError("--only rpeaks runs without a model: leave --bundle out.")
    if snr is not None and noise is None:
        raise UsageError("--snr says how much noise to add: give --noise em, ma or bw as well.")
    snrs_db = None if snr is None else _ratios(snr)

    from ecgmoe_edge.records.splits import locate, noise_record
    from ecgmoe_edge.scoring.csv_tables import write_csv
    from ecgmoe_edge.scoring.evaluation import EvaluationOptions, evaluate_noise
    from ecgmoe_edge.scoring.evaluation import evaluate as run_evaluation
    from ecgmoe_edge.scoring.noise_stress import SNRS_DB
    from ecgmoe_edge.scoring.table import render_table

    options = EvaluationOptions(
        bundle=None if only == "rpeaks" else bundle or _shipped_bundle(),
        lead=int(lead) if lead.isdigit() else lead,
        invert=invert,
        mains=mains,
        whole=whole,
        annotations_dir=annotations,
        reference=reference,
    )
    names = None if records is None else [name.strip() for name in records.split(",") if name.strip()]
    paths = locate(data, split=split, records=names)
    noise_path = None if noise is None else noise_record(data, noise)
    evaluation = run_evaluation(paths, options, jobs=jobs or cores(), on_record=_tell).to_json()
    if noise_path is not None:
        noisy = evaluate_noise(
            paths, options, noise_path, snrs_db or SNRS_DB, jobs=jobs or cores(), on_record=_tell_noise
        )
        evaluation["noise"] = noisy.to_json()
    if as_json:
        result_json(evaluation)
    else:
        result(render_table(evaluation, per_record=True))
    for file in write_csv(csv, evaluation) if csv is not None else ():
        say(f"wrote {file}")


def _shipped_bundle() -> Path:
    from ecgmoe_edge.runtime import shipped_bundle

    return shipped_bundle()


def _tell(name: str, done: int, of: int, why_skipped: str | None) -> None:
    say(f"{done}/{of} {name}" + (f": skipped, {why_skipped}" if why_skipped else ""))


def _tell_noise(snr_db: float, name: str, done: int, of: int, why_skipped: str | None) -> None:
    _tell(f"{name} at {snr_db:g} dB", done, of, why_skipped)


def _ratios(listed: str) -> list[float]:
    try:
        ratios = [float(value) for value in listed.split(",")]
    except ValueError:
        ratios = []
    if not ratios or not all(isfinite(ratio) for ratio in ratios):
        raise UsageError(f"--snr {listed} is not a list of ratios. Give numbers in dB, such as 12,6,0.")
    return ratios
