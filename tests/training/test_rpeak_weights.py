"""The network of the R-peak detector can be fitted again, and the detector reads the table that is written."""

from __future__ import annotations

import numpy as np

from ecgmoe_edge.streaming.qrs import weights
from ecgmoe_edge.streaming.qrs.weights import INPUTS, QRS_NETWORK
from ecgmoe_edge.training.rpeak_weights import (
    CandidateExamples,
    TrainingSignal,
    candidate_examples,
    concatenate,
    fit,
    table,
)
from ecgmoe_edge.training.synthetic_ecg import Difficulty, make_ecg


def synthetic_examples(kinds: list[Difficulty], seed: int) -> CandidateExamples:
    random = np.random.default_rng(seed)
    ecgs = [make_ecg(kind, random) for kind in kinds]
    return concatenate([candidate_examples(TrainingSignal(d.signal, d.fs, d.beats, (), 1.0), None) for d in ecgs])


def test_the_shipped_table_is_the_formatted_shipped_network() -> None:
    written = [line.split() for line in table(QRS_NETWORK).splitlines()]
    assert written == [line.split() for line in weights._TABLE.strip().splitlines()]


def test_rating_by_the_annotations_makes_every_beat_an_example() -> None:
    ecg = make_ecg(Difficulty.SLOW, np.random.default_rng(3))
    examples = candidate_examples(TrainingSignal(ecg.signal, ecg.fs, ecg.beats, (), 0.5), None)
    assert examples.inputs.shape == (examples.is_beat.size, len(INPUTS))
    assert abs(int(examples.is_beat.sum()) - ecg.beats.size) <= 2
    assert set(examples.weight.tolist()) == {0.5}


def test_episodes_that_are_left_out_give_no_examples() -> None:
    ecg = make_ecg(Difficulty.FAST, np.random.default_rng(3))
    everything = (0, ecg.signal.size)
    assert not candidate_examples(TrainingSignal(ecg.signal, ecg.fs, ecg.beats, (everything,), 1.0), None).is_beat.size


def test_a_network_fitted_on_synthetic_ecgs_finds_the_beats_of_others() -> None:
    network = fit(synthetic_examples(2 * list(Difficulty), 0), hidden=8, steps=400, batch=512)
    others = synthetic_examples([Difficulty.TALL_T, Difficulty.BLOCKED_P_AND_WIDE], 1)
    log_odds = np.tanh(others.inputs @ network.weights + network.bias) @ network.out + network.out_bias
    assert np.mean((log_odds > 0) == (others.is_beat > 0.5)) > 0.97
