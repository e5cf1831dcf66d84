from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ecgmoe_edge import durable_files
from ecgmoe_edge.durable_files import replace_file, replace_folder, write_bytes, write_text


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def full_disk(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_file_is_replaced_and_keeps_its_permissions(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")
    path.chmod(0o600)
    write_text(path, "new µ")
    assert path.read_bytes() == "new µ".encode()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert names(tmp_path) == {"report.html"}


def test_the_permissions_of_a_new_file_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_bytes(tmp_path / "new", b"x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o640


def test_a_failed_write_keeps_the_old_file_and_leaves_no_partial_file(tmp_path: Path) -> None:
    path = tmp_path / "figures.csv"
    path.write_text("good")
    with pytest.raises(OSError, match="No space left") as failed, replace_file(path) as partial:
        full_disk(partial.write_text("ha"))
    assert failed.value.filename == str(path)
    assert path.read_text() == "good"
    assert names(tmp_path) == {"figures.csv"}


def test_a_flush_that_fails_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "weights"
    path.write_text("good")
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        write_text(path, "new")
    assert path.read_text() == "good"
    assert names(tmp_path) == {"weights"}


def test_an_incomplete_file_does_not_replace_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model"
    path.write_bytes(b"good")
    monkeypatch.setattr(Path, "write_bytes", lambda self, content: self.open("wb").write(content[:3]))
    with pytest.raises(OSError, match="3 of 9 bytes"):
        write_bytes(path, b"123456789")
    assert path.read_bytes() == b"good"


def test_a_failed_check_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.write_bytes(b"good")

    def refuse(_: Path) -> None:
        raise ValueError("not a model")

    with pytest.raises(ValueError, match="not a model"), replace_file(path, refuse) as partial:
        partial.write_bytes(b"bad")
    assert path.read_bytes() == b"good"


def test_a_link_stays_and_its_target_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    write_text(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"


def test_a_folder_and_a_pipe_are_refused_and_a_device_is_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="it is a pipe"):
        write_text(tmp_path / "pipe", "x")
    with pytest.raises(OSError, match="No space left"):
        write_text("/dev/full", "x")
    write_text("/dev/null", "x")
    with pytest.raises(OSError, match="it is a folder"):
        write_text(tmp_path, "x")
    assert names(tmp_path) == {"pipe"}
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_a_file_name_of_the_largest_length_is_replaced(tmp_path: Path) -> None:
    write_text(tmp_path / ("x" * 255), "fits")
    assert (tmp_path / ("x" * 255)).read_text() == "fits"


def test_old_partial_files_of_killed_processes_are_removed(tmp_path: Path) -> None:
    old, recent, other = (tmp_path / f".{name}.partial" for name in ("a.123", "a.456", "b.123"))
    for path in (old, recent, other):
        path.write_text("half")
    for path in (old, other):
        os.utime(path, (time.time() - 7200,) * 2)
    write_text(tmp_path / "a", "whole")
    assert names(tmp_path) == {"a", recent.name, other.name}


@pytest.mark.parametrize("exchange", [True, False])
def test_a_folder_is_replaced_completely(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchange: bool) -> None:
    if not exchange:
        monkeypatch.setattr(durable_files, "_exchange", lambda *_: False)
    folder = tmp_path / "bundle"
    for content in ("first", "second"):
        with replace_folder(folder) as scratch:
            (scratch / content).write_text(content)
    assert names(folder) == {"second"}
    assert names(tmp_path) == {"bundle"}


def test_a_failed_write_of_a_folder_keeps_the_old_one(tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    folder.mkdir()
    (folder / "good").write_text("good")
    with pytest.raises(OSError, match="No space left"), replace_folder(folder) as scratch:
        full_disk((scratch / "half").write_text("half"))
    assert names(folder) == {"good"}
    assert names(tmp_path) == {"bundle"}


WRITER = """
import sys
from pathlib import Path
from ecgmoe_edge.durable_files import replace_folder, write_bytes
folder = Path(sys.argv[1])
(folder / "begun").touch()
for letter in b"ab" * 100_000:
    write_bytes(folder / "file", bytes([letter]) * 300_000)
    with replace_folder(folder / "bundle") as scratch:
        for name in ("one", "two"):
            (scratch / name).write_bytes(bytes([letter]) * 50_000)
"""


def test_a_process_killed_at_any_time_leaves_the_old_or_the_new_file(tmp_path: Path) -> None:
    for attempt in range(6):
        (tmp_path / "begun").unlink(missing_ok=True)
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)])
        deadline = time.monotonic() + 30
        while not (tmp_path / "begun").exists():
            assert time.monotonic() < deadline
            time.sleep(0.005)
        time.sleep(0.05 + 0.013 * attempt)
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        content = (tmp_path / "file").read_bytes()
        assert len(content) == 300_000
        assert len(set(content)) == 1
        if (tmp_path / "bundle").exists():  # the first may not have been there yet
            one, two = ((tmp_path / "bundle" / name).read_bytes() for name in ("one", "two"))
            assert one == two
            assert len(one) == 50_000
