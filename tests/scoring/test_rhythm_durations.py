"""Rhythm scores by duration, as EC57 defines them for atrial fibrillation, on cases computed by hand."""

from __future__ import annotations

import numpy as np

from ecgmoe_edge.records.annotations import RhythmSegment
from ecgmoe_edge.scoring.class_table import ClassTable
from ecgmoe_edge.scoring.rhythm_durations import ANSWERS, RHYTHMS, rhythm_durations
from ecgmoe_edge.streaming.events import Rhythm

FS = 100.0
ANNOTATED = (
    RhythmSegment("N", 0, 10_000),  # 100 s
    RhythmSegment("AFIB", 10_000, 20_000),
    RhythmSegment("AFL", 20_000, 25_000),  # atrial flutter is not fibrillation
    RhythmSegment("B", 25_000, 30_000),
)


def test_seconds_are_counted_in_the_overlap_of_annotated_and_reported_rhythm() -> None:
    reported = [
        Rhythm("N", 5.0, None),  # start of a rhythm: the event at its end has both times
        Rhythm("N", 5.0, 120.0),
        Rhythm("AF", 120.0, 230.0),
        Rhythm("tachycardia", 100.0, 200.0, "> 100 bpm over 8 beats"),
        Rhythm("noisy", 230.0, 260.0),
    ]
    table = rhythm_durations(ANNOTATED, reported, FS, 0.0)
    assert table.shape == (len(RHYTHMS), len(ANSWERS))
    expected = {
        ("N", "N"): 95.0, ("N", "none"): 5.0,
        ("AF", "N"): 20.0, ("AF", "AF"): 80.0,
        ("other", "AF"): 30.0, ("other", "noisy"): 30.0, ("other", "none"): 40.0,
    }  # fmt: skip
    found = {(t, a): table[i, j] for i, t in enumerate(RHYTHMS) for j, a in enumerate(ANSWERS) if table[i, j]}
    assert found == expected
    figures = ClassTable(RHYTHMS, ANSWERS, table).figures()
    assert figures["AF.se"] == 80.0
    assert figures["AF.ppv"] == 100.0 * 80 / 110
    assert figures["other.f1"] == 0.0
    assert figures["accuracy"] == 100.0 * 175 / 300


def test_time_before_the_first_scored_second_does_not_count() -> None:
    table = rhythm_durations(ANNOTATED, [Rhythm("AF", 0.0, 300.0)], FS, 150.0)
    assert table.sum() == 150.0
    assert table[RHYTHMS.index("AF"), ANSWERS.index("AF")] == 50.0


def test_undefined_figures_of_a_class_table_are_none() -> None:
    table = ClassTable(("a", "b"), ("a", "b", "none"), np.array([[3.0, 1.0, 0.0], [0.0, 0.0, 0.0]]))
    figures = table.figures()
    assert (figures["a.se"], figures["a.ppv"], figures["b.se"], figures["b.f1"]) == (75.0, 100.0, None, None)
    assert figures["b.ppv"] == 0.0
    assert figures["mean_f1"] == figures["a.f1"]  # a class that never occurs does not enter the mean
    figures_json = table.to_json(["a"])
    assert figures_json["mean_f1_of"] == ["a"]
    assert figures_json["confusion"]["a"] == {"a": 3.0, "b": 1.0, "none": 0.0}
