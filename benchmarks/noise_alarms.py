"""How many alarms noise without a heart raises.

    python benchmarks/noise_alarms.py [--hours 24] [--kinds em0,telegraph] [--seed 0] [--json] [--out DIR]

Plays hours of each kind of noise to one monitor, with the shipped model and with R peaks alone, and counts the alarms
that begin: pause, asystole, bradycardia, tachycardia, AF and V run. Recorded noise (NSTDB `em` and `ma`, each lead by
itself) is half an hour long: it is played again and again, each time from a random sample on and round to it, turned
over or not and between a third and three times as large, and faded in and out over 0.2 s. Drawn noise is drawn as it
goes on; its size is in the name. --out DIR puts the table between its marks in DIR/events.md.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import islice, repeat
from pathlib import Path
from typing import Any, TypeAlias

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.append(str(Path(__file__).resolve().parent.parent))

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from benchmarks.page_table import add_options, publish
from ecgmoe_edge.errors import EcgmoeError
from ecgmoe_edge.records.registry import open_recording
from ecgmoe_edge.records.splits import noise_record
from ecgmoe_edge.runtime.bundle import load_bundle, shipped_bundle
from ecgmoe_edge.streaming.beats import BeatContext
from ecgmoe_edge.streaming.classifier import Classifier
from ecgmoe_edge.streaming.events import Event, Rhythm
from ecgmoe_edge.streaming.frontend import FrontEnd, Item
from ecgmoe_edge.streaming.labeller import Labeller

PAGE = "events.md"
ALARMS = ("pause", "asystole", "bradycardia", "tachycardia", "AF", "V run")
RECORDED = ("em0", "em1", "ma0", "ma1")
FS = 250.0  # sampling rate of the simulated noise, Hz
_MINUTE = round(60 * FS)
_FADE_S = 0.2
_SPIKE_MV = np.array((1.0, 2.0, 3.0, 3.0, 2.0, 1.0))

Signal = NDArray[np.float64]
Noise = Iterator[Signal]  # minutes of it, (samples,) in mV


def recorded(path: Path, lead: int, random: np.random.Generator) -> tuple[float, Noise]:
    """A recording's own rate, and one lead of it without end."""
    record = open_recording(path)
    signal = record.read(0, record.n_samples, [lead])[0]
    fade = np.linspace(0.0, 1.0, round(_FADE_S * record.fs))
    minute = round(60 * record.fs)

    def minutes() -> Noise:
        while True:
            x = np.roll(signal, -int(random.integers(signal.size)))
            x = x * (random.choice((-1.0, 1.0)) * 3.0 ** random.uniform(-1.0, 1.0))
            x[: fade.size] *= fade
            x[-fade.size :] *= fade[::-1]
            yield from (x[at : at + minute] for at in range(0, x.size, minute))

    return record.fs, minutes()


def white(scale_mv: float) -> Callable[[np.random.Generator], Noise]:
    """White noise of this standard deviation."""
    return lambda random: (scale_mv * random.standard_normal(_MINUTE) for _ in repeat(None))


def clipped(random: np.random.Generator) -> Noise:
    """An open input of large noise between its rails."""
    while True:
        yield np.clip(40.0 * random.standard_normal(_MINUTE), -5.0, 5.0)


def muscle(random: np.random.Generator) -> Noise:
    """Bursts of noise, seven seconds long."""
    bursts = 1.0 + np.sin(2.0 * np.pi * np.arange(_MINUTE) / (7.5 * FS))
    while True:
        yield 2.0 * np.convolve(random.standard_normal(_MINUTE), np.ones(3) / 3.0, "same") * bursts


def square(hertz: float) -> Callable[[np.random.Generator], Noise]:
    """The test signal of many front ends, +-4 mV."""
    levels = np.where(np.arange(_MINUTE) * 2.0 * hertz / FS % 2.0 < 1.0, 4.0, -4.0)
    return lambda random: (levels + 0.001 * random.standard_normal(_MINUTE) for _ in repeat(None))


def telegraph(dwell_s: float, noise_mv: float) -> Callable[[np.random.Generator], Noise]:
    """Random switching between +-1 mV."""

    def minutes(random: np.random.Generator) -> Noise:
        level = 1.0
        while True:
            x = level * np.where(np.cumsum(random.random(_MINUTE) < 1.0 / (dwell_s * FS)) % 2, -1.0, 1.0)
            level = float(x[-1])
            yield x + noise_mv * random.standard_normal(_MINUTE)

    return minutes


def spikes(rate: float) -> Callable[[np.random.Generator], Noise]:
    """Equal spikes of 3 mV and 24 ms at random times, so many a second, in noise of 10 uV."""

    def minutes(random: np.random.Generator) -> Noise:
        while True:
            begins = np.flatnonzero(random.random(_MINUTE) < rate / FS).tolist()
            x = 0.01 * random.standard_normal(_MINUTE + _SPIKE_MV.size)
            for at in begins:
                x[at : at + _SPIKE_MV.size] += _SPIKE_MV
            yield x[:_MINUTE]

    return minutes


DRAWN: dict[str, Callable[[np.random.Generator], Noise]] = {
    "white 10 uV": white(0.01),
    "white 0.1 mV": white(0.1),
    "white 1 mV": white(1.0),
    "white 10 mV": white(10.0),
    "clipped": clipped,
    "muscle": muscle,
    "square 1 Hz": square(1.0),
    "square 2.5 Hz": square(2.5),
    "telegraph 40 ms": telegraph(0.04, 0.0),
    "telegraph 80 ms": telegraph(0.08, 0.01),
    "telegraph 200 ms": telegraph(0.2, 0.01),
    "spikes 1.5 Hz": spikes(1.5),
}
KINDS = (*RECORDED, *DRAWN)


Figure: TypeAlias = dict[str, Any]  # noise, hours, beats, and alarms to their number, with the model and without


def alarms(fs: float, noise: Noise, minutes: int) -> tuple[Counter[str], Counter[str], int]:
    """Alarms with the shipped model and with R peaks alone, and how many beats were found in the noise."""
    classifier = Classifier(load_bundle(shipped_bundle()))
    model = classifier.model
    front = FrontEnd(fs, grid=classifier.grid, context=classifier.context)
    with_model, without = Labeller(fs, model.classes, model.decision), Labeller(fs, {})
    counts: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
    beats = 0

    def count(into: Counter[str], events: list[Event]) -> None:
        begun = (event.label for event in events if isinstance(event, Rhythm) and event.phase == "begin")
        into.update(label for label in begun if label in ALARMS)

    def take(items: list[Item]) -> None:
        nonlocal beats
        found = [item for item in items if isinstance(item, BeatContext)]
        beats += len(found)
        answers = iter(classifier.answer_all(found))
        for item in items:
            count(counts[0], with_model.take(item, next(answers) if isinstance(item, BeatContext) else None))
            count(counts[1], without.take(item))

    for minute in islice(noise, minutes):
        take(front.push(minute[None]))
    take(front.flush())
    return *counts, beats


def measure(arguments: argparse.Namespace) -> list[Figure]:
    """One entry for each kind of noise."""
    figures: list[Figure] = []
    for kind in tqdm(arguments.kinds, unit="kind", file=sys.stderr, disable=None):
        random = np.random.default_rng((arguments.seed, KINDS.index(kind)))
        if kind in RECORDED:
            fs, noise = recorded(noise_record(arguments.data, kind[:-1]), int(kind[-1]), random)
        else:
            fs, noise = FS, DRAWN[kind](random)
        with_model, without, beats = alarms(fs, noise, round(60 * arguments.hours))
        figures.append(
            {
                "noise": kind,
                "hours": arguments.hours,
                "beats": beats,
                "alarms": dict(with_model),
                "alarms_peaks_only": dict(without),
            }
        )
    return figures


def markdown(figures: Sequence[Figure], command: str) -> str:
    """The figures as a table for the documents, with the command that makes them."""
    lines = [
        f"`{command}`",
        "",
        f"| noise | hours | taken for beats | {' | '.join(ALARMS)} | all | R peaks alone |",
        f"| --- |{' ---: |' * (len(ALARMS) + 4)}",
    ]
    for one in figures:
        cells = [f"{one['alarms'].get(alarm, 0)}" for alarm in ALARMS]
        total, alone = sum(one["alarms"].values()), sum(one["alarms_peaks_only"].values())
        lines.append(
            f"| {one['noise']} | {one['hours']:g} | {one['beats']} | {' | '.join(cells)} | {total} | {alone} |"
        )
    return "\n".join(lines)


def _kinds(listed: str) -> list[str]:
    kinds = [kind.strip() for kind in listed.split(",")]
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown:
        raise argparse.ArgumentTypeError(f"no such noise: {', '.join(unknown)}. There are: {', '.join(KINDS)}")
    return kinds


def main() -> None:
    """Print a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser, PAGE)
    parser.add_argument("--hours", type=float, default=24.0, help="of each kind; default 24")
    parser.add_argument("--kinds", type=_kinds, default=list(KINDS), metavar="A,B", help="default: all of them")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    try:
        figures = measure(arguments)
    except EcgmoeError as reason:
        parser.exit(reason.exit_code, f"error: {reason}\n")
    table = markdown(figures, f"python benchmarks/noise_alarms.py --hours {arguments.hours:g}")
    publish(arguments, figures, table, PAGE, "noise alarms")


if __name__ == "__main__":
    main()
