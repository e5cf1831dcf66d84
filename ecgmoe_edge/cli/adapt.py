"""`adapt`: fits a patient's own layer to labelled beats of a recording, or suggests the beats to label."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ecgmoe_edge.cli.options import (
    BundleOption,
    InvertOption,
    JsonOption,
    MainsOption,
    TableColumnsOption,
    TableRateOption,
    TableStepOption,
    TableTimeOption,
    TableUnitOption,
    TruncatedOption,
    mains_choice,
    stated_options,
    wanted_leads,
)
from ecgmoe_edge.cli.output import result, result_json, say, say_missing_providers, say_remarks
from ecgmoe_edge.cli.preparation import check_folders
from ecgmoe_edge.errors import GateFailed, UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ecgmoe_edge.adapt.adaptation import Adaptation
    from ecgmoe_edge.adapt.beats import PatientBeats
    from ecgmoe_edge.records.recording import Recording
    from ecgmoe_edge.runtime import Bundle
    from ecgmoe_edge.streaming import Monitor

EXAMPLES = (
    "ecgmoe-edge adapt ./my-records/anna --labels ./my-records/anna.atr -o anna.json",
    "ecgmoe-edge adapt anna.edf --labels anna.csv --minutes 5 --leads II,V1 -o anna.json",
    "ecgmoe-edge adapt anna.edf --suggest 20 -o ./to-label",
    "ecgmoe-edge adapt anna.edf --labels ./to-label/labels.csv -o anna.json",
    "ecgmoe-edge stream --port /dev/ttyACM0 --patient anna.json",
)
_FILE = Path("patient.json")
_FOLDER = Path("to-label")
_MOST_SUGGESTED = 500
_PROGRESS_S = 1800.0  # signal between two lines of progress
_AFTER_S = 5.0  # signal after the last label, so that its beat is complete


def adapt(
    record: Annotated[str, typer.Argument(metavar="RECORD", help="A recording of any format.")],
    labels: Annotated[
        Path | None,
        typer.Option("--labels", metavar="FILE", help="Labels of beats: WFDB annotations (.atr), or a table (CSV)."),
    ] = None,
    suggest: Annotated[
        int | None,
        typer.Option("--suggest", min=20, max=_MOST_SUGGESTED, metavar="N", help="Choose N beats to label instead."),
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(
            "--minutes",
            min=0.1,
            max=100_000.0,
            metavar="M",
            help="Use the first M minutes. Default: up to the last label; 5 for --suggest.",
        ),
    ] = None,
    bundle: BundleOption = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="PATH", help=f"File of the layer, or folder. Default: {_FILE}, {_FOLDER}."),
    ] = None,
    lead: Annotated[
        str | None,
        typer.Option("--lead", metavar="NAME", help="One lead, by name or index from 0. Default: the first voltage."),
    ] = None,
    leads: Annotated[
        str | None,
        typer.Option("--leads", metavar="all|A,B,...", help="Instead of --lead: several leads, each with its layer."),
    ] = None,
    fs: TableRateOption = None,
    unit: TableUnitOption = None,
    columns: TableColumnsOption = None,
    time_column: TableTimeOption = None,
    uv_per_lsb: TableStepOption = None,
    truncated: TruncatedOption = False,
    mains: MainsOption = "auto",
    invert: InvertOption = False,
    as_json: JsonOption = False,
) -> None:
    """Fit a patient's own layer to labelled beats of one recording.

    The layer is a small file for `stream` and `evaluate` (--patient). It corrects the shared model for this patient and
    these leads. It is cross-validated in blocks of time; if it does not help, no file is written, and the exit code is
    1. At least 20 labels are needed. With --suggest, the beats that are worth a label are chosen and shown in a page.

    A table of labels has the columns label (N, S, V, F or Q) and time_s or sample.
    """
    if (labels is None) == (suggest is None):
        raise UsageError("Give --labels FILE to fit a layer, or --suggest N to choose beats to label.")
    if lead is not None and leads is not None:
        raise UsageError("Give --lead for one lead or --leads for several, not both.")
    wanted = wanted_leads(leads) if lead is None else [lead]
    stated = stated_options(fs, unit, columns, time_column, uv_per_lsb, truncated=truncated)
    target = out or (_FILE if suggest is None else _FOLDER)
    if labels is not None and target.is_dir():
        raise UsageError(f"-o {target} is a folder: name the file of the layer, such as {target / _FILE}.")
    check_folders({"-o": target if suggest is not None else target.absolute().parent})

    from ecgmoe_edge.adapt.adaptation import CHOSEN_WINDOW_S, window_s
    from ecgmoe_edge.adapt.adaptation import adapt as fit
    from ecgmoe_edge.adapt.labels import read_labels
    from ecgmoe_edge.records.opening import chosen_leads
    from ecgmoe_edge.records.registry import open_recording
    from ecgmoe_edge.runtime import load_bundle, shipped_bundle
    from ecgmoe_edge.streaming import Monitor
    from ecgmoe_edge.streaming.input_checks import distinct_names

    recording = open_recording(record, **asdict(stated))
    given = None if labels is None else read_labels(labels, recording)
    chosen = chosen_leads(recording, wanted)
    say_remarks(record, chosen.remarks)
    model = load_bundle(bundle or shipped_bundle())
    say_missing_providers(model.engine.describe())
    monitor = Monitor(model, recording.fs, distinct_names(chosen.names(recording)), invert, mains=mains_choice(mains))
    stated_s = None if minutes is None else 60.0 * minutes
    if given is None:
        until_s = stated_s or CHOSEN_WINDOW_S
        patient = _beats(monitor, recording, chosen.positions, until_s)
        _suggest(patient, recording, chosen.positions, suggest or 0, until_s, target, as_json=as_json)
        return
    until_s = window_s(given, recording.fs, stated_s)
    patient = _beats(monitor, recording, chosen.positions, until_s)
    say("Fitting, and cross-validating in blocks of time ...")
    adaptation = fit(patient, given, until_s, invert=invert)
    _report(adaptation, target, as_json=as_json)
    if adaptation.layer is None:
        raise GateFailed(
            f"No layer was written, since it would not help this patient: {adaptation.gate.why_not}. Label more beats, "
            "check the labels that contradict each other, or stay with the shared model."
        )
    _write(target, adaptation, model, recording)


def _beats(monitor: Monitor, recording: Recording, positions: tuple[int, ...], until_s: float) -> PatientBeats:
    from ecgmoe_edge.adapt.adaptation import first_seconds
    from ecgmoe_edge.adapt.beats import collect_beats

    samples = min(round((until_s + _AFTER_S) * recording.fs), recording.n_samples)
    blocks = first_seconds(recording.blocks(leads=positions), samples)
    return collect_beats(monitor, _reported(blocks, recording.fs, samples))


def _reported(blocks: Iterator[NDArray[np.float64]], fs: float, samples: int) -> Iterator[NDArray[np.float64]]:
    """Pass blocks on, with lines of progress for a long recording."""
    done, reported_s = 0, 0.0
    for block in blocks:
        yield block
        done += block.shape[1]
        if done / fs >= reported_s + _PROGRESS_S:
            reported_s = done / fs
            say(f"{done / fs / 60:.0f} of {samples / fs / 60:.0f} min")


def _report(adaptation: Adaptation, target: Path, *, as_json: bool) -> None:
    from ecgmoe_edge.adapt.report import render_adaptation

    figures = adaptation.to_json()
    if as_json:
        result_json(figures | {"file": None if adaptation.layer is None else str(target)})
    else:
        result(render_adaptation(figures))


def _write(target: Path, adaptation: Adaptation, model: Bundle, recording: Recording) -> None:
    from ecgmoe_edge.runtime.patient_file import (
        LayerFigures,
        PatientFile,
        encoded_weights,
        model_digest,
        write_patient_file,
    )

    assert adaptation.layer is not None  # noqa: S101
    contents = PatientFile(
        created=datetime.now(timezone.utc).replace(microsecond=0),
        bundle=model.manifest.name,
        model_sha256=model_digest(model),
        recording=recording.name[:200] or "unnamed",
        fs=recording.fs,
        labelled_s=(round(adaptation.labelled_s[0], 3), round(adaptation.labelled_s[1], 3)),
        invert=adaptation.layer.invert,
        margin_share_s=adaptation.layer.margin_share_s,
        labels=adaptation.counts,
        figures=LayerFigures(
            log_loss=(round(adaptation.gate.log_loss[0], 5), round(adaptation.gate.log_loss[1], 5)),
            wrong=adaptation.gate.wrong,
        ),
        leads=encoded_weights(adaptation.layer),
    )
    target.parent.mkdir(parents=True, exist_ok=True)
    write_patient_file(target, contents)
    say(f"wrote {target}. Use it with: ecgmoe-edge stream --patient {target}")


def _suggest(
    patient: PatientBeats,
    recording: Recording,
    positions: tuple[int, ...],
    count: int,
    until_s: float,
    folder: Path,
    *,
    as_json: bool,
) -> None:
    from ecgmoe_edge.adapt.suggestion import write_suggestion

    page, table, beats = write_suggestion(folder, patient, recording, positions, count, until_s)
    say(
        f"Fill the column label of {table}, looking at {page}. Then: "
        f"ecgmoe-edge adapt {recording.path} --labels {table}"
    )
    if as_json:
        result_json({"page": str(page), "labels": str(table), "beats": beats})
    else:
        result(f"{page}\n{table}")
