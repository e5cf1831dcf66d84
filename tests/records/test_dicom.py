"""DICOM ECG: samples against pydicom's decoder, time offsets of groups, and invalid fields."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clinical_files import dicom_group, drawn_counts, write_dicom

from ecgmoe_edge.errors import MissingExtra, RecordError, UsageError
from ecgmoe_edge.records.registry import find_recordings, open_recording

pydicom = pytest.importorskip("pydicom")
COUNTS = drawn_counts()


@pytest.mark.parametrize(("correction", "baseline", "unit"), [(1, 0, "uV"), (1.25, 20, "uV"), (1, -0.5, "mV")])
def test_an_ecg_reads_as_pydicom_decodes_it(tmp_path: Path, correction: float, baseline: float, unit: str) -> None:
    group = dicom_group(COUNTS, correction=correction, baseline=baseline, unit=unit)
    path = write_dicom(tmp_path / "resting.dcm", [group])
    recording = open_recording(path)
    assert (recording.fs, recording.leads, recording.units) == (500.0, ("I", "II"), ("mV", "mV"))
    assert (recording.age, recording.sex) == (72, "F")
    theirs = pydicom.dcmread(path).waveform_array(0).T * (1e-3 if unit == "uV" else 1.0)
    assert np.allclose(recording.read(), theirs, rtol=1e-12, atol=1e-12)
    if (correction, baseline) == (1, 0):
        assert np.array_equal(np.rint(recording.read() / 2.5e-3), COUNTS)


@pytest.mark.parametrize(
    ("kind", "bits", "dtype"), [("US", 16, "<u2"), ("SB", 8, "i1"), ("UB", 8, "u1"), ("SL", 32, "<i4")]
)
def test_every_sample_type_is_read(tmp_path: Path, kind: str, bits: int, dtype: str) -> None:
    data = (COUNTS.T // 2 + (0 if np.dtype(dtype).kind == "i" else 20000)).astype(dtype)
    group = dicom_group(
        COUNTS, WaveformSampleInterpretation=kind, WaveformBitsAllocated=bits, WaveformData=data.tobytes()
    )
    path = write_dicom(tmp_path / "resting.dcm", [group])
    assert np.allclose(open_recording(path).read(), data.T * 2.5e-3, rtol=1e-12)


def test_the_median_beat_is_ignored(tmp_path: Path) -> None:
    median = dicom_group(COUNTS[:, :600], MultiplexGroupLabel="MEDIAN BEAT", WaveformOriginality="DERIVED")
    path = write_dicom(tmp_path / "resting.dcm", [median, dicom_group(COUNTS)])
    recording = open_recording(path)
    assert recording.n_samples == 3000
    assert "are ignored" in recording.remarks[0].text
    with pytest.raises(RecordError, match="derived"):
        open_recording(write_dicom(tmp_path / "median.dcm", [median]))


def test_groups_are_placed_at_their_time_offsets(tmp_path: Path) -> None:
    first = dicom_group(COUNTS, MultiplexGroupTimeOffset="0")
    second = dicom_group(COUNTS, ["Lead III", "Lead aVR"], MultiplexGroupTimeOffset="6000")
    rhythm = dicom_group(drawn_counts(1, 6000), ["Lead II"], MultiplexGroupTimeOffset="0")
    recording = open_recording(write_dicom(tmp_path / "resting.dcm", [first, second, rhythm]))
    assert recording.leads == ("I", "III", "aVR", "II")
    assert recording.n_samples == 6000
    read = recording.read(leads=["I", "III", "II"])
    assert np.isnan(read[0, 3000:]).all()
    assert np.isnan(read[1, :3000]).all()
    assert not np.isnan(read[2]).any()
    assert np.allclose(read[1, 3000:], COUNTS[0] * 2.5e-3)
    assert {remark.kind for remark in recording.remarks} == {"lead", "time"}
    blocks = np.concatenate(list(recording.blocks(1.3, leads=["I", "III", "II"])), axis=1)
    assert np.array_equal(blocks, read, equal_nan=True)


def test_padding_is_invalid_only_outside_the_range_of_the_signal(tmp_path: Path) -> None:
    counts = drawn_counts().clip(-3000, 3000)
    counts[0, 100:200] = -32768
    group = dicom_group(counts, WaveformPaddingValue=b"\x00\x80")
    read = open_recording(write_dicom(tmp_path / "a.dcm", [group])).read()
    assert np.isnan(read[0, 100:200]).all()
    assert np.isnan(read).sum() == 100
    zero = dicom_group(counts, WaveformPaddingValue=b"\0\0")
    assert not np.isnan(open_recording(write_dicom(tmp_path / "b.dcm", [zero])).read()).any()


def test_a_truncated_waveform_is_refused_or_read_to_its_end(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "a.dcm", [dicom_group(COUNTS, NumberOfWaveformSamples=4000)])
    with pytest.raises(RecordError, match="3000 of 4000"):
        open_recording(path)
    assert open_recording(path, truncated="read").n_samples == 3000


def test_a_missing_sensitivity_is_requested_from_the_user(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "a.dcm", [dicom_group(COUNTS, sensitivity=None)])
    with pytest.raises(UsageError, match="--uv-per-lsb"):
        open_recording(path)
    assert np.allclose(open_recording(path, uv_per_lsb=5).read(), COUNTS * 5e-3)
    with pytest.raises(UsageError, match="omit --uv-per-lsb"):
        open_recording(write_dicom(tmp_path / "b.dcm", [dicom_group(COUNTS)]), uv_per_lsb=5)


def test_channels_without_a_voltage_and_files_without_an_ecg_are_reported(tmp_path: Path) -> None:
    pressure = dicom_group(COUNTS[:1], ["Aortic pressure"], unit="mm[Hg]")
    both = open_recording(write_dicom(tmp_path / "a.dcm", [dicom_group(COUNTS), pressure]))
    assert both.leads == ("I", "II")
    assert any("Aortic pressure" in remark.text for remark in both.remarks)
    with pytest.raises(RecordError, match="no ECG"):
        open_recording(write_dicom(tmp_path / "ct.dcm", [], "1.2.840.10008.5.1.4.1.1.2", Modality="CT"))


@pytest.mark.parametrize(
    "fields",
    [{"SamplingFrequency": "0"}, {"sensitivity": 0}, {"NumberOfWaveformSamples": 0}, {"NumberOfWaveformChannels": 3},
     {"WaveformSampleInterpretation": "MB"}],
)  # fmt: skip
def test_an_invalid_field_is_refused(tmp_path: Path, fields: dict[str, Any]) -> None:
    with pytest.raises(RecordError) as raised:
        open_recording(write_dicom(tmp_path / "a.dcm", [dicom_group(COUNTS, **fields)]))
    assert "\n" not in str(raised.value)


def test_a_missing_pydicom_is_reported_with_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_dicom(tmp_path / "a.dcm", [dicom_group(COUNTS)])
    assert find_recordings(tmp_path) == [path]
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(MissingExtra, match=r"ecgmoe-edge\[records\]"):
        open_recording(path)


@pytest.mark.skipif("ECGMOE_DATA" not in os.environ, reason="ECGMOE_DATA is not set")
def test_one_ecg_in_two_formats_gives_the_same_samples() -> None:
    folder = Path(os.environ["ECGMOE_DATA"]) / "formats" / "clinical"
    if not folder.is_dir():
        pytest.skip("no sample formats in ECGMOE_DATA")
    dicom, aecg = (open_recording(folder / f"Example.{extension}") for extension in ("dcm", "xml"))
    assert set(dicom.leads) == set(aecg.leads)
    assert dicom.fs == aecg.fs == 500
    assert np.allclose(dicom.read(), aecg.read(leads=dicom.leads), rtol=0, atol=1e-12)
