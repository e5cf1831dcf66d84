"""Commands whose stdout or stderr is closed, or whose reader stops reading."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from installed_command import COMMAND, Cli


def in_shell(folder: Path, command: str) -> subprocess.CompletedProcess[str]:
    """Run `command` in bash; `E` in it is the installed command."""
    return subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "E": str(COMMAND)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_closed_stdout_is_reported_in_a_sentence(tmp_path: Path) -> None:
    done = in_shell(tmp_path, '"$E" profiles >&-')
    assert done.returncode == 3
    assert done.stderr.startswith("error: stdout is closed")
    assert len(done.stderr.splitlines()) == 1


def test_a_closed_stderr_loses_no_result(tmp_path: Path) -> None:
    done = in_shell(tmp_path, '"$E" demo --speed 0 2>&-')
    assert done.returncode == 0
    assert json.loads(done.stdout.splitlines()[-1])["event"] == "end"
    assert in_shell(tmp_path, '"$E" profiles toaster 2>&-').returncode == 3
    assert in_shell(tmp_path, '"$E" profiles >&- 2>&-').returncode == 3


@pytest.mark.parametrize("command", ["demo --json --speed 0", "profiles", "--help", "stream --help"])
def test_a_closed_pipe_has_another_exit_code_than_a_failed_gate(tmp_path: Path, command: str) -> None:
    done = in_shell(tmp_path, f'"$E" {command} | head -c 0; exit ${{PIPESTATUS[0]}}')
    assert done.returncode == 141, done.stderr
    assert "Traceback" not in done.stderr
    assert "Broken" not in done.stderr


def test_help_lists_every_exit_code(cli: Cli) -> None:
    shown = " ".join(cli("--help").out.split())
    assert [
        code for code in ("0 success", "1 a gate", "2 usage", "3 bad", "130 inter", "141 the") if code not in shown
    ] == []
