"""`evaluate --leads`: several leads of a record heard together, their figures marked as such."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from installed_command import Cli, Finished

pytest.importorskip("wfdb", reason="records need the records extra")
FS = 250.0


@pytest.fixture
def two_lead_data(tmp_path: Path, simulated_ecg: Callable[..., Any]) -> Path:
    """A record of seven minutes whose first lead is noise from the sixth on, and whose second is whole."""
    import wfdb

    ecg = simulated_ecg(420.0, fs=FS, noise_mv=0.02)
    first = ecg.signal.copy()
    first[round(330 * FS) :] += np.random.default_rng(1).normal(0, 1.5, len(first) - round(330 * FS))
    folder = tmp_path / "mitdb"
    folder.mkdir()
    wfdb.wrsamp(
        "1", fs=FS, units=["mV", "mV", "bpm"], sig_name=["II", "V1", "rate"],
        p_signal=np.stack((first, -0.6 * ecg.signal, np.full(len(first), 70.0)), axis=1),
        fmt=["16"] * 3, adc_gain=[1000.0, 1000.0, 100.0], baseline=[0] * 3, write_dir=str(folder),
    )  # fmt: skip
    wfdb.wrann("1", "atr", ecg.r_peaks, symbol=["N"] * len(ecg.r_peaks), write_dir=str(folder))
    return folder


def _evaluate(cli: Cli, *words: str | Path) -> Finished:
    return cli("evaluate", "--only", "rpeaks", "--jobs", "1", *words)


def test_fused_leads_do_better_than_the_noisy_one_and_say_that_they_are_fused(cli: Cli, two_lead_data: Path) -> None:
    figures = {}
    for words in ((), ("--leads", "all"), ("--leads", "V1,II")):
        done = _evaluate(cli, "--data", two_lead_data, "--json", *words)
        assert done.code == 0, done.err
        figures[words] = json.loads(done.out)
    alone, every, named = figures.values()
    assert (alone["fused_leads"], alone["per_record"]["1"]["lead"]) == (False, "II")
    assert alone["rpeaks"]["150ms"]["f1"] < 97.0
    assert (every["fused_leads"], every["per_record"]["1"]["lead"]) == (True, "II + V1")  # a heart rate is no lead
    assert named["per_record"]["1"]["lead"] == "V1 + II"
    for fused in (every, named):
        assert fused["rpeaks"]["150ms"]["f1"] > 99.0


def test_the_text_says_so_too_and_one_lead_needs_no_second(cli: Cli, two_lead_data: Path) -> None:
    for leads, together in (("all", True), ("V1,II", True), ("V1", False), ("V1,V1", False)):
        done = _evaluate(cli, "--data", two_lead_data, "--leads", leads)
        assert done.code == 0, done.err
        assert ("1 records, the leads of each heard together" in done.out) is together


def test_two_leads_find_more_of_v_than_the_first_alone(mitdb: Path) -> None:
    """In 118 and 124, whom the weights have not seen, the second lead shows V beats that the first hides."""
    from ecgmoe_edge.runtime.bundle import shipped_bundle
    from ecgmoe_edge.scoring.evaluation import EvaluationOptions, evaluate

    found = {}
    for leads in (None, "all"):
        options = EvaluationOptions(bundle=shipped_bundle(), leads=leads)
        found[leads] = evaluate([mitdb / "118", mitdb / "124"], options).to_json()["beats"]["V"]
    assert found["all"]["tp"] > found[None]["tp"]
    assert found["all"]["f1"] > found[None]["f1"] + 1.0


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("--leads", "all", "--lead", "V1"), 2, "not both"),
        (("--leads", ","), 2, "names no lead"),
        (("--leads", "II,V9"), 3, "no lead 'V9'"),
        (("--leads", "all", "--task", "rr"), 2, "scored on one lead"),
    ],
)
def test_leads_that_cannot_be_are_refused_with_a_sentence(
    cli: Cli, two_lead_data: Path, words: tuple[str, ...], code: int, says: str
) -> None:
    done = _evaluate(cli, "--data", two_lead_data, *words)
    assert done.code == code
    assert says in done.err
    assert "Traceback" not in done.err
