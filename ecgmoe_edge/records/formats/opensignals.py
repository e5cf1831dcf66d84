"""OpenSignals recordings of biosignalsplux and BITalino, as HDF5 (.h5) and as text (.txt).

The counts become millivolts by the transfer function of the maker's ECG sensor, (ADC / 2^n - 1/2) VCC / gain:
biosignalsplux ECG sensor data sheet (VCC 3 V, gain 1000) and BITalino ECG data sheet (VCC 3.3 V, gain 1100).
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.errors import MissingExtra, RecordError, UsageError, one_line
from ecgmoe_edge.records.first_bytes import files_in, first_bytes
from ecgmoe_edge.records.lead_names import plain_text, unique_names
from ecgmoe_edge.records.recording import Lead, OpenOptions, Remark, Sex, choose_leads, read_of_blocks

_HDF5 = b"\x89HDF\r\n\x1a\n"
_TEXT = b"# OpenSignals Text File Format"
_END_OF_HEADER = "# EndOfHeader"
_LONGEST_LINE = 1 << 20  # characters
_PIECE = 1 << 14  # samples at a time
_MOST_LOST = 20 * _PIECE  # of a piece
_MOST_SAMPLES_A_BYTE = 1000  # of a compressed data set; a damaged one may state any number
_FASTEST = 100_000.0  # Hz
#: Device -> VCC in V, gain of the ECG sensor, numbers of its sequence counter; text files say `bitalino_rev` and so on.
_DEVICES = {"biosignalsplux": (3.0, 1000.0, 1 << 16), "bitalino": (3.3, 1100.0, 16)}
_UNREADABLE = (OSError, ValueError, KeyError, AttributeError, TypeError, IndexError, RuntimeError, OverflowError)


@dataclass(frozen=True)
class _Source:
    """Where the samples lie: columns of a text file, or data sets of an HDF5 file."""

    path: Path
    is_hdf5: bool
    columns: tuple[str | int, ...]  # of each lead
    counter: str | int | None  # of the sequence number
    wraps: int  # the number after its last is 0
    header_lines: int = 0


@dataclass(frozen=True)
class OpenSignalsRecord:
    """One OpenSignals file, opened with `open_opensignals`; the signal stays on the disk until a block is asked for."""

    path: Path
    fs: float  # Hz
    leads: tuple[str, ...]
    scale: tuple[tuple[float, float], ...]  # of each lead, mV a count and the count of 0 mV
    source: _Source
    remarks: tuple[Remark, ...] = ()
    age: int | None = None
    sex: Sex | None = None

    @property
    def name(self) -> str:
        """Name of the file, without extension."""
        return self.path.stem

    @property
    def units(self) -> tuple[str, ...]:
        """Millivolts of every lead."""
        return ("mV",) * len(self.leads)

    @cached_property
    def n_samples(self) -> int:
        """Samples a lead, lost ones included, counted by reading the file."""
        return sum(block.shape[1] for block in self.blocks(leads=[0]))

    def read(self, start: int = 0, stop: int | None = None, leads: Sequence[Lead] | None = None) -> NDArray[np.float64]:
        """Samples `start` to `stop` (not included), `(leads, n)` in mV; the file is read up to there."""
        return read_of_blocks(self.blocks(leads=leads), start, stop)

    def blocks(self, seconds: float = 60.0, leads: Sequence[Lead] | None = None) -> Iterator[NDArray[np.float64]]:
        """Successive blocks of `seconds`, `(leads, n)` in mV; samples that the sequence number shows lost are NaN.

        Raises:
            RecordError: a row that does not hold its columns as numbers, or a file that cannot be read on.
        """
        chosen = choose_leads(self.leads, leads, self.name)
        size = max(1, round(seconds * self.fs))
        kept = np.empty((len(chosen), 0))
        with closing(_pieces(self.source)) as pieces:
            for piece in _with_lost(pieces, self.source):
                values = np.stack([(piece[:, at] - self.scale[at][1]) * self.scale[at][0] for at in chosen])
                kept = np.concatenate((kept, values), axis=1)
                while kept.shape[1] >= size:
                    yield kept[:, :size]
                    kept = kept[:, size:]
        if kept.shape[1]:
            yield kept


class OpenSignalsFormat:
    """A text file that begins as OpenSignals writes it, or an HDF5 file with its attributes."""

    name = "OpenSignals (.h5, .txt)"
    states_rate = True
    may_lack = ("uv_per_lsb",)
    in_folders = True

    def recognise(self, path: Path) -> Path | None:
        """The file itself."""
        head = first_bytes(path)
        if head.startswith(_TEXT):
            return path
        return path if head.startswith(_HDF5) and _has_attributes(path) else None

    def find(self, folder: Path) -> Iterator[Path]:
        """Files with an extension of OpenSignals that are one."""
        return (path for path in files_in(folder, (".h5", ".hdf5", ".txt")) if self.recognise(path) is not None)

    def open(self, path: Path, options: OpenOptions) -> OpenSignalsRecord:
        """See `open_opensignals`."""
        return open_opensignals(path, options)


FORMAT = OpenSignalsFormat()


def open_opensignals(path: Path | str, options: OpenOptions | None = None) -> OpenSignalsRecord:
    """Open an OpenSignals recording: the ECG sensors of its first device that has one.

    Raises:
        RecordError: a header that is damaged or names no ECG.
        UsageError: a device whose gain is not known and no `uv_per_lsb` stated, or one stated where it is known.
        MissingExtra: h5py is not installed.
    """
    path, options = Path(path), options or OpenOptions()
    try:
        if first_bytes(path).startswith(_TEXT):
            devices, lines = _text_header(path)
            return _of_devices(path, devices, options, lines)
        return _of_devices(path, _hdf5_header(path), options, None)
    except _UNREADABLE as reason:
        raise RecordError(
            f"The header of {path.name} is damaged ({one_line(reason)}). Export the recording again."
        ) from reason


def _of_devices(
    path: Path, devices: list[dict[str, Any]], options: OpenOptions, lines: int | None
) -> OpenSignalsRecord:
    """`devices` in the order of the file, with the keys of the text header."""
    before = 0  # columns of the devices before
    for device in devices:
        sensors = [plain_text(sensor).upper() for sensor in device["sensor"]]
        ecg = [at for at, sensor in enumerate(sensors) if sensor in ("ECG", "ECGBIT", "EKG")]
        # Where no sensor is named, as older versions leave it, the user's gain says that the channel is an ECG.
        unnamed = [at for at, sensor in enumerate(sensors) if sensor in ("", "RAW", "CUSTOM", "OTHER")]
        chosen = ecg or (unnamed if options.uv_per_lsb is not None else [])
        if chosen:
            return _of_device(path, device, chosen, sensors, before, options, lines, len(devices))
        before += len(device.get("column") or [])
    found = ", ".join(plain_text(sensor) or "no name" for device in devices for sensor in device["sensor"])
    raise RecordError(
        f"No sensor of {path.name} is named as an ECG; it has {found or 'none'}. Name another recording, or give "
        "--uv-per-lsb where a sensor without a name is one."
    )


def _of_device(
    path: Path, device: dict[str, Any], chosen: list[int], sensors: list[str], before: int, options: OpenOptions,
    lines: int | None, n_devices: int,
) -> OpenSignalsRecord:  # fmt: skip
    fs = float(device["sampling rate"])
    if not 1 <= fs <= _FASTEST:
        raise RecordError(f"{path.name} states a sampling rate of {fs:g} Hz, which no ECG has. Export it again.")
    labels = [plain_text(label) for label in device["label"]]
    names = unique_names([f"ECG {labels[at]}" if len(chosen) > 1 else "ECG" for at in chosen])
    remarks = []
    left = [f"{labels[at]} ({sensor or 'no name'})" for at, sensor in enumerate(sensors) if at not in chosen]
    if left or n_devices > 1:
        further = [] if n_devices == 1 else [f"what {n_devices - 1} more devices recorded"]
        remarks.append(Remark("lead", f"Left out of {path.name}, as no ECG: {', '.join([*left, *further])}."))
    maker = next((known for known in _DEVICES if str(device["device"]).lower().startswith(known)), None)
    wraps = _DEVICES[maker][2] if maker else 1 << 16
    scale = tuple(_scale(device, at, maker, options, path.name) for at in chosen)
    if lines is None:
        source = _Source(path, True, tuple(device["data sets"][at] for at in chosen), device["counter"], wraps)
    else:
        columns = [str(column) for column in device["column"]]
        places = tuple(before + columns.index(labels[at]) for at in chosen)
        counter = before + columns.index("nSeq") if "nSeq" in columns else None
        source = _Source(path, False, places, counter, wraps, lines)
    return OpenSignalsRecord(path, fs, names, scale, source, tuple(remarks))


def _scale(device: dict[str, Any], at: int, maker: str | None, options: OpenOptions, file: str) -> tuple[float, float]:
    """Millivolts a count, and the count of 0 mV."""
    if int(device.get("convertedValues") or 0):
        if options.uv_per_lsb is not None:
            raise UsageError(f"{file} holds millivolts: leave --uv-per-lsb out.")
        return 1.0, 0.0
    bits = int(_resolution(device, at))
    if not 1 <= bits <= 24:
        raise RecordError(f"{file} states a resolution of {bits} bits, which cannot be. Export the recording again.")
    if options.uv_per_lsb is not None:
        if maker is not None and str(device["sensor"][at]).strip():
            raise UsageError(f"{file} is of a {maker}, whose gain is known: leave --uv-per-lsb out.")
        return options.uv_per_lsb * 1e-3, 2.0 ** (bits - 1)
    if maker is None:
        raise UsageError(
            f"The gain of the ECG sensor of {plain_text(device['device'])!r} in {file} is not known: give "
            "--uv-per-lsb, in microvolts a count."
        )
    vcc, gain, _ = _DEVICES[maker]
    return vcc / gain * 1e3 / 2.0**bits, 2.0 ** (bits - 1)


def _resolution(device: dict[str, Any], at: int) -> Any:
    """Of a channel; text headers give it for each column or for each channel."""
    columns, given = [str(column) for column in device.get("column") or []], list(device["resolution"])
    if columns and len(given) == len(columns):
        return given[columns.index(str(device["label"][at]))]
    return given[at]


def _text_header(path: Path) -> tuple[list[dict[str, Any]], int]:
    """The devices of a text file's JSON line, and the number of header lines."""
    with path.open(encoding="utf-8", errors="replace") as file:
        file.readline(_LONGEST_LINE)
        head = json.loads(file.readline(_LONGEST_LINE).removeprefix("#"))
        for number in range(3, 100):
            if file.readline(_LONGEST_LINE).startswith(_END_OF_HEADER):
                return [dict(device) for device in head.values()], number
    raise RecordError(f"{path.name} has no end of its header ({_END_OF_HEADER}). Export the recording again.")


def _h5py() -> Any:
    try:
        import h5py
    except ImportError as missing:
        raise MissingExtra("h5py, which reads the HDF5 files of OpenSignals,", "records") from missing
    return h5py


def _has_attributes(path: Path) -> bool:
    """Whether an HDF5 file is of OpenSignals; where h5py is absent, it may be."""
    try:
        with _h5py().File(path, "r") as file:
            return any("sampling rate" in group.attrs and "raw" in group for group in file.values())
    except MissingExtra:
        return True
    except _UNREADABLE:
        return path.suffix.lower() == ".h5"  # so that its damage is named


def _hdf5_header(path: Path) -> list[dict[str, Any]]:
    """The devices of an HDF5 file, with the keys of the text header."""
    devices = []
    with _h5py().File(path, "r") as file:
        for address, group in file.items():
            if "sampling rate" not in group.attrs:
                continue
            channels = [f"channel_{number}" for number in np.atleast_1d(group.attrs["channels"])]
            raw = [group["raw"][channel] for channel in channels]
            devices.append(
                {
                    "device": _plain(group.attrs["device"]),
                    "sampling rate": group.attrs["sampling rate"],
                    "resolution": np.atleast_1d(group.attrs["resolution"]).tolist(),
                    "sensor": [_plain(channel.attrs.get("sensor", "")) for channel in raw],
                    "label": [
                        _plain(channel.attrs.get("label", name)) for channel, name in zip(raw, channels, strict=True)
                    ],
                    "data sets": [f"{address}/raw/{channel}" for channel in channels],
                    "counter": f"{address}/raw/nSeq" if "nSeq" in group["raw"] else None,
                }
            )
    return devices


def _plain(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _pieces(source: _Source) -> Generator[NDArray[np.float64], None, None]:
    """Successive rows `(n, leads + 1)`, the last column the sequence number, NaN where there is none."""
    return _hdf5_pieces(source) if source.is_hdf5 else _text_pieces(source)


def _hdf5_pieces(source: _Source) -> Generator[NDArray[np.float64], None, None]:
    try:
        with _h5py().File(source.path, "r") as file:
            columns = [file[name] for name in source.columns]
            counter = None if source.counter is None else file[source.counter]
            n = min(len(column) for column in columns)
            if n > _MOST_SAMPLES_A_BYTE * source.path.stat().st_size:
                raise RecordError(f"{source.path.name} states {n} samples, more than it can hold. Copy the file again.")
            for start in range(0, n, _PIECE):
                stop = min(n, start + _PIECE)
                rows = np.full((stop - start, len(columns) + 1), np.nan)
                for at, column in enumerate(columns):
                    rows[:, at] = np.asarray(column[start:stop], dtype=np.float64).reshape(stop - start)
                if counter is not None:
                    rows[:, -1] = np.asarray(counter[start:stop], dtype=np.float64).reshape(stop - start)
                yield rows
    except _UNREADABLE as reason:
        raise RecordError(
            f"{source.path.name} cannot be read to its end ({one_line(reason)}). Copy the file again."
        ) from reason


def _text_pieces(source: _Source) -> Generator[NDArray[np.float64], None, None]:
    wanted = [*source.columns, *([] if source.counter is None else [source.counter])]
    columns = [int(column) for column in wanted]
    number = source.header_lines
    with source.path.open(encoding="utf-8", errors="replace") as file:
        lines = itertools.islice(file, source.header_lines, None)
        while block := [line.rstrip() for line in itertools.islice(lines, _PIECE)]:
            while block and not block[-1]:
                block.pop()  # the file may end with empty lines
            if not block:
                return
            rows = np.full((len(block), len(source.columns) + 1), np.nan)
            try:
                rows[:, : len(columns)] = np.loadtxt(block, usecols=columns, ndmin=2, comments=None)
            except (ValueError, IndexError):
                rows[0] = np.inf
            if np.isinf(rows).any():
                damaged = next((at for at, line in enumerate(block) if not _is_row(line, columns)), 0)
                raise RecordError(f"Line {number + damaged + 1} of {source.path.name} is damaged. Copy the file again.")
            number += len(block)
            yield rows


def _is_row(line: str, columns: Sequence[int]) -> bool:
    cells = line.split()
    try:
        return all(np.isfinite(float(cells[column])) for column in columns)
    except (ValueError, IndexError):
        return False


def _with_lost(pieces: Iterator[NDArray[np.float64]], source: _Source) -> Iterator[NDArray[np.float64]]:
    """The pieces with a row of NaN for each number that the sequence leaves out."""
    last: float | None = None
    for piece in pieces:
        numbers = piece[:, -1]
        if not numbers.size or np.isnan(numbers).any():
            yield piece
            continue
        before = numbers[0] - 1 if last is None else last
        last = float(numbers[-1])
        lost = np.mod(np.diff(numbers, prepend=before) - 1, source.wraps).astype(np.int64)
        if lost.sum() > _MOST_LOST:
            raise RecordError(f"The sequence numbers of {source.path.name} are damaged. Copy the file again.")
        at = np.arange(len(piece)) + np.cumsum(lost)
        filled = np.full((len(piece) + int(lost.sum()), piece.shape[1]), np.nan)
        filled[at] = piece
        yield filled
