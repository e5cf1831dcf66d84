"""Full disks, a full stdout and paths that are not files: a sentence, an exit code, and old files are kept."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from installed_command import COMMAND, SHIPPED_SAMPLES, Cli, wait_for_port
from small_disk import fill, mounted
from wfdb_records import write_wfdb

from ecgmoe_edge.runtime import shipped_bundle


@pytest.fixture
def wfdb_folder(tmp_path: Path) -> Path:
    """A folder with one valid record of 60 s, annotated."""
    pytest.importorskip("wfdb")
    signal = np.random.default_rng(0).normal(0.0, 0.005, (1, 60 * 250))
    beats = np.arange(250, 14800, 220)
    for beat in beats:
        signal[0, beat - 3 : beat + 4] += [0.1, 0.4, 0.8, 1.0, 0.8, 0.4, 0.1]
    return write_wfdb(tmp_path / "records", "r1", signal, 250.0, r_peaks=beats).parent


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    with mounted(tmp_path / "disk", "64k") as disk:
        yield disk


def in_a_sentence(err: str, code: int, wanted: int = 3) -> None:
    assert code == wanted, err
    assert err.splitlines()[-1].startswith("error: "), err
    assert "Traceback" not in err


def test_each_writer_on_a_full_disk_keeps_the_old_file(cli: Cli, small_disk: Path, wfdb_folder: Path) -> None:
    pytest.importorskip("matplotlib")
    old = {"--report": "report.html", "--csv": "records.csv", "--annotations": "r1.ecgmoe"}
    for name in (*old.values(), "model.svg"):
        (small_disk / name).write_text("good")
    fill(small_disk)
    there = {path.name for path in small_disk.iterdir()}
    for option in old:
        done = cli("evaluate", "--data", wfdb_folder, "--only", "rpeaks", "--jobs", "1", option, small_disk)
        in_a_sentence(done.err, done.code)
    done = cli("inspect", "--graph", small_disk / "model.svg")
    in_a_sentence(done.err, done.code)
    assert {path.name for path in small_disk.iterdir()} == there
    assert {(small_disk / name).read_text() for name in (*old.values(), "model.svg")} == {"good"}


def test_a_file_of_events_on_a_full_disk_keeps_its_temporary_name_and_the_stream_goes_on(
    cli: Cli, small_disk: Path
) -> None:
    (small_disk / "yesterday.jsonl").write_text("good")
    fill(small_disk, leave=8192)
    cli.start("replay", "calibration", "--pty", "holter", "--speed", "0")
    done = cli("stream", "--port", wait_for_port(cli, "holter"), "--json", "--events", small_disk / "night.jsonl")
    assert done.code == 3
    assert "night.jsonl: No space left on device" in done.err
    assert "events were not written" in done.err
    assert "Traceback" not in done.err
    assert {path.name for path in small_disk.iterdir()} == {"filler", "night.jsonl.part", "yesterday.jsonl"}
    assert (small_disk / "yesterday.jsonl").read_text() == "good"
    assert done.events[-1]["event"] == "end"
    assert done.events[-1]["samples"] == SHIPPED_SAMPLES
    assert done.events[-1]["link"]["sinks"][str(small_disk / "night.jsonl")]["dropped"] > 0


def test_a_place_for_events_that_is_none_is_refused_before_the_stream_starts(cli: Cli) -> None:
    (cli.folder / "old.jsonl").write_text("good")
    (cli.folder / "folder").mkdir()
    cli.start("replay", "calibration", "--pty", "holter", "--speed", "0")
    port = wait_for_port(cli, "holter")
    for name in ("/dev/full", "old.jsonl", "folder", "absent/night.jsonl", "old.jsonl/night.jsonl"):
        done = cli("stream", "--port", port, "--json", "--events", name)
        assert done.code in (2, 3), name
        in_a_sentence(done.err, done.code, done.code)
        assert name in done.err
        assert done.out == ""
    assert (cli.folder / "old.jsonl").read_text() == "good"


@pytest.mark.parametrize(
    "command", ["inspect --json", "profiles", "profiles --json", "--version", "--help", "ports --protocols"]
)
def test_a_full_stdout_is_reported_with_an_exit_code(tmp_path: Path, command: str) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [COMMAND, *command.split()], stdout=full, stderr=subprocess.PIPE, text=True, timeout=120, check=False
        )
    in_a_sentence(done.stderr, done.returncode)
    assert done.stderr.count("\n") <= 3


@pytest.mark.parametrize(
    "command",
    [
        "demo --speed 0",
        "demo --speed 0 --json",
        "evaluate --data {records} --only rpeaks --jobs 1",
        "evaluate --data {records} --only rpeaks --jobs 1 --json",
    ],
)
def test_the_same_of_a_command_that_has_worked_for_its_result(wfdb_folder: Path, command: str) -> None:
    arguments = command.format(records=wfdb_folder).split()
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [COMMAND, *arguments], stdout=full, stderr=subprocess.PIPE, text=True, timeout=200, check=False
        )
    assert done.returncode == 3, done.stderr
    assert "stdout: No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "command",
    [
        "export --profile generic-cpu -o {}",
        "export --profile generic-cpu --overwrite -o {}",
        "export --all -o {}",
        "evaluate --data {records} --only rpeaks --annotations {}",
        "evaluate --data {records} --only rpeaks --csv {}",
        "train --data {records} -o {}",
        "train --data {records} --cache {}/deeper",
        "distill --data {records} -o {}",
    ],
)
@pytest.mark.parametrize("kind", ["pipe", "loop", "device", "file"])
def test_a_place_for_results_that_is_none_is_refused_at_once(cli: Cli, command: str, kind: str) -> None:
    pytest.importorskip("torchao")
    path = cli.folder / kind
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "file":
        path.write_text("good")
    else:
        path.symlink_to("/dev/zero" if kind == "device" else kind)
    (cli.folder / "records").mkdir()
    done = cli(*command.format(kind, records="records").split(), timeout_s=60)
    in_a_sentence(done.err, done.code)
    assert kind in done.err
    assert done.out == ""
    assert kind != "file" or path.read_text() == "good"


@pytest.mark.parametrize(
    "command",
    [
        "inspect {}",
        "profile --bundle {}",
        "profile --profile {}.toml",
        "export --profile {}.toml",
        "export --profile generic-cpu --student {}",
        "evaluate --data {records} --bundle {}",
        "evaluate --data {records} --teacher {}",
        "inspect --graph {}.svg",
        "distill --teacher {} --data {records}",
        "train --config {} --data {records}",
    ],
)
@pytest.mark.parametrize("kind", ["pipe", "loop", "device", "folder", "absent\x1b[2J"])
def test_a_path_that_is_not_a_file_is_refused_at_once(cli: Cli, command: str, kind: str) -> None:
    pytest.importorskip("torchao")
    for suffix in ("", ".toml", ".svg"):
        path = cli.folder / (kind + suffix)
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "loop":
            path.symlink_to(path.name)
        elif kind == "device":
            path.symlink_to("/dev/zero")
        elif kind == "folder":
            path.mkdir()
    if "--graph" in command and kind in ("absent\x1b[2J", "device"):
        pytest.skip("a file is made there, or a device written to")
    (cli.folder / "records").mkdir()
    done = cli(*(word.format(kind, records="records") for word in command.split()), timeout_s=60)
    assert done.code in (2, 3), done.err
    in_a_sentence(done.err, done.code, done.code)
    assert "\x1b" not in done.err
    assert done.out == ""


def test_control_characters_in_a_bundle_are_escaped(cli: Cli) -> None:
    import json

    folder = cli.folder / "b"
    shutil.copytree(shipped_bundle(), folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["command"] = "x\x1b[2J\nerror: forged\u202e"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    done = cli("inspect", folder)
    assert done.code == 0, done.err
    assert r"made by: x\x1b[2J\nerror: forged\u202e" in done.out
    assert "\x1b" not in done.out + done.err
    as_json = cli("inspect", folder, "--json")
    assert json.loads(as_json.out)["command"] == manifest["command"]
    assert "\u202e" not in as_json.out


def test_control_characters_in_a_path_are_escaped(cli: Cli) -> None:
    done = cli("inspect", "a\x1b]0;title\x07\nerror: forged")
    in_a_sentence(done.err, done.code)
    assert len(done.err.splitlines()) == 1
    assert r"a\x1b]0;title\x07\nerror: forged" in done.err


def test_a_name_that_is_not_utf_8_is_printed() -> None:
    done = subprocess.run(
        [COMMAND, "inspect", b"caf\xe9"], capture_output=True, text=True, timeout=60, check=False, env={**os.environ}
    )
    in_a_sentence(done.stderr, done.returncode)
    assert r"caf\udce9" in done.stderr
