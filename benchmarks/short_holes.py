"""Cost of short holes in the signal, bridged and not bridged, by their length.

    python benchmarks/short_holes.py [--split ds1-val] [--share 2] [--minutes 15] [--json] [--out DIR]

Samples of each record become NaN in holes of one length, at random places, until `--share` per cent of the time is
missing; the shipped model labels the rest. A row has Se and +P of R peaks and the F1 of S and V (a detection without
a partner is a false positive of its label). The same holes are bridged once, and not bridged once.
--out DIR puts the table between its marks in DIR/events.md.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from unittest.mock import patch

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.append(str(Path(__file__).resolve().parent.parent))

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from benchmarks.page_table import add_options, publish
from ecgmoe_edge.errors import EcgmoeError
from ecgmoe_edge.records.annotations import BeatAnnotations, read_annotations
from ecgmoe_edge.records.registry import open_recording
from ecgmoe_edge.records.splits import locate
from ecgmoe_edge.runtime.bundle import Bundle, load_bundle, shipped_bundle
from ecgmoe_edge.scoring.matching import pair_beats
from ecgmoe_edge.streaming import Monitor
from ecgmoe_edge.streaming.events import Beat
from ecgmoe_edge.streaming.signal import bridge

LENGTHS_MS = (0, 3, 20, 40, 60, 80, 100)
PAGE = "events.md"
MATCH_S = 0.150
LABELS = ("S", "V")


def with_holes(
    signal: NDArray[np.float64], fs: float, length_ms: float, share: float, seed: int
) -> NDArray[np.float64]:
    """The signal (leads, n) with NaN in holes of `length_ms` that make up the fraction `share` of the time."""
    holed = signal.copy()
    width = max(1, round(length_ms * fs / 1000))
    for start in np.flatnonzero(np.random.default_rng(seed).random(signal.shape[1]) < share / width).tolist():
        holed[:, start : start + width] = np.nan
    return holed


def counts(bundle: Bundle, signal: NDArray[np.float64], fs: float, annotated: BeatAnnotations) -> NDArray[np.int64]:
    """Beats paired, missed and false, of R peaks and of each label: (3, 3)."""
    monitor = Monitor(bundle, fs)
    beats = [event for event in (*monitor.push(signal), *monitor.flush()) if isinstance(event, Beat)]
    within = annotated.samples < signal.shape[1]
    samples, classes = annotated.samples[within], annotated.classes[within]
    found = np.array([beat.sample for beat in beats], np.int64)
    labels = np.array([beat.label for beat in beats])
    pairs = pair_beats(samples, found, MATCH_S * fs)
    alone = pairs.reference_index < 0
    rows = [[int((~alone).sum()), samples.size - int((~alone).sum()), int(alone.sum())]]
    truth = np.where(alone, "", classes[pairs.reference_index])
    for label in LABELS:
        right = int(((truth == label) & (labels == label)).sum())
        false = int(((labels == label) & np.isin(truth, ["", *{"N", "S", "V"} - {label}])).sum())
        rows.append([right, int((classes == label).sum()) - right, false])
    return np.array(rows)


def measure(arguments: argparse.Namespace) -> list[dict[str, float | bool]]:
    """One entry for each length, bridged and not."""
    paths, bundle = locate(arguments.data, split=arguments.split), load_bundle(shipped_bundle())
    runs = [(length, bridged) for length in LENGTHS_MS for bridged in (True, False) if length or bridged]
    figures: list[dict[str, float | bool]] = []
    for length_ms, bridged in tqdm(runs, unit="run", file=sys.stderr, disable=None):
        total = np.zeros((1 + len(LABELS), 3), np.int64)
        with patch.object(bridge, "LONGEST_S", 1.5 * LENGTHS_MS[-1] / 1000 if bridged else 0.0):
            for seed, path in enumerate(paths):
                record = open_recording(path)
                signal = record.read(0, min(record.n_samples, round(arguments.minutes * 60 * record.fs)), [0])
                if length_ms:
                    signal = with_holes(signal, record.fs, length_ms, arguments.share / 100, seed)
                total += counts(bundle, signal, record.fs, read_annotations(record))
        (paired, missed, false), *labelled = total.tolist()
        entry = {
            "length_ms": length_ms,
            "bridged": bridged,
            "se": 100.0 * paired / (paired + missed),
            "ppv": 100.0 * paired / (paired + false),
        }
        for label, (right, lost, wrong) in zip(LABELS, labelled, strict=True):
            entry[f"f1_{label}"] = 200.0 * right / max(1, 2 * right + lost + wrong)
        figures.append(entry)
    return figures


def markdown(figures: list[dict[str, float | bool]], command: str) -> str:
    """The figures as a table for the documents, with the command that makes them."""
    lines = [
        f"`{command}`",
        "",
        "| holes of, ms | | Se | +P | S F1 | V F1 |",
        "| ---: | --- | ---: | ---: | ---: | ---: |",
    ]
    for one in figures:
        how = ("bridged" if one["bridged"] else "not bridged") if one["length_ms"] else "none"
        cells = " | ".join(f"{one[key]:.1f}" for key in ("se", "ppv", "f1_S", "f1_V"))
        lines.append(f"| {one['length_ms']} | {how} | {cells} |")
    return "\n".join(lines)


def main() -> None:
    """Print a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser, PAGE)
    parser.add_argument("--split", default="ds1-val", help="a named split; default ds1-val")
    parser.add_argument("--share", type=float, default=2.0, help="per cent of the time that is missing; default 2")
    parser.add_argument("--minutes", type=float, default=15.0, help="minutes of each record; default 15")
    arguments = parser.parse_args()
    try:
        figures = measure(arguments)
    except EcgmoeError as reason:
        parser.exit(reason.exit_code, f"error: {reason}\n")
    command = f"python benchmarks/short_holes.py --split {arguments.split} --share {arguments.share:g}"
    table = markdown(figures, f"{command} --minutes {arguments.minutes:g}")
    publish(arguments, figures, table, PAGE, "holes")


if __name__ == "__main__":
    main()
