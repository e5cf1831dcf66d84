from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from ecgmoe_edge.streaming.decision import DecisionRule
from ecgmoe_edge.tasks import BEAT_ANSWERS, task_named
from ecgmoe_edge.training.augment import Batch
from ecgmoe_edge.training.examples import Examples
from ecgmoe_edge.training.validate import (
    Validation,
    beat_scores,
    decide,
    flat_metrics,
    selection_score,
    validate,
)


def _oracle(batch: Batch) -> dict[str, torch.Tensor]:
    beat = torch.nn.functional.one_hot(batch.labels["beat"].clamp(min=0), 5).float() * 20.0
    rhythm = torch.nn.functional.one_hot(batch.labels["rhythm"].clamp(min=0), 4).float() * 20.0
    return {"beat": beat, "rhythm": rhythm, "route_rhythm": beat[:, :2]}


def test_a_perfect_model_scores_100_and_its_experts_are_counted(examples: Examples) -> None:
    report = validate(_oracle, examples, DecisionRule(irregular_penalty=0.0))
    assert {name: report.beats[name].f1 for name in "NSV"} == {"N": 100.0, "S": 100.0, "V": 100.0}
    assert report.beats["F"].f1 is None
    assert report.rhythm["N"].se == 100.0
    assert sum(report.experts["rhythm"]) == pytest.approx(1.0, abs=1e-3)
    assert selection_score({"ward": report}) > 95.0
    assert flat_metrics({"ward": report})["ward.V.f1.plain"] == 100.0


def test_se_ppv_and_f1_follow_the_counts_and_f_labelled_v_is_ignored() -> None:
    n, s, v, f = range(4)
    truth = np.array([n, n, n, s, s, v, v, f], np.int8)
    guess = np.array([n, v, s, s, n, v, v, v])
    scores = beat_scores(truth, guess)
    assert scores["V"].se == 100.0
    assert scores["V"].ppv == pytest.approx(200 / 3)  # one N is labelled V; the F that is labelled V does not count
    assert (scores["S"].se, scores["S"].ppv, scores["S"].f1) == (50.0, 50.0, 50.0)
    assert scores["F"].se == 0.0
    assert scores["F"].ppv is None


def test_an_artefact_has_se_and_ppv_of_its_own_and_is_a_false_positive_of_the_class_it_is_given() -> None:
    n, v, artefact = (BEAT_ANSWERS.index(name) for name in "NV?")
    truth = np.array([n, n, v, v, artefact, artefact, artefact, artefact], np.int8)
    guess = np.array([n, artefact, v, v, artefact, artefact, artefact, v])
    scores = beat_scores(truth, guess)
    assert (scores["?"].se, scores["?"].ppv, scores["?"].support) == (75.0, 75.0, 4)
    assert scores["V"].se == 100.0
    assert scores["V"].ppv == pytest.approx(200 / 3)
    assert scores["N"].se == 50.0
    validation = Validation(decided=scores)
    assert flat_metrics({"ward": validation})["ward.?.ppv"] == 75.0
    assert selection_score({"ward": validation}) == scores["V"].f1  # S does not occur


def test_an_artefact_is_decided_by_the_logits_alone_and_is_no_patient_history(examples: Examples) -> None:
    one = examples.take(np.flatnonzero(examples.record == examples.record[0]).astype(np.int64))
    like_v = np.tile(np.array([0.0, -9.0, 0.4, -9.0, -9.0], np.float32), (len(one), 1))
    no_beat = np.tile(np.array([0.0, -9.0, 0.4, -9.0, 0.5], np.float32), (len(one), 1))
    assert decide({"beat": like_v}, one, DecisionRule())[-1] == BEAT_ANSWERS.index("N")  # so many V are unlikely
    no_beat[-1] = like_v[-1]
    labels = decide({"beat": no_beat}, one, DecisionRule())
    assert (labels[:-1] == BEAT_ANSWERS.index("?")).all()
    assert labels[-1] == BEAT_ANSWERS.index("V")  # as the first beat of a patient


def test_other_tasks_are_scored_by_f1_or_by_their_error_relative_to_the_median(examples: Examples) -> None:
    male = examples.labels["sex"] == 1
    age = np.where(male, 60.0, 40.0).astype(np.float32)  # the error of the median is at most 10 years per beat
    known = examples.with_labels(age=age, potassium=np.where(male, 1, 0).astype(np.int8))
    task = task_named("age")

    def run(batch: Batch) -> dict[str, torch.Tensor]:
        n = len(batch.beat)
        ages = (batch.labels["age"] + 2.0 - task.offset) / task.scale
        return {"age": ages[:, None], "potassium": torch.tensor([[0.0, 1.0]]).repeat(n, 1)}

    report = validate(run, known)
    share = float(male.mean())
    assert report.others["age"] == pytest.approx(2.0, abs=1e-3)
    usual = float(np.abs(age - np.median(age)).mean())
    assert report.skills["age"] == pytest.approx(100.0 * (1.0 - 2.0 / usual), abs=0.1)
    # All beats are predicted abnormal.
    assert report.others["potassium"] == pytest.approx(0.5 * 100.0 * 2.0 * share / (1.0 + share))
    assert report.beat_score() is None
    assert selection_score({"ward": report}) == pytest.approx((report.skills["age"] + report.skills["potassium"]) / 2.0)
    row = flat_metrics({"ward": report})
    assert row["ward.age.error"] == pytest.approx(2.0, abs=1e-3)
    assert "ward.potassium.f1" in row


def test_beat_and_rhythm_scores_select_the_epoch_if_they_exist(examples: Examples) -> None:
    report = validate(_oracle, examples)
    assert selection_score({"ward": replace(report, skills={"age": -50.0})}) == selection_score({"ward": report})


def test_the_decision_rule_restarts_with_every_record(examples: Examples) -> None:
    half_v = np.tile(np.array([0.0, -9.0, 0.4, -9.0, -9.0], np.float32), (len(examples), 1))
    labels = decide({"beat": half_v}, examples, DecisionRule())
    firsts = [int(np.flatnonzero(examples.record == record)[0]) for record in np.unique(examples.record)]
    assert (labels[firsts] == 2).all()  # there is no patient history yet
    assert labels[firsts[1] - 1] == 0  # a patient whose beats all resemble V
