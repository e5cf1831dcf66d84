"""Every command checks the recordings it reads, reports faults, and continues with the other recordings."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from installed_command import Cli, wait_for_port
from wfdb_records import write_wfdb

from ecgmoe_edge.cli.survey_report import SurveyReport
from ecgmoe_edge.records.recording import Remark
from ecgmoe_edge.training.survey import Survey

FS = 250.0


@pytest.fixture
def table(cli: Cli, simulated_ecg: Callable[..., Any]) -> Any:
    """Writes mine.csv with the columns ECG in uV and rest at 250 Hz; returns the simulated ECG."""
    ecg = simulated_ecg(30.0, fs=FS, noise_mv=0.01)
    rows = np.stack([ecg.signal * 1000, np.zeros(ecg.signal.size)], 1)
    np.savetxt(cli.folder / "mine.csv", rows, fmt="%.2f", delimiter=",", header="ECG,rest", comments="")
    return ecg


def test_replay_reports_implausible_values_before_it_plays_and_in_its_json(cli: Cli, table: Any) -> None:
    replay = cli.start("replay", "mine.csv", "--fs", "250", "--pty", "holter", "--speed", "0", "--json")
    assert cli("stream", "--port", wait_for_port(cli, "holter"), "--json").code == 0
    done = replay.finish()
    assert done.code == 0, done.err
    assert "the values are probably uV; give --unit uV" in done.err
    assert "mine.csv: Lead rest is constant" in done.err.partition("mine.csv: 2 leads: ECG, rest, at 250 Hz")[0]
    remarks = {one["kind"]: one for one in json.loads(done.out)["remarks"]}
    assert remarks["amplitude"]["leads"] == ["ECG"]
    assert remarks["lead"]["leads"] == ["rest"]


def test_replay_plays_the_named_leads_without_remarks(cli: Cli, table: Any) -> None:
    arguments = ("--fs", "250", "--unit", "uV", "--leads", "ecg", "--pty", "holter", "--speed", "0", "--json")
    replay = cli.start("replay", "mine.csv", *arguments)
    done = cli("stream", "--port", wait_for_port(cli, "holter"), "--json")
    assert sum(done.events[-1]["beats"].values()) == pytest.approx(table.r_peaks.size, abs=1)
    played = replay.finish()
    assert played.err.startswith("mine.csv: 1 lead: ECG, at 250 Hz")
    assert json.loads(played.out)["remarks"] == []


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--leads", "V9"), 3, "no lead 'V9'. It has ECG, rest"),
        (("--leads", "ECG,,rest"), 2, "--leads"),
        (("--unit", "count"), 2, "--uv-per-lsb"),
        (("--unit", "mmHg"), 3, "mmHg"),
        (("--columns", "Z"), 3, "'Z'"),
    ],
)
def test_invalid_leads_and_units_are_refused_with_a_sentence(
    cli: Cli, table: Any, arguments: tuple[str, ...], code: int, message: str
) -> None:
    assert table is not None
    done = cli("replay", "mine.csv", "--fs", "250", *arguments)
    assert (done.code, done.out) == (code, "")
    assert message in done.err
    assert "Traceback" not in done.err


def test_a_table_with_annotations_is_scored_with_its_remarks(cli: Cli, table: Any) -> None:
    wfdb = pytest.importorskip("wfdb", reason="annotations need the records extra")
    wfdb.wrann("mine", "atr", table.r_peaks, ["N"] * table.r_peaks.size, write_dir=str(cli.folder), fs=FS)
    arguments = ("evaluate", "--data", ".", "--records", "mine.csv", "--only", "rpeaks", "--jobs", "1", "--json")
    stated = cli(*arguments, "--fs", "250", "--unit", "uV")
    assert stated.code == 0, stated.err
    figures = json.loads(stated.out)
    assert figures["rpeaks"]["150ms"]["se"] == 100.0
    assert figures["per_record"]["mine"]["remarks"] == []
    assumed = cli(*arguments, "--fs", "250")  # mV
    remarks = {one["kind"]: one for one in json.loads(assumed.out)["per_record"]["mine"]["remarks"]}
    remark = remarks["amplitude"]
    assert remark["leads"] == ["ECG"]
    assert f"mine: {remark['text']}" in assumed.err.splitlines()
    silent = cli(*arguments, "--fs", "250", "--leads", "rest")
    assert silent.code == 3
    assert "is constant at 0 mV" in silent.err
    without = cli(*arguments)
    assert without.code == 3
    assert "--fs" in without.err


def test_unusable_records_are_skipped_with_reasons_and_not_scored(cli: Cli, simulated_ecg: Callable[..., Any]) -> None:
    pytest.importorskip("wfdb", reason="records need the records extra")
    ecg = simulated_ecg(30.0, fs=FS)
    for name, signal in (("good", ecg.signal), ("flat", 0 * ecg.signal), ("drift", np.linspace(0, 2, ecg.signal.size))):
        write_wfdb(cli.folder, name, signal[None], FS, r_peaks=ecg.r_peaks)
    (cli.folder / "broken.hea").write_text("broken 1 250 1000\nbroken.dat 16 200/mV 16 0 0 0 0 II\n")
    done = cli("evaluate", "--data", ".", "--only", "rpeaks", "--jobs", "1", "--json")
    assert done.code == 0, done.err
    figures = json.loads(done.out)
    assert set(figures["skipped_records"]) == {"broken", "flat"}
    assert set(figures["per_record"]) == {"good", "drift"}
    assert figures["per_record"]["good"]["rpeaks"]["150ms"]["fn"] == 0
    # In a signal without a detected beat all annotated beats were missed; a remark says so.
    assert figures["per_record"]["drift"]["rpeaks"]["150ms"]["fn"] == ecg.r_peaks.size
    assert "No beat was found in drift" in figures["per_record"]["drift"]["remarks"][0]["text"]


def test_time_without_a_valid_sample_is_reported_wherever_it_lies(cli: Cli, simulated_ecg: Callable[..., Any]) -> None:
    pytest.importorskip("wfdb", reason="records need the records extra")
    ecg = simulated_ecg(200.0, fs=FS)
    signal = ecg.signal.copy()
    signal[int(150 * FS) : int(170 * FS)] = np.nan  # after the minutes that are checked before the run
    write_wfdb(cli.folder, "hole", signal[None], FS, r_peaks=ecg.r_peaks)
    write_wfdb(cli.folder, "whole", ecg.signal[None], FS, r_peaks=ecg.r_peaks)
    done = cli("evaluate", "--data", ".", "--only", "rpeaks", "--jobs", "1", "--json")
    assert done.code == 0, done.err
    records = json.loads(done.out)["per_record"]
    (remark,) = records["hole"]["remarks"]
    assert remark["text"].startswith("20.0 s of hole (10.0 %) have no valid sample")
    assert f"hole: {remark['text']}" in done.err.splitlines()
    assert records["whole"]["remarks"] == []


def test_a_truncated_record_is_refused_with_the_option_that_reads_what_is_present(
    cli: Cli, simulated_ecg: Callable[..., Any]
) -> None:
    pytest.importorskip("wfdb", reason="records need the records extra")
    ecg = simulated_ecg(30.0, fs=FS)
    path = write_wfdb(cli.folder, "cut", ecg.signal[None], FS, r_peaks=ecg.r_peaks)
    data = path.with_suffix(".dat")
    data.write_bytes(data.read_bytes()[: data.stat().st_size // 2])
    evaluate = ("evaluate", "--data", ".", "--only", "rpeaks", "--jobs", "1", "--json")
    for arguments in (evaluate, ("replay", "cut")):
        refused = cli(*arguments)
        assert (refused.code, refused.out) == (3, "")
        assert "3750 of the 7500 samples per lead" in refused.err
        assert "--truncated" in refused.err
    done = cli(*evaluate, "--truncated")
    assert done.code == 0, done.err
    record = json.loads(done.out)["per_record"]["cut"]
    present = int(np.sum(ecg.r_peaks < 3750))
    assert record["rpeaks"]["150ms"]["tp"] + record["rpeaks"]["150ms"]["fn"] == present
    assert record["rpeaks"]["150ms"]["fn"] <= 1
    assert any(remark["kind"] == "length" for remark in record["remarks"])


def test_a_calibration_folder_without_a_beat_is_refused_without_writing_a_bundle(cli: Cli) -> None:
    pytest.importorskip("torchao")
    pytest.importorskip("wfdb")
    write_wfdb(cli.folder / "beds", "flat", np.zeros((1, 5000)), FS)
    done = cli("export", "--profile", "generic-cpu", "--calibration", "beds", "-o", "out")
    assert (done.code, done.out) == (3, "")
    assert "No beat was found in beds" in done.err
    assert not (cli.folder / "out").exists()
    refused = cli("export", "--profile", "generic-cpu", "--leads", "II", "-o", "out")
    assert refused.code == 2
    assert "--calibration" in refused.err


def test_strict_training_names_all_unusable_records(cli: Cli, simulated_ecg: Callable[..., Any]) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("wfdb")
    ecg = simulated_ecg(30.0, fs=FS)
    for name in ("good", "held", "noatr", "bare"):
        r_peaks = ecg.r_peaks if name in ("good", "held") else None
        write_wfdb(cli.folder / "rec", name, ecg.signal[None], FS, r_peaks=r_peaks)
    (cli.folder / "my.toml").write_text('[[data]]\nname = "mine"\nfolder = "rec"\nvalidation = ["held"]\n')
    done = cli("train", "--config", "my.toml", "--data", ".", "-o", "run", "--jobs", "1", "--strict")
    assert (done.code, done.out) == (3, "")
    assert "2 cannot be used: mine/bare: " in done.err
    assert "mine/noatr: " in done.err
    named = cli("train", "--config", "my.toml", "--data", ".", "-o", "run", "--jobs", "1", "--leads", "V9")
    assert named.code == 2
    assert "no voltage V9. It has II" in named.err


def test_skipped_records_of_a_training_are_reported_once_and_in_its_json(capsys: pytest.CaptureFixture[str]) -> None:
    report = SurveyReport()
    odd = Remark("amplitude", "R waves of about 1,100 mV in II.", ("II",))
    found = Survey((), {"mine/nan": "nan holds no signal."}, {"mine/odd": (odd,)})
    for _ in range(2):  # in float, then with quantization
        report(found)
    errors = capsys.readouterr().err.splitlines()
    assert errors == [
        "Skipped: 1 record that cannot be used.",
        "  mine/nan: nan holds no signal.",
        "mine/odd: R waves of about 1,100 mV in II.",
        "Used: 0 records to fit, 0 to validate.",
    ]
    assert report.to_json() == {
        "left_out": {"mine/nan": "nan holds no signal."},
        "remarks": {"mine/odd": [{"kind": "amplitude", "leads": ["II"], "text": odd.text}]},
    }


def test_a_record_of_another_format_is_found_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ecgmoe_edge.records import splits

    (tmp_path / "bed1.edf").touch()
    monkeypatch.setattr(splits, "find_recordings", lambda folder: sorted(folder.glob("*.edf")))
    monkeypatch.setattr(splits, "recognised_path", lambda path: path if path.is_file() else None)
    monkeypatch.setattr(splits, "is_recording", Path.is_file)
    monkeypatch.setattr(splits, "holds_recordings", lambda folder: any(folder.glob("*.edf")))
    assert splits.locate(tmp_path, records=["bed1"]) == [tmp_path / "bed1.edf"]
