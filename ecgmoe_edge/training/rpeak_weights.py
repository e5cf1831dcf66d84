"""Fits the network that rates R-peak candidates, and writes the table of `streaming/qrs/weights.py`.

    python -m ecgmoe_edge.training.rpeak_weights [--data DIR] [--rounds 3] [--hidden 16] --out table.txt

The detector runs on DS1 and `svdb-fit`, and each candidate that it rates becomes an example. In the first round, the
annotations rate the candidates instead of the network. In each later round, the network of the previous round rates
them, so that it also learns from the situations that its own errors lead to (Ross, Gordon and Bagnell, AISTATS 2011).

To the first leads are added: second leads, other sampling rates, sudden changes of gain, restarts, and noise. The noise
is the *first* half of the noise stress records, added to records other than 118 and 119, so that the noise stress test
stays independent. Synthetic ECGs add cases that are rare in recordings.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ecgmoe_edge.durable_files import write_text
from ecgmoe_edge.records.annotations import BeatAnnotations, read_annotations
from ecgmoe_edge.records.registry import open_recording
from ecgmoe_edge.records.splits import locate, noise_record
from ecgmoe_edge.scoring.matching import pair_beats
from ecgmoe_edge.scoring.noise_stress import NoiseTrack, load_noise, noise_gain, qrs_amplitude
from ecgmoe_edge.streaming.qrs.candidates import Candidate
from ecgmoe_edge.streaming.qrs.detector import RPeakDetector
from ecgmoe_edge.streaming.qrs.lead_memory import LeadBegin, LeadCandidate
from ecgmoe_edge.streaming.qrs.rating import BeatTiming, Rater, Rating, ln_following
from ecgmoe_edge.streaming.qrs.weights import INPUTS, QRS_NETWORK, QrsNetwork
from ecgmoe_edge.streaming.signal.lead import LeadSignal
from ecgmoe_edge.streaming.signal.resampling import resample
from ecgmoe_edge.training.synthetic_ecg import Difficulty, make_ecg

_TOLERANCE_S = 0.15  # largest distance of a candidate from the annotated R peak
_AHEAD = INPUTS.index("ahead")
_NOISY = ("101", "106", "112", "122", "124", "205", "215", "220")  # records of DS1 that noise is added to
_NOISE = (("em", 12.0), ("em", 6.0), ("em", 0.0), ("ma", 6.0), ("ma", 0.0), ("bw", 0.0))  # kind, signal-to-noise in dB
_ANNOTATED_LOG_ODDS = 9.0  # rating by an annotation, positive for a beat and negative for no beat
_BLOCK_S = 300.0


@dataclass(frozen=True)
class TrainingSignal:
    """A signal with its beats, and the weight of its examples."""

    signal: NDArray[np.float64]  # (samples,) mV
    fs: float  # Hz
    beats: NDArray[np.int64]  # (beats,) R peaks, as sample numbers
    left_out: tuple[tuple[int, int], ...]  # first and last sample of each episode of ventricular flutter
    weight: float
    restarts: bool = False  # whether the detector restarts at random times


@dataclass(frozen=True)
class CandidateExamples:
    """The inputs of the network for n candidates, and their labels."""

    inputs: NDArray[np.float32]  # (n, inputs)
    is_beat: NDArray[np.float32]  # (n,) 1 if the candidate is an annotated R peak, else 0
    weight: NDArray[np.float32]  # (n,)


def training_signals(data: Path | None) -> Iterator[TrainingSignal]:
    """Yield all signals that the network is fitted on.

    Args:
        data: folder of the recordings; None takes the environment variable ECGMOE_DATA.
    """
    for split in ("ds1", "svdb-fit"):
        for k, path in enumerate(locate(data, split=split)):
            record = open_recording(path)
            beats = read_annotations(record)
            first, second = record.read(leads=[0])[0], record.read(leads=[1])[0]
            annotated = partial(TrainingSignal, fs=record.fs, beats=beats.samples, left_out=beats.flutter)
            yield annotated(_filled(first), weight=1.0)
            yield annotated(_filled(second), weight=0.2 if split == "ds1" else 0.6)
            if k % 6 == 1:
                yield annotated(_filled(first), weight=0.3, restarts=True)
            if k % 7 == 3:
                yield annotated(_with_gain_steps(_filled(first), record.fs, np.random.default_rng(k)), weight=0.3)
            if k % 3 == 0:
                yield _at_rate(_filled(first), beats, record.fs, (100.0, 250.0, 500.0, 1000.0)[k // 3 % 4], 0.3)
            if path.name in _NOISY or (split == "svdb-fit" and k % 7 == 0):
                height = qrs_amplitude(record, 0, beats)
                for kind, snr_db in _NOISE:
                    noise = _noise(noise_record(data, kind), record.fs, height, snr_db, first.size)
                    yield annotated(_filled(first) + noise, weight=0.2)
    random = np.random.default_rng(5)
    for difficulty in 5 * list(Difficulty):
        ecg = make_ecg(difficulty, random)
        yield TrainingSignal(ecg.signal, ecg.fs, ecg.beats, (), 0.7)


def _filled(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Replace each invalid sample by the last valid one."""
    last_valid = np.maximum.accumulate(np.where(np.isfinite(x), np.arange(x.size), 0))
    return np.nan_to_num(x[last_valid])


def _with_gain_steps(x: NDArray[np.float64], fs: float, random: np.random.Generator) -> NDArray[np.float64]:
    gain = np.ones(x.size)
    at = round(30 * fs)
    while at < x.size:
        gain[at:] = np.exp(random.uniform(np.log(0.12), np.log(4.0)))
        at += round(random.uniform(40, 120) * fs)
    return (x - np.median(x)) * gain


def _at_rate(x: NDArray[np.float64], beats: BeatAnnotations, fs: float, wanted: float, weight: float) -> TrainingSignal:
    resampled = resample(x - x.mean(), fs, wanted, ends="constant")
    left_out = tuple((round(a * wanted / fs), round(b * wanted / fs)) for a, b in beats.flutter)
    return TrainingSignal(resampled, wanted, np.round(beats.samples * wanted / fs).astype(np.int64), left_out, weight)


def _noise(path: Path, fs: float, height_mv: float, snr_db: float, n: int) -> NDArray[np.float64]:
    """Return the first half of a noise record, switched on and off as in the noise stress test."""
    whole = load_noise(path, fs, "whole")
    first_half = whole.signals[0, : whole.signals.shape[1] // 2]
    return noise_gain(height_mv, whole.rms_mv[0], snr_db) * NoiseTrack(first_half, fs).take(n)


class _RecordingRater(Rater):
    """A rater that records the network inputs of each candidate; without a network it rates by the annotations."""

    def __init__(self, network: QrsNetwork | None, truth: dict[int, bool]) -> None:
        super().__init__(network or QRS_NETWORK)
        self._truth = None if network else truth
        self.inputs_of: dict[int, NDArray[np.float64]] = {}  # by `Candidate.at`

    def rate(self, candidate: Candidate, timing: BeatTiming) -> Rating:
        rating = super().rate(candidate, timing)
        self.inputs_of.setdefault(candidate.at, self._inputs[:, 0].copy())
        if self._truth is None:
            return rating
        return _AnnotatedRating(_ANNOTATED_LOG_ODDS if self._truth.get(candidate.at) else -_ANNOTATED_LOG_ODDS)


class _AnnotatedRating(Rating):
    """A rating with constant log odds, for candidates that the annotations rate."""

    def __init__(self, log_odds: float) -> None:
        self._log_odds = log_odds

    def log_odds(self, following: float) -> float:
        return self._log_odds


def candidate_examples(source: TrainingSignal, network: QrsNetwork | None) -> CandidateExamples:
    """Run the detector on one signal and return each candidate that it rates as an example.

    Args:
        source: the signal.
        network: rates the candidates; None lets the annotations rate them.
    """
    signal = source.signal
    candidates = _candidates(source, 0, signal.size)
    samples = np.array([each.candidate.sample for each in candidates], np.int64)
    pairs = pair_beats(source.beats, samples, _TOLERANCE_S * source.fs)
    truth = {each.candidate.at: bool(p >= 0) for each, p in zip(candidates, pairs.reference_index, strict=True)}
    ahead = {each.candidate.at: ln_following(each.candidate.following) for each in candidates}
    out = {each.candidate.at for each in candidates if any(a <= each.candidate.sample <= b for a, b in source.left_out)}
    rater = _RecordingRater(network, truth)
    detector = RPeakDetector(source.fs, 1, LeadSignal(0, source.fs).reach, [rater])
    random, at = np.random.default_rng(0), 0
    while at < signal.size:
        n = round((random.uniform(10.0, 90.0) if source.restarts else _BLOCK_S) * source.fs)
        stop = min(at + n, signal.size)
        if source.restarts or not at:
            detector.restart()
            detector.process([LeadBegin(0, at)], at)
            block = _candidates(source, at, stop) if source.restarts else candidates
        detector.process([each for each in block if at < each.known_at <= stop], stop)
        at = stop
    rated = [at for at in rater.inputs_of if at in truth and at not in out]
    inputs = np.array([rater.inputs_of[at] for at in rated], np.float32).reshape(-1, len(INPUTS))
    inputs[:, _AHEAD] = [ahead[at] for at in rated]
    return CandidateExamples(
        inputs,
        np.array([truth[at] for at in rated], np.float32),
        np.full(len(rated), source.weight, np.float32),
    )


def _candidates(source: TrainingSignal, start: int, stop: int) -> list[LeadCandidate]:
    """Return the candidates of a signal that begins at sample `start` and ends before sample `stop`."""
    lead = LeadSignal(0, source.fs)
    lead.begin(start)
    block = round(_BLOCK_S * source.fs)
    found = [
        each for at in range(start, stop, block) for each in lead.process(source.signal[at : min(at + block, stop)])
    ]
    lead.break_off(stop)
    return found


def concatenate(parts: list[CandidateExamples]) -> CandidateExamples:
    """Concatenate the examples of several signals."""
    names = CandidateExamples.__annotations__
    return CandidateExamples(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def fit(
    examples: CandidateExamples, hidden: int, *, steps: int = 15_000, batch: int = 2048, seed: int = 0
) -> QrsNetwork:
    """Fit a network with one hidden layer by weighted cross entropy, with Adam and a one-cycle learning rate.

    Args:
        examples: what to fit on.
        hidden: number of hidden units.
        steps: number of batches.
        batch: number of examples in a batch.
        seed: seed of the initial weights and the batches.
    """
    torch.manual_seed(seed)
    mean, std = examples.inputs.mean(axis=0), np.maximum(examples.inputs.std(axis=0), 1e-2)
    x = torch.tensor((examples.inputs - mean) / std)
    y, weight = torch.tensor(examples.is_beat), torch.tensor(examples.weight / examples.weight.mean())
    network = nn.Sequential(nn.Linear(x.shape[1], hidden), nn.Tanh(), nn.Linear(hidden, 1))
    rate = 1.5e-2
    optimizer = torch.optim.Adam(network.parameters(), rate, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, pct_start=0.1)
    loss_of = nn.BCEWithLogitsLoss(reduction="none")
    for _ in range(steps):
        chosen = torch.randint(0, len(y), (batch,))
        loss = (loss_of(network(x[chosen])[:, 0], y[chosen]) * weight[chosen]).mean()
        loss = loss + 1e-6 * sum((p**2).sum() for p in network.parameters() if p.ndim > 1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    into, _, out = ({name: p.detach().double().numpy() for name, p in layer.named_parameters()} for layer in network)
    weights = np.ascontiguousarray(into["weight"].T / std[:, None].astype(np.float64))
    return QrsNetwork(weights, into["bias"] - mean @ weights, out["weight"][0].copy(), float(out["bias"][0]))


def table(network: QrsNetwork) -> str:
    """Format a network as the rows of `streaming.qrs.weights._TABLE`, with two decimals."""
    rows = [*zip(INPUTS, network.weights, strict=True), ("bias", network.bias), ("out", network.out)]
    columns = np.vstack([values for _, values in rows])
    widths = [max(len(f"{value:.2f}") for value in column) + 1 for column in columns.T]
    margin = max(map(len, INPUTS))
    return "\n".join(
        name.ljust(margin) + "".join(f"{value:.2f}".rjust(width) for value, width in zip(values, widths, strict=True))
        for name, values in rows
    )


def main() -> None:
    """Run the command: fit in rounds, and write the table after each round."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of the recordings; default: environment variable ECGMOE_DATA")
    parser.add_argument("--rounds", type=int, default=3, help="number of rounds; default: 3")
    parser.add_argument("--hidden", type=int, default=16, help="number of hidden units; default: 16")
    parser.add_argument("--out", type=Path, required=True, help="file for the table and the output bias")
    arguments = parser.parse_args()
    network, kept = None, list[CandidateExamples]()
    for k in range(arguments.rounds):
        kept.append(concatenate([candidate_examples(source, network) for source in training_signals(arguments.data)]))
        network = fit(concatenate(kept), arguments.hidden, seed=k)
        write_text(arguments.out, f"{table(network)}\nout_bias {network.out_bias:.2f}\n")


if __name__ == "__main__":
    main()
