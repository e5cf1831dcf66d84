"""`open_recording` opens recordings of any format; a new format needs only one module."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ecgmoe_edge.calibration_data import load_calibration
from ecgmoe_edge.cli.replay import open_checked
from ecgmoe_edge.errors import RecordError, UsageError
from ecgmoe_edge.records import formats
from ecgmoe_edge.records.annotations import read_annotations
from ecgmoe_edge.records.recording import OpenOptions
from ecgmoe_edge.records.registry import (
    find_recordings,
    holds_recordings,
    is_recording,
    known_formats,
    open_recording,
)
from ecgmoe_edge.records.splits import locate

_TOY = '''
"""Samples as signed bytes of 10 uV after a first byte that is the rate in Hz."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ecgmoe_edge.records.recording import ArrayRecording, OpenOptions


class Toy:
    name = "toy recording (.toy)"
    states_rate = True
    in_folders = True

    def recognise(self, path: Path) -> Path | None:
        return path if path.suffix == ".toy" and path.is_file() else None

    def find(self, folder: Path) -> Iterator[Path]:
        return folder.glob("*.toy")

    def open(self, path: Path, options: OpenOptions) -> ArrayRecording:
        held = path.read_bytes()
        return ArrayRecording(path, float(held[0]), ("II",), np.frombuffer(held[1:], np.int8)[None] * 0.01)


FORMAT = Toy()
'''


@pytest.fixture
def toy(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A new module among the formats."""
    place = tmp_path_factory.mktemp("formats")
    (place / "toy.py").write_text(_TOY)
    monkeypatch.setattr(formats, "__path__", [*formats.__path__, str(place)])
    importlib.invalidate_caches()
    known_formats.cache_clear()
    yield
    sys.modules.pop("ecgmoe_edge.records.formats.toy")
    known_formats.cache_clear()


def _write_toy(folder: Path, ecg: Any) -> Path:
    path = folder / "heart.toy"
    path.write_bytes(bytes([round(ecg.fs)]) + np.round(ecg.signal * 100).astype(np.int8).tobytes())
    return path


@pytest.mark.usefixtures("toy")
def test_a_new_format_needs_only_one_module(tmp_path: Path, simulated_ecg: Callable[..., Any]) -> None:
    ecg = simulated_ecg(40.0, fs=200.0)
    path = _write_toy(tmp_path, ecg)
    recording = open_recording(path)
    assert (recording.name, recording.fs, recording.leads, recording.units) == ("heart", 200.0, ("II",), ("mV",))
    assert recording.n_samples == len(ecg.signal)
    np.testing.assert_allclose(np.concatenate(list(recording.blocks(7.0)), axis=1)[0], ecg.signal, atol=0.006)
    np.testing.assert_array_equal(recording.read(100, 150, ["ii"]), next(iter(recording.blocks()))[:, 100:150])

    assert find_recordings(tmp_path) == locate(tmp_path) == locate(tmp_path, records=["heart.toy"]) == [path]
    assert locate(tmp_path, records=["heart"]) == [path]  # by the name without extension
    played, leads, remarks = open_checked(str(path), OpenOptions(), None)
    assert (played.n_samples, played.fs, leads, remarks) == (len(ecg.signal), 200.0, [0], [])
    with pytest.raises(RecordError, match=r"toy recording \(\.toy\)"):
        open_recording(tmp_path / "unknown")


@pytest.mark.usefixtures("toy")
def test_calibration_accepts_a_folder_of_a_new_format(tmp_path: Path, simulated_ecg: Callable[..., Any]) -> None:
    pytest.importorskip("torch", reason="calibration needs the export extra")
    from ecgmoe_edge.converters.calibration import folder_beats

    ecg = simulated_ecg(40.0, fs=200.0)
    _write_toy(tmp_path, ecg)
    beats = folder_beats(tmp_path)
    assert len(ecg.r_peaks) - 20 < len(beats) <= len(ecg.r_peaks)
    assert beats.location(0).startswith("heart at ")


@pytest.mark.usefixtures("toy")
def test_wfdb_annotations_are_read_for_any_format(tmp_path: Path, simulated_ecg: Callable[..., Any]) -> None:
    wfdb = pytest.importorskip("wfdb", reason="annotations need the records extra")
    ecg = simulated_ecg(20.0, fs=200.0)
    path = _write_toy(tmp_path, ecg)
    wfdb.wrann("heart", "atr", ecg.r_peaks, symbol=["N"] * len(ecg.r_peaks), write_dir=str(tmp_path))
    np.testing.assert_array_equal(read_annotations(open_recording(path)).samples, ecg.r_peaks)


def test_a_wfdb_record_is_opened_by_its_name_or_any_of_its_files(write_record: Callable[..., Path]) -> None:
    path = write_record("a", np.arange(40, dtype=np.int16).reshape(2, 20))
    for named in (path, path.with_suffix(".hea"), path.with_suffix(".dat"), str(path)):
        recording = open_recording(named)
        assert (recording.path, recording.name, recording.units, recording.n_samples) == (path, "a", ("mV", "mV"), 20)
    assert find_recordings(path.parent) == [path]


def test_a_truncated_record_is_read_on_request(write_record: Callable[..., Path]) -> None:
    path = write_record("a", np.zeros((2, 20), dtype=np.int16), stated=30)
    with pytest.raises(RecordError, match="truncated"):
        open_recording(path)
    assert open_recording(path, truncated="read").n_samples == 20


def test_a_table_is_opened_with_the_stated_rate(tmp_path: Path) -> None:
    path = tmp_path / "a.CSV"
    path.write_text("t,II\n0,100\n1,200\n2,300\n")
    recording = open_recording(path, fs=250, unit="uV", columns=["II"])
    assert (recording.fs, recording.units, recording.n_samples) == (250.0, ("uV",), 3)
    np.testing.assert_allclose(recording.read(1, 3), [[0.2, 0.3]])
    np.testing.assert_allclose(recording.read(), [[0.1, 0.2, 0.3]])
    with pytest.raises(UsageError, match="--fs"):
        open_recording(path)
    assert not holds_recordings(tmp_path)  # its rate is unknown
    assert find_recordings(tmp_path) == []


def test_the_shipped_recording_is_opened_by_its_name() -> None:
    shipped, recording = load_calibration(), open_recording("calibration")
    assert (recording.name, recording.fs, recording.leads) == ("calibration", shipped.fs, shipped.leads)
    np.testing.assert_array_equal(np.concatenate(list(recording.blocks(100.0)), axis=1), shipped.signal)


@pytest.mark.parametrize("stated", [{"fs": 250.0}, {"fs": float("nan")}, {"unit": "mV"}, {"columns": [0]}])
def test_a_rate_or_unit_is_refused_if_the_file_states_its_own(stated: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="--fs and --unit"):
        open_recording("calibration", **stated)


def test_an_unknown_file_is_refused_with_the_known_formats_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"\x00\x01")
    for path in (tmp_path / "a.bin", tmp_path / "gone", tmp_path):
        assert not is_recording(path)
        with pytest.raises(RecordError, match=r"WFDB record \(\.hea\)") as refused:
            open_recording(path)
        words = str(refused.value)
        assert str(path) in words
        assert "table of samples (.csv, .tsv, .txt)" in words
        assert "`calibration`" in words
