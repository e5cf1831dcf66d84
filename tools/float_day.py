"""A drawn day in 32-bit arithmetic against 64 bits: whether sums drift or R peaks move with the hours.

    python -m tools.float_day                 # 24 h of one lead at 250 Hz: minutes
    python -m tools.float_day --hours 4 --json

Both builds of the C engine monitor the same day with the shipped bundle: heart rate and amplitude change over the day,
one beat in fifty is premature and wide, there are baseline wander, noise, hum for an hour, and lost samples. For each
quarter of the day it prints the beats, the R peaks that differ by one sample, the R peaks that one build has alone, the
beats with another label, and the median over beats of the difference of the model's inputs and of the quality. Exit
code 1 if R peaks or labels differ in more than 0.05 % of the beats, or if the last quarter differs more than three
times as much as the first. Both builds are made with gcc in a temporary folder.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.contract import BEAT, FEATURES
from ecgmoe_edge.errors import EcgmoeError
from ecgmoe_edge.runtime import load_bundle, shipped_bundle
from ecgmoe_edge.streaming import Monitor
from ecgmoe_edge.streaming.beat_model import BeatModel, ModelFunction
from ecgmoe_edge.streaming.events import Beat
from tools import c_extension
from tools.compare_engines import OTHER_LABELS, beat_differences

FS = 250.0
BLOCK_S = 600.0
QUARTERS = 4
GROWTH = 3.0  # how many times as much as in the first quarter the last one may differ
SMALL = 1e-6  # a difference that does not count
_LOST = (7, 400)  # samples of a gap that is bridged, and of one that is not
_NARROW = ((-0.18, 0.025, 0.12), (-0.035, 0.010, -0.08), (0.0, 0.011, 1.1), (0.035, 0.011, -0.2), (0.26, 0.045, 0.28))
_WIDE = ((0.0, 0.035, 1.3), (0.10, 0.040, -0.4), (0.30, 0.060, -0.35))


@dataclass
class Quarter:
    """What differs in a quarter of the day."""

    beats: int = 0
    one_sample_away: int = 0
    alone: int = 0  # R peaks that one build has alone
    other_labels: int = 0
    input_difference: float = 0.0  # of the model's inputs, mean in a beat; median over the beats that both builds have
    quality_difference: float = 0.0  # median over these beats
    listed: list[str] = field(default_factory=list)


class _Run:
    """A build of the engine in the middle of the day."""

    def __init__(self, model: BeatModel) -> None:
        self._model = model
        self._inputs: list[NDArray[np.float32]] = []
        self.monitor = Monitor(ModelFunction(model.classes, model.decision, self._infer), FS, engine="c")

    def _infer(self, inputs: Mapping[str, NDArray[np.float32]]) -> Mapping[str, NDArray[np.float32]]:
        self._inputs.append(np.concatenate((inputs[BEAT][0].ravel(), inputs[FEATURES][0])))
        return self._model.infer(inputs)

    def beats(self, x: NDArray[np.float64], lost: int) -> tuple[list[Beat], list[NDArray[np.float32]]]:
        """The beats of a block and of the gap after it, with the inputs of the model."""
        self._inputs.clear()
        events = self.monitor.push(x[None])
        if lost:
            events += self.monitor.gap(lost, "link")
        return [event for event in events if isinstance(event, Beat)], list(self._inputs)


def blocks(hours: float, seed: int = 0) -> Iterator[tuple[NDArray[np.float64], int]]:
    """Blocks (n,) of the day in mV, and the number of samples that are lost after each."""
    random = np.random.default_rng(seed)
    n = round(BLOCK_S * FS)
    t = np.arange(n) / FS
    for block in range(round(hours * 3600.0 / BLOCK_S)):
        of_day = block * BLOCK_S / 86400.0
        x = 0.1 * np.sin(2 * np.pi * 0.15 * t) + random.choice([0.01, 0.02, 0.08]) * random.normal(size=n)
        gain = 1.0 + 0.4 * np.sin(2 * np.pi * of_day)
        r = 0.5
        while r < BLOCK_S - 1.0:
            wide = random.random() < 0.02
            for after, width, height in _WIDE if wide else _NARROW:
                near = slice(max(0, int((r + after - 6 * width) * FS)), int((r + after + 6 * width) * FS))
                x[near] += gain * height * np.exp(-0.5 * ((t[near] - r - after) / width) ** 2)
            rr = 60.0 / (75.0 - 20.0 * np.cos(2 * np.pi * of_day))
            r += rr * random.normal(1.0, 0.03) * (1.3 if wide else 0.7 if random.random() < 0.02 else 1.0)
        if block % 24 in range(6, 12):
            x += 0.2 * np.sin(2 * np.pi * 50.0 * t)
        yield x, int(random.choice([0, *_LOST]))


def compare_day(hours: float) -> list[Quarter]:
    """Monitor the day with both builds; return what differs in each quarter."""
    with tempfile.TemporaryDirectory() as place:
        model = load_bundle(shipped_bundle(), threads=1)
        runs = []
        for name, flags in (("float", c_extension.FLOAT), ("double", ())):
            folder = Path(place) / name
            folder.mkdir()
            c_extension.use(c_extension.build(folder, flags))
            runs.append(_Run(model))
        quarters = [Quarter() for _ in range(QUARTERS)]
        found: list[list[tuple[float, float]]] = [[] for _ in quarters]
        count = round(hours * 3600.0 / BLOCK_S)
        for block, (x, lost) in enumerate(blocks(hours)):
            place_in_day = block * QUARTERS // count
            found[place_in_day] += _add_block(quarters[place_in_day], *(run.beats(x, lost) for run in runs))
    for quarter, pairs in zip(quarters, found, strict=True):
        if pairs:
            quarter.input_difference, quarter.quality_difference = (float(x) for x in np.median(pairs, axis=0))
    return quarters


def _add_block(
    quarter: Quarter,
    ours: tuple[list[Beat], list[NDArray[np.float32]]],
    reference: tuple[list[Beat], list[NDArray[np.float32]]],
) -> list[tuple[float, float]]:
    """Count the differences of a block; return those of the inputs and of the quality for each beat of both builds."""
    sentences, shifted = beat_differences(ours[0], reference[0])
    labels = sum(sentence.startswith("beat") for sentence in sentences)
    quarter.beats += len(reference[0])
    quarter.one_sample_away += shifted
    quarter.other_labels += labels
    quarter.alone += len(sentences) - labels
    quarter.listed += sentences
    found = dict(zip((beat.sample for beat in ours[0]), zip(*ours, strict=True), strict=True))
    pairs = (
        (found[beat.sample], beat, inputs) for beat, inputs in zip(*reference, strict=True) if beat.sample in found
    )
    return [
        (float(np.abs(its_inputs - inputs).mean()), abs(other.quality - beat.quality))
        for (other, its_inputs), beat, inputs in pairs
    ]


def faults(quarters: list[Quarter]) -> list[str]:
    """Sentences about what differs too much."""
    beats = sum(quarter.beats for quarter in quarters)
    found = []
    for what in ("alone", "other_labels"):
        number = sum(getattr(quarter, what) for quarter in quarters)
        if number > OTHER_LABELS * beats:
            found.append(f"{what}: {number} of {beats} beats")
    for what in ("input_difference", "quality_difference"):
        first, last = getattr(quarters[0], what), getattr(quarters[-1], what)
        if last > GROWTH * max(first, SMALL):
            found.append(f"{what} grew from {first:.2e} to {last:.2e}")
    return found


def main() -> int:
    """Run the command; return the exit code."""
    assert __doc__ is not None  # noqa: S101 - for the type checker
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=24.0, help="length of the day; default 24")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    try:
        quarters = compare_day(options.hours)
    except EcgmoeError as reason:
        parser.exit(reason.exit_code, f"error: {reason}\n")
    found = faults(quarters)
    if options.json:
        json.dump({"quarters": [asdict(quarter) for quarter in quarters], "faults": found}, sys.stdout, indent=2)
        print()
        return int(bool(found))
    for quarter in quarters:
        print(
            f"beats {quarter.beats:6}  one sample away {quarter.one_sample_away:4}  alone {quarter.alone:3}  "
            f"other label {quarter.other_labels:3}  inputs {quarter.input_difference:.2e}  "
            f"quality {quarter.quality_difference:.2e}"
        )
        for sentence in quarter.listed:
            print(f"    {sentence}")
    for sentence in found:
        print(sentence)
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
