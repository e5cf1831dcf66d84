"""Training on a disk that is full, or that fails at any write: one sentence, the old files unchanged, and a resume."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from installed_command import Cli, Finished
from small_disk import fill, mounted
from tiny_teacher import TINY_TEACHER

from ecgmoe_edge import durable_files

CONFIG = f"""
[[data]]
name = "ward"
folder = "ward"
validation = ["p3"]
rhythm = true

[draw]
normal = 20
s = 10
v = 10
rhythm = 10

{TINY_TEACHER}

[fit]
epochs = 2
batch = 16
validate_from = 0.0
validate_every = 1

[distil.float_stage]
epochs = 1
batch = 16
soft_epochs = 1

[distil.qat_stage]
epochs = 1
batch = 16
"""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    with mounted(tmp_path / "disk", "1M") as disk:
        yield disk


def _train(cli: Cli, patients: Path, out: Path) -> Finished:
    (cli.folder / "tiny.toml").write_text(CONFIG)
    common = ("--config", "tiny.toml", "--data", patients, "--jobs", "1", "--device", "cpu", "--cache", "examples")
    return cli("train", *common, "-o", out)


def _distill(cli: Cli, patients: Path, out: Path, teacher: Path) -> Finished:
    (cli.folder / "tiny.toml").write_text(CONFIG)
    common = ("--config", "tiny.toml", "--data", patients, "--jobs", "1", "--device", "cpu", "--cache", "examples")
    return cli("distill", *common, "-o", out, "--teacher", teacher, "--width", "nano")


def _files(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def _fails_in_a_sentence(done: Finished) -> None:
    assert done.code == 3, done.err
    assert done.err.splitlines()[-1].startswith("error: "), done.err
    assert os.strerror(errno.ENOSPC) in done.err
    assert "Traceback" not in done.err
    assert done.out == ""


@pytest.mark.parametrize("command", ["train", "distill"])
def test_a_full_disk_changes_no_file_of_the_run(
    cli: Cli, patients: Path, run_folder: Path, small_disk: Path, command: str
) -> None:
    (small_disk / "teacher.safetensors").write_text("good")
    fill(small_disk, leave=20_000)  # less than a checkpoint
    before = _files(small_disk)
    if command == "train":
        done = _train(cli, patients, small_disk)
    else:
        done = _distill(cli, patients, small_disk, run_folder / "teacher.safetensors")
    _fails_in_a_sentence(done)
    assert _files(small_disk) == before


@pytest.mark.slow
@pytest.mark.parametrize("command", ["train", "distill"])
def test_whichever_write_fails_the_old_files_stay_and_the_next_start_resumes(
    cli: Cli, patients: Path, run_folder: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    out = cli.folder / "out"
    flush = durable_files.flush_to_disk
    have_failed: list[str] = []

    def fail_once_for_each_file(path: Path) -> None:
        target = path.name[1:].rsplit(".", 2)[0]
        if path.suffix == ".partial" and target not in have_failed:
            have_failed.append(target)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        flush(path)

    monkeypatch.setattr(durable_files, "flush_to_disk", fail_once_for_each_file)
    while True:
        failed, before = len(have_failed), _files(out)
        if command == "train":
            done = _train(cli, patients, out)
        else:
            done = _distill(cli, patients, out, run_folder / "teacher.safetensors")
        if len(have_failed) == failed:
            break
        _fails_in_a_sentence(done)
        assert not list(out.rglob("*.partial"))
        assert _files(out).get(have_failed[-1]) == before.get(have_failed[-1])
    assert done.code == 0, done.err
    weights = {"train": "teacher.safetensors", "distill": "student-nano-qat.safetensors"}[command]
    assert {weights, weights.replace(".safetensors", ".checkpoint.safetensors")} <= set(have_failed)
    assert weights in _files(out)
