"""Paths that are not readable files are refused in a sentence at once, and FIFOs are never opened."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from ecgmoe_edge.errors import InputFileError
from ecgmoe_edge.input_files import check_input_file, is_absent, shown_path


def refusal(path: Path) -> str:
    with pytest.raises(InputFileError) as raised:
        check_input_file(path, "recording")
    assert raised.value.exit_code == 3
    assert "\n" not in str(raised.value)
    assert "\0" not in str(raised.value)
    return str(raised.value)


def test_a_file_with_a_byte_is_accepted(tmp_path: Path) -> None:
    file = tmp_path / "night.edf"
    file.write_bytes(b"0")
    check_input_file(file, "recording")
    link = tmp_path / "link"
    link.symlink_to(file)
    check_input_file(link, "recording")


def test_the_kind_of_a_path_that_is_not_a_file_is_named(tmp_path: Path) -> None:
    assert "There is no recording" in refusal(tmp_path / "night.edf")
    assert "a folder" in refusal(tmp_path)
    (tmp_path / "empty.edf").touch()
    assert "empty" in refusal(tmp_path / "empty.edf")
    assert "not a folder" in refusal(tmp_path / "empty.edf" / "night.edf")
    assert "NUL" in refusal(tmp_path / "a\0b.edf")
    assert "longer" in refusal(tmp_path / ("x" * 5000))
    assert "device file" in refusal(Path("/dev/null"))
    assert "\\n" in refusal(tmp_path / "a\nb.edf")


def test_a_fifo_and_a_socket_are_named_without_being_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe.edf")
    monkeypatch.chdir(tmp_path)  # the path of a socket has at most 107 bytes
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.edf")
        monkeypatch.setattr(os, "open", lambda *_: pytest.fail("it was opened"))
        assert "FIFO" in refusal(tmp_path / "pipe.edf")
        assert "socket" in refusal(tmp_path / "socket.edf")


def test_broken_and_circular_links_are_named(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    assert "does not exist" in refusal(tmp_path / "a")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    assert "leads back to itself" in refusal(tmp_path / "a")
    assert not is_absent(tmp_path / "a")
    assert is_absent(tmp_path / "c")


def test_a_file_without_permission_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "night.edf"
    file.write_bytes(b"0")
    file.chmod(stat.S_IWUSR)
    if os.access(file, os.R_OK):  # the superuser may read anything

        def denied(*_: object) -> int:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(os, "open", denied)
    assert "permission" in refusal(file)


def test_a_long_path_is_shortened_in_a_message() -> None:
    assert len(shown_path(Path("x" * 5000))) < 130
