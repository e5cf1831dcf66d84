"""The network of the R-peak detector can be fitted anew, and its table is what the detector reads."""

from __future__ import annotations

import numpy as np

from ecgmoe_edge.streaming.qrs import weights
from ecgmoe_edge.streaming.qrs.weights import INPUTS, QRS_NETWORK
from ecgmoe_edge.training.drawn_ecg import Hardship, draw_ecg
from ecgmoe_edge.training.rpeak_weights import Examples, Lesson, examples_of, fit, table, together


def drawn_examples(kinds: list[Hardship], seed: int) -> Examples:
    random = np.random.default_rng(seed)
    drawn = [draw_ecg(kind, random) for kind in kinds]
    return together([examples_of(Lesson(d.signal, d.fs, d.beats, (), 1.0), None) for d in drawn])


def test_the_shipped_table_is_the_network_s_own() -> None:
    written = [line.split() for line in table(QRS_NETWORK).splitlines()]
    assert written == [line.split() for line in weights._TABLE.strip().splitlines()]


def test_the_annotator_s_answers_make_every_drawn_beat_an_example() -> None:
    drawn = draw_ecg(Hardship.SLOW, np.random.default_rng(3))
    examples = examples_of(Lesson(drawn.signal, drawn.fs, drawn.beats, (), 0.5), None)
    assert examples.inputs.shape == (examples.is_beat.size, len(INPUTS))
    assert abs(int(examples.is_beat.sum()) - drawn.beats.size) <= 2
    assert set(examples.weight.tolist()) == {0.5}


def test_what_is_left_out_teaches_nothing() -> None:
    drawn = draw_ecg(Hardship.FAST, np.random.default_rng(3))
    everything = (0, drawn.signal.size)
    assert not examples_of(Lesson(drawn.signal, drawn.fs, drawn.beats, (everything,), 1.0), None).is_beat.size


def test_a_network_fitted_on_some_drawn_hearts_tells_beats_of_others() -> None:
    network = fit(drawn_examples(2 * list(Hardship), 0), hidden=8, steps=400, batch=512)
    others = drawn_examples([Hardship.TALL_T, Hardship.BLOCKED_P_AND_WIDE], 1)
    log_odds = np.tanh(others.inputs @ network.weights + network.bias) @ network.out + network.out_bias
    assert np.mean((log_odds > 0) == (others.is_beat > 0.5)) > 0.97
