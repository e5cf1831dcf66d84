"""Unsupported files are described by their bytes, with advice; none of them is opened further or run."""

from __future__ import annotations

import gzip
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.main import get_command

from ecgmoe_edge.cli.app import app
from ecgmoe_edge.errors import DeviceError, RecordError
from ecgmoe_edge.records.registry import open_recording
from ecgmoe_edge.records.unsupported_files import describe_unsupported_file


class Runs:
    """An object whose unpickling would run code."""

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, ("touch ran",)


def zipped(*names: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("[Content_Types].xml", bytes(20_000))
            for name in names:
                archive.writestr(name, os.urandom(20_000))

    return write


def holds(data: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(data)


def array(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.zeros(3))


KINDS: dict[str, Callable[[Path], object]] = {
    "PDF": holds(b"%PDF-1.7\n" + bytes(300)),
    "PNG": holds(b"\x89PNG\r\n\x1a\n" + bytes(300)),
    "JPEG": holds(b"\xff\xd8\xff\xe0" + bytes(300)),
    "TIFF": holds(b"II*\0" + bytes(300)),
    "zip archive": zipped("night.dat", "night.hea"),
    "Excel workbook": zipped("xl/workbook.xml"),
    "Word document": zipped("word/document.xml"),
    "NumPy archive": zipped("signal.npy"),
    "bundle": zipped("manifest.json", "model.onnx"),
    "PyTorch": zipped("archive/data.pkl"),
    "7z": holds(b"7z\xbc\xaf\x27\x1c" + bytes(30)),
    "rar": holds(b"Rar!\x1a\x07\x01" + bytes(30)),
    "gzip": holds(gzip.compress(b"1,2,3\n" * 100)),
    "tar": holds(bytes(257) + b"ustar\x0000" + bytes(300)),
    "old Excel": holds(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600)),
    "MATLAB file": holds(b"MATLAB 5.0 MAT-file, Platform: GLNXA64".ljust(128) + bytes(30)),
    "MATLAB 7.3": holds(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(512) + b"\x89HDF\r\n\x1a\n"),
    "NumPy array": array,
    "Parquet": holds(b"PAR1" + bytes(30)),
    "SCP-ECG": holds(struct.pack("<HI", 0, 400) + struct.pack("<HHI", 0, 0, 136) + b"\x14\x14SCPECG" + bytes(380)),
    "Philips": holds(b'<?xml version="1.0"?><restingecgdata xmlns="http://www3.medical.philips.com">'),
    "Mortara": holds(b'<?xml version="1.0"?>\n<ECG ACQUISITION_TIME="20240305"/>'),
    "Schiller": holds(b'<?xml version="1.0"?>\n<examdescript><device>SCHILLER</device></examdescript>'),
    "CardioSoft": holds(b'<?xml version="1.0"?>\n<CardiologyXML/>'),
    "Apple Health": holds(b'<?xml version="1.0"?>\n<HealthData locale="de_DE"/>'),
    "XML file": holds(b"<?xml version='1.0'?>\n<thing/>"),
    "web page": holds(b"\n<!DOCTYPE html><html><body></body></html>"),
    "Nihon Kohden": holds(b"EEG-1100C V01.00" + bytes(300)),
    "MFER": holds(b"\x40\x20MFR Standard 12 leads ECG" + bytes(30)),
    "pickle": holds(pickle.dumps({"ecg": Runs()})),
    "WAV": holds(b"RIFF\x24\x08\0\0WAVEfmt " + bytes(300)),
    "FIT": holds(b"\x0e\x20\x43\x08\0\0\0\0.FIT" + bytes(30)),
    "JSON": holds(json.dumps({"ecg": [0.1, 0.2]}).encode()),
    "events": holds(b'{"event": "beat", "sample": 12}\n'),
    "HDF5": holds(b"\x89HDF\r\n\x1a\n" + bytes(300)),
    "ISHNE annotation file": holds(b"ANN  1.0" + bytes(600)),
    "safetensors": holds(struct.pack("<Q", 40) + b'{"weight":{"dtype":"F32"}}'),
}


@pytest.mark.parametrize("kind", KINDS)
def test_an_unsupported_file_is_described_whatever_its_extension(tmp_path: Path, kind: str) -> None:
    for extension in ("bin", "csv", "xml", "edf", "h5"):
        path = tmp_path / f"report.{extension}"
        KINDS[kind](path)
        named = describe_unsupported_file(path)
        assert named is not None
        assert kind in named
        assert named.endswith(".")
        with pytest.raises(RecordError) as raised:
            open_recording(path, fs=250 if extension == "csv" else None)
        assert "\n" not in str(raised.value)
        assert kind in str(raised.value) or (kind, extension) == (
            "HDF5",
            "h5",
        )  # with this extension the damage is reported
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "text",
    [b"0.1,0.2\n0.3,0.4\n", b"\xef\xbb\xbftime;ECG\n", b"\xff\xfe0\0,\0001\0\n\0", b"[mV]\n0.1\n", b"# comment\n1 2\n",
     b"", b"0       1       2\n0       1       2\n" * 20],
)  # fmt: skip
def test_text_that_may_be_a_table_is_not_described(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "night.csv").write_bytes(text)
    assert describe_unsupported_file(tmp_path / "night.csv") is None


def test_only_a_folder_with_a_bundle_is_described(tmp_path: Path) -> None:
    assert describe_unsupported_file(tmp_path) is None
    (tmp_path / "manifest.json").write_text("{}")
    assert "--bundle" in str(describe_unsupported_file(tmp_path))
    assert describe_unsupported_file(tmp_path / "absent") is None


def test_fifos_and_devices_are_not_opened_as_recordings(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "night.edf")
    (tmp_path / "loop.csv").symlink_to(tmp_path / "loop.csv")
    (tmp_path / "empty.edf").touch()
    refusals = {
        tmp_path / "night.edf": "FIFO", tmp_path / "loop.csv": "back to itself", tmp_path / "empty.edf": "empty",
        Path("/dev/null"): "device file", tmp_path: "folder", tmp_path / ("x" * 3000): "longer",
        tmp_path / ("x" * 253): "no recording", tmp_path / "a\0b": "NUL", tmp_path / "absent.edf": "no recording",
    }  # fmt: skip
    for path, reason in refusals.items():
        with pytest.raises(RecordError, match=reason):
            open_recording(path, fs=250)


def test_stream_describes_a_file_given_as_a_port(tmp_path: Path) -> None:
    (tmp_path / "report.pdf").write_bytes(b"%PDF-1.7\n" + bytes(300))
    (tmp_path / "night.csv").write_bytes(b"0.1\n")
    (tmp_path / "notes").write_bytes(b"some words")
    for name, words in (("report.pdf", "PDF document"), ("night.csv", "ecgmoe-edge replay"), ("notes", "is a file")):
        with pytest.raises(DeviceError, match=words):
            get_command(app)(["stream", "--port", str(tmp_path / name)], standalone_mode=False)
