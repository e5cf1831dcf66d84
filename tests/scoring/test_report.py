"""Gross and average statistics, the beat-by-beat table and the CSV files, on cases computed by hand."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from ecgmoe_edge.errors import RecordError, UsageError
from ecgmoe_edge.records.annotations import AAMI, BeatAnnotations
from ecgmoe_edge.records.registry import open_recording
from ecgmoe_edge.records.splits import locate
from ecgmoe_edge.scoring.csv_tables import write_csv
from ecgmoe_edge.scoring.ec57 import Counts, average, score_record
from ecgmoe_edge.scoring.evaluation import EvaluationOptions, evaluate_noise, evaluate_record
from ecgmoe_edge.scoring.results import Evaluation, NoiseEvaluation, RecordResult
from ecgmoe_edge.scoring.table import beat_table, render_table

FS = 250.0


def _result(name: str, symbols: str, labels: Sequence[str | None], shift: int = 0) -> RecordResult:
    """A record with one beat per second; `-` is a missed beat, `x` an artefact, a label after the last beat false."""
    samples = 250 * np.arange(1, len(symbols) + 1, dtype=np.int64)
    found = [250 * (at + 1) + shift * (at % 2) for at, label in enumerate(labels) if label != "-"]
    annotated = BeatAnnotations(
        samples=samples,
        symbols=np.array(list(symbols), dtype=np.str_),
        classes=np.array([AAMI[symbol] for symbol in symbols], dtype=np.str_),
        flutter=(),
        rhythms=(),
    )
    answers = [label for label in labels if label != "-"]
    artefacts = [label == "x" for label in answers]
    detected = ["?" if label == "x" else label for label in answers]
    score = score_record(annotated, found, detected, fs=FS, n_samples=250 * 60, artefacts=artefacts)
    delays = np.full(len(found), 200.0, dtype=np.float32)
    return RecordResult(name, ("II",), FS, 60.0, annotated.paced, score, score, None, delays, delays)


@pytest.fixture
def evaluation() -> Evaluation:
    # a: N N N V labelled N N S V; b: N V V A with one V missed, one labelled N, A labelled S, and a false V; c: paced
    return Evaluation(
        (
            _result("a", "NNNV", "NNSV"),
            _result("b", "NVVA", "N-NSV"),
            _result("c", "//", "NN", shift=2),
        ),
        {"d": "no header"},
    )


def test_averages_give_every_record_the_same_weight_and_skip_undefined_figures() -> None:
    figures = average([Counts(9, 1, 0), Counts(1, 1, 3), Counts(0, 0, 0), Counts(0, 0, 2)])
    assert figures["se"] == pytest.approx((90.0 + 50.0) / 2)
    assert figures["ppv"] == pytest.approx((100.0 + 25.0 + 0.0) / 3, abs=0.001)
    assert figures["f1"] == pytest.approx((18 / 19 + 2 / 6) / 2 * 100, abs=0.001)
    assert figures["records"] == {"se": 2, "ppv": 3, "f1": 2}
    assert average([]) == {"se": None, "ppv": None, "f1": None, "records": {"se": 0, "ppv": 0, "f1": 0}}


def test_gross_and_average_figures_equal_those_computed_by_hand(evaluation: Evaluation) -> None:
    figures = evaluation.to_json()
    assert figures["rpeaks"]["150ms"] == {
        "se": 90.0, "ppv": 90.0, "f1": 90.0, "tp": 9, "fn": 1, "fp": 1,
    }  # fmt: skip
    assert figures["average"]["rpeaks"]["150ms"] == {
        "se": 91.667, "ppv": 91.667, "f1": 91.667, "records": {"se": 3, "ppv": 3, "f1": 3},
    }  # fmt: skip
    # V: one found in a; in b one is missed, one is labelled N, and one detection has no annotated beat
    assert figures["beats"]["V"] == {
        "se": 33.333,
        "ppv": 50.0,
        "f1": 40.0,
        "tp": 1,
        "fn": 2,
        "fp": 1,
        "false_no_beat": 1,
    }
    assert figures["average"]["beats"]["V"]["se"] == 50.0
    assert figures["average"]["beats"]["S"]["records"] == {"se": 1, "ppv": 2, "f1": 1}
    assert figures["per_record"]["c"]["beats"] is figures["per_record"]["c"]["confusion"] is None


def test_rr_errors_equal_those_computed_by_hand(evaluation: Evaluation) -> None:
    figures = evaluation.to_json()
    assert figures["per_record"]["c"]["rr_error_ms"]["rms"] == 8.0  # two samples of 4 ms
    # three intervals in a, one between the third and the fourth beat of b, one in c
    assert figures["rr_error_ms"]["intervals"] == 5
    assert figures["rr_error_ms"]["rms"] == pytest.approx(8.0 / np.sqrt(5), abs=0.001)
    assert figures["rr_error_ms"]["average"] == pytest.approx(8.0 / 3, abs=0.001)


def test_the_beat_table_is_laid_out_as_bxb_prints_it(evaluation: Evaluation) -> None:
    table = [line.split() for line in beat_table(evaluation.to_json()["confusion"])]
    assert table[0] == ["n", "s", "v", "f", "q", "o"]
    assert table[2:] == [
        ["N", "|", "3", "1", "0", "0", "0", "0"],
        ["S", "|", "0", "1", "0", "0", "0", "0"],
        ["V", "|", "1", "0", "1", "0", "0", "1"],
        ["F", "|", "0", "0", "0", "0", "0", "0"],
        ["Q", "|", "0", "0", "0", "0", "0", "0"],
        ["O", "|", "0", "0", "1", "0", "0"],
    ]


def test_the_text_has_a_line_per_record_above_the_sums(evaluation: Evaluation) -> None:
    figures = evaluation.to_json()
    lines = render_table(figures, per_record=True).splitlines()
    assert [line.split()[0] for line in lines[1:4]] == ["a", "b", "c"]
    assert lines[3].split()[1:] == ["100.00", "100.00", *["-"] * 8, "8.00"]
    for start in ("R peaks, 50ms", "mean over records", "RMS RR interval error, ms: 3.58, mean over records 2.67"):
        assert any(line.startswith(start) for line in lines), start
    assert not any(line.startswith("a  ") for line in render_table(figures).splitlines())


def test_the_text_says_how_many_false_positives_are_no_beat_and_what_the_artefacts_cost() -> None:
    # two false V without a beat and one N labelled V; three artefacts, of which one is a V beat and one an N beat
    evaluation = Evaluation((_result("a", "NNVNVN", "NVxNVxVVx"),))
    figures = evaluation.to_json()
    figures["noise"] = NoiseEvaluation("em", {12.0: evaluation}).to_json()
    lines = render_table(figures).splitlines()
    assert lines[1].split()[-3:] == ["false", "no", "beat"]
    (gross,) = (line for line in lines if line.startswith("class V") and len(line.split()) == 9)
    assert gross.split()[-4:] == ["1", "1", "3", "2"]
    (noisy,) = (line for line in lines if line.startswith("  class V"))
    assert noisy.split()[-4:] == ["1", "1", "3", "2"]
    said = "answered artefact: 3 detections, 1 of them no beat; lost beats: N 1, V 1"
    assert [line for line in lines if "artefact" in line] == [said, f"  {said}"]


def _read(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder / f"{name}.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_csv_files_have_the_same_figures_as_the_json(evaluation: Evaluation, tmp_path: Path) -> None:
    figures = evaluation.to_json()
    figures["noise"] = NoiseEvaluation("em", {12.0: evaluation, -6.0: evaluation}).to_json()
    written = write_csv(tmp_path / "new" / "tables", figures)
    assert [file.name for file in written] == ["records.csv", "classes.csv", "beat_table.csv", "noise.csv"]
    folder = tmp_path / "new" / "tables"
    records = {row["record"]: row for row in _read(folder, "records")}
    assert (records["b"]["rpeaks_150ms_fn"], records["b"]["V_fp"], records["b"]["rr_intervals"]) == ("1", "1", "1")
    assert (records["a"]["V_false_no_beat"], records["b"]["V_false_no_beat"]) == ("0", "1")
    assert (records["c"]["V_se"], records["c"]["paced"]) == ("", "True")
    classes = {row["class"]: row for row in _read(folder, "classes")}
    assert list(classes) == ["rpeaks_150ms", "rpeaks_50ms", "N", "S", "V", "F"]
    assert (classes["V"]["se"], classes["V"]["average_se"], classes["V"]["records_se"]) == ("33.333", "50.0", "2")
    assert [classes[name]["false_no_beat"] for name in ("rpeaks_150ms", "S", "V")] == ["", "0", "1"]
    tables = {(row["record"], row["truth"]): row for row in _read(folder, "beat_table")}
    assert tables["all", "V"]["missed"] == tables["b", "V"]["missed"] == "1"
    assert ("c", "V") not in tables
    noise = [(row["snr_db"], row["record"], row["rpeaks_150ms_f1"]) for row in _read(folder, "noise")]
    assert ("-6", "all", "90.0") in noise
    assert len(noise) == 2 * 4
    assert {row["V_false_no_beat"] for row in _read(folder, "noise") if row["record"] == "all"} == {"1"}


def test_csv_files_have_no_class_columns_if_beats_were_not_classified(simulated_record: Path, tmp_path: Path) -> None:
    result = evaluate_record(simulated_record, EvaluationOptions(), None)
    written = write_csv(tmp_path, Evaluation((result,)).to_json())
    assert [file.name for file in written] == ["records.csv", "classes.csv"]
    assert not [column for column in _read(tmp_path, "records")[0] if column.startswith(("N_", "V_"))]


def test_a_folder_that_cannot_be_written_is_reported_in_a_sentence(evaluation: Evaluation, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RecordError, match="give --csv another folder"):
        write_csv(tmp_path / "file", evaluation.to_json())


@pytest.fixture
def simulated_record(tmp_path: Path, write_noisy_set: Callable[[], Path]) -> Path:
    return write_noisy_set() / "mitdb" / "1"


def test_figures_fall_with_the_signal_to_noise_ratio(simulated_record: Path) -> None:
    noise = simulated_record.parents[1] / "nstdb" / "em"
    progress: list[tuple[float, str, int, int, str | None]] = []
    options = EvaluationOptions(annotations_dir=simulated_record.parent / "detected")
    noisy = evaluate_noise(
        [simulated_record], options, noise, (40.0, -12.0), on_record=lambda *record: progress.append(record)
    )
    figures = noisy.to_json()
    assert (figures["kind"], list(figures["snr_db"])) == ("em", ["40", "-12"])
    easy, hard = (figures["snr_db"][snr]["rpeaks"]["150ms"] for snr in ("40", "-12"))
    assert easy["f1"] == 100.0
    assert hard["f1"] < 99.0
    assert progress == [(40.0, "1", 1, 1, None), (-12.0, "1", 1, 1, None)]
    assert not (simulated_record.parent / "detected").exists()
    with pytest.raises(UsageError, match="signal-to-noise"):
        evaluate_noise([simulated_record], options, noise, ())


def test_r_peak_counts_of_jittered_detections_agree_with_wfdb(simulated_record: Path) -> None:
    processing = pytest.importorskip("wfdb.processing")
    from ecgmoe_edge.records.annotations import read_annotations

    record = open_recording(simulated_record)
    annotated = read_annotations(record)
    rng = np.random.default_rng(3)
    detected = np.sort(annotated.samples[rng.random(len(annotated.samples)) > 0.1] + rng.integers(-10, 11))
    ours = score_record(annotated, detected, fs=record.fs, n_samples=record.n_samples, whole=True).rpeaks
    theirs = processing.compare_annotations(annotated.samples, detected, round(0.15 * record.fs) + 1)
    assert (ours.tp, ours.fn, ours.fp) == (theirs.tp, theirs.fn, theirs.fp)
    assert ours.se == pytest.approx(100 * theirs.sensitivity)
    assert ours.ppv == pytest.approx(100 * theirs.positive_predictivity)


def test_added_noise_lowers_the_figures_of_a_real_record(data_dir: Path) -> None:
    noise = data_dir / "nstdb" / "em"
    if not noise.with_suffix(".hea").is_file():
        pytest.skip(f"needs nstdb: {noise} is not there")
    figures = evaluate_noise(locate(data_dir, records=["119"]), EvaluationOptions(), noise, (24.0, 0.0)).to_json()
    f1 = {snr: evaluation["rpeaks"]["150ms"]["f1"] for snr, evaluation in figures["snr_db"].items()}
    assert f1["24"] > 99.0
    assert 70.0 < f1["0"] < f1["24"]
