"""Rhythm, mean RR, age and sex through the live pipeline, with models whose answers are known."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ecgmoe_edge.errors import UsageError
from ecgmoe_edge.records.layouts import known_records
from ecgmoe_edge.scoring.record_runs import ModelFile
from ecgmoe_edge.scoring.task_evaluation import evaluate_task
from ecgmoe_edge.scoring.task_records import TaskName, TaskOptions, mean_rr_ms
from ecgmoe_edge.scoring.task_table import render_task
from ecgmoe_edge.streaming.decision import DecisionRule

wfdb = pytest.importorskip("wfdb", reason="evaluation needs the records extra")
FS = 200.0


class Knows:
    """A model that calls a fast rhythm AF and a slow one N, a tall R wave a man's, and everybody fifty years old."""

    classes: Mapping[str, tuple[str, ...]] = {
        "beat": ("N", "S", "V", "F"),
        "rhythm": ("N", "AF", "other", "noisy"),
        "sex": ("female", "male"),
    }
    tasks: tuple[str, ...] = ("beat", "rhythm", "rr", "age", "sex")
    decision = DecisionRule()
    context_samples = 1280

    def infer(self, inputs: Mapping[str, NDArray[np.float32]]) -> Mapping[str, NDArray[np.float32]]:
        assert inputs["context"].shape == (1, 1, 1280)
        peaks = int((np.diff((inputs["context"][0, 0, 640:] > 0.6).astype(int)) == 1).sum())  # R peaks in 5 s
        fast = peaks >= 8
        return {
            "beat": np.array([[9, 0, 0, 0]], np.float32),
            "rhythm": np.array([[0, 4 if fast else -4, -9, -9]], np.float32),
            "sex": np.array([[2, 0]], np.float32),
            "rr": np.array([[0.5 if fast else 1.0]], np.float32),
            "age": np.array([[50.0]], np.float32),
            "route_rhythm": np.array([[1, 0] if fast else [0, 1]], np.float32),
        }


def load_knows(_path: Path) -> Knows:
    return Knows()


MODEL = ModelFile(Path("knows"), load_knows)


@pytest.fixture
def write(tmp_path: Path, simulated_ecg: Callable[..., Any]) -> Callable[..., Path]:
    """`write(folder, name, heart_rate=..., comments=...)`: a record of 40 s without annotations."""

    def write(folder: str, name: str, *, heart_rate: float = 60.0, comments: tuple[str, ...] = ()) -> Path:
        ecg = simulated_ecg(40.0, fs=FS, heart_rate=heart_rate, variability=0.0, noise_mv=0.01)
        place = tmp_path / folder
        place.mkdir(parents=True, exist_ok=True)
        wfdb.wrsamp(
            name, fs=FS, units=["mV"] * 2, sig_name=["I", "II"], p_signal=np.stack([0 * ecg.signal, ecg.signal], 1),
            fmt=["16"] * 2, adc_gain=[1000.0] * 2, baseline=[0] * 2, comments=list(comments), write_dir=str(place),
        )  # fmt: skip
        return place / name

    return write


def _evaluate(data: Path, task: TaskName, model: ModelFile = MODEL, **options: Any) -> dict[str, Any]:
    evaluation = evaluate_task(known_records(data, "mitdb"), TaskOptions(task, **options), model).to_json()
    json.dumps(evaluation, allow_nan=False)
    assert render_task(evaluation).startswith(task)
    return evaluation


def test_each_record_of_the_challenge_gets_one_rhythm(write: Callable[..., Path]) -> None:
    for name, rate in (("A1", 60), ("A2", 60), ("A3", 120), ("A4", 120)):
        folder = write("cinc2017", name, heart_rate=rate).parent
    (folder / "REFERENCE.csv").write_text("A1,N\nA2,O\nA3,A\nA4,A\n")
    evaluation = _evaluate(folder, "rhythm", lead="II")
    rhythm = evaluation["rhythm"]
    assert rhythm["classes"]["AF"] == {"se": 100.0, "ppv": 100.0, "f1": 100.0}
    assert rhythm["classes"]["N"] == {"se": 100.0, "ppv": 50.0, "f1": 66.667}
    assert rhythm["classes"]["other"]["f1"] == 0.0
    assert rhythm["mean_f1"] == pytest.approx((100 + 66.667 + 0) / 3, abs=0.001)
    assert rhythm["mean_f1_of"] == ["N", "AF", "other"]
    assert rhythm["confusion"]["other"]["N"] == 1
    assert evaluation["per_record"]["A3"]["answer"] == "AF"
    assert evaluation["per_record"]["A3"]["probabilities"]["AF"] > 0.9
    assert evaluation["intervals"]["figures"]["AF.se"] == [100.0, 100.0]


def test_a_record_without_a_beat_is_noisy(write: Callable[..., Path]) -> None:
    folder = write("cinc2017", "A1").parent
    (folder / "REFERENCE.csv").write_text("A1,~\n")
    evaluation = _evaluate(folder, "rhythm", lead="I")  # a lead of zeros
    assert evaluation["per_record"]["A1"]["answer"] == "noisy"
    assert evaluation["rhythm"]["classes"]["noisy"]["se"] == 100.0


def test_annotated_rhythms_are_scored_by_duration(write: Callable[..., Path]) -> None:
    path = write("mitdb", "1", heart_rate=120)
    marks = {10: "(AFIB", 4010: "(N"} | dict.fromkeys(range(300, 7800, 100), "")
    wfdb.wrann(
        "1", "atr", np.array(sorted(marks)), ["+" if marks[at] else "N" for at in sorted(marks)],
        aux_note=[marks[at] for at in sorted(marks)], write_dir=str(path.parent),
    )  # fmt: skip
    evaluation = _evaluate(path.parent, "rhythm", lead="II")
    rhythm = evaluation["rhythm"]
    assert rhythm["unit"] == "s"
    assert sum(sum(row.values()) for row in rhythm["confusion"].values()) == pytest.approx(39.95, abs=0.2)
    # called AF as soon as five seconds of the fast rhythm are held, and to the end
    assert rhythm["classes"]["AF"]["se"] > 60.0
    assert rhythm["classes"]["AF"]["ppv"] == pytest.approx(45.0, abs=10.0)


def test_mean_rr_is_scored_beside_the_detector(write: Callable[..., Path]) -> None:
    path = write("mitdb", "1", heart_rate=120)
    beats = np.arange(200, 7800, 100)  # every 0.5 s, as simulated
    wfdb.wrann("1", "atr", beats, ["N"] * len(beats), write_dir=str(path.parent))
    rr = _evaluate(path.parent, "rr", lead="II")["rr"]
    assert rr["windows"] > 50
    assert rr["mae_ms"] == pytest.approx(0.0, abs=0.01)
    assert rr["detector_mae_ms"] < 2.0
    alone = _evaluate(path.parent, "rr", ModelFile(), lead="II")["rr"]
    assert alone["mae_ms"] is None
    assert alone["detector_mae_ms"] == pytest.approx(rr["detector_mae_ms"], abs=0.5)


def test_the_mean_rr_of_a_window_is_that_of_its_r_peaks() -> None:
    peaks = np.array([100, 1000, 1900, 2100, 2500])
    mean = mean_rr_ms(peaks, np.array([1999.0, 2000.0, 2500.0, 4000.0]), FS)
    # before 10 s have gone; 100 to 1900; 1000 to 2500; 2100 and 2500 alone
    assert np.isnan(mean[[0, 3]]).all()
    assert mean[1:3].tolist() == [4500.0, 2500.0]


def test_age_is_scored_beside_the_mean_age_and_sex_beside_the_commoner(write: Callable[..., Path]) -> None:
    for name, comment in (("1", "40 M"), ("2", "60 F"), ("3", "80 F"), ("4", "nothing")):
        folder = write("mitdb", name, comments=(comment,)).parent
    age = _evaluate(folder, "age", lead="II")
    assert age["age"]["mae_years"] == pytest.approx(50 / 3, abs=0.001)
    assert age["age"]["mean_age_mae_years"] == pytest.approx(40 / 3, abs=0.001)  # says 60
    assert age["age"]["better_by_years"] == pytest.approx(-10 / 3, abs=0.001)
    assert age["age"]["baseline"]["says_years"] == 60.0
    assert "4" in age["skipped_records"]
    sex = _evaluate(folder, "sex", lead="II")["sex"]
    assert sex["accuracy"] == pytest.approx(66.667, abs=0.001)
    assert sex["classes"]["female"] == {"se": 100.0, "ppv": 66.667, "f1": 80.0}
    assert sex["baseline"]["says"] == "female"


def test_a_task_without_a_head_is_refused_with_what_to_do(write: Callable[..., Path]) -> None:
    folder = write("mitdb", "1", comments=("40 M",)).parent
    with pytest.raises(UsageError, match="--teacher"):
        _evaluate(folder, "age", ModelFile(Path("says-v"), _beats_alone))
    with pytest.raises(UsageError, match="leave --only rpeaks out"):
        _evaluate(folder, "sex", ModelFile())


class _BeatsAlone(Knows):
    tasks = ("beat",)


def _beats_alone(_path: Path) -> _BeatsAlone:
    return _BeatsAlone()
