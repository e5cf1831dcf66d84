"""`export` writes a bundle from the name of a profile, and writes nothing if a gate fails."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from installed_command import COMMAND, Cli

from ecgmoe_edge.device_profiles import load_profile
from ecgmoe_edge.errors import RecordError
from ecgmoe_edge.runtime.bundle import open_bundle, shipped_bundle

pytest.importorskip("torchao")
pytest.importorskip("onnxscript")

NO_DATA = {"ECGMOE_DATA": ""}


def test_export_for_a_jetson_writes_a_bundle_that_can_be_inspected_and_run(cli: Cli) -> None:
    done = cli("export", "--profile", "jetson", env=NO_DATA, timeout_s=300)
    assert done.code == 0, done.err
    assert done.out.strip() == "ecgmoe-jetson"
    gates = {gate["name"]: gate for gate in json.loads(cli("inspect", "ecgmoe-jetson", "--json").out)["gates"]}
    assert {gate["status"] for gate in gates.values()} == {"passed", "not run"}
    assert gates["V F1 lost"]["status"] == "not run"  # there are no recordings
    assert "NOT RUN" in cli("inspect", "ecgmoe-jetson").out
    played = cli("demo", "--bundle", "ecgmoe-jetson", "--speed", "0", "--json")
    assert played.code == 0, played.err
    assert sum(played.events[-1]["beats"].values()) >= 400
    again = cli("export", "--profile", "jetson", env=NO_DATA)
    assert again.code == 3
    assert "ecgmoe-jetson" in again.err


def test_a_gate_outside_its_limit_leaves_no_bundle(cli: Cli) -> None:
    limit = load_profile("generic-cpu").memory.model_kib
    shipped = json.loads(cli("profiles", "generic-cpu").out)
    assert shipped["memory"]["model_kib"] == limit
    small = {  # the smallest student is the fastest to convert
        "memory": {**shipped["memory"], "model_kib": 1},
        "model": {**shipped["model"], "width": "nano", "tasks": ["beat"]},
    }
    (cli.folder / "tiny.toml").write_text(_toml({**shipped, **small}))
    done = cli("export", "--profile", "./tiny.toml", "-o", "out", env=NO_DATA, timeout_s=300)
    assert done.code == 1, done.err
    assert done.err.splitlines()[-1].startswith("error: ")
    assert "size" in done.err
    assert not (cli.folder / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["while it converts", "while it writes"])
def test_an_export_that_is_killed_leaves_the_old_bundle_or_the_new(cli: Cli, moment: str) -> None:
    out = cli.folder / "out"
    shutil.copytree(shipped_bundle(), out)
    shipped = json.loads(cli("profiles", "generic-cpu").out)
    nano = {**shipped, "name": "nano", "model": {**shipped["model"], "width": "nano", "tasks": ["beat"]}}
    (cli.folder / "nano.toml").write_text(_toml(nano))
    arguments = ["export", "--profile", "nano.toml", "-o", "out", "--overwrite"]
    process = subprocess.Popen(
        [COMMAND, *arguments], cwd=cli.folder, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    wanted = "*.nothing" if moment == "while it converts" else ".out.*.partial"
    deadline = time.monotonic() + (8.0 if moment == "while it converts" else 500.0)
    while time.monotonic() < deadline and process.poll() is None and not list(cli.folder.glob(wanted)):
        time.sleep(0.001)
    finished = process.poll()
    process.kill()
    process.wait(10)
    assert finished is None, "it was to be killed and had ended"
    assert open_bundle(out).manifest.profile in ("generic-cpu", "nano")


def test_no_gate_uses_the_test_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wfdb")
    from ecgmoe_edge.cli import export
    from ecgmoe_edge.converters import accuracy

    used: list[str] = []
    monkeypatch.setattr(accuracy, "accuracy_on", lambda records, *_, **__: used.extend(path.name for path in records))
    board = load_profile("generic-cpu")
    for folder, names in (("mitdb", ("100", "106")), ("ward", ("100", "bed1"))):  # no record of ds1-val in either
        (tmp_path / folder).mkdir()
        for name in names:
            (tmp_path / folder / f"{name}.hea").touch()
        export._accuracy(tmp_path / folder, board)
    assert used == ["106", "100", "bed1"]
    (tmp_path / "mitdb" / "106.hea").unlink()
    with pytest.raises(RecordError):  # only the test half is left
        export._accuracy(tmp_path / "mitdb", board)


def test_the_manifest_has_the_command() -> None:
    from ecgmoe_edge.cli import export

    board = load_profile("jetson")
    assert export._command(board, None, None, None) == "ecgmoe-edge export --profile jetson"
    given = export._command(board, Path("somewhere/mine.safetensors"), "beat", Path("beds"))
    assert given == "ecgmoe-edge export --profile jetson --student mine.safetensors --tasks beat --calibration beds"


def test_export_without_a_board_is_refused(cli: Cli) -> None:
    for arguments in ((), ("--all", "--profile", "jetson")):
        done = cli("export", *arguments, env=NO_DATA)
        assert done.code == 2
        assert "--all" in done.err.splitlines()[-1]


@pytest.mark.slow
def test_every_profile_passes_and_has_a_row_in_the_table(cli: Cli) -> None:
    done = cli("export", "--all", "-o", "bundles", "--json", env=NO_DATA, timeout_s=1200)
    assert done.code == 0, done.err
    rows = {row["profile"]: row for row in json.loads(done.out)}
    assert set(rows) == {"cortex-m4", "generic-cpu", "jetson", "raspberry-pi"}
    for name, row in rows.items():
        gates = {gate["name"]: gate for gate in json.loads(cli("inspect", f"bundles/{name}", "--json").out)["gates"]}
        assert gates["route agreement"]["value"] >= 0.995
        assert gates["label agreement"]["value"] >= 0.998
        assert row["why"]
    assert rows["cortex-m4"]["bytes"] <= 40 * 1024
    assert rows["cortex-m4"]["time_ratio"] is None
    assert rows["generic-cpu"]["time_ratio"] < 1


def _toml(profile: dict[str, object]) -> str:
    """The profile as TOML, in which JSON strings, numbers, booleans and lists are valid."""
    top, tables = [], []
    for key, value in profile.items():
        if isinstance(value, dict):
            rows = [f"{name} = {json.dumps(held)}" for name, held in value.items() if held is not None]
            tables.append("\n".join([f"[{key}]", *rows]))
        else:
            top.append(f"{key} = {json.dumps(value)}")
    return "\n".join([*top, *tables]) + "\n"
