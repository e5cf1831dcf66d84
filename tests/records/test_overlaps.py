"""Excerpts of one recording are found by their RR intervals; rhythms that look alike in everybody are not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from installed_command import Cli
from numpy.typing import NDArray

from ecgmoe_edge.errors import RecordError
from ecgmoe_edge.records.annotations import write_annotations
from ecgmoe_edge.records.annotations_alone import annotated_records, read_annotated_record
from ecgmoe_edge.records.overlaps import find_overlaps
from ecgmoe_edge.streaming.events import Beat


def fibrillation(seed: int, beats: int = 3000) -> NDArray[np.float64]:
    """Beat times in s with independent RR intervals."""
    return np.cumsum(np.random.default_rng(seed).gamma(25.0, 0.7 / 25.0, beats))


def digitised(times: NDArray[np.float64], fs: float) -> NDArray[np.float64]:
    return np.round(times * fs) / fs


def test_an_excerpt_at_another_rate_is_found_with_its_offset() -> None:
    tape = fibrillation(1)
    excerpt = digitised(tape[(tape > 400) & (tape < 700)] - 400.0, 360.0)
    found = list(
        find_overlaps(
            {"excerpt": excerpt, "another": digitised(fibrillation(2), 360.0)}, [("tape", digitised(tape, 128.0))]
        )
    )
    assert [(one.first, one.second) for one in found] == [("excerpt", "tape")]
    assert found[0].second_s - found[0].first_s == pytest.approx(400.0, abs=8.0)  # starts of the first compared runs
    assert found[0].duration_s > 270.0
    assert found[0].matched > 0.95 * found[0].compared


def test_an_excerpt_with_missed_beats_is_still_found() -> None:
    tape = fibrillation(3)
    detected = np.delete(tape[1000:1600], np.arange(50, 600, 50))
    assert len(list(find_overlaps({"detected": detected}, [("tape", tape)]))) == 1


@pytest.mark.parametrize("pattern", [(0.8,), (0.6, 1.0), (0.7, 0.7, 1.0), (0.9, 0.5, 1.0, 0.8)])
def test_rhythms_that_repeat_a_pattern_are_not_taken_for_the_same_recording(pattern: tuple[float, ...]) -> None:
    first, second = (
        np.cumsum(np.tile(pattern, 400) + np.random.default_rng(seed).normal(0.0, 0.004, 400 * len(pattern)))
        for seed in (1, 2)
    )
    assert not list(find_overlaps({"first": first}, [("second", second)]))


def test_fibrillation_of_two_patients_is_not_taken_for_the_same_recording() -> None:
    records = {str(seed): digitised(fibrillation(seed, 20_000), 128.0) for seed in range(4)}
    assert not list(find_overlaps(records, records.items()))


def test_records_of_one_group_are_compared_once_and_never_with_themselves() -> None:
    tape = fibrillation(5)
    records = {"a": tape[:1500], "b": tape[1000:2500]}
    found = list(find_overlaps(records, records.items()))
    assert [(one.first, one.second) for one in found] == [("b", "a")]


def write_record(folder: Path, name: str, times: NDArray[np.float64], fs: float) -> None:
    """A header and annotations, without a signal."""
    beats = [Beat(round(float(t) * fs), float(t), None, "N", {}, {}, 1.0, 0.0, 0.0, 0.0) for t in times]
    write_annotations(folder, name, beats, fs, "atr")
    (folder / f"{name}.hea").write_text(
        f"{name} 1 {fs:g} {int(times[-1] * fs) + 100}\n{name}.dat 16 200/mV 16 0 0 0 0 ECG\n"
    )


def test_the_command_reports_an_excerpt_and_skips_what_it_cannot_read(tmp_path: Path, cli: Cli) -> None:
    tape = fibrillation(7)
    write_record(tmp_path / "test", "patient.7", tape[500:1200] - tape[499], 250.0)
    write_record(tmp_path / "training", "t1", tape, 128.0)
    write_record(tmp_path / "training", "t2", fibrillation(8), 128.0)
    (tmp_path / "training" / "t2.atr").write_bytes(b"\x01")
    done = cli("overlaps", str(tmp_path / "test"), str(tmp_path / "training"), "--json")
    assert done.code == 0, done.err
    report = json.loads(done.out)
    assert [Path(one["first"]).name for one in report["overlaps"]] == ["patient.7"]
    assert report["records"] == 2
    assert [Path(path).name for path in report["skipped"]] == ["t2"]
    text = cli("overlaps", str(tmp_path / "test"), str(tmp_path / "training")).out
    assert "1 overlap" in text


def test_a_folder_without_annotated_records_is_refused(tmp_path: Path, cli: Cli) -> None:
    done = cli("overlaps", str(tmp_path))
    assert done.code == 3
    assert "no WFDB record with a .atr file" in done.err
    assert not done.out


def test_annotations_without_a_signal_are_read(tmp_path: Path) -> None:
    times = fibrillation(9, 200)
    write_record(tmp_path, "without.signal", times, 128.0)
    record = read_annotated_record(annotated_records(tmp_path)["without.signal"])
    np.testing.assert_allclose(record.beat_times, times, atol=0.5 / 128.0 + 1e-9)


def test_annotations_without_a_stated_length_are_refused(tmp_path: Path) -> None:
    write_record(tmp_path, "r", fibrillation(9, 200), 128.0)
    (tmp_path / "r.hea").write_text("r 1 128\nr.dat 16 200/mV 16 0 0 0 0 ECG\n")
    with pytest.raises(RecordError, match="does not state the length"):
        read_annotated_record(tmp_path / "r")
