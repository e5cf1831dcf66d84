"""Rhythm, mean RR, age and sex through the live pipeline, with models whose answers are known."""

from __future__ import annotations

import json
import re
from base64 import b64decode
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ecgmoe_edge.errors import RecordError, UsageError
from ecgmoe_edge.records.layouts import known_records
from ecgmoe_edge.scoring.record_runs import ModelFile
from ecgmoe_edge.scoring.report.page import write_task_report
from ecgmoe_edge.scoring.task_evaluation import evaluate_task
from ecgmoe_edge.scoring.task_records import TaskOptions, mean_rr_ms
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
    batched = False

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
    """`write(folder, name, heart_rate=..., comments=...)`: 40 s without annotations, lead I still or a slow drift."""

    def write(
        folder: str, name: str, *, heart_rate: float = 60.0, comments: tuple[str, ...] = (), drift_mv: float = 0.0
    ) -> Path:
        ecg = simulated_ecg(40.0, fs=FS, heart_rate=heart_rate, variability=0.0, noise_mv=0.01)
        drift = drift_mv * np.linspace(0, 1, ecg.signal.size)
        place = tmp_path / folder
        place.mkdir(parents=True, exist_ok=True)
        wfdb.wrsamp(
            name, fs=FS, units=["mV"] * 2, sig_name=["I", "II"], p_signal=np.stack([drift, ecg.signal], 1),
            fmt=["16"] * 2, adc_gain=[1000.0] * 2, baseline=[0] * 2, comments=list(comments), write_dir=str(place),
        )  # fmt: skip
        return place / name

    return write


def _evaluate(data: Path, task: str, model: ModelFile = MODEL, **options: Any) -> dict[str, Any]:
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
    folder = write("cinc2017", "A1", drift_mv=2.0).parent
    (folder / "REFERENCE.csv").write_text("A1,~\n")
    evaluation = _evaluate(folder, "rhythm", lead="I")
    assert evaluation["per_record"]["A1"]["answer"] == "noisy"
    assert evaluation["rhythm"]["classes"]["noisy"]["se"] == 100.0
    assert "No beat was found in A1 (I)" in evaluation["per_record"]["A1"]["remarks"][0]["text"]


def test_a_lead_without_a_signal_is_no_answer_and_the_record_is_skipped(write: Callable[..., Path]) -> None:
    folder = write("cinc2017", "A1").parent
    write("cinc2017", "A2")
    (folder / "REFERENCE.csv").write_text("A1,N\nA2,N\n")
    with pytest.raises(RecordError, match="does not move from 0 mV"):
        _evaluate(folder, "rhythm", lead="I")  # of zeros
    evaluation = _evaluate(folder, "rhythm")
    assert (evaluation["records"], evaluation["per_record"]["A1"]["lead"]) == (2, "II")
    assert any("II is used" in remark["text"] for remark in evaluation["per_record"]["A1"]["remarks"])


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


def test_rhythms_are_scored_where_nothing_but_rhythms_is_annotated(write: Callable[..., Path]) -> None:
    path = write("afdb", "1", heart_rate=120)  # as the MIT-BIH Atrial Fibrillation Database is
    wfdb.wrann("1", "atr", np.array([10, 2010]), ["+", "+"], aux_note=["(N", "(AFIB"], write_dir=str(path.parent))
    rhythm = _evaluate(path.parent, "rhythm", lead="II")["rhythm"]
    assert sum(rhythm["confusion"]["AF"].values()) == pytest.approx(29.95, abs=0.2)
    assert rhythm["classes"]["AF"]["se"] == pytest.approx(98.0, abs=3.0)
    with pytest.raises(RecordError, match="no beat annotation"):
        _evaluate(path.parent, "rr", lead="II")
    wfdb.wrann("1", "atr", np.array([100, 300]), ["N", "N"], write_dir=str(path.parent))
    with pytest.raises(RecordError, match="notes no rhythm"):
        _evaluate(path.parent, "rhythm", lead="II")


def test_a_record_that_is_named_and_absent_is_skipped_and_told(write: Callable[..., Path], tmp_path: Path) -> None:
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


# -- the report


class _Report:
    """A written page, by sections; matplotlib notes what a drawing says beside the outlines of its letters."""

    def __init__(self, data: Path, task: str, **options: Any) -> None:
        self.scored = evaluate_task(known_records(data, "mitdb"), TaskOptions(task, **options), MODEL)
        evaluation = self.scored.to_json() | {"model": {"kind": "knows"}}
        file = write_task_report(data / "report", self.scored, evaluation, "ecgmoe-edge evaluate --report report")
        parts = re.split(r'<h2 id="s\d+">(.*?)</h2>', file.read_text(encoding="utf-8"))
        self.titles = parts[1::2]
        self.sections = dict(zip(self.titles, parts[2::2], strict=True))

    def rows(self, title: str) -> dict[str, list[str]]:
        """First cell of each row of a section's tables -> the others."""
        cells = [re.findall(r"<td>(.*?)</td>", row) for row in re.findall(r"<tr>(.*?)</tr>", self.sections[title])]
        return {row[0]: row[1:] for row in cells if row}

    def drawings(self, title: str) -> list[str]:
        return [b64decode(one).decode() for one in re.findall(r'svg\+xml;base64,([^"]*)"', self.sections[title])]

    def words(self, title: str, drawing: int = 0) -> list[str]:
        return re.findall(r"<!-- (.*?) -->", self.drawings(title)[drawing])

    def load(self, path: str) -> dict[str, list[str]]:
        """Row of the drawing of a path's experts -> its shares, one of two experts each."""
        words = self.words("What the experts do")
        shares = [word for word in words if word.endswith(" %")]
        names = [word.split(" (")[0] for word in words if re.search(r" \([\d,]+\)$", word)]
        assert f"Path {path}:" in self.sections["What the experts do"]
        return {name: shares[2 * row : 2 * row + 2] for row, name in enumerate(names)}


@pytest.fixture
def needs_drawings() -> None:
    pytest.importorskip("matplotlib", reason="reports need matplotlib")


@pytest.mark.usefixtures("needs_drawings")
def test_the_report_of_rhythms_of_records_shows_who_was_wrong_and_how_sure(write: Callable[..., Path]) -> None:
    for name, rate in (("A1", 60), ("A2", 60), ("A3", 120), ("A4", 120)):
        folder = write("cinc2017", name, heart_rate=rate).parent
    (folder / "REFERENCE.csv").write_text("A1,N\nA2,O\nA3,A\nA4,A\n")
    report = _Report(folder, "rhythm", lead="II")
    assert report.titles == [
        "In sum", "Truth and answer", "What was wrong", "Can the scores be believed", "What the experts do",
        "Record by record", "How this was made",
    ]  # fmt: skip
    in_sum = report.rows("In sum")
    assert in_sum["AF.se"] == ["100.00", "100.00 to 100.00"]
    assert in_sum["N.ppv"][0] == "50.00"
    assert in_sum["mean_f1"][0] == "55.56"
    counts = [word for word in report.words("Truth and answer") if word.isdecimal()]
    assert counts == [*"1000", *"0200", *"1000", *"0000"]  # N, AF, other, noisy
    assert "answer (records)" in report.words("Truth and answer")
    assert "1 of 4 records" in report.sections["What was wrong"]
    assert report.rows("What was wrong") == {"A2": ["other", "N", "0.98"]}
    assert "the label (ECE 0.232)" in report.words("Can the scores be believed")  # 0.982 said, 3 of 4 right
    curves = report.words("Can the scores be believed", 1)
    for said in ("AF (area 1.000)", "N (area 0.833)", "other (area 0.833)", "AF (mean +P 1.000)", "N (mean +P 0.500)"):
        assert said in curves
    assert not any(word.startswith("noisy") for word in curves)  # there is none
    load = report.load("rhythm")
    fast = np.sum([one.experts["rhythm"] for one in report.scored.records if one.truth == "AF"], axis=0)
    assert load["N"] == load["other"] == ["0 %", "100 %"]
    assert load["AF"] == [f"{100 * took / fast.sum():.0f} %" for took in fast]
    assert float(load["AF"][0].split()[0]) > 70
    assert list(load) == ["AF", "N", "other", "all"]
    a2 = report.rows("Record by record")["A2"]
    assert (a2[0], a2[1], a2[2], a2[-2:]) == ("A2", "II", "40.00", ["other", "N"])


@pytest.mark.usefixtures("needs_drawings")
def test_the_report_of_rhythms_by_duration_is_in_seconds(write: Callable[..., Path]) -> None:
    path = write("afdb", "1", heart_rate=120)
    wfdb.wrann("1", "atr", np.array([10, 4010]), ["+", "+"], aux_note=["(AFIB", "(N"], write_dir=str(path.parent))
    report = _Report(path.parent, "rhythm", lead="II")
    assert report.titles == [
        "In sum", "Truth and answer", "What the experts do", "Record by record", "How this was made",
    ]  # fmt: skip
    words = report.words("Truth and answer")
    assert "answer (s)" in words
    counts = np.array([int(word) for word in words if word.isdecimal()]).reshape(3, 5)
    table = report.scored.class_table()
    assert table is not None
    assert counts.tolist() == np.rint(table.table).tolist()
    assert counts.sum(1).tolist() == pytest.approx([20, 20, 0], abs=1)
    assert counts[0, 1] >= 15  # annotated N, called AF nearly to the end
    assert list(report.load("rhythm")) == ["records", "all"]


@pytest.mark.usefixtures("needs_drawings")
def test_the_report_of_age_draws_what_was_said_against_what_is_true(write: Callable[..., Path]) -> None:
    for name, comment in (("1", "40 M"), ("2", "60 F"), ("3", "80 F")):
        folder = write("mitdb", name, comments=(comment,)).parent
    report = _Report(folder, "age", lead="II")
    assert report.titles == [
        "In sum", "Truth and answer", "What the experts do", "Record by record", "How this was made",
    ]  # fmt: skip
    in_sum = report.rows("In sum")
    assert in_sum["mae_years"][0] == "16.67"
    assert in_sum["better_by_years"][0] == "-3.33"
    assert in_sum["says_years"] == ["60.00"]
    (drawn,) = report.drawings("Truth and answer")
    points = re.search(r'<g id="PathCollection_1">(.*?)</g>\s*<g id="matplotlib.axis_1">', drawn, re.DOTALL)
    assert points is not None
    at = np.array(re.findall(r'<use [^>]*x="([\d.]+)" y="([\d.]+)"', points[1]), float)
    assert len(at) == 3
    assert np.diff(at[:, 0]).tolist() == pytest.approx([np.ptp(at[:, 0]) / 2] * 2, rel=1e-3)  # 40, 60, 80 years
    assert np.ptp(at[:, 0]) > 100
    assert np.ptp(at[:, 1]) == pytest.approx(0.0, abs=1e-3)  # everybody is called fifty
    assert report.load("rhythm") == {"records": ["0 %", "100 %"], "all": ["0 %", "100 %"]}
    assert report.rows("Record by record")["3"][-2:] == ["80.00", "50.00"]


@pytest.mark.usefixtures("needs_drawings")
def test_the_report_of_sex_shows_a_score_that_does_not_separate(write: Callable[..., Path]) -> None:
    for name, comment in (("1", "40 M"), ("2", "60 F"), ("3", "80 F")):
        folder = write("mitdb", name, comments=(comment,)).parent
    report = _Report(folder, "sex", lead="II")
    assert report.titles == [
        "In sum", "Truth and answer", "What was wrong", "Can the scores be believed", "What the experts do",
        "Record by record", "How this was made",
    ]  # fmt: skip
    in_sum = report.rows("In sum")
    assert (in_sum["accuracy"][0], in_sum["female.f1"][0], in_sum["says"]) == ("66.67", "80.00", ["female"])
    counts = [word for word in report.words("Truth and answer") if word.isdecimal()]
    assert counts == [*"200", *"100"]  # women and men, called female, male, nothing
    assert report.rows("What was wrong") == {"1": ["male", "female", "0.88"]}
    assert "the label (ECE 0.214)" in report.words("Can the scores be believed")
    curves = report.words("Can the scores be believed", 1)
    assert {"female (area 0.500)", "male (area 0.500)", "male (mean +P 0.333)"} <= set(curves)
    assert list(report.load("rhythm")) == ["female", "male", "all"]
