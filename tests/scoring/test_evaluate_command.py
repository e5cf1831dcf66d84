"""The command `ecgmoe-edge evaluate`: noise, CSV files, tasks, reports and refused arguments."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from installed_command import Cli, Finished

pytest.importorskip("wfdb", reason="records need the records extra")


def _evaluate(cli: Cli, *arguments: str | Path) -> Finished:
    return cli("evaluate", *arguments)


def test_noise_adds_one_key_and_a_csv_file(cli: Cli, write_noisy_set: Callable[..., Path], tmp_path: Path) -> None:
    arguments = ("--data", write_noisy_set("1") / "mitdb", "--only", "rpeaks", "--jobs", "1", "--json")
    done = _evaluate(cli, *arguments, "--noise", "em", "--snr", "-9,30", "--csv", tmp_path / "tables")
    assert done.code == 0, done.err
    figures = json.loads(done.out)
    assert figures["rpeaks"]["150ms"]["f1"] == 100.0  # the record without noise
    assert figures["noise"]["kind"] == "em"
    assert list(figures["noise"]["snr_db"]) == ["-9", "30"]
    for evaluation in figures["noise"]["snr_db"].values():
        assert set(evaluation["rpeaks"]["150ms"]) == {"se", "ppv", "f1", "tp", "fn", "fp"}
    assert figures["noise"]["snr_db"]["-9"]["rpeaks"]["150ms"]["f1"] < 99.0
    assert {file.name for file in (tmp_path / "tables").iterdir()} == {"records.csv", "classes.csv", "noise.csv"}
    assert "1/1 1 at -9 dB" in done.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--snr", "6"), "--noise"),
        (("--noise", "em", "--snr", "6,loud"), "numbers in dB"),
        (("--noise", "pop"), "pop"),
    ],
)
def test_bad_noise_is_refused_with_a_sentence(
    cli: Cli, arguments: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    done = _evaluate(cli, "--data", tmp_path, *arguments)
    assert done.code == 2
    assert message in done.err
    assert "Traceback" not in done.err


def test_a_task_prints_its_figures_and_writes_a_report(
    cli: Cli, write_noisy_set: Callable[..., Path], tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib", reason="reports need matplotlib")
    data = write_noisy_set("1", "2", "3") / "mitdb"
    arguments = ("--data", data, "--jobs", "1", "--task", "rr", "--only", "rpeaks", "--report", tmp_path / "report")
    done = _evaluate(cli, *arguments, "--json")
    assert done.code == 0, done.err
    figures = json.loads(done.out)
    assert (figures["task"], figures["records"], figures["skipped_records"]) == ("rr", 3, {})
    low, high = figures["intervals"]["figures"]["detector_mae_ms"]
    assert low <= figures["rr"]["detector_mae_ms"] <= high < 3.0
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert "--task rr" in page


@pytest.mark.parametrize("arguments", [(), ("--task", "rr")])
def test_the_annotator_option_selects_another_annotation_file(
    cli: Cli, arguments: tuple[str, ...], write_noisy_set: Callable[..., Path]
) -> None:
    data = write_noisy_set("1") / "mitdb"
    (data / "1.atr").rename(data / "1.qrs")
    arguments = ("--data", str(data), "--only", "rpeaks", "--jobs", "1", "--json", *arguments)
    assert _evaluate(cli, *arguments, "--annotator", "qrs").code == 0
    refused = _evaluate(cli, *arguments)
    assert refused.code == 3
    assert "there is no 1.atr" in refused.err


@pytest.mark.slow
def test_beat_figures_have_intervals_whole_record_figures_and_a_report(
    cli: Cli, write_noisy_set: Callable[..., Path], tmp_path: Path
) -> None:
    pytest.importorskip("onnxruntime", reason="the shipped bundle runs in onnxruntime")
    data = write_noisy_set("1", "2", "3") / "mitdb"
    done = _evaluate(cli, "--data", data, "--jobs", "1", "--json", "--report", tmp_path / "report")
    assert done.code == 0, done.err
    figures = json.loads(done.out)
    assert figures["model"]["kind"] == "bundle"
    assert (
        figures["whole_record"]["beats"]["N"]["tp"] > figures["beats"]["N"]["tp"] + 900
    )  # five more minutes in three records
    low, high = figures["intervals"]["figures"]["N.se"]
    assert low <= figures["beats"]["N"]["se"] <= high
    assert (tmp_path / "report" / "report.html").is_file()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--task", "potassium"), 2, "head is untrained"),
        (("--task", "sex", "--csv", "tables"), 2, "--csv"),
        (("--teacher", "absent.safetensors"), 3, "absent.safetensors"),
        (("--teacher", "a", "--student", "b"), 2, "--teacher and --student"),
        (("--student", "b", "--only", "rpeaks"), 2, "without a model"),
    ],
)
def test_invalid_tasks_and_models_are_refused_with_a_sentence(
    cli: Cli, arguments: tuple[str, ...], code: int, message: str, tmp_path: Path
) -> None:
    pytest.importorskip("torch", reason="the full-precision model needs torch")
    done = _evaluate(cli, "--data", tmp_path, "--jobs", "1", *arguments)
    assert done.code == code
    assert message in done.err
    assert "Traceback" not in done.err


def test_a_task_missing_in_the_shipped_bundle_is_refused_with_a_remedy(
    cli: Cli, write_noisy_set: Callable[..., Path]
) -> None:
    pytest.importorskip("onnxruntime", reason="the shipped bundle runs in onnxruntime")
    done = _evaluate(cli, "--data", write_noisy_set("1") / "mitdb", "--task", "age")
    assert done.code == 2
    assert "no trained head for the task age" in done.err
    assert "--teacher" in done.err


@pytest.mark.parametrize("option", ["--annotations", "--csv", "--report"])
def test_an_output_folder_that_cannot_be_created_is_reported_before_scoring(
    cli: Cli, option: str, write_noisy_set: Callable[..., Path], tmp_path: Path
) -> None:
    (tmp_path / "afile").touch()
    arguments = ("--data", write_noisy_set("1") / "mitdb", "--only", "rpeaks", "--jobs", "1")
    done = _evaluate(cli, *arguments, option, tmp_path / "afile")
    assert done.code == 3
    assert done.out == ""
    assert f"{option} " in done.err
    assert "1/1" not in done.err
