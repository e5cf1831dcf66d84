"""The events of the C engine against those of the numpy reference, record by record.

    python -m tools.compare_engines --set shipped --set drawn       # seconds
    python -m tools.compare_engines --set ds1 --set svdb-fit --jobs 2
    python -m tools.compare_engines --set ds1 --float               # the build in 32-bit arithmetic

The sets are those of `tools.golden_events`; each record is monitored with the shipped bundle, once with its first lead
and once with all leads. In 64 bits every event must be the same: numbers of samples, labels, RR intervals and texts
exactly, other numbers within 1e-6. In 32 bits R peaks may differ by one sample, and labels in 0.05 % of the beats,
which are listed. Exit code 1 if the engines differ more than that. The extension is that of this installation; if there
is none, and for 32 bits, it is built with gcc in a temporary folder.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.errors import EcgmoeError
from ecgmoe_edge.runtime import load_bundle, shipped_bundle
from ecgmoe_edge.streaming import c_engine
from ecgmoe_edge.streaming.beat_model import BeatModel, ModelFunction
from ecgmoe_edge.streaming.engines import VARIABLE
from ecgmoe_edge.streaming.events import Beat, Event, to_json
from tools import c_extension, golden_events

TOLERANCE = 1e-6
OTHER_LABELS = 0.0005  # largest fraction of beats with another label in 32 bits
_NOT_COMPARED = ("compute_ms", "engine", "engine_reason")
_SHOWN = 20  # differences that are printed for a record


@dataclass(frozen=True)
class Comparison:
    """The events of one case by two engines."""

    case: str
    events: int
    beats: int
    different: int  # events that differ; in 32 bits, beats with another label, and R peaks that one engine has alone
    shifted: int  # R peaks that differ by one sample; they count as the same in 32 bits
    differences: tuple[str, ...]


class _Remembering:
    """A model that computes the same inputs once: both engines ask for the same beats."""

    def __init__(self, model: BeatModel) -> None:
        self._model = model
        self._answers: dict[bytes, Mapping[str, NDArray[np.float32]]] = {}

    def infer(self, inputs: Mapping[str, NDArray[np.float32]]) -> Mapping[str, NDArray[np.float32]]:
        key = b"".join(x.tobytes() for x in inputs.values())
        if key not in self._answers:
            self._answers[key] = self._model.infer(inputs)
        return self._answers[key]


def events_of(case: golden_events.Case, model: BeatModel, engine: str) -> list[Event]:
    """The events of a case by one engine."""
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = engine
    try:
        return case.events(model)
    finally:
        os.environ.pop(VARIABLE)
        if before is not None:
            os.environ[VARIABLE] = before


def differences(ours: Sequence[Event], reference: Sequence[Event]) -> Iterator[str]:
    """Yield a sentence for each event that differs."""
    for one, other in zip(ours, reference, strict=False):
        a, b = _compared(one), _compared(other)
        names = [name for name in a.keys() | b.keys() if not _same(a.get(name), b.get(name))]
        if names:
            what = ", ".join(f"{name} {a.get(name)!r}, not {b.get(name)!r}" for name in sorted(names))
            yield f"{b['event']} at {b.get('sample', b.get('from_s'))}: {what}"
    for event in ours[len(reference) :]:
        yield f"one more: {_compared(event)}"
    for event in reference[len(ours) :]:
        yield f"missing: {_compared(event)}"


def _compared(event: Event) -> dict[str, Any]:
    return {name: value for name, value in to_json(event).items() if name not in _NOT_COMPARED}


def _same(a: Any, b: Any) -> bool:
    """Whether two values are equal, floating-point numbers within the tolerance."""
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, float) and isinstance(b, float):
        return math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=1.01 * TOLERANCE) or (math.isnan(a) and math.isnan(b))
    return bool(a == b)


def beat_differences(ours: Iterable[Event], reference: Iterable[Event]) -> tuple[list[str], int]:
    """Sentences about beats that are missing or have another label, and the number of R peaks one sample away."""
    found = [event for event in ours if isinstance(event, Beat)]
    expected = {event.sample: event for event in reference if isinstance(event, Beat)}
    sentences, shifted = [], 0
    for beat in found:
        near = next((at for at in (beat.sample, beat.sample - 1, beat.sample + 1) if at in expected), None)
        if near is None:
            sentences.append(f"R peak at {beat.sample}: not among those of the reference")
            continue
        other = expected.pop(near)
        shifted += near != beat.sample
        if beat.label != other.label:
            sentences.append(f"beat at {beat.sample}: {beat.label}, not {other.label}; {beat.scores}, {other.scores}")
    sentences += [f"R peak at {sample}: missing" for sample in expected]
    return sentences, shifted


def compare(case: golden_events.Case, model: BeatModel, *, single: bool) -> Comparison:
    """Compare both engines on one case; `single`: the C engine computes in 32 bits."""
    remembering = _Remembering(model)
    shared = ModelFunction(model.classes, model.decision, remembering.infer)
    ours, reference = events_of(case, shared, "c"), events_of(case, shared, "numpy")
    beats = sum(isinstance(event, Beat) for event in reference)
    sentences, shifted = beat_differences(ours, reference) if single else (list(differences(ours, reference)), 0)
    title = f"{case.name} {case.leads}"
    return Comparison(title, len(reference), beats, len(sentences), shifted, tuple(sentences[:_SHOWN]))


def _compare_by_place(name: str, data: Path | None, extension: Path | None, single: bool, place: int) -> Comparison:
    if extension is not None:
        c_extension.use(extension)
    return compare(golden_events.cases_of(name, data)[place], load_bundle(shipped_bundle()), single=single)


def run(
    name: str, data: Path | None, jobs: int, extension: Path | None, *, single: bool, records: Sequence[str] = ()
) -> Iterator[Comparison]:
    """Yield the comparison of each case of a set, or of some records of it.

    Args:
        name: the set.
        data: folder of the databases; None: ECGMOE_DATA.
        jobs: number of processes.
        extension: file of the extension; None for the installed one.
        single: the extension computes in 32 bits.
        records: names of records; all if it is empty.
    """
    cases = golden_events.cases_of(name, data)
    places = [place for place, case in enumerate(cases) if not records or case.name in records]
    compare_place = partial(_compare_by_place, name, data, extension, single)
    if jobs == 1:
        yield from map(compare_place, places)
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        yield from pool.map(compare_place, places)


def main() -> int:
    """Run the command; return the exit code."""
    assert __doc__ is not None  # noqa: S101 - for the type checker
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", dest="sets", action="append", choices=golden_events.SETS, help="default: all")
    parser.add_argument("--records", type=lambda text: text.split(","), default=[], help="A,B,...; default: all")
    parser.add_argument("--data", type=Path, help="folder of the databases (default: ECGMOE_DATA)")
    parser.add_argument("--jobs", type=int, default=1, help="processes; default 1")
    parser.add_argument("--float", dest="single", action="store_true", help="the build in 32-bit arithmetic")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    total = Comparison("all", 0, 0, 0, 0, ())
    rows: list[Comparison] = []
    with tempfile.TemporaryDirectory() as folder:
        try:
            extension = None
            if options.single or c_engine.extension() is None:
                extension = c_extension.build(Path(folder), c_extension.FLOAT if options.single else ())
            for name in options.sets or golden_events.SETS:
                chosen = run(
                    name, options.data, options.jobs, extension, single=options.single, records=options.records
                )
                for row in chosen:
                    rows.append(row)
                    total = replace(
                        total,
                        events=total.events + row.events,
                        beats=total.beats + row.beats,
                        different=total.different + row.different,
                        shifted=total.shifted + row.shifted,
                    )
                    if not options.json:
                        _print_row(name, row)
        except EcgmoeError as reason:
            parser.exit(reason.exit_code, f"error: {reason}\n")
    if options.json:
        json.dump({"records": [asdict(row) for row in rows], "all": asdict(total)}, sys.stdout, indent=2)
        print()
    else:
        _print_row("all", total)
    allowed = OTHER_LABELS * total.beats if options.single else 0
    return int(total.different > allowed)


def _print_row(name: str, row: Comparison) -> None:
    line = f"{name:9} {row.case:22} events {row.events:7}  beats {row.beats:7}  different {row.different:5}"
    print(line + (f"  one sample away {row.shifted}" if row.shifted else ""), flush=True)
    for sentence in row.differences:
        print(f"    {sentence}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
