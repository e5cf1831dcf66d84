"""`inspect` describes the shipped bundle and draws its parts."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from installed_command import Cli

from ecgmoe_edge.runtime import shipped_bundle

pytest.importorskip("onnx")


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return Path(shutil.copytree(shipped_bundle(), tmp_path / "bundle"))


def edit(bundle: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the manifest as with an editor."""
    manifest = json.loads((bundle / "manifest.json").read_text())
    change(manifest)
    (bundle / "manifest.json").write_text(json.dumps(manifest))


def test_inspect_lists_the_costs_and_the_experts_of_the_shipped_bundle(cli: Cli) -> None:
    done = cli("inspect", "--json", "--graph", "model.svg")
    assert done.code == 0, done.err
    described = json.loads(done.out)
    parts = {part["name"]: part for part in described["anatomy"]["parts"]}
    for path, count in described["model"]["experts"].items():
        assert {f"{path}_{index}" for index in range(count)} <= set(parts)
        assert sum(described["expert_shares"][path]) == pytest.approx(1.0)
    assert sum(part["parameters"] for part in parts.values()) == described["model"]["parameters"]
    assert described["anatomy"]["macs_per_beat"] < sum(part["macs"] for part in parts.values())
    picture = (cli.folder / "model.svg").read_text()
    assert picture.startswith("<svg ")
    assert "morphology_0" in picture


def test_inspect_shows_the_multiplications_of_a_beat_from_the_manifest(cli: Cli, bundle: Path) -> None:
    counts = json.loads((bundle / "manifest.json").read_text())["model"]["experts"]
    macs = {
        "max_macs": 3_000_000, "dense_twin_macs": 2_900_000, "mean_macs": 412345.6, "p95_macs": 3e6,
        "data": "ds1-val and svdb-val", "beats": 34567,
        "expert_shares": {path: [0.75, 0.25, *[0.0] * (n - 2)] for path, n in counts.items()},
    }  # fmt: skip
    edit(bundle, lambda m: m["model"].update(macs=macs))
    done = cli("inspect", bundle, "--json")
    assert done.code == 0, done.err
    described = json.loads(done.out)
    assert described["model"]["macs"]["mean_macs"] == 412345.6
    most = described["anatomy"]["macs_per_beat"]
    assert 0.5 * most < described["mean_macs_on_shipped_recording"] <= most
    text = cli("inspect", bundle).out
    assert "mean 412,346, 95th percentile 3,000,000, at most 3,000,000; the dense twin: 2,900,000" in text
    assert "over 34,567 beats of ds1-val and svdb-val" in text
    assert "morphology experts ran for 0: 75.0 %, 1: 25.0 %" in text


def test_inspect_says_why_the_mean_is_not_known(cli: Cli, bundle: Path) -> None:
    macs = {"max_macs": 3_000_000, "dense_twin_macs": 2_900_000, "why": "2 beats of a ward are too few, 20 are needed"}
    edit(bundle, lambda m: m["model"].update(macs=macs))
    assert "mean: unknown, 2 beats of a ward are too few" in cli("inspect", bundle).out


def test_a_drawing_of_another_format_is_refused(cli: Cli) -> None:
    done = cli("inspect", "--graph", "model.jpg")
    assert done.code == 2
    assert ".svg" in done.err.splitlines()[-1]
    assert not (cli.folder / "model.jpg").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m["decision"].update(margin_share_s="x"), "margin_share_s"),
        (lambda m: m["preprocessing"].update(band_hz=[0.5, 41.0]), "band_hz"),
        (lambda m: m["classes"].update(beat=["S", "N", "V", "F"]), "S, N, V, F"),
        (lambda m: m["inputs"][0].update(in_file="nope"), "nope"),
        (lambda m: m["model"].update(format="tflite"), "cannot load the model"),
    ],
)
def test_a_bundle_that_does_not_run_is_refused(
    cli: Cli, bundle: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    edit(bundle, change)
    done = cli("inspect", bundle)
    assert done.code == 3
    assert done.err.splitlines()[-1].startswith("error: ")
    assert message in done.err
    assert done.out == ""


def test_an_empty_model_is_refused(cli: Cli, bundle: Path) -> None:
    (bundle / "model.onnx").write_bytes(b"")
    empty = {"sha256": hashlib.sha256(b"").hexdigest(), "bytes": 0}
    edit(bundle, lambda m: m["files"].update({"model.onnx": empty}))
    done = cli("inspect", bundle)
    assert done.code == 3
    assert "cannot load the model" in done.err


def test_without_the_runtime_a_bundle_is_described_without_its_experts(cli: Cli) -> None:
    code = """
import sys
sys.modules["onnxruntime"] = None  # as if it were not installed
sys.argv = ["ecgmoe-edge", "inspect"]
from ecgmoe_edge.cli import main
main()
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=cli.folder, capture_output=True, text=True, timeout=60, check=True
    )
    assert "The experts were not counted: onnxruntime" in done.stderr
    table = done.stdout[done.stdout.index("parts:") : done.stdout.index("  a beat:")].splitlines()[1:]
    ran_for = {line.split()[0]: line.split()[5] for line in table}
    assert ran_for["trunk"] == "all"
    assert {share for name, share in ran_for.items() if name[-1].isdigit()} == {"-"}


def test_a_bundle_with_c_source_is_described(cli: Cli, bundle: Path) -> None:
    edit(bundle, lambda m: m["model"].update(format="c"))
    done = cli("inspect", bundle)
    assert done.code == 0, done.err
    assert "does not run here" in done.err


@pytest.mark.parametrize(("picture", "message"), [("nowhere/x.svg", "No such file"), ("full.svg", "No space left")])
def test_a_drawing_that_cannot_be_written_is_not_a_usage_error(cli: Cli, picture: str, message: str) -> None:
    (cli.folder / "full.svg").symlink_to("/dev/full")
    done = cli("inspect", "--graph", picture)
    assert done.code == 3
    assert done.err.splitlines()[-1].startswith(f"error: {picture}: {message}")
