from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from beat_models import always, answering
from wfdb_records import write_wfdb

from ecgmoe_edge.errors import RecordError, UsageError
from ecgmoe_edge.records.databases import Origin, origin_of
from ecgmoe_edge.records.splits import locate
from ecgmoe_edge.scoring.evaluation import EvaluationOptions, evaluate, evaluate_record
from ecgmoe_edge.scoring.results import Evaluation
from ecgmoe_edge.scoring.table import render_table

wfdb = pytest.importorskip("wfdb", reason="evaluation needs the records extra")
processing = pytest.importorskip("wfdb.processing", reason="evaluation needs the records extra")

FIGURES = ["se", "ppv", "f1", "tp", "fn", "fp"]


@pytest.fixture
def write_ecg(tmp_path: Path, simulated_ecg: Callable[..., Any]) -> Callable[..., Path]:
    """`write_ecg(name, seconds=..., fs=..., symbols=...)`: writes a simulated record of two leads with annotations."""

    def write(name: str, *, seconds: float = 60.0, fs: float = 360.0, symbols: str = "N", seed: int = 0) -> Path:
        ecg = simulated_ecg(seconds, fs=fs, noise_mv=0.02, seed=seed)
        signals = np.stack([ecg.signal, -0.5 * ecg.signal])
        return write_wfdb(tmp_path, name, signals, fs, leads=["I", "II"], r_peaks=ecg.r_peaks, symbols=symbols)

    return write


def test_every_beat_of_a_simulated_record_is_found_at_every_rate(write_ecg: Callable[..., Path]) -> None:
    records = [write_ecg(f"r{fs}", fs=fs, seed=fs) for fs in (128, 250, 360, 500)]
    figures = evaluate(records).to_json()
    assert (figures["records"], figures["skipped_records"]) == (4, {})
    for tolerance in ("150ms", "50ms"):
        assert list(figures["rpeaks"][tolerance]) == FIGURES
        assert figures["rpeaks"][tolerance]["se"] == 100.0
        assert figures["rpeaks"][tolerance]["ppv"] == 100.0
    assert figures["beats"] is figures["confusion"] is figures["S_without_232"] is None
    assert 0 < figures["delay_ms"]["detection"]["p50"] < 400
    assert figures["delay_ms"]["label"] == {"p50": None, "p95": None, "max": None}
    assert figures["per_record"]["r250"]["lead"] == "I"


def test_labels_are_scored_class_by_class(write_ecg: Callable[..., Path]) -> None:
    result = evaluate_record(write_ecg("a", symbols="NNNV"), EvaluationOptions(), always("V"))
    figures = Evaluation((result,)).to_json()
    beats = result.score.rpeaks.tp
    assert sum(sum(row.values()) for row in figures["confusion"].values()) == beats
    assert figures["beats"]["V"]["se"] == 100.0
    assert figures["beats"]["V"]["ppv"] == pytest.approx(25.0, abs=1.0)
    assert figures["beats"]["N"]["se"] == 0.0
    assert figures["beats"]["S"] == {"se": None, "ppv": None, "f1": None, "tp": 0, "fn": 0, "fp": 0, "false_no_beat": 0}
    assert 0 < figures["delay_ms"]["label"]["p95"] <= 300


def test_peaks_answered_artefact_are_reported_with_the_beats_that_they_cost(write_ecg: Callable[..., Path]) -> None:
    result = evaluate_record(write_ecg("a", symbols="NNNV"), EvaluationOptions(), answering("V?"))
    figures = Evaluation((result,)).to_json()
    artefacts = figures["artefacts"]
    assert artefacts["detections"] == result.score.rpeaks.tp + result.score.rpeaks.fp - 1
    assert artefacts["lost_beats"]["N"] > 2 * artefacts["lost_beats"]["V"] > 0
    assert figures["per_record"]["a"]["artefacts"] == artefacts
    assert f"answered artefact: {artefacts['detections']} detections" in render_table(figures)
    assert "answered artefact" not in render_table(
        Evaluation((evaluate_record(write_ecg("b"), EvaluationOptions(), always("V")),)).to_json()
    )


def test_figures_of_s_are_also_given_without_record_232_of_mit_bih(
    tmp_path: Path, write_ecg: Callable[..., Path], write_mitdb_header: Callable[[Path, str], Path]
) -> None:
    model = always("V")
    results = [evaluate_record(write_ecg(name, symbols="NA"), EvaluationOptions(), model) for name in ("232", "100")]
    assert Evaluation(tuple(results)).to_json()["S_without_232"] is None  # another record with the same name
    assert "S_without_232.f1" not in Evaluation(tuple(results)).to_json()["intervals"]["figures"]
    results[0] = replace(results[0], origin=origin_of(write_mitdb_header(tmp_path / "mitdb", "232")))
    both, alone = Evaluation(tuple(results)), Evaluation((results[1],))
    assert both.to_json()["S_without_232"] == alone.to_json()["beats"]["S"]
    assert both.to_json()["beats"]["S"]["fn"] > alone.to_json()["beats"]["S"]["fn"] > 0
    assert alone.to_json()["S_without_232"] is None


def test_bad_records_are_skipped_with_a_reason_and_the_others_are_scored(write_ecg: Callable[..., Path]) -> None:
    good = write_ecg("good")
    broken = {name: write_ecg(name) for name in ("nodat", "noatr", "short", "norate")}
    broken["nodat"].with_suffix(".dat").unlink()
    broken["noatr"].with_suffix(".atr").unlink()
    file = broken["short"].with_suffix(".dat")
    file.write_bytes(file.read_bytes()[:-1000])
    header = broken["norate"].with_suffix(".hea")
    header.write_text(header.read_text().replace(" 360 ", " 0 ", 1))
    broken["slow"] = write_ecg("slow", fs=50)
    broken["absent"] = good.with_name("absent")
    progress: list[tuple[str, int, int, str | None]] = []
    evaluation = evaluate([*broken.values(), good], on_record=lambda *record: progress.append(record))
    reasons = evaluation.to_json()["skipped_records"]
    expected = {
        "nodat": "not in", "noatr": "no annotations", "short": "truncated", "norate": "rate of 0",
        "slow": "50", "absent": "no recording",
    }  # fmt: skip
    assert set(reasons) == set(expected)
    for name, part in expected.items():
        assert part in reasons[name]
    assert list(evaluation.to_json()["per_record"]) == ["good"]
    assert [done for _, done, _, _ in progress] == list(range(1, 8))
    with pytest.raises(RecordError, match=r"None of 2 records could be scored\. nodat: "):
        evaluate([broken["nodat"], broken["noatr"]])


def test_no_beats_are_detected_on_a_flat_lead_or_in_missing_samples(write_ecg: Callable[..., Path]) -> None:
    path = write_ecg("gaps", seconds=90.0)
    file = path.with_suffix(".dat")
    samples = np.frombuffer(file.read_bytes(), dtype="<i2").reshape(-1, 2).copy()
    samples[30 * 360 : 40 * 360] = -32768  # invalid
    samples[60 * 360 : 70 * 360] = 100  # flat
    file.write_bytes(samples.tobytes())
    counts = evaluate([path]).rpeaks
    assert counts.fp <= 1  # search-back takes one T wave for an R peak when the signal becomes flat
    assert 15 <= counts.fn <= 45  # the beats in 20 s, and those while the detector learns after the gap


def test_figures_do_not_depend_on_the_number_of_processes(write_ecg: Callable[..., Path]) -> None:
    records = [write_ecg(name, seed=seed) for seed, name in enumerate(("b", "a", "c"))]
    one, two = evaluate(records).to_json(), evaluate(records, jobs=2).to_json()
    assert json.dumps(one) == json.dumps(two)
    assert list(one["per_record"]) == ["b", "a", "c"]


def test_detected_beats_are_written_as_annotations_that_wfdb_reads(
    write_ecg: Callable[..., Path], tmp_path: Path
) -> None:
    path = write_ecg("a")
    options = EvaluationOptions(annotations_dir=tmp_path / "detected")
    evaluation = evaluate([path], options)
    written = wfdb.rdann(str(tmp_path / "detected" / "a"), "ecgmoe")
    assert len(written.sample) == evaluation.rpeaks.tp + evaluation.rpeaks.fp
    matched = processing.compare_annotations(wfdb.rdann(str(path), "atr").sample, written.sample, 54)
    assert matched.tp == evaluation.rpeaks.tp


def test_the_user_states_lead_and_polarity(write_ecg: Callable[..., Path]) -> None:
    path = write_ecg("a")
    result = evaluate_record(path, EvaluationOptions(lead="II", invert=True), None)
    assert result.leads == ("II",)
    assert result.score.rpeaks.se == 100.0
    with pytest.raises(RecordError, match="no lead 'V9'"):
        evaluate_record(path, EvaluationOptions(lead="V9"), None)


def test_an_offline_detector_is_scored_beside_the_live_one(write_ecg: Callable[..., Path]) -> None:
    pytest.importorskip("neurokit2", reason="the offline reference needs the records extra")
    figures = evaluate([write_ecg("a")], EvaluationOptions(reference="neurokit")).to_json()
    assert figures["reference"]["detector"] == "neurokit"
    assert figures["reference"]["rpeaks"]["150ms"]["se"] > 95.0


def test_a_record_named_twice_and_zero_jobs_are_refused(write_ecg: Callable[..., Path]) -> None:
    path = write_ecg("a")
    with pytest.raises(UsageError, match="more than once"):
        evaluate([path, path])
    with pytest.raises(UsageError, match="--jobs 1 or more"):
        evaluate([path], jobs=0)


def test_the_table_shows_every_figure(write_ecg: Callable[..., Path]) -> None:
    model = always("V")
    results = [evaluate_record(write_ecg(name, symbols="NA"), EvaluationOptions(), model) for name in ("232", "5")]
    results[0] = replace(results[0], origin=Origin("mitdb", "232", "232", dominates_s=True))
    table = render_table(Evaluation(tuple(results), {"x": "no header"}).to_json(), per_record=True)
    starts = ("R peaks, 150ms", "R peaks, 50ms", "class N", "class S", "S without 232", "delay to label", "skipped x")
    for start in starts:
        assert any(line.startswith(start) for line in table.splitlines()), start


def test_two_records_of_mitdb_reach_the_floor(mitdb: Path) -> None:
    figures = evaluate(locate(mitdb, records=["119", "208"])).to_json()
    assert figures["rpeaks"]["150ms"]["se"] > 99.0
    assert figures["rpeaks"]["150ms"]["ppv"] > 99.0
    assert figures["rpeaks"]["50ms"]["f1"] > 97.0


def test_narrow_ventricular_beats_are_found_and_very_early_s_are_not_labelled_v(svdb: Path) -> None:
    """On the held-out records 841 and 861, which need `streaming.patient.shapes`."""
    from ecgmoe_edge.runtime.bundle import shipped_bundle

    options = EvaluationOptions(bundle=shipped_bundle())
    per_record = evaluate([svdb / "841", svdb / "861"], options, jobs=1).to_json()["per_record"]
    assert per_record["841"]["beats"]["V"]["se"] > 80.0
    assert per_record["861"]["beats"]["V"]["fp"] < 60


@pytest.mark.slow
def test_all_of_mitdb_reaches_the_floor(mitdb: Path) -> None:
    figures = evaluate(locate(mitdb), jobs=2).to_json()
    assert (figures["records"], figures["skipped_records"]) == (48, {})
    assert figures["rpeaks"]["150ms"]["se"] > 99.0
    assert figures["rpeaks"]["150ms"]["ppv"] > 99.0
