"""`train`: trains the full-precision teacher on the data sets of a configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

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

EXAMPLES = (
    "ecgmoe-edge train --data ~/physionet",
    "ecgmoe-edge train --config ds1-only --minutes 30 -o ./runs/ds1",
    "ecgmoe-edge train --config my-data.toml --data ./my-records -o ./runs/mine",
    "ecgmoe-edge train --config my-data.toml --data ./my-records --leads II --strict -o ./runs/mine",
)


def train(
    config: ConfigOption = None,
    data: DataOption = None,
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="Folder of the run.")] = Path("runs/teacher"),
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
    """Train the full-precision teacher.

    Examples are made by running the live front end over the records. Each record is checked first; records that cannot
    be used are listed with a reason and skipped. The same command continues a run that was stopped or killed. The
    folder receives teacher.safetensors, a log and a plot of the metrics per epoch, and the validation figures.
    """
    check_folders({"-o": out, "--cache": cache})
    require("train", "torch", "safetensors", "tqdm", "wfdb", "matplotlib")
    quiet_libraries()
    from ecgmoe_edge.records.splits import data_folder
    from ecgmoe_edge.training.config import load_config
    from ecgmoe_edge.training.limits import Clock, OutOfTime
    from ecgmoe_edge.training.run import train as run_training

    clock, report = Clock(minutes), SurveyReport()
    try:
        weights = run_training(
            with_leads(load_config(config, trust_code=trust_code), wanted_leads(leads)),
            data_folder(data),
            out,
            cache=cache,
            jobs=jobs or cores(),
            threads=threads,
            device=device,
            clock=clock,
            progress=True,
            strict=strict,
            on_survey=report,
        )
    except OutOfTime:
        stopped_early(as_json, out, report.to_json())
    else:
        result_files(as_json, report.to_json(), weights=weights)
