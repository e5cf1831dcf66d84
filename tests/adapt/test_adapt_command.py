"""The command `adapt`, and the options `--patient` of the other commands."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from drawn_patient import DrawnPatient
from installed_command import Cli, wait_for_port

pytest.importorskip("wfdb", reason="records need the records extra")


def test_labels_become_a_layer_that_changes_the_labels_of_a_stream(
    cli: Cli, write_patient: Callable[..., Path], drawn: DrawnPatient, bundle: Path
) -> None:
    record = write_patient("anna", drawn)
    fitted = cli("adapt", record, "--labels", f"{record}.atr", "--bundle", bundle, "-o", "anna.json", "--json")
    assert fitted.code == 0, fitted.err
    figures = json.loads(fitted.out)
    before, after = figures["cross_validated"]["wrong"]
    assert after < before
    assert figures["file"] == "anna.json"
    cli.start("replay", record, "--pty", "holter", "--speed", "0")
    port = wait_for_port(cli, "holter")
    streamed = cli("stream", "--port", port, "--bundle", bundle, "--patient", "anna.json", "--json")
    assert streamed.code == 0, streamed.err
    assert any(event["event"] == "patient_layer" and event["active"] for event in streamed.events)
    changed = sum(event["event"] == "beat" and event["shared_label"] is not None for event in streamed.events)
    assert streamed.events[-1]["relabelled"] == changed > 0
    scored = cli(
        "evaluate", "--data", record.parent, "--records", "anna", "--bundle", bundle, "--patient", "anna.json",
        "--jobs", "1", "--json",
    )  # fmt: skip
    assert scored.code == 0, scored.err
    assert "patient-specific" in scored.err
    assert json.loads(scored.out)["beats"]["V"]["se"] > 90.0
    other = cli("evaluate", "--data", record.parent, "--bundle", bundle, "--patient", "anna.json", "--lead", "V1")
    assert other.code == 3
    refused = cli("replay", record, "--patient", record.with_suffix(".hea"))
    assert (refused.code, refused.out) == (3, "")
    assert "not the file of a patient's layer" in refused.err


def test_sigusr1_switches_the_layer_off_and_on(
    cli: Cli, write_patient: Callable[..., Path], drawn: DrawnPatient, bundle: Path
) -> None:
    import signal

    record = write_patient("anna", drawn)
    assert cli("adapt", record, "--labels", f"{record}.atr", "--bundle", bundle, "-o", "anna.json").code == 0
    cli.start("replay", record, "--pty", "holter", "--speed", "8")
    port = wait_for_port(cli, "holter")
    stream = cli.start("stream", "--port", port, "--bundle", bundle, "--patient", "anna.json", "--json")

    def switches(number: int) -> Callable[[list[dict[str, object]]], bool]:
        return lambda events: sum(event["event"] == "patient_layer" for event in events) >= number

    stream.wait_for(switches(1))
    stream.process.send_signal(signal.SIGUSR1)
    stream.wait_for(switches(2))
    stream.process.send_signal(signal.SIGUSR1)
    events = stream.wait_for(switches(3))
    assert [event["active"] for event in events if event["event"] == "patient_layer"] == [True, False, True]
    stream.process.send_signal(signal.SIGINT)
    assert stream.finish().code == 0


def test_suggested_beats_that_are_labelled_become_a_layer(
    cli: Cli, write_patient: Callable[..., Path], drawn: DrawnPatient, bundle: Path
) -> None:
    record = write_patient("anna", drawn)
    suggested = cli("adapt", record, "--suggest", "24", "--bundle", bundle, "-o", "chosen", "--json")
    assert suggested.code == 0, suggested.err
    assert len(json.loads(suggested.out)["beats"]) == 24
    table = cli.folder / "chosen" / "labels.csv"
    truth = dict(zip(drawn.r_peaks.tolist(), drawn.classes, strict=True))
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row["label"] = truth[min(truth, key=lambda r: abs(r - int(row["sample"])))]
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    fitted = cli("adapt", record, "--labels", table, "--bundle", bundle, "--json")
    figures = json.loads(fitted.out)
    assert figures["spread_over"] > 100
    assert (fitted.code == 0) == figures["passed"] == (cli.folder / "patient.json").exists()


def test_a_layer_that_does_not_help_is_not_written_and_the_exit_code_is_1(
    cli: Cli, write_patient: Callable[..., Path], drawn: DrawnPatient, bundle: Path
) -> None:
    record = write_patient("anna", drawn)
    done = cli("adapt", record, "--labels", f"{record}.atr", "--minutes", "0.2", "--bundle", bundle, "-o", "anna.json")
    assert done.code == 1
    assert "fewer than 20" in done.err
    assert "No layer" in done.out
    assert not (cli.folder / "anna.json").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((), 2, "--labels FILE to fit a layer, or --suggest N"),
        (("--labels", "a.csv", "--suggest", "20"), 2, "--suggest N"),
        (("--suggest", "5"), 2, "--suggest"),
        (("--labels", "absent.csv"), 3, "no file of labels absent.csv"),
        (("--labels", "bad.csv"), 3, "bad.csv, row 2"),
        (("--labels", "bad.csv", "--lead", "II", "--leads", "all"), 2, "not both"),
        (("--labels", "bad.csv", "-o", "bad.csv/patient.json"), 3, "Results cannot be written to -o"),
        (("--labels", "bad.csv", "-o", "."), 2, "is a folder"),
    ],
)
def test_mistakes_are_refused_in_a_sentence(
    cli: Cli,
    write_patient: Callable[..., Path],
    drawn: DrawnPatient,
    arguments: tuple[str, ...],
    code: int,
    message: str,
) -> None:
    record = write_patient("anna", drawn)
    (cli.folder / "bad.csv").write_text("time_s,label\n1,maybe\n")
    done = cli("adapt", record, *arguments)
    assert done.code == code
    assert message in done.err
    assert done.out == ""
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--adapt-minutes", "5", "--whole"), "--whole"),
        (("--adapt-labels", "20", "--only", "rpeaks"), "--only rpeaks"),
        (("--patient", "a.json", "--only", "rpeaks"), "belongs to a bundle"),
        (("--patient", "a.json", "--task", "rhythm"), "--patient"),
    ],
)
def test_contradicting_options_of_evaluate_are_refused(cli: Cli, arguments: tuple[str, ...], message: str) -> None:
    done = cli("evaluate", "--data", ".", *arguments)
    assert (done.code, done.out) == (2, "")
    assert message in done.err


def test_an_integer_tflite_bundle_has_its_own_layer(
    cli: Cli, write_patient: Callable[..., Path], drawn: DrawnPatient, bundle: Path
) -> None:
    pytest.importorskip("ai_edge_litert", reason="LiteRT is not installed")
    import msgspec
    from tiny_bundle import tiny_manifest
    from tiny_tflite import if_model

    from ecgmoe_edge.runtime.bundle import write_bundle
    from ecgmoe_edge.runtime.litert_engine import LiteRtEngine

    specs, manifest = LiteRtEngine(if_model()), tiny_manifest()
    model = msgspec.structs.replace(
        manifest.model, format="tflite", file="model.tflite", precision="int8", activations="int8", providers=()
    )
    manifest = msgspec.structs.replace(manifest, model=model, inputs=specs.inputs, outputs=specs.outputs)
    tflite = write_bundle(cli.folder / "tflite", manifest, {"model.tflite": if_model(), "MODEL_CARD.md": b"# tiny\n"})
    record = write_patient("anna", drawn)
    fitted = cli("adapt", record, "--labels", f"{record}.atr", "--bundle", tflite, "-o", "anna.json", "--json")
    assert fitted.code == 0, fitted.err
    before, after = json.loads(fitted.out)["cross_validated"]["wrong"]
    assert after < before
    evaluate = (
        "evaluate",
        "--data",
        record.parent,
        "--records",
        "anna",
        "--patient",
        "anna.json",
        "--jobs",
        "1",
        "--json",
    )
    scored = cli(*evaluate, "--bundle", tflite)
    assert scored.code == 0, scored.err
    assert json.loads(scored.out)["beats"]["V"]["se"] > 90.0
    other = cli(*evaluate, "--bundle", bundle)
    assert (other.code, other.out) == (3, "")
    assert "fitted for another model" in other.err
