"""Compares the mixture with a dense network by patient-grouped cross-validation."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from ecgmoe_edge.model.teacher import EcgMoe
from ecgmoe_edge.model.teacher_file import save_teacher
from ecgmoe_edge.tasks import BEAT_ANSWERS, RHYTHM_CLASSES
from ecgmoe_edge.training.config import DataSet, Noise, TrainingConfig

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


def test_the_figures_are_of_all_folds_together(short_fit: ModuleType, patients: Path, tmp_path: Path) -> None:
    comparison = importlib.import_module("experiments.mixture_vs_dense")
    subsets = short_fit.load_folds(patients, tmp_path, (DataSet("ward", "ward", rhythm=True),), FOLDS, 1)
    truth = [subset.validation["ward"].labels["beat"] for subset in subsets]
    rhythm = np.zeros((1, len(RHYTHM_CLASSES)), np.float32)

    def answers(labels: list[np.ndarray[tuple[int, ...], np.dtype[np.int8]]]) -> list[dict[str, object]]:
        one_hot = 10.0 * np.eye(len(BEAT_ANSWERS), dtype=np.float32)
        return [{"ward": {"beat": one_hot[np.maximum(of, 0)], "rhythm": rhythm.repeat(len(of), 0)}} for of in labels]

    assert comparison.pooled(answers(truth), subsets)["ward V F1"] == 100.0
    # In one fold, every V is classified as N; the other folds are correct.
    worst = int(np.argmax([(of == 2).sum() for of in truth]))
    spoilt = [np.where(of == 2, 0, of).astype(np.int8) if k == worst else of for k, of in enumerate(truth)]
    total, missed = sum(int((of == 2).sum()) for of in truth), int((truth[worst] == 2).sum())
    found = comparison.pooled(answers(spoilt), subsets)["ward V F1"]
    assert 0 < missed < total
    assert found == pytest.approx(200.0 * (total - missed) / (2 * total - missed))


@pytest.mark.parametrize("name", ["dense, 1 + 1", "4 + 4, from alike", "4 + 4, hard"])
def test_each_net_is_fitted_and_answers_for_its_fold(
    short_fit: ModuleType, patients: Path, tmp_path: Path, name: str
) -> None:
    comparison = importlib.import_module("experiments.mixture_vs_dense")
    subset = short_fit.load_folds(patients, tmp_path, (DataSet("ward", "ward", rhythm=True),), FOLDS, 1)[0]
    answers = comparison.answers_of_fold(name, "tiny", subset, 2, 1)
    n = len(subset.validation["ward"])
    assert answers["ward"]["beat"].shape == (n, len(BEAT_ANSWERS))
    assert answers["ward"]["rhythm"].shape == (n, len(RHYTHM_CLASSES))
    assert answers["ward"]["route_rhythm"].shape == (n, comparison.EXPERTS[name])


@pytest.mark.usefixtures("short_fit")
def test_a_net_that_says_what_its_teacher_says_is_no_way_from_it() -> None:
    comparison = importlib.import_module("experiments.mixture_vs_dense")
    rng = np.random.default_rng(2)
    taught = {"ward": {task: rng.normal(0, 1, (50, 4)).astype(np.float32) for task in comparison.TASKS}}
    shifted = {"ward": {task: logits + 3.0 for task, logits in taught["ward"].items()}}  # the same probabilities
    assert comparison.divergences(shifted, taught) == pytest.approx(
        dict.fromkeys(comparison.DIVERGENCES, 0.0), abs=1e-3
    )
    level = {"ward": {task: 0.0 * logits for task, logits in taught["ward"].items()}}
    assert all(value > 100.0 for value in comparison.divergences(level, taught).values())


def test_a_net_can_be_distilled_and_judged_on_patients_whom_neither_was_fitted_on(
    short_fit: ModuleType, patients: Path, tmp_path: Path, tiny_config: TrainingConfig
) -> None:
    comparison = importlib.import_module("experiments.mixture_vs_dense")
    torch.manual_seed(0)
    save_teacher(tmp_path / "teacher.safetensors", EcgMoe(tiny_config.teacher))
    data = (DataSet("ward", "ward", fit=("p0", "p1"), validation=("p2", "p3"), rhythm=True),)
    subset = short_fit.load_held_out(patients, tmp_path, data, 1)
    judges = subset.validation["ward"]
    assert {judges.records[i] for i in judges.record} == {"ward/p2", "ward/p3"}
    assert {subset.fit.records[i] for i in subset.fit.record} == {"ward/p0", "ward/p1"}
    taught = comparison.answers_of_teacher(tmp_path / "teacher.safetensors", subset)
    near, far = (
        comparison.divergences(
            comparison.answers_of_fold(
                "4 + 4, from alike", "tiny", subset, epochs, 1, tmp_path / "teacher.safetensors"
            ),
            taught,
        )
        for epochs in (6, 0)
    )
    assert near["beat from the teacher"] < far["beat from the teacher"]
