"""The HTML report and its numbers, on beats whose experts, scores and true classes are known."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from beat_models import FakeModel, Tensors, always, answering
from wfdb_records import write_wfdb

from ecgmoe_edge.records.annotations import AAMI, BeatAnnotations, RhythmSegment
from ecgmoe_edge.records.databases import Origin
from ecgmoe_edge.records.formats.wfdb_record import WfdbRecord
from ecgmoe_edge.scoring.beat_traces import BeatTrace, trace_beats
from ecgmoe_edge.scoring.evaluation import EvaluationOptions, evaluate
from ecgmoe_edge.scoring.live_run import LiveRun
from ecgmoe_edge.scoring.report.beat_sections import beat_sections
from ecgmoe_edge.scoring.report.curves import reliability, separation
from ecgmoe_edge.scoring.report.expert_use import expert_uses
from ecgmoe_edge.scoring.report.page import write_beat_report
from ecgmoe_edge.streaming.events import Beat
from ecgmoe_edge.streaming.signal.windows import BEAT_GRID

FS = 100.0


def _beat(sample: int, label: str) -> Beat:
    scores = {name: 0.7 if name == label else 0.1 for name in "NSVF"}
    return Beat(sample, sample / FS, None, label, scores, {}, 1.0, 200.0, 400.0, 0.0)


def _trace(symbols: str, labels: str, experts: str = "", rhythm: str = "N") -> BeatTrace:
    """The trace of a record with one beat per second; a label `-` is a missed beat."""
    samples = np.arange(1, len(symbols) + 1) * 100
    n = 100 * (len(symbols) + 2)
    annotated = BeatAnnotations(
        samples, np.array(list(symbols)), np.array([AAMI[s] for s in symbols]), (), (RhythmSegment(rhythm, 0, n),)
    )
    beats = tuple(_beat(100 * (at + 1), label) for at, label in enumerate(labels) if label != "-")
    routes = np.eye(3, dtype=np.float32)[[int(digit) for digit in experts or "0" * len(beats)]]
    live = LiveRun(beats, (), {"route_morphology": routes}, np.ones((len(beats), BEAT_GRID.size), np.float32))
    trace = trace_beats(live, annotated, WfdbRecord(Path("x"), FS, ("I",), ("mV",), n, None, None), whole=False)
    assert trace is not None
    return trace


def test_a_trace_has_the_true_class_of_each_detected_beat_and_lists_missed_beats() -> None:
    trace = _trace("NNVAN", "NVV-NV", rhythm="AFIB")
    assert trace.truth.tolist() == ["N", "N", "V", "N", "none"]
    assert trace.label.tolist() == ["N", "V", "V", "N", "V"]
    assert trace.missed_s.tolist() == [4.0]
    assert trace.missed_class.tolist() == ["S"]
    assert set(trace.rhythm.tolist()) == {"AFIB"}
    assert trace.scores[1].tolist() == pytest.approx([0.1, 0.1, 0.7, 0.1, 0.0])


def test_a_v_run_is_found_if_three_consecutive_beats_are_labelled_v() -> None:
    trace = _trace("NVVVVNVVNVVVN", "NNVVVNVVNVNVN")
    first, second = trace.v_runs  # two V beats are not a run
    assert (first.start_s, first.end_s, first.beats, first.called_v, first.found) == (2.0, 5.0, 4, 3, True)
    assert (second.start_s, second.beats, second.called_v, second.found) == (10.0, 3, 2, False)


def test_experts_are_counted_by_class_and_rhythm() -> None:
    one = _trace("NNNNVV" * 6, "NNNNVV" * 6, "000111" * 6)
    other = _trace("V" * 20, "V" * 20, "2" * 20, rhythm="VT")
    (use,) = expert_uses([("a", one), ("b", other)])
    assert use.by_class[0].tolist() == [18, 6, 0]
    assert use.by_class[2].tolist() == [0, 12, 20]
    assert use.rhythms == ("N", "VT")
    assert use.by_rhythm.tolist() == [[18, 18, 0], [0, 0, 20]]
    assert use.load.tolist() == pytest.approx([18 / 56, 18 / 56, 20 / 56])
    assert use.evenness == pytest.approx(1.0, abs=0.01)
    assert [len(waves) for waves in use.waves] == [8, 8, 8]
    assert use.wave_names[2][0] == "b at 1 s, V"


def test_class_information_is_zero_for_an_independent_router_and_one_for_a_perfect_one() -> None:
    independent = expert_uses([("a", _trace("NNVV" * 5, "NNVV" * 5, "0101" * 5))])[0]
    perfect = expert_uses([("a", _trace("NNVV" * 5, "NNVV" * 5, "0011" * 5))])[0]
    constant = expert_uses([("a", _trace("NNVV" * 5, "NNVV" * 5))])[0]
    assert independent.class_information == pytest.approx(0.0, abs=1e-9)
    assert perfect.class_information == pytest.approx(1.0)
    assert constant.evenness == 0.0


def test_reliability_equals_that_computed_by_hand() -> None:
    curve = reliability(np.array([0.95, 0.95, 0.95, 0.95, 0.15, 0.15]), np.array([1, 1, 1, 0, 0, 1], bool))
    assert curve.predicted.tolist() == pytest.approx([0.15, 0.95])
    assert curve.observed.tolist() == pytest.approx([0.5, 0.75])
    assert curve.count.tolist() == [2, 4]
    assert curve.ece == pytest.approx((2 * 0.35 + 4 * 0.20) / 6)
    assert reliability(np.zeros(0), np.zeros(0, bool)).ece is None


def test_separation_equals_that_computed_by_hand() -> None:
    curve = separation(np.array([0.9, 0.8, 0.7, 0.6]), np.array([1, 0, 1, 0], bool))
    assert curve is not None
    assert curve.auroc == pytest.approx(0.75)  # three of four pairs in order
    assert curve.average_precision == pytest.approx((1 + 2 / 3) / 2)
    tied = separation(np.full(10, 0.5), np.arange(10) < 3)
    assert tied is not None
    assert tied.auroc == pytest.approx(0.5)
    assert separation(np.ones(3), np.ones(3, bool)) is None


def random_model(_path: Path) -> FakeModel:
    """A model with random scores and a router that alternates between two experts."""
    beats = count(1)

    def outputs(_: Tensors) -> Tensors:
        beat = next(beats)
        logits = np.random.default_rng(beat).normal(size=(1, 4)).astype(np.float32)
        return {"beat": logits, "route_morphology": np.eye(2, dtype=np.float32)[[beat % 2]]}

    return FakeModel(outputs)


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open_tags: list[str] = []
        self.links: list[str] = []
        self.titles = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "img"):
            self.open_tags.append(tag)
        self.titles += tag == "h2"
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open_tags.pop() == tag


def test_the_page_is_complete_and_loads_nothing_from_the_network(
    tmp_path: Path, simulated_ecg: Callable[..., Any]
) -> None:
    pytest.importorskip("matplotlib", reason="reports need matplotlib")
    pytest.importorskip("wfdb", reason="evaluation needs the records extra")
    paths = []
    for seed, name in enumerate(("r1", "232", "r3")):
        ecg = simulated_ecg(90.0, fs=250.0, noise_mv=0.02, seed=seed)
        paths.append(
            write_wfdb(tmp_path, name, ecg.signal[None], 250.0, leads=["a&b"], r_peaks=ecg.r_peaks, symbols="NNNNVVVA")
        )
    scored = evaluate(paths, EvaluationOptions(bundle=tmp_path, load=random_model, traces=True))
    record_232 = Origin("mitdb", "232", "232", dominates_s=True)
    results = (replace(one, origin=record_232 if one.name == "232" else None) for one in scored.results)
    scored = replace(scored, results=tuple(results))
    evaluation = scored.to_json() | {"model": {"kind": "test <model>"}}
    file = write_beat_report(tmp_path / "report", scored, evaluation, "ecgmoe-edge evaluate --report report")
    text = file.read_text(encoding="utf-8")
    parser = _Page()
    parser.feed(text)
    assert parser.open_tags == []
    assert parser.titles == 7
    assert all(link.startswith(("#", "data:image/svg+xml;base64,")) for link in parser.links)
    assert not re.search(r"<script|https?://", re.sub(r"base64,[^\"]*", "", text))
    parts = "not a medical device|without record 232|Runs of three V beats or more|Path morphology|calibration error"
    for part in (*parts.split("|"), "ecgmoe-edge evaluate --report report", "test &lt;model&gt;", "a&amp;b"):
        assert part in text, part
    again = write_beat_report(tmp_path / "report", scored, evaluation, "ecgmoe-edge evaluate --report report")
    date = r"On \d{4}-\d\d-\d\d \d\d:\d\d UTC"
    assert re.sub(date, "", again.read_text(encoding="utf-8")) == re.sub(date, "", text)


def test_the_page_reports_artefacts_and_how_well_their_score_separates_them(
    tmp_path: Path, simulated_ecg: Callable[..., Any]
) -> None:
    pytest.importorskip("matplotlib", reason="reports need matplotlib")
    pytest.importorskip("wfdb", reason="evaluation needs the records extra")
    ecg = simulated_ecg(60.0, fs=250.0, noise_mv=0.02, seed=1)
    path = write_wfdb(tmp_path, "r", ecg.signal[None], 250.0, leads=["I"], r_peaks=ecg.r_peaks[:-12], symbols="NV")

    def sections(model: FakeModel) -> dict[str, str]:
        scored = evaluate([path], EvaluationOptions(bundle=tmp_path, load=lambda _: model, traces=True))
        return dict(beat_sections(scored, scored.to_json()))

    with_artefacts, without = sections(answering("NV?" * 8 + "?")), sections(always("N"))
    assert re.search(r"Answered artefact: \d+ detections, 1\d of them no beat", with_artefacts["Confusion matrix"])
    assert "<td>?</td>" in with_artefacts["Calibration and separation of the scores"]
    assert "false: no beat" in with_artefacts["Summary"]
    assert "artefact" not in without["Confusion matrix"]
    assert "<td>?</td>" not in without["Calibration and separation of the scores"]
