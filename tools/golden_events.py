"""Frozen beat events of the monitor: write, check and compare them.

    python -m tools.golden_events                     # check all available sets; exit code 1 if one differs
    python -m tools.golden_events --set ds1 --jobs 2  # only one set
    python -m tools.golden_events --write             # freeze the events of this version
    python -m tools.golden_events --keep before/      # store the beats themselves, outside the repository
    python -m tools.golden_events --against before/   # list the beats that differ from the stored ones, by record

A set is `shipped` (the recording of the package), `drawn` (simulated ECGs that are hard to read, with gaps, invalid
samples, leads off and rails), `ds1` or `svdb-fit` (from ECGMOE_DATA; skipped with a sentence if they are missing).
Each record is monitored with the shipped bundle, once with its first lead and once with all leads. A line of the frozen
file holds the record, its leads, the beats of each label and a SHA-256 over the beats' sample, label, RR interval (to
1 us) and quality (to 0.1); a recording cannot be reconstructed from it.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.calibration_data import load_calibration
from ecgmoe_edge.errors import EcgmoeError
from ecgmoe_edge.runtime import load_bundle, shipped_bundle
from ecgmoe_edge.streaming import Monitor
from ecgmoe_edge.streaming.beat_model import BeatModel
from ecgmoe_edge.streaming.events import Beat, Event
from ecgmoe_edge.training.synthetic_ecg import Difficulty, make_ecg

FOLDER = Path(__file__).parents[1] / "tests" / "streaming" / "golden"
DATABASES = {"ds1": "mitdb", "svdb-fit": "svdb"}
SETS = ("shipped", "drawn", *DATABASES)
LEADS = ("first", "all")
LABELS = "NSVF?"
_LOST = 750  # samples of the gap in a disturbed recording


@dataclass(frozen=True)
class Case:
    """One record with some of its leads."""

    name: str
    leads: str  # "first" or "all"
    events: Callable[[BeatModel], list[Event]]


@dataclass(frozen=True)
class Beats:
    """The frozen values of each beat, all arrays (beats,)."""

    sample: NDArray[np.int64]
    label: NDArray[np.str_]
    rr_us: NDArray[np.int64]  # -1: unknown
    quality: NDArray[np.int64]  # tenths

    @classmethod
    def of(cls, events: Iterable[Event]) -> Beats:
        """The beats among `events`."""
        beats = [event for event in events if isinstance(event, Beat)]
        return cls(
            sample=np.array([beat.sample for beat in beats], np.int64),
            label=np.array([str(beat.label) for beat in beats], "U1"),
            rr_us=np.array([-1 if beat.rr_ms is None else round(1000 * beat.rr_ms) for beat in beats], np.int64),
            quality=np.array([round(10 * beat.quality) for beat in beats], np.int64),
        )

    def line(self, case: str) -> str:
        """The line of the frozen file."""
        rows = zip(self.sample.tolist(), self.label.tolist(), self.rr_us.tolist(), self.quality.tolist(), strict=True)
        text = "\n".join(" ".join(map(str, row)) for row in rows)
        counts = Counter(self.label.tolist())
        counted = " ".join(f"{label}={counts[label]}" for label in LABELS)
        return f"{case} {counted} {hashlib.sha256(text.encode()).hexdigest()}"


def monitored(model: BeatModel, fs: float, leads: Sequence[str], blocks: Iterable[NDArray[np.float64]]) -> list[Event]:
    """Events of a recording, block by block (leads, samples)."""
    monitor = Monitor(model, fs, leads=leads)
    events = [event for block in blocks for event in monitor.push(block)]
    return events + monitor.flush()


# -- the sets


def cases_of(name: str, data: Path | None) -> list[Case]:
    """The cases of one set, in order. Raises RecordError or UsageError if its recordings are missing."""
    if name == "shipped":
        return list(_shipped())
    if name == "drawn":
        return list(_drawn())
    from ecgmoe_edge.records.splits import locate

    return [Case(path.name, leads, _Recorded(path, leads)) for path in locate(data, split=name) for leads in LEADS]


@dataclass(frozen=True)
class _Recorded:
    path: Path
    leads: str

    def __call__(self, model: BeatModel) -> list[Event]:
        from ecgmoe_edge.records.registry import open_recording

        record = open_recording(self.path)
        positions = [0] if self.leads == "first" else list(range(len(record.leads)))
        names = tuple(record.leads[position] for position in positions)
        return monitored(model, record.fs, names, record.blocks(60.0, leads=positions))


def _shipped() -> Iterator[Case]:
    yield Case("shipped", "first", lambda model: _shipped_events(model, second=False))
    yield Case("shipped", "all", lambda model: _shipped_events(model, second=True))


def _shipped_events(model: BeatModel, *, second: bool) -> list[Event]:
    recording = load_calibration()
    signal = recording.signal[:1]
    if second:  # a second lead of the same heart: smaller, inverted, 8 ms later, with its own noise
        noise = np.random.default_rng(8).normal(0.0, 0.02, signal.shape[1])
        signal = np.stack((signal[0], noise - 0.4 * np.roll(signal[0], 3)))
    names = ("MLII", "V1")[: len(signal)]
    return monitored(model, recording.fs, names, np.array_split(signal, 11, axis=1))


@dataclass(frozen=True)
class _Drawn:
    kind: Difficulty
    leads: str
    disturbed: bool

    def __call__(self, model: BeatModel) -> list[Event]:
        random = np.random.default_rng(self.kind.value)
        drawn = make_ecg(self.kind, random)
        leads = [drawn.signal]
        if self.leads == "all":
            leads.append(0.5 * np.roll(drawn.signal, 2) + random.normal(0.0, 0.02, drawn.signal.size))
            leads.append(-0.8 * drawn.signal + 0.1 * np.abs(random.normal(0.0, 0.05, drawn.signal.size)))
        signal, names = np.stack(leads), ("I", "II", "III")[: len(leads)]
        if not self.disturbed:
            return monitored(model, drawn.fs, names, np.array_split(signal, 7, axis=1))
        return _disturbed_events(model, drawn.fs, names, signal)


def _disturbed_events(model: BeatModel, fs: float, names: Sequence[str], x: NDArray[np.float64]) -> list[Event]:
    """Events of a recording with invalid samples, rails and flatlines on one lead and on all, lead-off, and a gap."""

    def stretch(start_s: float, stop_s: float) -> slice:
        return slice(round(start_s * fs), round(stop_s * fs))

    x[0, stretch(20.0, 22.2)] = np.nan
    x[-1, stretch(35.0, 38.0)] = x[-1, round(35.0 * fs)]
    x[:, stretch(50.0, 51.3)] = np.nan
    x[0, stretch(65.3, 68.0)] = 5.0
    x[:, stretch(80.0, 83.0)] = -5.0
    x[0, stretch(95.0, 105.0)] += np.random.default_rng(5).normal(0.0, 1.5, x[0, stretch(95.0, 105.0)].size)
    monitor = Monitor(model, fs, leads=names)
    events = monitor.push(x[:, stretch(0.0, 120.0)])
    events += monitor.lead_off([True] + [False] * (len(names) - 1))
    events += monitor.push(x[:, stretch(120.0, 124.0)])
    events += monitor.lead_off([False] * len(names))
    events += monitor.push(x[:, stretch(124.0, 140.0)])
    events += monitor.gap(_LOST, "link")
    events += monitor.push(x[:, round(140.0 * fs) :])
    return events + monitor.flush()


def _drawn() -> Iterator[Case]:
    for kind in Difficulty:
        for disturbed in (False, True):
            for leads in LEADS:
                name = kind.name.lower() + ("-spoiled" if disturbed else "")
                yield Case(name, leads, _Drawn(kind, leads, disturbed))


# -- running them


@lru_cache(maxsize=1)
def _bundle() -> BeatModel:
    return load_bundle(shipped_bundle())


def beats_of(case: Case) -> Beats:
    """The beats that the monitor gives with the shipped bundle."""
    return Beats.of(case.events(_bundle()))


def _beats_by_place(name: str, data: Path | None, place: int) -> Beats:
    return beats_of(cases_of(name, data)[place])


def run(name: str, data: Path | None, jobs: int) -> dict[str, Beats]:
    """Beats of every case of a set, by "record leads"."""
    cases = cases_of(name, data)
    titles = [f"{case.name} {case.leads}" for case in cases]
    if jobs == 1:
        return {title: beats_of(case) for title, case in zip(titles, cases, strict=True)}
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        futures = [pool.submit(_beats_by_place, name, data, place) for place in range(len(cases))]
        return {title: future.result() for title, future in zip(titles, futures, strict=True)}


def frozen(name: str) -> dict[str, str]:
    """Lines of the frozen file of a set by "record leads"; empty if it was never written."""
    file = FOLDER / f"{name}.txt"
    lines = file.read_text().splitlines() if file.is_file() else []
    return {" ".join(line.split()[:2]): line for line in lines}


def differing(name: str, found: dict[str, Beats]) -> list[str]:
    """Sentences about everything that differs from the frozen file."""
    kept = frozen(name)
    now = {title: beats.line(title) for title, beats in found.items()}
    missing = [f"{title} is in the frozen file alone" for title in kept if title not in now]
    return missing + [
        f"{title}: {line}\n  frozen: {kept.get(title, 'never')}"
        for title, line in now.items()
        if kept.get(title) != line
    ]


# -- what differs from stored beats


def keep(folder: Path, name: str, found: dict[str, Beats]) -> None:
    """Store the beats of a set, for `differences`."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {f"{title}/{key}": value for title, beats in found.items() for key, value in vars(beats).items()}
    np.savez_compressed(folder / f"{name}.npz", allow_pickle=False, **arrays)


def differences(folder: Path, name: str, found: dict[str, Beats]) -> list[str]:
    """A sentence for every case whose beats differ from the stored ones."""
    sentences = []
    with np.load(folder / f"{name}.npz", allow_pickle=False) as held:
        for title, new in found.items():
            old = Beats(**{key: held[f"{title}/{key}"] for key in vars(new)})
            both, of_old, of_new = np.intersect1d(old.sample, new.sample, assume_unique=False, return_indices=True)
            counts = {
                "lost": old.sample.size - both.size,
                "added": new.sample.size - both.size,
                "other label": int((old.label[of_old] != new.label[of_new]).sum()),
                "other RR": int((old.rr_us[of_old] != new.rr_us[of_new]).sum()),
                "other quality": int((old.quality[of_old] != new.quality[of_new]).sum()),
            }
            if any(counts.values()):
                what = ", ".join(f"{count} {key}" for key, count in counts.items() if count)
                sentences.append(f"{title}: of {old.sample.size} beats {what}")
    return sentences


def main() -> int:
    """Run the command; return the exit code."""
    assert __doc__ is not None  # noqa: S101 - for the type checker
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", dest="sets", action="append", choices=SETS, help="name of a set; default: all")
    parser.add_argument("--data", type=Path, help="folder of the databases (default: ECGMOE_DATA)")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--write", action="store_true", help="freeze the events of this version")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="folder to store the beats in")
    parser.add_argument("--against", type=Path, metavar="DIR", help="folder of stored beats to compare with")
    options = parser.parse_args()
    differs = 0
    for name in options.sets or SETS:
        try:
            found = run(name, options.data, options.jobs)
        except EcgmoeError as reason:
            print(f"{name}: skipped. {reason}")
            continue
        if options.keep:
            keep(options.keep, name, found)
        if options.write:
            FOLDER.mkdir(exist_ok=True)
            (FOLDER / f"{name}.txt").write_text("".join(f"{beats.line(title)}\n" for title, beats in found.items()))
        sentences = differences(options.against, name, found) if options.against else differing(name, found)
        differs += len(sentences)
        print(f"{name}: {len(found) - len(sentences)} of {len(found)} cases as before", *sentences, sep="\n")
    return int(differs > 0)


if __name__ == "__main__":
    sys.exit(main())
