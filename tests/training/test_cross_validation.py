"""Compares experts of unequal cost with dense networks by patient-grouped cross-validation."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from ecgmoe_edge.tasks import BEAT_CLASSES
from ecgmoe_edge.training.config import DataSet, Noise

pytest.importorskip("wfdb", reason="the folds are read from recordings")
ROOT = Path(__file__).parents[2]
FOLDS = 3


@pytest.fixture
def short_fit(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT))
    module = importlib.import_module("experiments.short_fit")
    monkeypatch.setattr(module, "NOISE", Noise("noise", ("hum",)))
    return module


def test_a_fold_validates_on_patients_that_it_was_not_fitted_on(
    short_fit: ModuleType, patients: Path, tmp_path: Path
) -> None:
    subsets = short_fit.load_folds(patients, tmp_path, (DataSet("ward", "ward", rhythm=True),), FOLDS, 1)
    assert len(subsets) == FOLDS
    validated = []
    for subset in subsets:
        fitted = {subset.fit.records[i] for i in subset.fit.record}
        own = {subset.validation["ward"].records[i] for i in subset.validation["ward"].record}
        assert not own & fitted
        assert own | fitted == {f"ward/p{k}" for k in range(4)}
        validated += sorted(own)
    assert sorted(validated) == [f"ward/p{k}" for k in range(4)]


def _answers(comparison: ModuleType, truth: list[int], label: list[int], macs: int) -> Any:
    counted = np.full(len(truth), macs, np.int64)
    return comparison.Answers(np.array(truth, np.int8), np.array(label, np.int64), counted)


@pytest.mark.usefixtures("short_fit")
def test_the_figures_are_of_all_folds_together() -> None:
    comparison = importlib.import_module("experiments.mixture_vs_dense")
    n, s, v = (BEAT_CLASSES.index(name) for name in "NSV")
    folds = [
        {"mitdb": _answers(comparison, [v, v, n], [v, n, n], 10), "svdb": _answers(comparison, [s], [s], 20)},
        {"mitdb": _answers(comparison, [v], [v], 30), "svdb": _answers(comparison, [s], [n], 60)},
    ]
    found = comparison.pooled(folds)
    assert found[comparison.MACS] == pytest.approx((3 * 10 + 20 + 30 + 60) / 6)
    assert found["V F1"] == found["mitdb V F1"] == pytest.approx(200.0 * 2 / (3 + 2))
    assert found["S F1"] == found["svdb S F1"] == pytest.approx(200.0 * 1 / (2 + 1))


@pytest.mark.usefixtures("short_fit")
def test_differences_are_paired_by_seed() -> None:
    comparison = importlib.import_module("experiments.mixture_vs_dense")
    figures = {comparison.TWIN: (50.0, 60.0), comparison.BANK: (52.0, 62.0), comparison.CONTROL: (49.0, 61.0)}
    results = {name: [{"S F1": value} for value in values] for name, values in figures.items()}
    found = comparison.differences(results)
    assert found["bank - dense twin"]["S F1"] == (2.0, 0.0)
    assert found["bank - control"]["S F1"] == pytest.approx((2.0, 1.0))
    assert "+2.0 +- 1.0" in comparison.table(results)


def test_the_networks_are_fitted_and_answer_for_the_annotated_beats_of_their_fold(
    short_fit: ModuleType, patients: Path, tmp_path: Path
) -> None:
    comparison = importlib.import_module("experiments.mixture_vs_dense")
    subset = short_fit.load_folds(patients, tmp_path, (DataSet("ward", "ward", rhythm=True),), FOLDS, 1)[0]
    answers = comparison.answers_of_fold("tiny", subset, 2, 1, 0.05)
    twin, bank, control = (answers[name]["ward"] for name in comparison.NETS)
    truth = subset.validation["ward"].labels["beat"]
    for one in (twin, bank, control):
        assert np.array_equal(one.truth, truth[truth >= 0])
        assert one.label.shape == one.macs.shape == one.truth.shape
    assert len(set(twin.macs)) == len(set(control.macs)) == 1
    counted = comparison.count_macs(comparison.student_config("tiny"))
    cheapest = counted.most - max(counted.experts["morphology"]) + min(counted.experts["morphology"])
    assert cheapest <= bank.macs.min() <= bank.macs.max() <= counted.most
    assert abs(control.macs[0] - bank.macs.mean()) < 0.15 * twin.macs[0]


@pytest.mark.usefixtures("short_fit")
@pytest.mark.parametrize("width", ["nano", "small"])
def test_the_control_has_nearly_the_multiplications_that_it_is_made_for(width: str) -> None:
    comparison = importlib.import_module("experiments.mixture_vs_dense")
    config = comparison.student_config(width)
    lowest, highest = (comparison.count_macs(comparison.control_config(config, x)).most for x in (0.0, 1e12))
    assert lowest < 0.35 * highest
    assert highest == comparison.count_macs(config.dense_twin()).most
    for share in (0.3, 0.6, 0.9):
        wanted = lowest + share * (highest - lowest)
        control = comparison.control_config(config, wanted)
        assert control.rhythm_experts == 1
        assert abs(comparison.count_macs(control).most - wanted) < 0.15 * highest


@pytest.mark.parametrize("width", ["tiny", "nano", "small"])
def test_the_bank_of_the_comparison_has_experts_of_unequal_cost(width: str) -> None:
    comparison = importlib.import_module("experiments.mixture_vs_dense")
    costs = comparison.count_macs(comparison.student_config(width)).experts["morphology"]
    assert len(set(costs)) == len(costs) == 3
