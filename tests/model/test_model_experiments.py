"""The experiments that fit models to compare them: what they build, and what they score."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

pytest.importorskip("wfdb", reason="the subset is read from recordings")

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _root_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT))


def _experiment(name: str) -> ModuleType:
    return importlib.import_module(f"experiments.{name}")


def test_every_ablation_differs_from_the_whole_and_can_be_built() -> None:
    from ecgmoe_edge.model.teacher import EcgMoe

    variants = _experiment("ablation").variants()
    kinds = {"conv_residual", "patch_transformer", "dlinear", "timesnet"}
    parts = {"the gate", "the morphology path", "the rhythm path", "LoRA", "the measured RR interval"}
    names = {"all parts", *(f"without {p}" for p in parts | kinds), *(f"{k} alone" for k in kinds)}
    assert set(variants) == names
    sizes = {name: sum(p.numel() for p in EcgMoe(config).parameters()) for name, config in variants.items()}
    assert all(size < sizes["all parts"] for name, size in sizes.items() if name != "all parts")


def test_findings_written_by_a_person_are_kept_when_the_table_is_replaced(tmp_path: Path) -> None:
    ablation = _experiment("ablation")
    page = tmp_path / "ablation.md"
    assert ablation.findings_in(page).endswith("not written yet.")
    page.write_text(f"# Ablation\n\n| a | b |\n\n{ablation.FINDINGS} little.\nAnd more.\n", encoding="utf-8")
    assert ablation.findings_in(page) == f"{ablation.FINDINGS} little.\nAnd more."
    assert "little" in ablation.findings_in(page)
    assert ablation.FINDINGS in (ROOT / "docs" / "ablation.md").read_text(encoding="utf-8")


def test_figures_of_a_model_that_is_always_right_and_of_one_that_never_is() -> None:
    short_fit = _experiment("short_fit")
    truth = np.array([0, 0, 1, 2, 2, 3], np.int8)
    right = 10.0 * np.eye(4, dtype=np.float32)[truth]
    assert short_fit.f1(truth, right.argmax(1), 1) == 100.0
    assert short_fit.f1(truth, (-right).argmax(1), 1) == 0.0
    assert short_fit.balanced_log_loss(truth, right) < 0.01 < short_fit.balanced_log_loss(truth, 0.0 * right)
    assert short_fit.balanced_log_loss(truth, 0.0 * right) == pytest.approx(np.log(4.0), abs=1e-5)
