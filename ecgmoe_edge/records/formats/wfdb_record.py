"""WFDB records: header, age and sex, and the signal in millivolts, block by block.

Decoding of the sample formats is wfdb's; what a file must hold is checked here first, so that a missing or
truncated file is said in a sentence and never read as something else.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.errors import MissingExtra, RecordError
from ecgmoe_edge.records.recording import Lead, OpenOptions, Remark, Sex, Truncated, choose_leads, millivolts_per

# Bytes a sample, https://physionet.org/physiotools/wag/signal-5.htm. Formats 508, 516 and 524 are compressed:
# the size of such a file does not tell how many samples it holds.
_SAMPLE_BYTES = {
    "16": 2.0, "24": 3.0, "32": 4.0, "61": 2.0, "80": 1.0, "160": 2.0, "212": 1.5, "310": 4 / 3, "311": 4 / 3
}  # fmt: skip
_COMPRESSED = ("508", "516", "524")

# What wfdb raises on a header or a signal file that is not what it should be.
_UNREADABLE = (OSError, ValueError, IndexError, TypeError, KeyError, AttributeError, RuntimeError)


@dataclass(frozen=True)
class WfdbRecord:
    """One WFDB record, opened with `open_record`; the signal stays on the disk until a block is asked for."""

    path: Path  # without extension
    fs: float  # frames a second, Hz; a lead with several samples a frame is read as their mean
    leads: tuple[str, ...]
    units: tuple[str, ...]
    n_samples: int
    age: int | None
    sex: Sex | None
    remarks: tuple[Remark, ...] = ()

    @property
    def name(self) -> str:
        """Name of the record, without folder."""
        return self.path.name

    def read(self, start: int = 0, stop: int | None = None, leads: Sequence[Lead] | None = None) -> NDArray[np.float64]:
        """Samples `start` to `stop` (not included), `(leads, n)` in mV, invalid samples as NaN.

        Raises:
            RecordError: no such lead, a lead that is no voltage, or a signal that cannot be decoded.
        """
        chosen = choose_leads(self.leads, leads, self.name)
        scale = np.array([self._millivolts(position) for position in chosen])
        stop = self.n_samples if stop is None else min(stop, self.n_samples)
        if start < 0 or start > stop:
            raise RecordError(f"{self.name} has samples 0 to {self.n_samples}; {start} to {stop} is not among them.")
        return self._read(start, stop, chosen, scale)

    def blocks(self, seconds: float = 60.0, leads: Sequence[Lead] | None = None) -> Iterator[NDArray[np.float64]]:
        """Successive blocks of `seconds`, `(leads, n)` in mV, invalid samples as NaN; the last is shorter."""
        chosen = choose_leads(self.leads, leads, self.name)
        scale = np.array([self._millivolts(position) for position in chosen])
        size = max(1, round(seconds * self.fs))
        for start in range(0, self.n_samples, size):
            yield self._read(start, min(start + size, self.n_samples), chosen, scale)

    def _millivolts(self, position: int) -> float:
        try:
            return millivolts_per(self.units[position])
        except RecordError as unknown:
            raise RecordError(f"Lead {self.leads[position]} of {self.name}: {unknown}") from None

    def _read(self, start: int, stop: int, chosen: Sequence[int], scale: NDArray[np.float64]) -> NDArray[np.float64]:
        if start == stop:
            return np.empty((len(chosen), 0))
        distinct = sorted(set(chosen))
        try:
            record = load_wfdb().rdrecord(str(self.path), sampfrom=start, sampto=stop, channels=distinct)
        except _UNREADABLE as reason:
            raise RecordError(
                f"{self.name} cannot be decoded between samples {start} and {stop} ({reason}). Check the "
                "copy against the original's checksums."
            ) from reason
        signal = np.asarray(record.p_signal, dtype=np.float64).T
        order = [distinct.index(position) for position in chosen]
        return np.asarray(signal[order] * scale[:, None])


def open_record(path: Path | str, *, truncated: Truncated = "error") -> WfdbRecord:
    """Open a WFDB record by the path of its header, its signal file, or either without extension.

    `truncated="read"` takes what is there of a signal file shorter than its header says.

    Raises:
        RecordError: header missing or not understood, sampling rate not above 0, no signal, a signal file
            missing or shorter than the header says.
        MissingExtra: wfdb is not installed.
    """
    path = _stem(Path(path))
    header = _read_header(path)
    layout = _signal_layout(header)
    if not header.fs or not header.fs > 0:
        raise RecordError(
            f"{path.name}.hea gives a sampling rate of {header.fs} Hz. Write the true rate into its first "
            "line, after the number of signals."
        )
    if layout is None or not layout.sig_name:
        raise RecordError(f"{path.name}.hea describes no signal. Name a record that holds an ECG.")
    age, sex = _age_and_sex(header.comments or [])
    return WfdbRecord(
        path=path,
        fs=float(header.fs),
        leads=tuple(name or f"lead {position}" for position, name in enumerate(layout.sig_name)),
        units=tuple(unit or "mV" for unit in layout.units),  # mV is what the format takes where nothing is said
        n_samples=_check_files(path, header, truncated),
        age=age,
        sex=sex,
    )


class WfdbFormat:
    """A record by its header, or by one of the files beside it."""

    name = "WFDB record (.hea)"
    states_rate = True
    in_folders = True

    def recognise(self, path: Path) -> Path | None:
        """The record's path without extension, where its header is there or a header or signal file is named."""
        stem = _stem(path)
        named = path.suffix in (".hea", ".dat") and path.is_file()  # without the other of the two it is still one
        return stem if named or _header_of(stem).is_file() else None

    def find(self, folder: Path) -> Iterator[Path]:
        """A path for each header."""
        return (header.with_suffix("") for header in folder.glob("*.hea"))

    def open(self, path: Path, options: OpenOptions) -> WfdbRecord:
        """See `open_record`."""
        return open_record(path, truncated=options.truncated)


FORMAT = WfdbFormat()


def _stem(path: Path) -> Path:
    return path.with_suffix("") if path.suffix in (".hea", ".dat", ".mat", ".atr") else path


def _header_of(path: Path) -> Path:
    return path.parent / f"{path.name}.hea"  # `with_name` refuses the empty name of a root


def load_wfdb() -> Any:
    """The wfdb package, imported on first use: it brings pandas and takes most of a second.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        import wfdb
    except ImportError as missing:
        raise MissingExtra("wfdb, which reads WFDB records and annotations,", "records") from missing
    return wfdb


def _read_header(path: Path) -> Any:
    file = _header_of(path)
    if not file.is_file():
        raise RecordError(
            f"There is no header {file}. Name a record by the path of its .hea file, without the extension."
        )
    try:
        return load_wfdb().rdheader(str(path), rd_segments=True)
    except _UNREADABLE as reason:
        raise RecordError(f"{file} is not a WFDB header ({reason}). Copy it anew from its source.") from reason


@dataclass(frozen=True)
class HeaderFacts:
    """What the text of a header says, read without the wfdb package."""

    fs: float  # Hz
    n_samples: int
    checksums: tuple[int, ...]  # of each signal


def read_header_facts(path: Path) -> HeaderFacts | None:
    """Rate, length and checksums; None where there is no header of one segment that states them all.

    Layout of the lines: https://physionet.org/physiotools/wag/header-5.htm.
    """
    try:
        text = _header_of(_stem(path)).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    lines = [line.split() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    try:
        _, count, fs, n_samples, *_ = lines[0]
        signals = lines[1 : 1 + int(count)]
        checksums = tuple(int(signal[6]) for signal in signals)
        facts = HeaderFacts(float(re.split("[/(]", fs)[0]), int(n_samples), checksums)
    except (ValueError, IndexError):
        return None
    return facts if len(signals) == int(count) else None


def _signal_layout(header: Any) -> Any:
    """The header that names the signals: of a record of several segments, that of its first segment."""
    segments = getattr(header, "segments", None)
    if segments is None:
        return header
    return next((segment for segment in segments if segment is not None), None)


def _check_files(path: Path, header: Any, truncated: Truncated) -> int:
    """Number of samples a lead that can be read, once each signal file was found to hold what it should."""
    segments = getattr(header, "segments", None)
    if segments is None:
        return _check_segment(path, header, truncated)
    total = 0
    for segment, name, length in zip(segments, header.seg_name, header.seg_len, strict=True):
        if segment is not None and length:  # "~" is a stretch without signal, a layout header has length 0
            _check_segment(path.with_name(name), segment, "error")
        total += int(length)
    return total


def _check_segment(path: Path, header: Any, truncated: Truncated) -> int:
    promised: int | None = header.sig_len
    signals_of_file: dict[str, list[int]] = defaultdict(list)
    for signal, name in enumerate(header.file_name or []):
        signals_of_file[name].append(signal)
    present = [_samples_in(path, header, name, signals) for name, signals in signals_of_file.items()]
    known = [count for count in present if count is not None]
    there = min(known) if known else promised
    if promised is None:
        if there is None:
            raise RecordError(f"{path.name}.hea does not say how many samples there are. Add them to its first line.")
        return there
    if there is not None and there < promised:
        if truncated == "error":
            raise RecordError(
                f"The signal of {path.name} is truncated: {there} samples a lead are there, its header "
                f"promises {promised}. Copy the file anew, or open it with truncated='read'."
            )
        return there
    return promised


def _samples_in(path: Path, header: Any, name: str, signals: Sequence[int]) -> int | None:
    """Samples a lead that the signal file `name` holds; None where its format does not tell."""
    file = path.with_name(name)
    if not file.is_file():
        raise RecordError(
            f"{path.name}.hea names the signal file {name}, which is not in {file.parent}. Copy it there."
        )
    kind = header.fmt[signals[0]]
    if kind in _COMPRESSED:
        return None
    if kind not in _SAMPLE_BYTES:
        raise RecordError(
            f"{path.name} is stored in format {kind}, which cannot be read from the middle. Convert it to "
            "format 16 with PhysioNet's xform."
        )
    a_frame = sum(header.samps_per_frame[signal] or 1 for signal in signals) * _SAMPLE_BYTES[kind]
    return int((file.stat().st_size - (header.byte_offset[signals[0]] or 0) + 1e-6) / a_frame)


def _age_and_sex(comments: Sequence[str]) -> tuple[int | None, Sex | None]:
    """Age and sex from header comments: `69 M 1085 1629 x1` (mitdb), `<age>: 63 <sex>: M`, `Sex: Male`."""
    text = "\n".join(comments)
    age = re.search(r"\bage\b\W*(-?\d+)", text, re.IGNORECASE)
    sex = re.search(r"\b(?:sex|gender)\b\W*(male|female|m|f)\b", text, re.IGNORECASE)
    if age is None and sex is None:
        plain = re.match(r"\s*(-?\d+)\s+([MF])\b", text)
        age, sex = (plain, re.search(r"([MF])", plain[0])) if plain else (None, None)
    years = int(age[1]) if age else -1
    letter = sex[1][0].upper() if sex else None
    return (years if years >= 0 else None), ("M" if letter == "M" else "F" if letter == "F" else None)
