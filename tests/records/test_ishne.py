"""ISHNE Holter files: samples against ishneholterlib, and invalid headers."""

from __future__ import annotations

import struct
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from ishne_files import drawn, write_ishne

from ecgmoe_edge.errors import RecordError, UsageError
from ecgmoe_edge.records.formats.ishne import read_ishne_annotations
from ecgmoe_edge.records.registry import find_recordings, open_recording


@pytest.fixture
def ishneholterlib(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The reader of ishneholterlib without its checksum test, which fails with NumPy 2."""
    module: ModuleType = pytest.importorskip("ishneholterlib")
    monkeypatch.setattr(module.Holter, "is_valid", lambda _: True)
    return module


@pytest.mark.filterwarnings("ignore:Data type alias 'a':DeprecationWarning")
def test_a_holter_file_reads_as_ishneholterlib_reads_it(tmp_path: Path, ishneholterlib: ModuleType) -> None:
    path = write_ishne(tmp_path / "holter.ecg", drawn())
    recording = open_recording(path)
    assert (recording.fs, recording.leads, recording.n_samples) == (200.0, ("II", "V1", "II 2"), 5000)
    assert (recording.age, recording.sex) == (72, "F")
    assert not recording.remarks
    data = path.read_bytes()
    assert ishneholterlib.Crc16CcittFalse.calc(data[10:536]) == int.from_bytes(data[8:10], "little")
    theirs = ishneholterlib.Holter(str(path))
    theirs.load_data()
    read = recording.read()
    for lead in range(3):
        assert np.allclose(read[lead], theirs.lead[lead].data, rtol=0, atol=1e-12)
    assert np.array_equal(np.rint(read / 2.5e-3), drawn())


def test_any_range_of_samples_equals_that_of_the_whole_recording(tmp_path: Path) -> None:
    recording = open_recording(write_ishne(tmp_path / "holter.ecg", drawn()))
    whole = recording.read()
    assert np.array_equal(recording.read(17, 999, ["V1", 0]), whole[[1, 0], 17:999])
    assert np.array_equal(np.concatenate(list(recording.blocks(1.7)), axis=1), whole)


def test_the_stated_length_may_count_one_lead_or_all_leads(tmp_path: Path) -> None:
    for size in (5000, 15000):
        recording = open_recording(write_ishne(tmp_path / "holter.ecg", drawn(), size=size))
        assert recording.n_samples == 5000
        assert not recording.remarks
    assert open_recording(write_ishne(tmp_path / "holter.ecg", drawn(), size=-9)).remarks[0].kind == "length"
    assert open_recording(write_ishne(tmp_path / "holter.ecg", drawn(), size=4000)).n_samples == 4000


def test_a_truncated_file_is_refused_or_read_to_its_end(tmp_path: Path) -> None:
    path = write_ishne(tmp_path / "holter.ecg", drawn())
    path.write_bytes(path.read_bytes()[:-6001])
    with pytest.raises(RecordError, match="truncated: 3999 of the"):
        open_recording(path)
    assert open_recording(path, truncated="read").n_samples == 3999


@pytest.mark.parametrize(
    "fields", [{"n_leads": 0}, {"n_leads": 13}, {"rate": 0}, {"rate": -200}, {"at": 10**6}, {"at": 9}]
)
def test_an_invalid_header_is_refused(tmp_path: Path, fields: dict[str, int]) -> None:
    with pytest.raises(RecordError, match="ISHNE header"):
        open_recording(write_ishne(tmp_path / "holter.ecg", drawn(), **fields))  # type: ignore[arg-type]


def test_a_missing_resolution_is_requested_from_the_user(tmp_path: Path) -> None:
    path = write_ishne(tmp_path / "holter.ecg", drawn(), resolution=-9)
    with pytest.raises(UsageError, match="--uv-per-lsb"):
        open_recording(path)
    assert np.array_equal(open_recording(path, uv_per_lsb=2.5).read(), drawn() * 2.5e-3)
    with pytest.raises(UsageError, match="states its own"):
        open_recording(write_ishne(tmp_path / "holter.ecg", drawn()), uv_per_lsb=2.5)


def test_a_wrong_checksum_gets_a_remark(tmp_path: Path) -> None:
    assert "checksum" in open_recording(write_ishne(tmp_path / "holter.ecg", drawn(), damage=1)).remarks[0].text


def test_holter_files_are_found_in_a_folder(tmp_path: Path) -> None:
    path = write_ishne(tmp_path / "holter.ecg", drawn())
    (tmp_path / "other.ecg").write_bytes(b"of another maker")
    assert find_recordings(tmp_path) == [path]


@pytest.mark.filterwarnings("ignore:Data type alias 'a':DeprecationWarning")
def test_annotations_read_as_ishneholterlib_reads_them(tmp_path: Path, ishneholterlib: ModuleType) -> None:
    path = write_ishne(tmp_path / "holter.ecg", drawn())
    beats = struct.pack("<i", 40) + b"".join(
        struct.pack("<ccH", label, b"\0", later) for label, later in ((b"N", 200), (b"V", 120), (b"N", 280))
    )
    file = write_ishne(tmp_path / "holter.ann", drawn(), magic=b"ANN  1.0", after=beats)
    annotations = read_ishne_annotations(file)
    assert annotations.samples.tolist() == [240, 360, 640]
    assert annotations.labels == ("N", "V", "N")
    assert annotations.complete
    theirs = ishneholterlib.Holter(str(path))
    theirs.load_ann()
    assert [beat["samp_num"] for beat in theirs.beat_anns] == annotations.samples.tolist()
    file = write_ishne(
        tmp_path / "b.ann", drawn(), magic=b"ANN  1.0", after=beats + struct.pack("<ccH", b"!", b"\0", 9) + beats[4:]
    )
    assert len(read_ishne_annotations(file).labels) == 3
    assert not read_ishne_annotations(file).complete
    with pytest.raises(RecordError, match="not an ISHNE annotation file"):
        read_ishne_annotations(path)
