"""Recognises files of known kinds that cannot be read here, and tells the user how to get a readable recording."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ecgmoe_edge.input_files import shown_path
from ecgmoe_edge.records.first_bytes import first_bytes, last_bytes

_READABLE = "EDF, DICOM, HL7 aECG or CSV"
_UNPACK = "Unpack it and name a recording in it."
_EXPORT = f"Export the ECG from the software that wrote it, as {_READABLE}."
_PICTURE = f"A picture holds no samples: export the ECG itself from the device's software, as {_READABLE}."
_ARRAY = "Write the array as a CSV table (numpy.savetxt) and give its rate with --fs."
_SHEET = "Save the sheet with the samples as CSV and give its rate with --fs."
_SOUND = "If it contains an ECG, write its samples as a CSV table and give --fs and --unit."
_SCP = "Convert it to DICOM or HL7 aECG with ECGToolkit, which is free, or export it as one of them."
_EEG = "Export it as EDF with EDFbrowser or the vendor's software."


@dataclass(frozen=True)
class _Kind:
    """A kind of file, and advice how to get a recording from it."""

    what: str  # name with its article
    advice: str


_BUNDLE = _Kind("a bundle", "Give it as --bundle, and name a recording here.")
#: Position, bytes at this position, kind; the first match counts.
_MAGIC: tuple[tuple[int, bytes, _Kind], ...] = (
    (0, b"%PDF", _Kind("a PDF document", _PICTURE)),
    (0, b"\x89PNG\r\n\x1a\n", _Kind("a PNG picture", _PICTURE)),
    (0, b"\xff\xd8\xff", _Kind("a JPEG picture", _PICTURE)),
    (0, b"GIF8", _Kind("a GIF picture", _PICTURE)),
    (0, b"II*\0", _Kind("a TIFF picture", _PICTURE)),
    (0, b"MM\0*", _Kind("a TIFF picture", _PICTURE)),
    (8, b"WEBP", _Kind("a WebP picture", _PICTURE)),
    (4, b"ftyphei", _Kind("a HEIC picture", _PICTURE)),
    (4, b"ftyp", _Kind("a video", _PICTURE)),
    (0, b"7z\xbc\xaf\x27\x1c", _Kind("a 7z archive", _UNPACK)),
    (0, b"Rar!\x1a\x07", _Kind("a rar archive", _UNPACK)),
    (0, b"\x1f\x8b", _Kind("a gzip file", "Unpack it with gunzip, and name the unpacked file.")),
    (0, b"BZh", _Kind("a bzip2 file", "Unpack it with bunzip2, and name the unpacked file.")),
    (0, b"\xfd7zXZ\0", _Kind("an xz file", "Unpack it with unxz, and name the unpacked file.")),
    (0, b"\x28\xb5\x2f\xfd", _Kind("a Zstandard file", "Unpack it with unzstd, and name the unpacked file.")),
    (257, b"ustar", _Kind("a tar archive", _UNPACK)),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", _Kind("an old Excel or Word file (.xls, .doc)", _SHEET)),
    (0, b"MATLAB 5.0", _Kind("a MATLAB file", "Write its matrix with writematrix as CSV and give --fs.")),
    (0, b"MATLAB 7.3", _Kind("a MATLAB 7.3 file", "Write its matrix with writematrix as CSV and give --fs.")),
    (0, b"\x89HDF\r\n\x1a\n", _Kind("an HDF5 file that OpenSignals did not write", _ARRAY)),
    (0, b"\x93NUMPY", _Kind("a NumPy array", _ARRAY)),
    (0, b"PAR1", _Kind("a Parquet table", "Write it as a CSV table and give its rate with --fs.")),
    (0, b"ARROW1", _Kind("an Arrow table", "Write it as a CSV table and give its rate with --fs.")),
    (0, b"SQLite format 3\0", _Kind("an SQLite database", "Export the samples as a CSV table and give --fs.")),
    (16, b"SCPECG", _Kind("an SCP-ECG", _SCP)),
    (0, b"ANN  1.0", _Kind("an ISHNE annotation file", "Name the recording that it belongs to (.ecg).")),
    (8, b".FIT", _Kind("a Garmin FIT file, which has a heart rate and no ECG", "Name a file that contains an ECG.")),
    (8, b"WAVE", _Kind("a WAV sound", _SOUND)),
    (0, b"ID3", _Kind("an MP3 sound", _SOUND)),
    (0, b"fLaC", _Kind("a FLAC sound", f"{_SOUND} Name a WFDB record of that format by its .hea file.")),
    (0, b"OggS", _Kind("an Ogg sound", _SOUND)),
    (0, b"GDF ", _Kind("a GDF file", _EEG)),
    (0, b"Brain Vision", _Kind("a BrainVision header", _EEG)),
    (0, b"EEG-1100", _Kind("a Nihon Kohden file", _EEG)),
    (0, b"EEG-2100", _Kind("a Nihon Kohden file", _EEG)),
    (0, b"\x40\x20MFR", _Kind("an MFER file (Nihon Kohden, Fukuda Denshi)", _EXPORT)),
    (4, b"TFL3", _Kind("a TFLite model", "Name a recording.")),
    (8, b'{"', _Kind("a safetensors file of weights", "Name a recording.")),
)
#: Name of a file in a zip archive, kind; the first match counts.
_ZIPPED: tuple[tuple[bytes, _Kind], ...] = (
    (b"xl/", _Kind("an Excel workbook (.xlsx)", _SHEET)),
    (b"word/", _Kind("a Word document (.docx)", _PICTURE)),
    (b"ppt/", _Kind("a PowerPoint file (.pptx)", _PICTURE)),
    (b"data.pkl", _Kind("a PyTorch file", "It is never opened, because it can run code. Name a recording.")),
    (b".npy", _Kind("a NumPy archive (.npz)", _ARRAY)),
    (b"manifest.json", _BUNDLE),
)
#: Pattern near the root of an XML file, kind; the first match counts.
_XML: tuple[tuple[re.Pattern[bytes], _Kind], ...] = (
    (re.compile(rb"<html|<!doctype html", re.I), _Kind("a web page", _PICTURE)),
    (re.compile(rb"sierraecg|<restingecgdata|philips", re.I), _Kind("a Philips XML (SierraECG)", _EXPORT)),
    (re.compile(rb"mortara|<ecg[ >]", re.I), _Kind("a Mortara XML", _EXPORT)),
    (re.compile(rb"schiller|<examdescript", re.I), _Kind("a Schiller XML", _EXPORT)),
    (re.compile(rb"cardiologyxml|sapphire", re.I), _Kind("a GE CardioSoft XML", _EXPORT)),
    (
        re.compile(rb"<healthdata", re.I),
        _Kind("an Apple Health export", "Name a CSV of its electrocardiograms folder."),
    ),
    (re.compile(rb"nihon", re.I), _Kind("a Nihon Kohden XML", _EXPORT)),
    (re.compile(rb"<[?!a-z]", re.I), _Kind("an XML file of an unknown kind", _EXPORT)),
)
_JSON = _Kind("a JSON file", "Write its samples as a CSV table, and give --fs and --unit.")
_EVENTS = _Kind("a list of events that `stream` wrote", "Name the recording itself.")
_PICKLE = _Kind("a Python pickle", f"It is never opened, because it can run code. {_ARRAY}")
_BOM_AND_BLANKS = (b"\xef\xbb\xbf", b" ", b"\t", b"\r", b"\n")


def describe_unsupported_file(path: Path) -> str | None:
    """Describe a file that `open_recording` cannot read, and advise how to get a readable recording.

    Only the first 4096 bytes and, for a zip archive or a pickle, the last 4096 bytes are read.

    Returns:
        One to three sentences; None if the kind of file is unknown, if there is no file, or if the file is text that
        may be a table of samples.
    """
    if os.path.isdir(path):
        return _sentence(path, _BUNDLE) if os.path.isfile(path / "manifest.json") else None
    head = first_bytes(path)
    found = next((kind for recognise in _RECOGNISERS if (kind := recognise(path, head)) is not None), None)
    return None if found is None else _sentence(path, found)


def _sentence(path: Path, kind: _Kind) -> str:
    return f"{shown_path(path)} is {kind.what}, which cannot be read here. {kind.advice}"


def _by_magic(path: Path, head: bytes) -> _Kind | None:
    return next((kind for at, magic, kind in _MAGIC if head[at : at + len(magic)] == magic), None)


def _by_names_in_zip(path: Path, head: bytes) -> _Kind | None:
    if not head.startswith(b"PK\x03\x04"):
        return None
    names = head + last_bytes(path)  # the directory of a zip archive is at its end
    return next((kind for part, kind in _ZIPPED if part in names), _Kind("a zip archive", _UNPACK))


def _by_text(path: Path, head: bytes) -> _Kind | None:
    if head.startswith((b"\xff\xfe<\0", b"\xfe\xff\0<")):  # UTF-16
        head = head.replace(b"\0", b"").lstrip(b"\xff\xfe")
    text = head
    while text.startswith(_BOM_AND_BLANKS):
        text = text.removeprefix(_BOM_AND_BLANKS[0]).lstrip()
    if text.startswith(b"<"):
        return next((kind for pattern, kind in _XML if pattern.search(text)), None)
    if text.startswith(b'{"event"'):
        return _EVENTS
    return _JSON if text.startswith((b"{", b"[{", b"[[")) else None


def _by_pickle(path: Path, head: bytes) -> _Kind | None:
    protocol_2_up = len(head) > 2 and head[0] == 0x80 and 2 <= head[1] <= 5
    return _PICKLE if protocol_2_up and last_bytes(path).endswith(b".") else None


_RECOGNISERS: tuple[Callable[[Path, bytes], _Kind | None], ...] = (_by_magic, _by_names_in_zip, _by_text, _by_pickle)
