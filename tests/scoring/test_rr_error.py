from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from ecgmoe_edge.records.annotations import BeatAnnotations
from ecgmoe_edge.scoring.ec57 import score_record
from ecgmoe_edge.scoring.rr_error import RrErrors, total_rr

FS = 250.0  # a sample is 4 ms


def _errors(
    annotated: Sequence[int], found: Sequence[int], symbols: str = "", flutter: tuple[tuple[int, int], ...] = ()
) -> RrErrors:
    symbols = symbols or "N" * len(annotated)
    reference = BeatAnnotations(
        samples=np.array(annotated, dtype=np.int64),
        symbols=np.array(list(symbols), dtype=np.str_),
        classes=np.array(list(symbols), dtype=np.str_),
        flutter=flutter,
        rhythms=(),
    )
    return score_record(reference, found, fs=FS, n_samples=10_000).rr


def test_exact_detections_have_no_error() -> None:
    errors = _errors([1000, 1200, 1450], [1000, 1200, 1450])
    assert (errors.rms_ms(), int(errors.intervals.sum())) == (0.0, 2)


def test_a_constant_offset_is_no_error() -> None:
    assert _errors([1000, 1200, 1450], [1009, 1209, 1459]).rms_ms() == 0.0


def test_the_error_is_the_root_mean_square_in_ms() -> None:
    # intervals of 200, 250, 200 detected as 203, 246, 200: errors of 3, -4 and 0 samples, that is 12, -16 and 0 ms
    errors = _errors([1000, 1200, 1450, 1650], [1000, 1203, 1449, 1649])
    assert errors.rms_ms() == pytest.approx(np.sqrt((12**2 + 16**2 + 0) / 3))


def test_an_interval_counts_for_the_class_of_the_beat_that_ends_it() -> None:
    errors = _errors([1000, 1200, 1350, 1650], [1000, 1200, 1352, 1650], symbols="NNVN")
    assert errors.rms_ms("V") == pytest.approx(8.0)
    assert errors.rms_ms("N") == pytest.approx(8.0 / np.sqrt(2))  # one of two intervals has an error
    assert errors.rms_ms("S") is None
    assert errors.to_json()["classes"]["N"] == {"rms": 5.657, "intervals": 2}


def test_intervals_next_to_a_missed_beat_are_not_compared() -> None:
    errors = _errors([1000, 1200, 1450, 1650, 1900], [1000, 1200, 1650, 1900])
    assert (errors.rms_ms(), int(errors.intervals.sum())) == (0.0, 2)


def test_intervals_with_a_false_detection_are_not_compared() -> None:
    errors = _errors([1000, 1200, 1450], [1000, 1100, 1200, 1450])
    assert (errors.rms_ms(), int(errors.intervals.sum())) == (0.0, 1)


def test_intervals_across_ventricular_flutter_are_not_compared() -> None:
    errors = _errors([1000, 1200, 2000, 2200], [1000, 1200, 2010, 2210], flutter=((1300, 1900),))
    assert (errors.rms_ms(), int(errors.intervals.sum())) == (0.0, 2)


def test_without_detections_the_error_is_undefined() -> None:
    assert _errors([1000, 1200], []).rms_ms() is None
    assert total_rr([]).to_json()["rms"] is None


def test_the_gross_error_gives_every_interval_the_same_weight() -> None:
    one, two = _errors([1000, 1200], [1000, 1203]), _errors([1000, 1200, 1400, 1600], [1000, 1200, 1400, 1600])
    assert total_rr([one, two]).rms_ms() == pytest.approx(6.0)  # sqrt(12^2 / 4)
