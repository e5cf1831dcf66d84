"""Output and exit codes of `doctor`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from installed_command import Cli
from recorded_tree import write_tree


def test_the_findings_go_to_stdout_and_their_number_to_stderr(cli: Cli, tmp_path: Path) -> None:
    write_tree(tmp_path / "board", {"sys/devices/platform/soc/soc:firmware/get_throttled": "50005"})
    done = cli("doctor", "--sysfs-root", tmp_path / "board")
    assert done.code == 0, done.out
    lines = done.out.splitlines()
    (throttled,) = [number for number, line in enumerate(lines) if "undervoltage, throttled" in line]
    assert lines[throttled].startswith("remark   throttling")
    assert lines[throttled + 1].strip().startswith("mend: Use the power supply")
    assert lines[-1].startswith("ok       self check")
    assert done.err.startswith("Problems: 0; remarks: ")


def test_json_has_every_finding_with_its_status_and_mend(cli: Cli) -> None:
    done = cli("doctor", "--json")
    held = json.loads(done.out)
    assert set(held) == {"findings", "ok"}
    assert {key for finding in held["findings"] for key in finding} == {"name", "status", "text", "mend"}
    assert {finding["status"] for finding in held["findings"]} <= {"ok", "remark", "problem"}
    assert held["ok"] is (done.code == 0)
    assert done.err == ""


def test_a_problem_has_exit_code_1_and_all_findings_are_shown(cli: Cli) -> None:
    done = cli("doctor", "--bundle", "absent", "--json")
    assert done.code == 1
    held = json.loads(done.out)
    assert held["ok"] is False
    assert [finding["name"] for finding in held["findings"] if finding["status"] == "problem"] == ["self check"]
    assert "absent" in held["findings"][-1]["text"]
    invalid = cli("doctor", env={"ECGMOE_ENGINE": "fortran"})
    assert invalid.code == 1
    assert "problem  engine" in invalid.out
    assert "Traceback" not in invalid.err


def test_a_folder_that_does_not_exist_is_a_usage_error(cli: Cli) -> None:
    done = cli("doctor", "--sysfs-root", "absent")
    assert (done.code, done.out) == (2, "")


def test_another_module_in_place_of_pyserial_is_a_finding_and_not_the_end(tmp_path: Path) -> None:
    (tmp_path / "serial.py").write_text("")
    done = subprocess.run(
        [sys.executable, "-m", "ecgmoe_edge", "doctor", "--json"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path]), "OMP_NUM_THREADS": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    findings = {finding["name"]: finding for finding in json.loads(done.stdout)["findings"]}
    assert findings["serial ports"]["status"] == "problem"
    assert "pip uninstall serial" in findings["serial ports"]["mend"]
    assert findings["self check"]["status"] == "ok"
