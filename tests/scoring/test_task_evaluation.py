"""Rhythm, mean RR, age and sex through the live pipeline, with a model whose predictions are known."""

from __future__ import annotations

import json
import re
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from beat_models import FakeModel, Tensors, always
from wfdb_records import write_wfdb

from ecgmoe_edge.errors import RecordError, UsageError
from ecgmoe_edge.records.layouts import known_records
from ecgmoe_edge.scoring.record_runs import ModelFile
from ecgmoe_edge.scoring.report.page import write_task_report
from ecgmoe_edge.scoring.task_evaluation import evaluate_task
from ecgmoe_edge.scoring.task_records import TaskOptions, mean_rr_ms
from ecgmoe_edge.scoring.task_table import render_task

wfdb = pytest.importorskip("wfdb", reason="evaluation needs the records extra")
FS = 200.0


def _outputs(inputs: Tensors) -> Tensors:
    """AF and 0.5 s for a fast rhythm, N and 1 s for a slow one; female, and 50 years, for every record."""
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


def load_rate_model(_path: Path) -> FakeModel:
    return FakeModel(_outputs, ("beat", "rhythm", "rr", "age", "sex"), context_samples=1280)


def load_beat_model(_path: Path) -> FakeModel:
    return always("N")


MODEL = ModelFile(Path("rate-model"), load_rate_model)
BEAT_MODEL = ModelFile(Path("beat-model"), load_beat_model)


@pytest.fixture
def write(tmp_path: Path, simulated_ecg: Callable[..., Any]) -> Callable[..., Path]:
    """`write(folder, name, heart_rate=..., comments=...)`: writes 40 s without annotations; lead I is flat or drifts.

    Returns the path of the record.
    """

    def write(
        folder: str,
        name: str,
        *,
        heart_rate: float = 60.0,
        variability: float = 0.0,
        comments: tuple[str, ...] = (),
        drift_mv: float = 0.0,
    ) -> Path:
        ecg = simulated_ecg(40.0, fs=FS, heart_rate=heart_rate, variability=variability, noise_mv=0.01)
        drift = drift_mv * np.linspace(0, 1, ecg.signal.size)
        signals = np.stack([drift, ecg.signal])
        return write_wfdb(tmp_path / folder, name, signals, FS, leads=["I", "II"], comments=comments)

    return write


def _evaluate(data: Path, task: str, model: ModelFile = MODEL, **options: Any) -> dict[str, Any]:
    evaluation = evaluate_task(known_records(data, "mitdb"), TaskOptions(task, **options), model).to_json()
    json.dumps(evaluation, allow_nan=False)
    assert render_task(evaluation).startswith(task)
    return evaluation


def test_each_record_of_the_challenge_gets_one_rhythm_class(write: Callable[..., Path]) -> None:
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
    folder = write("cinc2017", "A1", drift_mv=2.0).parent
    (folder / "REFERENCE.csv").write_text("A1,~\n")
    evaluation = _evaluate(folder, "rhythm", lead="I")
    assert evaluation["per_record"]["A1"]["answer"] == "noisy"
    assert evaluation["rhythm"]["classes"]["noisy"]["se"] == 100.0
    assert "No beat was found in A1 (I)" in evaluation["per_record"]["A1"]["remarks"][0]["text"]


def test_a_record_without_a_signal_in_the_named_lead_is_skipped(write: Callable[..., Path]) -> None:
    folder = write("cinc2017", "A1").parent
    write("cinc2017", "A2")
    (folder / "REFERENCE.csv").write_text("A1,N\nA2,N\n")
    with pytest.raises(RecordError, match="is constant at 0 mV"):
        _evaluate(folder, "rhythm", lead="I")  # all zeros
    evaluation = _evaluate(folder, "rhythm")
    assert (evaluation["records"], evaluation["per_record"]["A1"]["lead"]) == (2, "II")
    assert any("II is used" in remark["text"] for remark in evaluation["per_record"]["A1"]["remarks"])


def test_annotated_rhythms_are_scored_by_duration(write: Callable[..., Path]) -> None:
    path = write("mitdb", "1", heart_rate=120, variability=0.15)
    marks = {10: "(AFIB", 4010: "(N"} | dict.fromkeys(range(300, 7800, 100), "")
    wfdb.wrann(
        "1", "atr", np.array(sorted(marks)), ["+" if marks[at] else "N" for at in sorted(marks)],
        aux_note=[marks[at] for at in sorted(marks)], write_dir=str(path.parent),
    )  # fmt: skip
    evaluation = _evaluate(path.parent, "rhythm", lead="II")
    rhythm = evaluation["rhythm"]
    assert rhythm["unit"] == "s"
    assert sum(sum(row.values()) for row in rhythm["confusion"].values()) == pytest.approx(39.95, abs=0.2)
    # the model predicts AF once its context has five seconds of the fast rhythm, and then to the end of the record
    assert rhythm["classes"]["AF"]["se"] > 60.0
    assert rhythm["classes"]["AF"]["ppv"] == pytest.approx(45.0, abs=10.0)


def test_rhythms_are_scored_in_records_without_beat_annotations(write: Callable[..., Path]) -> None:
    path = write("afdb", "1", heart_rate=120, variability=0.15)  # like the MIT-BIH Atrial Fibrillation Database
    wfdb.wrann("1", "atr", np.array([10, 2010]), ["+", "+"], aux_note=["(N", "(AFIB"], write_dir=str(path.parent))
    rhythm = _evaluate(path.parent, "rhythm", lead="II")["rhythm"]
    assert sum(rhythm["confusion"]["AF"].values()) == pytest.approx(29.95, abs=0.2)
    assert rhythm["classes"]["AF"]["se"] == pytest.approx(98.0, abs=3.0)
    with pytest.raises(RecordError, match="no beat annotation"):
        _evaluate(path.parent, "rr", lead="II")
    wfdb.wrann("1", "atr", np.array([100, 300]), ["N", "N"], write_dir=str(path.parent))
    with pytest.raises(RecordError, match="no rhythm annotations"):
        _evaluate(path.parent, "rhythm", lead="II")


def test_a_named_record_that_is_absent_is_skipped_and_reported(write: Callable[..., Path], tmp_path: Path) -> None:
    for folder in ("cinc2017", "ptbxl"):
        write(folder, "A1")
    (tmp_path / "cinc2017" / "REFERENCE.csv").write_text("A1,N\n")
    (tmp_path / "ptbxl" / "ptbxl_database.csv").write_text(
        "patient_id,age,sex,strat_fold,filename_lr\n1.0,40,0,1,A1\n2.0,50,0,1,gone\n"
    )
    tasks: tuple[tuple[Path, str, str], ...] = (
        (tmp_path / "cinc2017", "cinc2017", "rhythm"),
        (tmp_path, "cinc2017", "rhythm"),
        (tmp_path / "ptbxl", "ptbxl", "age"),
        (tmp_path / "ptbxl", "ptbxl", "sex"),
    )
    for data, default, task in tasks:
        records = known_records(data, default, records=["A1", "gone"])
        evaluation = evaluate_task(records, TaskOptions(task, lead="II"), MODEL).to_json()
        assert (list(evaluation["per_record"]), list(evaluation["skipped_records"])) == (["A1"], ["gone"]), (data, task)
        assert "no recording" in evaluation["skipped_records"]["gone"]


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


def test_the_mean_rr_of_a_window_is_computed_from_its_r_peaks() -> None:
    peaks = np.array([100, 1000, 1900, 2100, 2500])
    mean = mean_rr_ms(peaks, np.array([1999.0, 2000.0, 2500.0, 4000.0]), FS)
    # windows: begins before the record; peaks 100 to 1900; peaks 1000 to 2500; one interval only
    assert np.isnan(mean[[0, 3]]).all()
    assert mean[1:3].tolist() == [4500.0, 2500.0]


def test_age_is_compared_with_the_mean_age_and_sex_with_the_more_frequent_one(write: Callable[..., Path]) -> None:
    for name, comment in (("1", "40 M"), ("2", "60 F"), ("3", "80 F"), ("4", "nothing")):
        folder = write("mitdb", name, comments=(comment,)).parent
    age = _evaluate(folder, "age", lead="II")
    assert age["age"]["mae_years"] == pytest.approx(50 / 3, abs=0.001)
    assert age["age"]["mean_age_mae_years"] == pytest.approx(40 / 3, abs=0.001)  # the mean age is 60
    assert age["age"]["better_by_years"] == pytest.approx(-10 / 3, abs=0.001)
    assert age["age"]["baseline"]["says_years"] == 60.0
    assert "4" in age["skipped_records"]
    sex = _evaluate(folder, "sex", lead="II")["sex"]
    assert sex["accuracy"] == pytest.approx(66.667, abs=0.001)
    assert sex["classes"]["female"] == {"se": 100.0, "ppv": 66.667, "f1": 80.0}
    assert sex["baseline"]["says"] == "female"


def test_a_task_without_a_head_is_refused_with_a_remedy(write: Callable[..., Path]) -> None:
    folder = write("mitdb", "1", comments=("40 M",)).parent
    with pytest.raises(UsageError, match="--teacher"):
        _evaluate(folder, "age", BEAT_MODEL)
    with pytest.raises(UsageError, match="omit --only rpeaks"):
        _evaluate(folder, "sex", ModelFile())


class _Report:
    """The sections of a written report; matplotlib writes the text of a drawing as comments into the SVG."""

    def __init__(self, data: Path, task: str, **options: Any) -> None:
        self.scored = evaluate_task(known_records(data, "mitdb"), TaskOptions(task, **options), MODEL)
        evaluation = self.scored.to_json() | {"model": {"kind": "fake"}}
        file = write_task_report(data / "report", self.scored, evaluation, "ecgmoe-edge evaluate --report report")
        parts = re.split(r'<h2 id="s\d+">(.*?)</h2>', file.read_text(encoding="utf-8"))
        self.titles = parts[1::2]
        self.sections = dict(zip(self.titles, parts[2::2], strict=True))

    def rows(self, title: str) -> dict[str, list[str]]:
        """First cell of each table row in a section -> the other cells."""
        cells = [re.findall(r"<td>(.*?)</td>", row) for row in re.findall(r"<tr>(.*?)</tr>", self.sections[title])]
        return {row[0]: row[1:] for row in cells if row}

    def drawings(self, title: str) -> list[str]:
        return [b64decode(one).decode() for one in re.findall(r'svg\+xml;base64,([^"]*)"', self.sections[title])]

    def words(self, title: str, drawing: int = 0) -> list[str]:
        return re.findall(r"<!-- (.*?) -->", self.drawings(title)[drawing])

    def load(self, path: str) -> dict[str, list[str]]:
        """Row of the load drawing of a path -> the shares of its two experts."""
        words = self.words("Use of the experts")
        shares = [word for word in words if word.endswith(" %")]
        names = [word.split(" (")[0] for word in words if re.search(r" \([\d,]+\)$", word)]
        assert f"Path {path}:" in self.sections["Use of the experts"]
        return {name: shares[2 * row : 2 * row + 2] for row, name in enumerate(names)}


@pytest.fixture
def needs_drawings() -> None:
    pytest.importorskip("matplotlib", reason="reports need matplotlib")


@pytest.mark.usefixtures("needs_drawings")
def test_the_report_of_rhythms_per_record_lists_wrong_predictions_with_their_scores(write: Callable[..., Path]) -> None:
    for name, rate in (("A1", 60), ("A2", 60), ("A3", 120), ("A4", 120)):
        folder = write("cinc2017", name, heart_rate=rate).parent
    (folder / "REFERENCE.csv").write_text("A1,N\nA2,O\nA3,A\nA4,A\n")
    report = _Report(folder, "rhythm", lead="II")
    assert report.titles == [
        "Summary", "Confusion matrix", "Wrong predictions", "Calibration and separation of the scores",
        "Use of the experts", "Figures per record", "How this report was made",
    ]  # fmt: skip
    summary = report.rows("Summary")
    assert summary["AF.se"] == ["100.00", "100.00 to 100.00"]
    assert summary["N.ppv"][0] == "50.00"
    assert summary["mean_f1"][0] == "55.56"
    counts = [word for word in report.words("Confusion matrix") if word.isdecimal()]
    assert counts == [*"1000", *"0200", *"1000", *"0000"]  # N, AF, other, noisy
    assert "predicted (records)" in report.words("Confusion matrix")
    assert "1 of 4 records" in report.sections["Wrong predictions"]
    assert report.rows("Wrong predictions") == {"A2": ["other", "N", "0.98"]}
    assert "the label (ECE 0.232)" in report.words(
        "Calibration and separation of the scores"
    )  # mean score 0.982, 3 of 4 correct
    curves = report.words("Calibration and separation of the scores", 1)
    areas = {"AF (area 1.000)", "N (area 0.833)", "other (area 0.833)"}
    assert areas | {"AF (average precision 1.000)", "N (average precision 0.500)"} <= set(curves)
    assert not any(word.startswith("noisy") for word in curves)  # no record is noisy
    load = report.load("rhythm")
    fast = np.sum([one.experts["rhythm"] for one in report.scored.records if one.truth == "AF"], axis=0)
    assert load["N"] == load["other"] == ["0 %", "100 %"]
    assert load["AF"] == [f"{100 * beats / fast.sum():.0f} %" for beats in fast]
    assert float(load["AF"][0].split()[0]) > 70
    assert list(load) == ["AF", "N", "other", "all"]
    a2 = report.rows("Figures per record")["A2"]
    assert (a2[0], a2[1], a2[2], a2[-2:]) == ("A2", "II", "40.00", ["other", "N"])


@pytest.mark.usefixtures("needs_drawings")
def test_the_report_of_rhythms_by_duration_is_in_seconds(write: Callable[..., Path]) -> None:
    path = write("afdb", "1", heart_rate=120, variability=0.15)
    wfdb.wrann("1", "atr", np.array([10, 4010]), ["+", "+"], aux_note=["(AFIB", "(N"], write_dir=str(path.parent))
    report = _Report(path.parent, "rhythm", lead="II")
    assert report.titles == [
        "Summary", "Confusion matrix", "Use of the experts", "Figures per record", "How this report was made",
    ]  # fmt: skip
    words = report.words("Confusion matrix")
    assert "predicted (s)" in words
    counts = np.array([int(word) for word in words if word.isdecimal()]).reshape(3, 5)
    table = report.scored.class_table()
    assert table is not None
    assert counts.tolist() == np.rint(table.table).tolist()
    assert counts.sum(1).tolist() == pytest.approx([20, 20, 0], abs=1)
    assert counts[0, 1] >= 15  # annotated N, predicted AF almost to the end
    assert list(report.load("rhythm")) == ["records", "all"]


@pytest.mark.usefixtures("needs_drawings")
def test_the_report_of_age_draws_predicted_against_true_values(write: Callable[..., Path]) -> None:
    for name, comment in (("1", "40 M"), ("2", "60 F"), ("3", "80 F")):
        folder = write("mitdb", name, comments=(comment,)).parent
    report = _Report(folder, "age", lead="II")
    assert report.titles == [
        "Summary", "Predicted and true values", "Use of the experts", "Figures per record", "How this report was made",
    ]  # fmt: skip
    summary = report.rows("Summary")
    assert summary["mae_years"][0] == "16.67"
    assert summary["better_by_years"][0] == "-3.33"
    assert summary["says_years"] == ["60.00"]
    (drawn,) = report.drawings("Predicted and true values")
    points = re.search(r'<g id="PathCollection_1">(.*?)</g>\s*<g id="matplotlib.axis_1">', drawn, re.DOTALL)
    assert points is not None
    at = np.array(re.findall(r'<use [^>]*x="([\d.]+)" y="([\d.]+)"', points[1]), float)
    assert len(at) == 3
    assert np.diff(at[:, 0]).tolist() == pytest.approx([np.ptp(at[:, 0]) / 2] * 2, rel=1e-3)  # 40, 60, 80 years
    assert np.ptp(at[:, 0]) > 100
    assert np.ptp(at[:, 1]) == pytest.approx(0.0, abs=1e-3)  # 50 years for every record
    assert report.load("rhythm") == {"records": ["0 %", "100 %"], "all": ["0 %", "100 %"]}
    assert report.rows("Figures per record")["3"][-2:] == ["80.00", "50.00"]


@pytest.mark.usefixtures("needs_drawings")
def test_the_report_of_sex_shows_that_a_constant_score_does_not_separate(write: Callable[..., Path]) -> None:
    for name, comment in (("1", "40 M"), ("2", "60 F"), ("3", "80 F")):
        folder = write("mitdb", name, comments=(comment,)).parent
    report = _Report(folder, "sex", lead="II")
    assert report.titles == [
        "Summary", "Confusion matrix", "Wrong predictions", "Calibration and separation of the scores",
        "Use of the experts", "Figures per record", "How this report was made",
    ]  # fmt: skip
    summary = report.rows("Summary")
    assert (summary["accuracy"][0], summary["female.f1"][0], summary["says"]) == ("66.67", "80.00", ["female"])
    counts = [word for word in report.words("Confusion matrix") if word.isdecimal()]
    assert counts == [*"200", *"100"]  # rows: female, male; columns: female, male, none
    assert report.rows("Wrong predictions") == {"1": ["male", "female", "0.88"]}
    assert "the label (ECE 0.214)" in report.words("Calibration and separation of the scores")
    curves = report.words("Calibration and separation of the scores", 1)
    assert {"female (area 0.500)", "male (area 0.500)", "male (average precision 0.333)"} <= set(curves)
    assert list(report.load("rhythm")) == ["female", "male", "all"]
