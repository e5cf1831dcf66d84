"""ISHNE Holter files (.ecg) and the beat annotations that belong to them (.ann).

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
from ecgmoe_edge.records.lead_names import unique_names
from ecgmoe_edge.records.recording import Lead, OpenOptions, Remark, Sex, Truncated, choose_leads

_MAGIC = b"ISHNE1.0"
_ANNOTATION_MAGIC = b"ANN  1.0"
_FIXED_END = 522  # bytes: magic, checksum and the fixed header
_CRC_START = 10
_CRC_SEED = 0xFFFF  # CCITT
_MOST_LEADS = 12
_SEXES: dict[int, Sex] = {1: "M", 2: "F"}
# Table 1 of the paper, by the code of a lead.
_LEADS = ("unknown", "bipolar", "X", "Y", "Z", "I", "II", "III", "aVR", "aVL", "aVF",
          "V1", "V2", "V3", "V4", "V5", "V6", "ES", "AS", "AI")  # fmt: skip
_NV_PER_MV = 1e6
_COARSEST_NV = 50_000
_TIME_OUT = "!"  # beats follow after a time that the file does not state


@dataclass(frozen=True)
class IshneRecord:
    """One ISHNE file, opened with `open_ishne`; the signal stays on the disk until a block is asked for."""

    path: Path
    fs: float  # Hz
    leads: tuple[str, ...]
    resolution: tuple[float, ...]  # nV a count
    n_samples: int
    age: int | None
    sex: Sex | None
    remarks: tuple[Remark, ...]
    at: int  # bytes before the first sample

    @property
    def name(self) -> str:
        """Name of the file, without extension."""
        return self.path.stem

    @property
    def units(self) -> tuple[str, ...]:
        """Nanovolts of every lead, as the format has it."""
        return ("nV",) * len(self.leads)

    def blocks(self, seconds: float = 60.0, leads: Sequence[Lead] | None = None) -> Iterator[NDArray[np.float64]]:
        """Successive blocks of `seconds`, `(leads, n)` in mV; the last is shorter."""
        size = max(1, round(seconds * self.fs))
        for start in range(0, self.n_samples, size):
            yield self.read(start, min(start + size, self.n_samples), leads)

    def read(self, start: int = 0, stop: int | None = None, leads: Sequence[Lead] | None = None) -> NDArray[np.float64]:
        """Samples `start` to `stop` (not included), `(leads, n)` in mV.

        Raises:
            RecordError: no such lead, no such sample, or a file that has become shorter since it was opened.
        """
        chosen = choose_leads(self.leads, leads, self.name)
        stop = self.n_samples if stop is None else min(stop, self.n_samples)
        if start < 0 or start > stop:
            raise RecordError(f"{self.name} has samples 0 to {self.n_samples}; {start} to {stop} is not among them.")
        width = 2 * len(self.leads)
        with open_binary(self.path) as file:
            file.seek(self.at + start * width)
            data = file.read((stop - start) * width)
        if len(data) < (stop - start) * width:
            raise RecordError(f"{self.path.name} has become shorter while it was read. Copy it again from its source.")
        counts = np.frombuffer(data, "<i2").reshape(-1, len(self.leads)).T
        scale = np.array([self.resolution[position] / _NV_PER_MV for position in chosen])
        return np.asarray(counts[chosen] * scale[:, None], dtype=np.float64)


@dataclass(frozen=True)
class IshneAnnotations:
    """The beats of an ISHNE annotation file."""

    samples: NDArray[np.int64]  # (n,), in samples of the recording, ascending
    labels: tuple[str, ...]  # of each: N, V, S, B (bundle branch block), P (paced), X (artefact), U and others
    complete: bool  # False: after the last of these the file goes on at a time that it does not state


def open_ishne(path: Path | str, options: OpenOptions | None = None) -> IshneRecord:
    """Open an ISHNE Holter file.

    Raises:
        RecordError: a header that is cut short or gives what cannot be, or a signal shorter than it says.
        UsageError: a lead without resolution and no `uv_per_lsb` stated, or one stated where the file has it.
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
                f"The ISHNE header of {path.name} gives {n_leads} leads and {rate} Hz, which cannot be. Export the "
                "recording again from the Holter's software."
            )
        there = path.stat().st_size
        if not (0 <= variable <= there and _FIXED_END <= at <= there):
            raise RecordError(
                f"The ISHNE header of {path.name} gives a signal from byte {at} of {there}, which cannot be. Copy the "
                "file again from its source."
            )
        file.seek(_CRC_START)
        crc = crc_hqx(file.read(_FIXED_END + variable - _CRC_START), _CRC_SEED)
    remarks = []
    if crc != struct.unpack_from("<H", fixed, 8)[0]:
        text = f"The checksum of the header of {path.name} does not fit it: compare the file with its source."
        remarks.append(Remark("encoding", text))
    n_samples, on_length = _n_samples(path, n_leads, size, (there - at) // (2 * n_leads), rate, options.truncated)
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
        remarks=(*remarks, *on_length),
        at=at,
    )


def read_ishne_annotations(path: Path | str) -> IshneAnnotations:
    """The beats of an ISHNE annotation file (.ann), which has the header of the recording before them.

    The sample that the file names first is that from which the time of its first beat counts.

    Raises:
        RecordError: it is no such file, or ends within its header.
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
    """An ISHNE file, known by its first bytes."""

    name = "ISHNE Holter file (.ecg)"
    states_rate = True
    may_lack = ("uv_per_lsb",)
    in_folders = True

    def recognise(self, path: Path) -> Path | None:
        """The file itself."""
        return path if first_bytes(path).startswith(_MAGIC) else None

    def find(self, folder: Path) -> Iterator[Path]:
        """Files with the extension .ecg that are one."""
        return (path for path in files_in(folder, (".ecg",)) if self.recognise(path) is not None)

    def open(self, path: Path, options: OpenOptions) -> IshneRecord:
        """See `open_ishne`."""
        return open_ishne(path, options)


FORMAT = IshneFormat()


def _words(fixed: bytes, at: int, count: int) -> tuple[int, ...]:
    return struct.unpack_from(f"<{count}h", fixed, at)


def _lead_name(code: int, position: int) -> str:
    return _LEADS[code] if 2 <= code < len(_LEADS) else f"lead {position + 1}"


def _resolution(path: Path, words: Sequence[int], stated_uv: float | None) -> tuple[float, ...]:
    """Nanovolts a count."""
    if stated_uv is not None:
        if all(word > 0 for word in words):
            raise UsageError(f"{path.name} states its own resolution: leave --uv-per-lsb out.")
        if not 0 < stated_uv < 1e6:
            raise UsageError(f"--uv-per-lsb takes the microvolts of one step, more than 0; it got {stated_uv:g}.")
    elif any(word <= 0 for word in words):
        raise UsageError(f"{path.name} gives no resolution of its leads: give --uv-per-lsb, in microvolts a count.")
    return tuple(float(word) if word > 0 else (stated_uv or 0.0) * 1e3 for word in words)


def _n_samples(
    path: Path, n_leads: int, size: int, there: int, rate: int, truncated: Truncated
) -> tuple[int, list[Remark]]:
    """Samples a lead. A header counts those of one lead or of all together: devices differ, and the length tells."""
    if there < 1:
        raise RecordError(f"{path.name} has a header and no sample. Copy it again from its source.")
    if size <= 0:
        return there, [Remark("length", f"The header of {path.name} gives no length; all {there} samples are read.")]
    of_all = size // n_leads
    if there in (size, of_all):
        return there, []
    if of_all < there <= of_all + rate or there > size:
        promised = of_all if there <= of_all + rate else size
        text = f"{path.name} holds {there} samples a lead; its header gives {promised}, and no more are read."
        return promised, [Remark("length", text)]
    promised = of_all if there < of_all else size
    if truncated == "error":
        raise RecordError(
            f"The signal of {path.name} is truncated: {there} samples a lead are there, its header promises "
            f"{promised}. Copy the file again, or open it with truncated='read'."
        )
    return there, [Remark("length", f"{path.name} is truncated: {there} of {promised} samples a lead are there.")]


def _age(born: Sequence[int], recorded: Sequence[int]) -> int | None:
    """Years between two dates, each day, month, year."""
    try:
        first, last = date(born[2], born[1], born[0]), date(recorded[2], recorded[1], recorded[0])
    except ValueError:
        return None
    age = last.year - first.year - ((last.month, last.day) < (first.month, first.day))
    return age if 0 <= age <= 120 else None
