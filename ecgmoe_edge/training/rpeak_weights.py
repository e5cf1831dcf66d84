"""Fits the network that rates candidates for an R peak, and writes the table of `streaming/qrs_weights.py`.

    python -m ecgmoe_edge.training.rpeak_weights [--data DIR] [--rounds 3] [--hidden 16] --out table.txt

The detector runs over DS1 and `svdb-fit` and every candidate that it rates becomes an example: in the first round with
the annotations in the network's place, then with the network of the round before, so that it learns where its own
mistakes lead (Ross, Gordon and Bagnell, AISTATS 2011). What the first leads do not hold is made from them: second
leads, other rates, sudden changes of gain, restarts, and noise of the *first* halves of the noise stress records on
records other than 118 and 119, so that the stress test stays one. Drawn beats add what hardly any recording has.
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
from ecgmoe_edge.training.drawn_ecg import Hardship, draw_ecg

_TOLERANCE_S = 0.15
_AHEAD = INPUTS.index("ahead")
_NOISY = ("101", "106", "112", "122", "124", "205", "215", "220")
_NOISE = (("em", 12.0), ("em", 6.0), ("em", 0.0), ("ma", 6.0), ("ma", 0.0), ("bw", 0.0))
_SURE = 9.0  # log odds of the annotations
_BLOCK_S = 300.0


@dataclass(frozen=True)
class Lesson:
    """A signal with its beats, and how much its examples weigh."""

    signal: NDArray[np.float64]  # (samples,) mV
    fs: float  # Hz
    beats: NDArray[np.int64]  # samples
    left_out: tuple[tuple[int, int], ...]  # ventricular flutter
    weight: float
    restarts: bool = False


@dataclass(frozen=True)
class Examples:
    """Candidates as the network sees them."""

    inputs: NDArray[np.float32]  # (n, inputs)
    is_beat: NDArray[np.float32]  # (n,)
    weight: NDArray[np.float32]  # (n,)


def lessons(data: Path | None) -> Iterator[Lesson]:
    """Everything the network is taught with, one signal after another."""
    for split in ("ds1", "svdb-fit"):
        for k, path in enumerate(locate(data, split=split)):
            record = open_recording(path)
            beats = read_annotations(record)
            first, second = record.read(leads=[0])[0], record.read(leads=[1])[0]
            lesson = partial(Lesson, fs=record.fs, beats=beats.samples, left_out=beats.flutter)
            yield lesson(_filled(first), weight=1.0)
            yield lesson(_filled(second), weight=0.2 if split == "ds1" else 0.6)
            if k % 6 == 1:
                yield lesson(_filled(first), weight=0.3, restarts=True)
            if k % 7 == 3:
                yield lesson(_with_gain_steps(_filled(first), record.fs, np.random.default_rng(k)), weight=0.3)
            if k % 3 == 0:
                yield _at_rate(_filled(first), beats, record.fs, (100.0, 250.0, 500.0, 1000.0)[k // 3 % 4], 0.3)
            if path.name in _NOISY or (split == "svdb-fit" and k % 7 == 0):
                height = qrs_amplitude(record, 0, beats)
                for kind, snr_db in _NOISE:
                    noise = _noise(noise_record(data, kind), record.fs, height, snr_db, first.size)
                    yield lesson(_filled(first) + noise, weight=0.2)
    random = np.random.default_rng(5)
    for hardship in 5 * list(Hardship):
        drawn = draw_ecg(hardship, random)
        yield Lesson(drawn.signal, drawn.fs, drawn.beats, (), 0.7)


def _filled(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Invalid samples replaced by the last valid one."""
    held = np.maximum.accumulate(np.where(np.isfinite(x), np.arange(x.size), 0))
    return np.nan_to_num(x[held])


def _with_gain_steps(x: NDArray[np.float64], fs: float, random: np.random.Generator) -> NDArray[np.float64]:
    gain = np.ones(x.size)
    at = round(30 * fs)
    while at < x.size:
        gain[at:] = np.exp(random.uniform(np.log(0.12), np.log(4.0)))
        at += round(random.uniform(40, 120) * fs)
    return (x - np.median(x)) * gain


def _at_rate(x: NDArray[np.float64], beats: BeatAnnotations, fs: float, wanted: float, weight: float) -> Lesson:
    resampled = resample(x - x.mean(), fs, wanted, ends="constant")
    left_out = tuple((round(a * wanted / fs), round(b * wanted / fs)) for a, b in beats.flutter)
    return Lesson(resampled, wanted, np.round(beats.samples * wanted / fs).astype(np.int64), left_out, weight)


def _noise(path: Path, fs: float, height_mv: float, snr_db: float, n: int) -> NDArray[np.float64]:
    """The first half of a noise record, on and off as in the noise stress test."""
    whole = load_noise(path, fs, whole=True)
    first_half = whole.signals[0, : whole.signals.shape[1] // 2]
    return noise_gain(height_mv, whole.rms_mv[0], snr_db) * NoiseTrack(first_half, fs).take(n)


class _Recorder(Rater):
    """A rater that keeps what it was asked; without a network of its own it answers as annotated."""

    def __init__(self, network: QrsNetwork | None, truth: dict[int, bool]) -> None:
        super().__init__(network or QRS_NETWORK)
        self._truth = None if network else truth
        self.asked: dict[int, NDArray[np.float64]] = {}

    def rate(self, candidate: Candidate, timing: BeatTiming) -> Rating:
        rating = super().rate(candidate, timing)
        self.asked.setdefault(candidate.at, self._inputs[:, 0].copy())
        return rating if self._truth is None else _Annotated(_SURE if self._truth.get(candidate.at) else -_SURE)


class _Annotated(Rating):
    """A rating as the annotations have it."""

    def __init__(self, log_odds: float) -> None:
        self._log_odds = log_odds

    def log_odds(self, following: float) -> float:
        return self._log_odds


def examples_of(lesson: Lesson, network: QrsNetwork | None) -> Examples:
    """What the detector comes across in one signal, when `network`, or without one the annotator, decides."""
    signal = lesson.signal
    candidates = _candidates(lesson, 0, signal.size)
    samples = np.array([each.candidate.sample for each in candidates], np.int64)
    pairs = pair_beats(lesson.beats, samples, _TOLERANCE_S * lesson.fs)
    truth = {each.candidate.at: bool(p >= 0) for each, p in zip(candidates, pairs.reference_index, strict=True)}
    ahead = {each.candidate.at: ln_following(each.candidate.following) for each in candidates}
    out = {each.candidate.at for each in candidates if any(a <= each.candidate.sample <= b for a, b in lesson.left_out)}
    recorder = _Recorder(network, truth)
    detector = RPeakDetector(lesson.fs, 1, LeadSignal(0, lesson.fs).reach, [recorder])
    random, at = np.random.default_rng(0), 0
    while at < signal.size:
        n = round((random.uniform(10.0, 90.0) if lesson.restarts else _BLOCK_S) * lesson.fs)
        stop = min(at + n, signal.size)
        if lesson.restarts or not at:
            detector.restart()
            detector.process([LeadBegin(0, at)], at)
            block = _candidates(lesson, at, stop) if lesson.restarts else candidates
        detector.process([each for each in block if at < each.arrived <= stop], stop)
        at = stop
    asked = [at for at in recorder.asked if at in truth and at not in out]
    inputs = np.array([recorder.asked[at] for at in asked], np.float32).reshape(-1, len(INPUTS))
    inputs[:, _AHEAD] = [ahead[at] for at in asked]
    return Examples(
        inputs,
        np.array([truth[at] for at in asked], np.float32),
        np.full(len(asked), lesson.weight, np.float32),
    )


def _candidates(lesson: Lesson, start: int, stop: int) -> list[LeadCandidate]:
    """Candidates of a signal that begins at sample `start` and ends before `stop`."""
    lead = LeadSignal(0, lesson.fs)
    lead.begin(start)
    block = round(_BLOCK_S * lesson.fs)
    found = [
        each for at in range(start, stop, block) for each in lead.process(lesson.signal[at : min(at + block, stop)])
    ]
    lead.break_off(stop)
    return found


def together(parts: list[Examples]) -> Examples:
    """All examples in one."""
    return Examples(*(np.concatenate([getattr(part, name) for part in parts]) for name in Examples.__annotations__))


def fit(examples: Examples, hidden: int, *, steps: int = 15_000, batch: int = 2048, seed: int = 0) -> QrsNetwork:
    """Weights of least weighted cross entropy, by Adam with one cycle of its rate."""
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
    """The rows of `streaming.qrs.weights._TABLE`, to two decimals."""
    rows = [*zip(INPUTS, network.weights, strict=True), ("bias", network.bias), ("out", network.out)]
    columns = np.vstack([values for _, values in rows])
    widths = [max(len(f"{value:.2f}") for value in column) + 1 for column in columns.T]
    margin = max(map(len, INPUTS))
    return "\n".join(
        name.ljust(margin) + "".join(f"{value:.2f}".rjust(width) for value, width in zip(values, widths, strict=True))
        for name, values in rows
    )


def main() -> None:
    """Fit, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of recordings; default: the variable ECGMOE_DATA")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--hidden", type=int, default=16)
    parser.add_argument("--out", type=Path, required=True, help="where the table and the output's bias are written")
    arguments = parser.parse_args()
    network, kept = None, list[Examples]()
    for k in range(arguments.rounds):
        kept.append(together([examples_of(lesson, network) for lesson in lessons(arguments.data)]))
        network = fit(together(kept), arguments.hidden, seed=k)
        write_text(arguments.out, f"{table(network)}\nout_bias {network.out_bias:.2f}\n")


if __name__ == "__main__":
    main()
