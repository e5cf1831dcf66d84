from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from ecgmoe_edge.records.annotations import AAMI, BeatAnnotations, read_annotations
from ecgmoe_edge.records.registry import open_recording
from ecgmoe_edge.scoring.ec57 import Confusion, Counts, score_record, total_confusion, total_peaks

FS = 360.0
FIVE_MINUTES = 108_000
HALF_HOUR = 650_000


def _annotated(samples: Sequence[int], symbols: str, flutter: tuple[tuple[int, int], ...] = ()) -> BeatAnnotations:
    return BeatAnnotations(
        samples=np.array(samples, dtype=np.int64),
        symbols=np.array(list(symbols), dtype=np.str_),
        classes=np.array([AAMI[symbol] for symbol in symbols], dtype=np.str_),
        flutter=flutter,
        rhythms=(),
    )


def _confusion(samples: Sequence[int], symbols: str, found: Sequence[int], labels: str) -> Confusion:
    score = score_record(_annotated(samples, symbols), found, list(labels), fs=FS, n_samples=10_000)
    assert score.confusion is not None
    return score.confusion


def test_a_perfect_monitor_scores_a_hundred_per_cent() -> None:
    samples = list(range(300, 9000, 300))
    confusion = _confusion(samples, "N" * 10 + "A" * 10 + "V" * 9, samples, "N" * 10 + "S" * 10 + "V" * 9)
    for beat_class, beats in (("N", 10), ("S", 10), ("V", 9)):
        counts = confusion.counts(beat_class)
        assert counts == Counts(beats, 0, 0)
        assert (counts.se, counts.ppv, counts.f1) == (100.0, 100.0, 100.0)


def test_figures_are_computed_from_the_counts() -> None:
    figures = Counts(tp=6, fn=2, fp=4).to_json()
    assert figures == {"se": 75.0, "ppv": 60.0, "f1": 66.667, "tp": 6, "fn": 2, "fp": 4}


def test_figures_of_a_class_that_is_absent_are_null() -> None:
    assert Counts(0, 0, 0).to_json() == {"se": None, "ppv": None, "f1": None, "tp": 0, "fn": 0, "fp": 0}
    assert Counts(0, 0, 3).to_json() == {"se": None, "ppv": 0.0, "f1": None, "tp": 0, "fn": 0, "fp": 3}
    assert Counts(0, 3, 0).f1 == 0.0


def test_a_missed_beat_counts_for_its_class_and_a_false_detection_for_its_label() -> None:
    confusion = _confusion([1000, 2000, 3000], "NVV", [1005, 2990, 4000], "NVV")
    assert confusion.count("V", "missed") == 1
    assert confusion.count("none", "V") == 1
    assert confusion.counts("V") == Counts(tp=1, fn=1, fp=1)
    assert confusion.counts("N") == Counts(tp=1, fn=0, fp=0)


def test_an_unclassified_beat_lowers_sensitivity_only() -> None:
    confusion = _confusion([1000, 2000], "VV", [1000, 2000, 3000], "V??")
    assert confusion.counts("V") == Counts(tp=1, fn=1, fp=0)
    assert confusion.count("none", "?") == 1


def test_artefacts_are_counted_by_what_is_annotated_there() -> None:
    annotated = _annotated([1000, 2000, 3000], "NVV")
    found, labels = [4000, 1000, 2000, 3000, 5000], ["?", "?", "?", "V", "?"]
    artefacts = [True, False, True, False, True]
    score = score_record(annotated, found, labels, fs=FS, n_samples=10_000, artefacts=artefacts)
    assert score.confusion is not None
    assert score.confusion.artefacts_json() == {
        "detections": 3,
        "no_beat": 2,
        "lost_beats": {"N": 0, "S": 0, "V": 1, "F": 0, "Q": 0},
    }
    assert (score.confusion.count("none", "?"), score.confusion.count("N", "?")) == (2, 1)
    assert score.confusion.counts("V") == Counts(tp=1, fn=1, fp=0)
    total = total_confusion([score.confusion, score.confusion, _confusion([1000], "N", [1000], "?")])
    assert total is not None
    assert total.artefacts_json()["detections"] == 6


def test_false_positives_without_a_beat_are_counted_for_each_class() -> None:
    confusion = _confusion([1000, 2000], "NN", [1000, 2000, 4000, 5000, 6000], "NVVVS")
    assert (confusion.class_json("V")["fp"], confusion.class_json("V")["false_no_beat"]) == (3, 2)
    assert (confusion.class_json("S")["fp"], confusion.class_json("S")["false_no_beat"]) == (1, 1)
    assert confusion.class_json("N")["false_no_beat"] == 0


@pytest.mark.parametrize(("label", "false_for"), [("V", "NS"), ("S", "NVF"), ("N", "SVFQ"), ("F", "NSVQ")])
def test_false_positives_of_each_label_are_those_of_ec57(label: str, false_for: str) -> None:
    for truth, symbol in (("N", "N"), ("S", "A"), ("V", "V"), ("F", "F"), ("Q", "Q")):
        confusion = _confusion([1000], symbol, [1000], label)
        assert confusion.counts(label).fp == int(truth in false_for), truth
    assert _confusion([1000], "N", [1000, 3000], "?" + label).counts(label).fp == 1  # no annotated beat


def test_the_first_five_minutes_are_not_scored_in_a_long_record() -> None:
    samples = [1000, FIVE_MINUTES - 1, FIVE_MINUTES, HALF_HOUR - 500]
    annotated, found, labels = _annotated(samples, "VVVV"), [FIVE_MINUTES, 50_000, 200_000], ["V", "V", "S"]
    late = score_record(annotated, found, labels, fs=FS, n_samples=HALF_HOUR)
    whole = score_record(annotated, found, labels, fs=FS, n_samples=HALF_HOUR, whole=True)
    assert (late.rpeaks, whole.rpeaks) == (Counts(1, 1, 1), Counts(1, 3, 2))


def test_records_shorter_than_six_minutes_are_scored_whole() -> None:
    annotated = _annotated([1000], "N")
    assert score_record(annotated, [1000], fs=FS, n_samples=int(359 * FS)).rpeaks == Counts(1, 0, 0)
    assert score_record(annotated, [1000], fs=FS, n_samples=int(361 * FS)).rpeaks == Counts(0, 0, 0)


def test_a_match_across_the_fifth_minute_counts_at_its_annotated_beat() -> None:
    before, after = _annotated([FIVE_MINUTES - 10], "N"), _annotated([FIVE_MINUTES + 10], "N")
    assert score_record(before, [FIVE_MINUTES + 10], fs=FS, n_samples=HALF_HOUR).rpeaks == Counts(0, 0, 0)
    assert score_record(after, [FIVE_MINUTES - 10], fs=FS, n_samples=HALF_HOUR).rpeaks == Counts(1, 0, 0)


def test_ventricular_flutter_is_excluded_but_not_the_beat_before_it() -> None:
    annotated = _annotated([1000, 4000], "NN", flutter=((1020, 3000),))
    score = score_record(annotated, [1030, 1500, 2000, 3500, 4000], ["N", "V", "V", "V", "N"], fs=FS, n_samples=10_000)
    assert score.rpeaks == Counts(tp=2, fn=0, fp=1)
    assert score.confusion is not None
    assert score.confusion.counts("V") == Counts(0, 0, 1)


def test_paced_records_count_for_r_peaks_only() -> None:
    score = score_record(_annotated([1000, 2000], "/N"), [1000, 2000], ["V", "N"], fs=FS, n_samples=10_000)
    assert score.rpeaks == Counts(2, 0, 0)
    assert score.confusion is None


def test_r_peaks_alone_have_no_classes() -> None:
    annotated = _annotated([1000, 2000], "NV")
    for labels in (None, [None, None]):
        score = score_record(annotated, [1000, 2000], labels, fs=FS, n_samples=10_000)
        assert (score.rpeaks, score.confusion) == (Counts(2, 0, 0), None)


def test_the_close_tolerance_is_fifty_milliseconds() -> None:
    score = score_record(_annotated([1000, 2000], "NN"), [1018, 2019], fs=FS, n_samples=10_000)
    assert (score.rpeaks, score.rpeaks_close) == (Counts(2, 0, 0), Counts(1, 1, 1))


def test_detections_can_be_given_in_any_order() -> None:
    annotated = _annotated([1000, 2000, 3000], "NSV")
    score = score_record(annotated, [3000, 1000, 2000], ["V", "N", "S"], fs=FS, n_samples=10_000)
    assert score.confusion is not None
    assert [score.confusion.counts(name).tp for name in "NSV"] == [1, 1, 1]


def test_sums_over_records_give_every_beat_the_same_weight() -> None:
    one, two = _confusion([1000], "V", [1000], "V"), _confusion([1000, 2000], "VN", [1000, 2000], "NV")
    total = total_confusion([one, None, two])
    assert total is not None
    assert total.counts("V") == Counts(1, 1, 1)
    assert total_peaks([Counts(1, 2, 3), Counts(4, 5, 6)]) == Counts(5, 7, 9)
    assert total_confusion([None]) is None


def test_the_confusion_matrix_of_a_record_equals_one_counted_by_hand() -> None:
    truth = "NNNNAAVVFQ"
    samples = [1000 * (position + 1) for position in range(10)]
    found = [*samples[:5], *samples[6:], 500]  # the second A is missed; 500 is a false detection
    labels = "NNSV" + "S" + "VNVV" + "S"
    table = _confusion(samples, truth, found, labels).to_json()
    assert table == {
        "N": {"N": 2, "S": 1, "V": 1, "F": 0, "?": 0, "missed": 0},
        "S": {"N": 0, "S": 1, "V": 0, "F": 0, "?": 0, "missed": 1},
        "V": {"N": 1, "S": 0, "V": 1, "F": 0, "?": 0, "missed": 0},
        "F": {"N": 0, "S": 0, "V": 1, "F": 0, "?": 0, "missed": 0},
        "Q": {"N": 0, "S": 0, "V": 1, "F": 0, "?": 0, "missed": 0},
        "none": {"N": 0, "S": 1, "V": 0, "F": 0, "?": 0, "missed": 0},
    }
    confusion = _confusion(samples, truth, found, labels)
    assert confusion.counts("N") == Counts(tp=2, fn=2, fp=1)
    assert confusion.counts("S") == Counts(tp=1, fn=1, fp=2)
    assert confusion.counts("V") == Counts(tp=1, fn=1, fp=1)  # F and Q labelled V do not count
    assert confusion.counts("F") == Counts(tp=0, fn=1, fp=0)


def test_r_peak_counts_agree_with_wfdb_for_detections_with_jitter_misses_and_false_beats(mitdb: Path) -> None:
    processing = pytest.importorskip("wfdb.processing")
    rng = np.random.default_rng(0)
    for name in ("100", "208", "232"):
        record = open_recording(mitdb / name)
        annotated = read_annotations(record)
        kept = annotated.samples[rng.random(len(annotated.samples)) > 0.05]
        false = rng.integers(0, record.n_samples, 60)
        detected = np.unique(np.concatenate([kept + rng.integers(-70, 71, len(kept)), false]))
        ours = score_record(annotated, detected, fs=record.fs, n_samples=record.n_samples, whole=True).rpeaks
        theirs = processing.compare_annotations(annotated.samples, detected, 55)  # wfdb: nearer than 55
        # wfdb matches greedily, so a false detection can take the match of a true one: a few beats in thousands
        assert abs(ours.tp - theirs.tp) <= 0.003 * len(annotated.samples)
        assert ours.tp + ours.fn == len(annotated.samples)
        assert ours.tp + ours.fp == len(detected)
        assert ours.tp >= theirs.tp - 2


@pytest.mark.parametrize("seed", range(5))
def test_r_peak_counts_equal_those_of_wfdb_if_every_beat_has_one_candidate(seed: int) -> None:
    processing = pytest.importorskip("wfdb.processing")
    rng = np.random.default_rng(seed)
    beats = np.cumsum(rng.integers(200, 400, 300))  # more than twice the tolerance of 54 samples apart
    jitter = rng.integers(-80, 81, len(beats))  # beyond the tolerance: a miss and a false detection
    found = (beats + jitter)[rng.random(len(beats)) > 0.1]
    ours = score_record(
        _annotated(beats.tolist(), "N" * len(beats)), found, fs=FS, n_samples=int(beats[-1] + 500), whole=True
    )
    theirs = processing.compare_annotations(beats, np.sort(found), 55)  # wfdb: nearer than 55
    assert ours.rpeaks == Counts(theirs.tp, theirs.fn, theirs.fp)
    assert ours.rpeaks.se == pytest.approx(100 * theirs.sensitivity)
    assert ours.rpeaks.ppv == pytest.approx(100 * theirs.positive_predictivity)


def test_beats_match_at_the_tolerance_but_not_one_sample_beyond() -> None:
    annotated = _annotated([1000, 2000], "NN")
    score = score_record(annotated, [1054, 2055], fs=FS, n_samples=10_000)  # 150 ms are 54 samples
    assert score.rpeaks == Counts(tp=1, fn=1, fp=1)


def test_the_second_detection_of_a_beat_is_a_false_positive_of_its_label() -> None:
    confusion = _confusion([1000, 2000], "NN", [990, 1004, 2000], "VNN")
    assert confusion.count("N", "N") == 2  # the nearer one is the beat
    assert confusion.count("none", "V") == 1
    assert confusion.counts("V") == Counts(tp=0, fn=0, fp=1)


def test_a_detection_between_two_beats_matches_the_nearer_one() -> None:
    # two annotated beats 120 ms apart and one detection between them: the farther beat is missed
    confusion = _confusion([1000, 1043], "NV", [1030], "V")
    assert confusion.count("V", "V") == 1
    assert confusion.count("N", "missed") == 1


def test_flutter_and_the_learning_period_are_both_excluded() -> None:
    # a record of seven minutes: a beat every 30 s, flutter from 390 to 400 s, one false detection in each part
    seconds = np.arange(30, 420, 30)
    annotated = _annotated((seconds * FS).astype(int).tolist(), "NVNVNVNVNVNVN", flutter=((140_400, 144_000),))
    false = [int(100 * FS), 142_000, int(405 * FS)]  # in the learning period, in flutter, in the scored part
    found = [*annotated.samples.tolist(), *false]
    score = score_record(annotated, found, ["N"] * 13 + ["V"] * 3, fs=FS, n_samples=int(420 * FS))
    # scored: beats at 300, 330 and 360 s; the beat at 390 s is in the flutter
    assert score.rpeaks == Counts(tp=3, fn=0, fp=1)
    assert score.confusion is not None
    assert score.confusion.counts("V") == Counts(tp=0, fn=2, fp=1)  # V at 300 and at 360 s
