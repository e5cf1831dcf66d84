"""The classical measure of atrial fibrillation, beside every model of rhythm and on annotations alone."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from installed_command import Cli
from numpy.typing import NDArray

from ecgmoe_edge.records.annotations import RhythmSegment
from ecgmoe_edge.scoring.cosen import FEWEST, THRESHOLD, af_seconds, cosen

wfdb = pytest.importorskip("wfdb", reason="annotations need the records extra")


def irregular(beats: int, seed: int = 1) -> NDArray[np.float64]:
    return np.random.default_rng(seed).gamma(25.0, 0.7 / 25.0, beats)


def regular(beats: int) -> NDArray[np.float64]:
    return 0.9 + np.random.default_rng(2).normal(0.0, 0.01, beats)


def by_definition(rr: NDArray[np.float64]) -> float:
    """CoSEn with loops, as the paper writes it: pairs within 30 ms, template length 1."""
    one = two = 0
    for i in range(len(rr) - 1):
        for j in range(i + 1, len(rr) - 1):
            if abs(rr[i] - rr[j]) < 0.03:
                one += 1
                two += abs(rr[i + 1] - rr[j + 1]) < 0.03
    return -math.log(max(2 * two, 1) / max(2 * one, 1)) + math.log(0.06) - math.log(float(np.mean(rr)))


def test_it_is_the_measure_of_the_paper() -> None:
    rr = irregular(100)
    values = cosen(rr)
    assert np.isnan(values[: FEWEST - 1]).all()
    for end in (12, 20, 60, 64, 72, 96):
        window = rr[max(0, end - 64) : end]
        assert values[end - 1] == pytest.approx(by_definition(window))


def test_it_separates_fibrillation_from_breathing_and_from_bigeminy() -> None:
    breathing = 0.9 + 0.1 * np.sin(np.arange(400) / 4.0) + np.random.default_rng(3).normal(0.0, 0.005, 400)
    bigeminy = np.tile((0.6, 1.0), 200) + np.random.default_rng(4).normal(0.0, 0.005, 400)
    assert (cosen(irregular(400))[64:] >= THRESHOLD).mean() > 0.95
    for rr in (regular(400), breathing, bigeminy):
        assert (cosen(rr)[64:] < THRESHOLD).all()


def test_seconds_are_counted_by_the_intervals_that_beats_end() -> None:
    rr = np.concatenate([regular(300), irregular(300)])
    times = np.concatenate([[0.0], np.cumsum(rr)])
    change, end = round(float(times[300]), 3), float(times[-1])
    segments = [
        RhythmSegment("N", 0, round(change * 250)),
        RhythmSegment("AFIB", round(change * 250), round(end * 250)),
    ]
    both, missed, false = af_seconds(times, segments, 250.0, 0.0)
    assert both + missed == pytest.approx(end - change, abs=0.01)
    assert 0.0 < missed < 64 * 0.75  # the delay of the window
    assert false == 0.0
    later = af_seconds(times, segments, 250.0, change + 100.0)
    assert later.sum() == pytest.approx(end - change - 100.0, abs=0.01)


def test_a_record_without_a_beat_has_only_missed_fibrillation() -> None:
    assert af_seconds(np.zeros(0), [RhythmSegment("AFIB", 0, 2500)], 250.0, 0.0).tolist() == [0.0, 10.0, 0.0]


def annotate(folder: Path, name: str, rr: NDArray[np.float64], rhythm: str | None) -> None:
    """Header and annotations of a record without a signal, 128 Hz."""
    samples = np.rint(np.cumsum(rr) * 128.0).astype(np.int64)
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.hea").write_text(f"{name} 1 128 {samples[-1] + 10}\n{name}.dat 16 200/mV 16 0 0 0 0 ECG\n")
    notes = [f"({rhythm}", *[""] * (len(samples) - 1)] if rhythm else None
    marks = ["+", *["N"] * (len(samples) - 1)] if rhythm else ["N"] * len(samples)
    wfdb.wrann(name, "atr", samples, symbol=marks, aux_note=notes, write_dir=str(folder))


def test_the_command_scores_annotations_without_a_signal(tmp_path: Path, cli: Cli) -> None:
    folder = tmp_path / "long"
    annotate(folder, "af", irregular(1000), "AFIB")
    annotate(folder, "sinus", regular(1000), "N")
    annotate(folder, "unlabelled", regular(1000), None)
    arguments = ("evaluate", "--data", str(folder), "--task", "rhythm", "--annotated-beats", "--jobs", "1")
    done = cli(*arguments, "--json")
    assert done.code == 0, done.err
    report = json.loads(done.out)
    assert report["beats"] == "annotated"
    assert report["records"] == 2
    assert report["cosen"]["AF"]["se"] > 90.0
    assert report["cosen"]["AF"]["ppv"] == 100.0
    assert "no rhythm annotations" in report["skipped_records"]["unlabelled"]
    assert report["per_record"]["sinus"]["reported_only_s"] == 0.0
    assert "AF by CoSEn" in cli(*arguments).out


@pytest.mark.parametrize("further", [["--task", "beat"], ["--task", "rhythm", "--lead", "0"]])
def test_options_that_need_a_signal_are_refused(tmp_path: Path, cli: Cli, further: list[str]) -> None:
    annotate(tmp_path / "long", "af", irregular(200), "AFIB")
    done = cli("evaluate", "--data", str(tmp_path / "long"), "--annotated-beats", *further)
    assert done.code == 2
    assert "--annotated-beats" in done.err
    assert not done.out
