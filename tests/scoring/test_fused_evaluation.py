"""`evaluate --leads` runs several leads of a record together and marks their figures."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from installed_command import Cli, Finished
from wfdb_records import write_wfdb

pytest.importorskip("wfdb", reason="records need the records extra")
FS = 250.0


@pytest.fixture
def two_lead_data(tmp_path: Path, simulated_ecg: Callable[..., Any]) -> Path:
    """A record of seven minutes whose first lead is noisy from 330 s on, and whose second lead is clean."""
    ecg = simulated_ecg(420.0, fs=FS, noise_mv=0.02)
    noisy = ecg.signal.copy()
    noisy[round(330 * FS) :] += np.random.default_rng(1).normal(0, 1.5, len(noisy) - round(330 * FS))
    signals = np.stack((noisy, -0.6 * ecg.signal, np.full(len(noisy), 70.0)))
    return write_wfdb(
        tmp_path / "mitdb",
        "1",
        signals,
        FS,
        leads=["II", "V1", "rate"],
        units=["mV", "mV", "bpm"],
        gains=[1000.0, 1000.0, 100.0],
        r_peaks=ecg.r_peaks,
    ).parent


def _evaluate(cli: Cli, *words: str | Path) -> Finished:
    return cli("evaluate", "--only", "rpeaks", "--jobs", "1", *words)


def test_fused_leads_score_better_than_the_noisy_one_and_are_marked(cli: Cli, two_lead_data: Path) -> None:
    figures = {}
    for words in ((), ("--leads", "all"), ("--leads", "V1,II")):
        done = _evaluate(cli, "--data", two_lead_data, "--json", *words)
        assert done.code == 0, done.err
        figures[words] = json.loads(done.out)
    alone, every, named = figures.values()
    assert (alone["fused_leads"], alone["per_record"]["1"]["lead"]) == (False, "II")
    assert alone["rpeaks"]["150ms"]["f1"] < 97.0
    assert (every["fused_leads"], every["per_record"]["1"]["lead"]) == (True, "II + V1")  # a heart rate is not a lead
    assert named["per_record"]["1"]["lead"] == "V1 + II"
    for fused in (every, named):
        assert fused["rpeaks"]["150ms"]["f1"] > 99.0


def test_the_text_output_marks_fused_leads_only(cli: Cli, two_lead_data: Path) -> None:
    for leads, fused in (("all", True), ("V1,II", True), ("V1", False), ("V1,V1", False)):
        done = _evaluate(cli, "--data", two_lead_data, "--leads", leads)
        assert done.code == 0, done.err
        assert ("1 records, several leads of each record run together" in done.out) is fused


def test_two_leads_find_more_v_beats_than_the_first_alone(mitdb: Path) -> None:
    """In the held-out record 223 the second lead shows V beats that the first does not."""
    from ecgmoe_edge.runtime.bundle import shipped_bundle
    from ecgmoe_edge.scoring.evaluation import EvaluationOptions, evaluate

    found = {}
    for leads in (None, "all"):
        options = EvaluationOptions(bundle=shipped_bundle(), leads=leads)
        found[leads] = evaluate([mitdb / "223"], options).to_json()["beats"]["V"]
    assert found["all"]["tp"] > found[None]["tp"]
    assert found["all"]["tp"] > found[None]["tp"]
    assert found["all"]["f1"] > found[None]["f1"] + 1.0


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--leads", "all", "--lead", "V1"), 2, "not both"),
        (("--leads", ","), 2, "names no lead"),
        (("--leads", "II,V9"), 3, "no lead 'V9'"),
        (("--leads", "all", "--task", "rr"), 2, "scored on one lead"),
    ],
)
def test_invalid_leads_are_refused_with_a_sentence(
    cli: Cli, two_lead_data: Path, words: tuple[str, ...], code: int, message: str
) -> None:
    done = _evaluate(cli, "--data", two_lead_data, *words)
    assert done.code == code
    assert message in done.err
    assert "Traceback" not in done.err
