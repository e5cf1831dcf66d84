"""The benchmarks that compare models: what they build, and what they print."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

pytest.importorskip("wfdb", reason="the subset is read from recordings")

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _root_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT))


def _benchmark(name: str) -> ModuleType:
    return importlib.import_module(f"benchmarks.{name}")


def test_every_ablation_differs_from_the_whole_and_can_be_built() -> None:
    from ecgmoe_edge.model.teacher import EcgMoe

    variants = _benchmark("ablation").variants()
    kinds = {"conv_residual", "patch_transformer", "dlinear", "timesnet"}
    parts = {"the gate", "the morphology path", "the rhythm path", "LoRA", "the measured RR interval"}
    names = {"all parts", *(f"without {p}" for p in parts | kinds), *(f"{k} alone" for k in kinds)}
    assert set(variants) == names
    sizes = {name: sum(p.numel() for p in EcgMoe(config).parameters()) for name, config in variants.items()}
    assert all(size < sizes["all parts"] for name, size in sizes.items() if name != "all parts")


def test_what_a_person_wrote_under_the_table_outlives_a_new_one(tmp_path: Path) -> None:
    ablation = _benchmark("ablation")
    page = tmp_path / "ablation.md"
    assert ablation.findings_in(page).endswith("nobody has said yet.")
    page.write_text(f"# Ablation\n\n| a | b |\n\n{ablation.FINDINGS} little.\nAnd more.\n", encoding="utf-8")
    assert ablation.findings_in(page) == f"{ablation.FINDINGS} little.\nAnd more."
    assert "little" in ablation.findings_in(page)
    assert ablation.FINDINGS in (ROOT / "docs" / "ablation.md").read_text(encoding="utf-8")


def test_the_dense_net_works_as_much_a_beat_as_the_mixture() -> None:
    benchmark = _benchmark("mixture_vs_dense")
    mixture, dense = (benchmark.macs_of_a_beat(benchmark.student("nano", n)) for n in (4, 1))
    assert dense < mixture < 1.01 * dense


def test_figures_of_a_model_that_is_always_right_and_of_one_that_never_is() -> None:
    short_fit = _benchmark("short_fit")
    truth = np.array([0, 0, 1, 2, 2, 3], np.int8)
    right = 10.0 * np.eye(4, dtype=np.float32)[truth]
    assert short_fit.f1(truth, right.argmax(1), 1) == 100.0
    assert short_fit.f1(truth, (-right).argmax(1), 1) == 0.0
    assert short_fit.balanced_log_loss(truth, right) < 0.01 < short_fit.balanced_log_loss(truth, 0.0 * right)
    assert short_fit.balanced_log_loss(truth, 0.0 * right) == pytest.approx(np.log(4.0), abs=1e-5)


def test_sharing_prints_one_pass_beside_a_model_a_task() -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "sharing.py"), "--rounds", "3", "--json"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["sharing"]
    assert [row["batch"] for row in rows] == [1, 32]
    assert all(row["shared_ms"] < row["single_task_models_ms"] for row in rows)


@pytest.mark.slow
def test_a_width_is_written_three_times_and_each_file_answers(tmp_path: Path) -> None:
    from ecgmoe_edge.converters.calibration import shipped_beats

    widths, beats = _benchmark("widths"), shipped_beats()
    files = widths.write("8/16", beats, tmp_path)
    feeds = [{name: x[:1] for name, x in beats.inputs.items()}]
    dense, static, integer = (widths.timed(files[kind], feeds)(0) for kind in widths.KINDS)
    assert len(dense) == len(static) == len(integer) == 4
    np.testing.assert_allclose(dense[2], static[2], atol=1e-4)  # the routers come before the experts
    assert files["uint8 static"].stat().st_size < files["float32 static"].stat().st_size
