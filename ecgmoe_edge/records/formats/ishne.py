"""ISHNE Holter files (.ecg) and their beat annotations (.ann).

Layout: Badilini, The ISHNE Holter Standard Output File Format, Ann Noninvasive Electrocardiol 3:263 (1998); the
annotations: http://thew-project.org/papers/ishneAnn.pdf. All numbers are little-endian.
"""

from __future__ import annotations

import struct
from binascii import crc_hqx
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.errors import RecordError, UsageError
from ecgmoe_edge.records.first_bytes import files_in, first_bytes, open_binary
from ecgmoe_edge.records.names import unique_names
from ecgmoe_edge.records.recording import (
    READ_TRUNCATED,
    Lead,
    OpenOptions,
    Remark,
    Sex,
    Truncated,
    blocks_by_reading,
    checked_stop,
    choose_leads,
)

_MAGIC = b"ISHNE1.0"
_ANNOTATION_MAGIC = b"ANN  1.0"
_FIXED_END = 522  # bytes: magic, checksum and the fixed header
_CRC_START = 10
_CRC_SEED = 0xFFFF  # CCITT
_MOST_LEADS = 12
_SEXES: dict[int, Sex] = {1: "M", 2: "F"}
# Lead names by lead code (table 1 of the paper).
_LEADS = ("unknown", "bipolar", "X", "Y", "Z", "I", "II", "III", "aVR", "aVL", "aVF",
          "V1", "V2", "V3", "V4", "V5", "V6", "ES", "AS", "AI")  # fmt: skip
_NV_PER_MV = 1e6
_COARSEST_NV = 50_000
_TIME_OUT = "!"  # further beats follow after a time that the file does not state


@dataclass(frozen=True)
class IshneRecord:
    """One ISHNE file, opened with `open_ishne`; the signal is read when a block is requested."""

    path: Path
    fs: float  # Hz
    leads: tuple[str, ...]
    resolution: tuple[float, ...]  # nV per count
    n_samples: int
    age: int | None
    sex: Sex | None
    remarks: tuple[Remark, ...]
    data_start: int  # bytes before the first sample

    @property
    def name(self) -> str:
        """Name of the file, without extension."""
        return self.path.stem

    @property
    def units(self) -> tuple[str, ...]:
        """Nanovolts for every lead, as the format specifies."""
        return ("nV",) * len(self.leads)

    def blocks(self, seconds: float = 60.0, leads: Sequence[Lead] | None = None) -> Iterator[NDArray[np.float64]]:
        """Successive blocks of `seconds`, `(leads, n)` in mV; the last block is shorter."""
        return blocks_by_reading(self, seconds, leads)

    def read(self, start: int = 0, stop: int | None = None, leads: Sequence[Lead] | None = None) -> NDArray[np.float64]:
        """Samples from `start` up to, but not including, `stop`: `(leads, n)` in mV.

        Raises:
            RecordError: there is no such lead or sample, or the file has become shorter since it was opened.
        """
        chosen = choose_leads(self.leads, leads, self.name)
        stop = checked_stop(self, start, stop)
        width = 2 * len(self.leads)
        with open_binary(self.path) as file:
            file.seek(self.data_start + start * width)
            data = file.read((stop - start) * width)
        if len(data) < (stop - start) * width:
            raise RecordError(f"{self.path.name} has become shorter while it was read. Copy it again from its source.")
        counts = np.frombuffer(data, "<i2").reshape(-1, len(self.leads)).T
        scale = np.array([self.resolution[position] / _NV_PER_MV for position in chosen])
        return np.asarray(counts[chosen] * scale[:, None], dtype=np.float64)


@dataclass(frozen=True)
class IshneAnnotations:
    """The beats of an ISHNE annotation file."""

    samples: NDArray[np.int64]  # (n,) sample of each beat in the recording, ascending
    labels: tuple[str, ...]  # label of each beat: N, V, S, B (bundle branch block), P (paced), X (artefact), U ...
    complete: bool  # False: the file has further beats, at times that it does not state


def open_ishne(path: Path | str, options: OpenOptions | None = None) -> IshneRecord:
    """Open an ISHNE Holter file.

    Args:
        path: the file.
        options: `truncated` and `uv_per_lsb` are used.

    Raises:
        RecordError: the header is truncated or invalid, or the signal is shorter than the header states.
        UsageError: the file states no resolution of a lead and `uv_per_lsb` is not given, or both are given.
    """
    path, options = Path(path), options or OpenOptions()
    with open_binary(path) as file:
        fixed = file.read(_FIXED_END)
        if len(fixed) < _FIXED_END or not fixed.startswith(_MAGIC):
            raise RecordError(f"{path.name} ends within its ISHNE header. Copy it again from its source.")
        variable, size, _, at = struct.unpack_from("<4i", fixed, 10)
        n_leads, rate = struct.unpack_from("<h", fixed, 156)[0], struct.unpack_from("<h", fixed, 272)[0]
        if not 1 <= n_leads <= _MOST_LEADS or rate <= 0:
            raise RecordError(
                f"The ISHNE header of {path.name} states {n_leads} leads and {rate} Hz, which is invalid. Export the "
                "recording again from the Holter software."
            )
        file_bytes = path.stat().st_size
        if not (0 <= variable <= file_bytes and _FIXED_END <= at <= file_bytes):
            raise RecordError(
                f"The ISHNE header of {path.name} states that the signal starts at byte {at} of {file_bytes}, which is "
                "invalid. Copy the file again from its source."
            )
        file.seek(_CRC_START)
        crc = crc_hqx(file.read(_FIXED_END + variable - _CRC_START), _CRC_SEED)
    remarks = []
    if crc != struct.unpack_from("<H", fixed, 8)[0]:
        text = f"The checksum of the header of {path.name} is wrong: compare the file with its source."
        remarks.append(Remark("encoding", text))
    present = (file_bytes - at) // (2 * n_leads)
    n_samples, length_remarks = _n_samples(path, n_leads, size, present, rate, options.truncated)
    names = unique_names([_lead_name(code, one) for one, code in enumerate(_words(fixed, 158, n_leads))])
    resolution = _resolution(path, _words(fixed, 206, n_leads), options.uv_per_lsb)
    coarse = tuple(name for name, nv in zip(names, resolution, strict=True) if nv > _COARSEST_NV)
    if coarse:
        text = f"One count of {', '.join(coarse)} is more than {_COARSEST_NV / 1e3:g} uV, too coarse for an ECG."
        remarks.append(Remark("gain", text, coarse))
    return IshneRecord(
        path=path,
        fs=float(rate),
        leads=names,
        resolution=resolution,
        n_samples=n_samples,
        age=_age(_words(fixed, 132, 3), _words(fixed, 138, 3)),
        sex=_SEXES.get(_words(fixed, 128, 1)[0]),
        remarks=(*remarks, *length_remarks),
        data_start=at,
    )


def read_ishne_annotations(path: Path | str) -> IshneAnnotations:
    """Read the beats of an ISHNE annotation file (.ann), which follow a copy of the header of the recording.

    The times of the beats are differences. The first one counts from the sample that the file states before the beats.

    Raises:
        RecordError: the file is not an ISHNE annotation file, or ends within its header.
    """
    path = Path(path)
    with open_binary(path) as file:
        fixed = file.read(_FIXED_END)
        if len(fixed) < _FIXED_END or not fixed.startswith(_ANNOTATION_MAGIC):
            raise RecordError(f"{path} is not an ISHNE annotation file. Name the .ann file beside the recording.")
        variable = struct.unpack_from("<i", fixed, 10)[0]
        file.seek(_FIXED_END + max(0, variable))
        data = file.read() if 0 <= variable <= path.stat().st_size else b""
    if len(data) < 4:
        raise RecordError(f"{path} ends within its header. Copy it again from its source.")
    beats = np.frombuffer(
        data, np.dtype([("label", "S1"), ("internal", "S1"), ("later", "<u2")]), (len(data) - 4) // 4, 4
    )
    labels = [label.decode("latin-1") for label in beats["label"].tolist()]
    known = labels.index(_TIME_OUT) if _TIME_OUT in labels else len(labels)
    first = struct.unpack_from("<i", data)[0]
    samples = first + np.cumsum(beats["later"][:known], dtype=np.int64)
    return IshneAnnotations(samples, tuple(labels[:known]), complete=known == len(labels))


class IshneFormat:
    """An ISHNE file, recognised by its first bytes."""

    name = "ISHNE Holter file (.ecg)"
    states_rate = True
    may_lack = ("uv_per_lsb",)
    in_folders = True

    def recognise(self, path: Path) -> Path | None:
        """The file itself, if it is an ISHNE file."""
        return path if first_bytes(path).startswith(_MAGIC) else None

    def find(self, folder: Path) -> Iterator[Path]:
        """ISHNE files with the extension .ecg."""
        return (path for path in files_in(folder, (".ecg",)) if self.recognise(path) is not None)

    def open(self, path: Path, options: OpenOptions) -> IshneRecord:
        """Open the file with `open_ishne`."""
        return open_ishne(path, options)


FORMAT = IshneFormat()


def _words(fixed: bytes, at: int, count: int) -> tuple[int, ...]:
    return struct.unpack_from(f"<{count}h", fixed, at)


def _lead_name(code: int, position: int) -> str:
    return _LEADS[code] if 2 <= code < len(_LEADS) else f"lead {position + 1}"


def _resolution(path: Path, words: Sequence[int], stated_uv: float | None) -> tuple[float, ...]:
    """Nanovolts per count, for each lead."""
    if stated_uv is not None:
        if all(word > 0 for word in words):
            raise UsageError(f"{path.name} states its own resolution: omit --uv-per-lsb.")
        if not 0 < stated_uv < 1e6:
            raise UsageError(f"--uv-per-lsb needs the microvolts per count, above 0; it is {stated_uv:g}.")
    elif any(word <= 0 for word in words):
        raise UsageError(f"{path.name} states no resolution of its leads: give --uv-per-lsb, in microvolts per count.")
    return tuple(float(word) if word > 0 else (stated_uv or 0.0) * 1e3 for word in words)


def _n_samples(
    path: Path, n_leads: int, size: int, present: int, rate: int, truncated: Truncated
) -> tuple[int, list[Remark]]:
    """Samples per lead.

    Some devices state in the header (`size`) the samples of one lead, others those of all leads together. The length of
    the file shows which.
    """
    if present < 1:
        raise RecordError(f"{path.name} has a header but no sample. Copy it again from its source.")
    if size <= 0:
        return present, [
            Remark("length", f"The header of {path.name} states no length; all {present} samples are read.")
        ]
    shared = size // n_leads  # samples per lead if `size` counts all leads together
    if present in (size, shared):
        return present, []
    if shared < present <= shared + rate or present > size:
        stated = shared if present <= shared + rate else size
        text = f"{path.name} has {present} samples per lead; its header states {stated}, and only these are read."
        return stated, [Remark("length", text)]
    stated = shared if present < shared else size
    if truncated == "error":
        raise RecordError(
            f"The signal of {path.name} is truncated: {present} of the {stated} samples per lead that its header "
            f"states are present. Copy the file again, or {READ_TRUNCATED}."
        )
    return present, [Remark("length", f"{path.name} is truncated: {present} of {stated} samples per lead are present.")]


def _age(born: Sequence[int], recorded: Sequence[int]) -> int | None:
    """Years between two dates, each given as day, month and year; None if a date is invalid."""
    try:
        first, last = date(born[2], born[1], born[0]), date(recorded[2], recorded[1], recorded[0])
    except ValueError:
        return None
    age = last.year - first.year - ((last.month, last.day) < (first.month, first.day))
    return age if 0 <= age <= 120 else None
