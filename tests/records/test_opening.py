"""One of many recordings: its name, its default leads, and the reason if it is skipped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ecgmoe_edge.errors import RecordError
from ecgmoe_edge.records.names import one_of_each_name, record_name
from ecgmoe_edge.records.opening import chosen_leads, open_in_batch
from ecgmoe_edge.records.recording import ArrayRecording, OpenOptions


def recording(*leads: Any, names: tuple[str, ...] = ("I", "II", "V1")) -> ArrayRecording:
    return ArrayRecording(Path("r"), 250.0, names[: len(leads)], np.stack(leads))


def test_the_name_of_a_record_comes_from_its_path(tmp_path: Path) -> None:
    (tmp_path / "p.1.edf").touch()
    (tmp_path / "q.1.hea").touch()
    assert record_name(tmp_path / "p.1.edf") == "p.1"
    assert record_name(tmp_path / "q.1") == "q.1"  # a record q.1, whose header is q.1.hea
    assert record_name(tmp_path / "100") == "100"


def test_the_first_of_two_files_with_the_same_name_is_used(tmp_path: Path) -> None:
    for name in ("a.edf", "b.edf"):
        (tmp_path / name).touch()
    chosen, left_out = one_of_each_name([tmp_path / "a", tmp_path / "a.edf", tmp_path / "b.edf"])
    assert chosen == {"a": tmp_path / "a", "b": tmp_path / "b.edf"}
    assert list(left_out) == ["a.edf"]
    assert "same name" in left_out["a.edf"]


def test_the_first_lead_with_a_signal_is_the_default(simulated_ecg: Callable[..., Any]) -> None:
    ecg = simulated_ecg(40.0, fs=250.0).signal
    assert chosen_leads(recording(ecg, ecg)).positions == (0,)
    chosen = chosen_leads(recording(0 * ecg, ecg))
    assert (chosen.positions, chosen.usable) == ((1,), (1,))
    assert "II is used" in chosen.remarks[0].text
    with pytest.raises(RecordError, match="lead I is constant"):
        chosen_leads(recording(0 * ecg, ecg), ["I"])
    named = chosen_leads(recording(0 * ecg, ecg, ecg), ["i", "2"])
    assert (named.positions, named.usable) == ((0, 2), (2,))
    assert chosen_leads(recording(0 * ecg, ecg, ecg), "all").usable == (1, 2)
    with pytest.raises(RecordError, match="no lead 'V9'"):
        chosen_leads(recording(ecg), ["V9"])


def test_a_signal_without_a_beat_gets_a_remark(simulated_ecg: Callable[..., Any]) -> None:
    chosen = chosen_leads(recording(np.linspace(0, 3, 10_000)))
    assert (chosen.positions, chosen.usable) == ((0,), ())
    assert "No beat was found" in chosen.remarks[-1].text


def test_every_fault_of_one_of_many_recordings_is_a_record_error(
    tmp_path: Path, write_record: Callable[..., Path]
) -> None:
    (tmp_path / "table.csv").write_text("0.1\n0.2\n0.3\n")
    with pytest.raises(RecordError, match="--fs"):
        open_in_batch(tmp_path / "table.csv")
    stated = OpenOptions(fs=250.0, unit="uV")
    assert open_in_batch(tmp_path / "table.csv", stated).fs == 250.0
    pytest.importorskip("wfdb", reason="WFDB records need the records extra")
    record = write_record("own", np.ones((1, 500), np.int16), fs="360", leads=("II",))
    assert open_in_batch(record, stated).fs == 360.0  # the record states its rate
