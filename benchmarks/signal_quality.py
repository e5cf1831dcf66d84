"""Does `quality` separate clean beats from noisy ones? Records compared with the same records with NSTDB noise.

    python benchmarks/signal_quality.py [--split ds1-val] [--minutes 12] [--json] [--out DIR]

The stream runs over each record without added noise, and once more for each noise and signal-to-noise ratio. Noise is
added as in `ecgmoe-edge evaluate --noise`: second half of the noise records, two minutes on and two off after the first
five. A row is about detections within 150 ms of an annotated beat during noise: the probability that such a beat has a
lower quality than a clean one (AUC), the median, and the fraction that would be `?`. "no beat" are detections without
a partner, at any ratio. --out DIR puts the table between its marks in DIR/events.md.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.append(str(Path(__file__).resolve().parent.parent))

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata
from tqdm import tqdm

from benchmarks.page_table import add_options, publish
from ecgmoe_edge.errors import EcgmoeError
from ecgmoe_edge.records.annotations import read_annotations
from ecgmoe_edge.records.registry import open_recording
from ecgmoe_edge.records.splits import locate, noise_record
from ecgmoe_edge.scoring.matching import pair_beats
from ecgmoe_edge.scoring.noise_stress import CLEAN_START_S, NOISE_KINDS, SEGMENT_S, SNRS_DB, NoiseLevel, noisy_blocks
from ecgmoe_edge.streaming.beats import BeatContext
from ecgmoe_edge.streaming.frontend import FrontEnd
from ecgmoe_edge.streaming.signal.quality import POOR_QUALITY

CLEAN = "none"
NO_BEAT = "no beat"
PAGE = "events.md"
MATCH_S = 0.150
BLOCK_S = 60.0


def qualities(path: Path, noise: NoiseLevel | None, minutes: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Quality of detected beats and of false detections, during the minutes with noise or without."""
    record = open_recording(path)
    annotated = read_annotations(record)
    front = FrontEnd(record.fs, grid=None)
    blocks = record.blocks(BLOCK_S, leads=[0]) if noise is None else noisy_blocks(record, 0, annotated, noise, BLOCK_S)
    beats: list[BeatContext] = []
    for block in blocks:
        beats += [item for item in front.push(block) if isinstance(item, BeatContext)]
        if front.position > minutes * 60.0 * record.fs:
            break
    sample = np.array([beat.sample for beat in beats], np.int64)
    quality = np.array([beat.quality for beat in beats])
    since = sample / record.fs - CLEAN_START_S
    noisy = (since > 0.0) & (since % (2 * SEGMENT_S) < SEGMENT_S)
    is_beat = pair_beats(annotated.samples, sample, MATCH_S * record.fs).reference_index >= 0
    return quality[noisy & is_beat], quality[noisy & ~is_beat]


def measure(arguments: argparse.Namespace) -> dict[str, dict[str, dict[str, float]]]:
    """For each noise and ratio: AUC against clean beats, median quality and fraction of `?`."""
    paths = locate(arguments.data, split=arguments.split)
    levels: list[tuple[str, str, NoiseLevel | None]] = [(CLEAN, "", None)]
    for kind in NOISE_KINDS:
        noise = noise_record(arguments.data, kind)
        levels += [(kind, f"{snr:g}", NoiseLevel(noise, snr)) for snr in SNRS_DB]
    figures: dict[str, dict[str, dict[str, float]]] = {}
    clean = np.zeros(0)
    no_beats: list[NDArray[np.float64]] = []
    for kind, snr, level in tqdm(levels, unit="level", file=sys.stderr, disable=None):
        found = [qualities(path, level, arguments.minutes) for path in paths]
        quality = np.concatenate([beats for beats, _ in found])
        no_beats += [others for _, others in found]
        clean = quality if level is None else clean
        figures.setdefault(kind, {})[snr] = row(clean, quality)
    figures[NO_BEAT] = {"": row(clean, np.concatenate(no_beats))}
    return figures


def row(clean: NDArray[np.float64], quality: NDArray[np.float64]) -> dict[str, float]:
    """Figures of one line of the table."""
    n, m = len(clean), len(quality)
    ranks = rankdata(np.concatenate((clean, quality)))[:n].sum()
    return {
        "auc": round(float((ranks - n * (n + 1) / 2) / (n * m)), 4),
        "median": round(float(np.median(quality)), 4),
        "poor_percent": round(100.0 * float(np.mean(quality < POOR_QUALITY)), 2),
        "beats": m,
    }


def markdown(figures: dict[str, dict[str, dict[str, float]]], command: str) -> str:
    """The figures as a table for the documents, with the command that makes them."""
    lines = [f"`{command}`", "", "| noise | SNR, dB | AUC beside clean beats | median | `?`, % |"]
    lines += ["| --- | ---: | ---: | ---: | ---: |"]
    for kind, at_snr in figures.items():
        for snr, cell in at_snr.items():
            auc = "" if kind == CLEAN else f"{cell['auc']:.3f}"
            lines.append(f"| {kind} | {snr} | {auc} | {cell['median']:.3f} | {cell['poor_percent']:.2f} |")
    return "\n".join(lines)


def main() -> None:
    """Print a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser, PAGE)
    parser.add_argument("--split", default="ds1-val", help="a named split; default ds1-val")
    parser.add_argument("--minutes", type=float, default=12.0, help="minutes of each record; default 12")
    arguments = parser.parse_args()
    try:
        figures = measure(arguments)
    except EcgmoeError as reason:
        parser.exit(reason.exit_code, f"error: {reason}\n")
    table = markdown(figures, f"python benchmarks/signal_quality.py --split {arguments.split}")
    publish(arguments, figures, table, PAGE, "quality")


if __name__ == "__main__":
    main()
