"""OpenSignals: transfer functions of the sensors, lost samples, and devices with an unknown gain."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from clinical_files import opensignals_device, write_opensignals_hdf5, write_opensignals_text

from ecgmoe_edge.errors import MissingExtra, RecordError, UsageError
from ecgmoe_edge.records.registry import find_recordings, open_recording

N = 20_000
COUNTS = np.random.default_rng(4).integers(0, 65536, N)
ROWS = np.stack((np.arange(N) % 65536, np.zeros(N, np.int64), COUNTS), axis=1)


def plux(counts: np.ndarray) -> np.ndarray:
    return (counts / 2**16 - 0.5) * 3 / 1000 * 1000


def test_text_and_hdf5_of_biosignalsplux_are_scaled_by_the_transfer_function(tmp_path: Path) -> None:
    pytest.importorskip("h5py")
    text = open_recording(write_opensignals_text(tmp_path / "a.txt", ROWS, opensignals_device()))
    hdf5 = open_recording(write_opensignals_hdf5(tmp_path / "a.h5", COUNTS, ROWS[:, 0]))
    for recording in (text, hdf5):
        assert (recording.fs, recording.leads, recording.n_samples) == (1000.0, ("ECG",), N)
        assert np.allclose(recording.read()[0], plux(COUNTS), rtol=0, atol=1e-12)
        assert np.array_equal(recording.read(17, 10_001), recording.read()[:, 17:10_001])
        assert [block.shape[1] for block in recording.blocks(9)] == [9000] * 2 + [2000]
        assert not recording.remarks
    assert find_recordings(tmp_path) == [tmp_path / "a.h5", tmp_path / "a.txt"]


def test_a_bitalino_has_its_own_gain_and_resolution(tmp_path: Path) -> None:
    device = opensignals_device(
        device="bitalino_rev", column=["nSeq", "I1", "I2", "O1", "O2", "A1", "A2"], label=["A1", "A2"],
        sensor=["EDA", "ECGBIT"], resolution=[4, 1, 1, 1, 1, 10, 10],
    )  # fmt: skip
    counts = COUNTS % 1024
    zero = np.zeros(N, np.int64)
    rows = np.stack((np.arange(N) % 16, zero, zero, zero, zero, zero, counts), axis=1)
    recording = open_recording(write_opensignals_text(tmp_path / "a.txt", rows, device))
    assert np.allclose(recording.read()[0], (counts / 1024 - 0.5) * 3.3 / 1100 * 1000, rtol=0, atol=1e-12)
    assert "A1 (EDA)" in recording.remarks[0].text


def test_lost_samples_are_missing_time(tmp_path: Path) -> None:
    kept = np.delete(np.arange(N), [*range(1000, 1010), 10_000])
    recording = open_recording(write_opensignals_text(tmp_path / "a.txt", ROWS[kept], opensignals_device()))
    assert recording.n_samples == N
    assert np.flatnonzero(np.isnan(recording.read()[0])).tolist() == [*range(1000, 1010), 10_000]
    blocks = np.concatenate(list(recording.blocks(0.7)), axis=1)
    assert np.array_equal(blocks, recording.read(), equal_nan=True)
    damaged = ROWS.copy()
    damaged[:, 0] = COUNTS
    with pytest.raises(RecordError, match="sequence numbers"):
        open_recording(write_opensignals_text(tmp_path / "b.txt", damaged, opensignals_device())).read()


def test_an_unknown_gain_is_requested_from_the_user(tmp_path: Path) -> None:
    path = write_opensignals_text(tmp_path / "a.txt", ROWS, opensignals_device(device="other"))
    with pytest.raises(UsageError, match="--uv-per-lsb"):
        open_recording(path)
    assert np.allclose(open_recording(path, uv_per_lsb=2).read()[0], (COUNTS - 32768) * 2e-3)
    with pytest.raises(UsageError, match="gain is known"):
        open_recording(write_opensignals_text(tmp_path / "b.txt", ROWS, opensignals_device()), uv_per_lsb=2)


def test_the_sensors_of_a_device_without_an_ecg_are_listed(tmp_path: Path) -> None:
    path = write_opensignals_text(tmp_path / "a.txt", ROWS, opensignals_device(sensor=["EMG"]))
    with pytest.raises(RecordError, match="it has EMG"):
        open_recording(path)


def test_the_columns_of_a_second_device_follow_those_of_the_first(tmp_path: Path) -> None:
    rows = np.concatenate((ROWS * 0, ROWS), axis=1)
    path = write_opensignals_text(tmp_path / "a.txt", rows, opensignals_device(sensor=["EMG"]), opensignals_device())
    assert np.allclose(open_recording(path).read()[0], plux(COUNTS))


@pytest.mark.parametrize(
    "fields",
    [{"sampling rate": 0}, {"sampling rate": "x"}, {"resolution": []}, {"resolution": [99]}, {"label": []},
     {"column": ["CH2"]}, {"sensor": 3}],
)  # fmt: skip
def test_a_damaged_header_is_refused(tmp_path: Path, fields: dict[str, object]) -> None:
    with pytest.raises(RecordError):
        open_recording(write_opensignals_text(tmp_path / "a.txt", ROWS[:10], opensignals_device(**fields)))


def test_a_damaged_line_is_reported(tmp_path: Path) -> None:
    path = write_opensignals_text(tmp_path / "a.txt", ROWS[:10], opensignals_device())
    path.write_text(path.read_text().replace(f"\n4\t0\t{COUNTS[4]}", "\n4\t0\tx"))
    with pytest.raises(RecordError, match="Line 8"):
        open_recording(path).read()


def test_an_hdf5_file_of_another_program_is_refused(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = COUNTS
    with pytest.raises(RecordError, match="HDF5"):
        open_recording(tmp_path / "a.h5")


def test_a_missing_h5py_is_reported_with_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("h5py")
    path = write_opensignals_hdf5(tmp_path / "a.h5", COUNTS, ROWS[:, 0])
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(MissingExtra, match=r"ecgmoe-edge\[records\]"):
        open_recording(path)


@pytest.mark.skipif("ECGMOE_DATA" not in os.environ, reason="ECGMOE_DATA is not set")
def test_real_recordings_of_a_biosignalsplux_give_the_values_decoded_by_hand() -> None:
    h5py = pytest.importorskip("h5py")
    folder = Path(os.environ["ECGMOE_DATA"]) / "formats" / "opensignals"
    if not folder.is_dir():
        pytest.skip("no sample formats in ECGMOE_DATA")
    with h5py.File(folder / "ecg_20_sec_1000_Hz.h5") as file:
        counts = next(iter(file.values()))["raw/channel_1"][:, 0].astype(float)
    assert np.allclose(open_recording(folder / "ecg_20_sec_1000_Hz.h5").read()[0], plux(counts), rtol=0, atol=1e-12)
    counts = np.loadtxt(folder / "ecg_sample.txt", usecols=2)
    recording = open_recording(folder / "ecg_sample.txt")
    assert recording.fs == 200
    assert np.allclose(recording.read()[0], plux(counts), rtol=0, atol=1e-12)
