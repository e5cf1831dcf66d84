"""OpenSignals recordings of biosignalsplux and BITalino, as HDF5 (.h5) and as text (.txt).

Counts are converted to millivolts with the transfer function of the ECG sensor, (ADC / 2^n - 1/2) VCC / gain:
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
from ecgmoe_edge.records.names import plain_text, unique_names
from ecgmoe_edge.records.recording import Lead, OpenOptions, Remark, Sex, choose_leads, read_from_blocks

_HDF5 = b"\x89HDF\r\n\x1a\n"
_TEXT = b"# OpenSignals Text File Format"
_END_OF_HEADER = "# EndOfHeader"
_LONGEST_LINE = 1 << 20  # characters
_PIECE = 1 << 14  # samples that are read at once
_MOST_LOST = 20 * _PIECE  # lost samples in a piece; more indicate damaged sequence numbers
_MOST_SAMPLES_A_BYTE = 1000  # in a compressed data set; more indicate a damaged length
_FASTEST = 100_000.0  # Hz
#: Start of the device name -> VCC in V, gain of the ECG sensor, modulus of the sequence number.
_DEVICES = {"biosignalsplux": (3.0, 1000.0, 1 << 16), "bitalino": (3.3, 1100.0, 16)}
_UNREADABLE = (OSError, ValueError, KeyError, AttributeError, TypeError, IndexError, RuntimeError, OverflowError)


@dataclass(frozen=True)
class _Source:
    """Location of the samples: columns of a text file, or data sets of an HDF5 file."""

    path: Path
    is_hdf5: bool
    columns: tuple[str | int, ...]  # column or data set of each lead
    counter: str | int | None  # column or data set of the sequence number
    modulus: int  # the sequence number wraps to 0 before this number
    header_lines: int = 0  # length of the header of a text file


@dataclass(frozen=True)
class OpenSignalsRecord:
    """One OpenSignals file, opened with `open_opensignals`; the signal is read when a block is requested."""

    path: Path
    fs: float  # Hz
    leads: tuple[str, ...]
    scale: tuple[tuple[float, float], ...]  # for each lead, mV per count and the count at 0 mV
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
        """Millivolts for every lead."""
        return ("mV",) * len(self.leads)

    @cached_property
    def n_samples(self) -> int:
        """Samples per lead, including lost samples; the first use reads the file to count them."""
        return sum(block.shape[1] for block in self.blocks(leads=[0]))

    def read(self, start: int = 0, stop: int | None = None, leads: Sequence[Lead] | None = None) -> NDArray[np.float64]:
        """Samples from `start` up to, but not including, `stop`: `(leads, n)` in mV; the file is read up to `stop`."""
        return read_from_blocks(self.blocks(leads=leads), start, stop)

    def blocks(self, seconds: float = 60.0, leads: Sequence[Lead] | None = None) -> Iterator[NDArray[np.float64]]:
        """Successive blocks of `seconds`, `(leads, n)` in mV; samples that are lost by the sequence number are NaN.

        Raises:
            RecordError: a row has a cell that is not a number, or the file cannot be read to its end.
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
    """A text file with the first line of OpenSignals, or an HDF5 file with its attributes."""

    name = "OpenSignals (.h5, .txt)"
    states_rate = True
    may_lack = ("uv_per_lsb",)
    in_folders = True

    def recognise(self, path: Path) -> Path | None:
        """The file itself, if OpenSignals wrote it."""
        head = first_bytes(path)
        if head.startswith(_TEXT):
            return path
        return path if head.startswith(_HDF5) and _has_attributes(path) else None

    def find(self, folder: Path) -> Iterator[Path]:
        """Files that OpenSignals wrote, with one of its extensions."""
        return (path for path in files_in(folder, (".h5", ".hdf5", ".txt")) if self.recognise(path) is not None)

    def open(self, path: Path, options: OpenOptions) -> OpenSignalsRecord:
        """Open the file with `open_opensignals`."""
        return open_opensignals(path, options)


FORMAT = OpenSignalsFormat()


def open_opensignals(path: Path | str, options: OpenOptions | None = None) -> OpenSignalsRecord:
    """Open an OpenSignals recording. The ECG sensors of the first device with an ECG sensor are read.

    Args:
        path: the file.
        options: `uv_per_lsb` is used.

    Raises:
        RecordError: the header is damaged or names no ECG.
        UsageError: the gain of the device is unknown and `uv_per_lsb` is not given, or the gain is known and it is
            given.
        MissingExtra: h5py is not installed.
    """
    path, options = Path(path), options or OpenOptions()
    try:
        if first_bytes(path).startswith(_TEXT):
            devices, lines = _text_header(path)
            return _open_first_ecg_device(path, devices, options, lines)
        return _open_first_ecg_device(path, _hdf5_header(path), options, None)
    except _UNREADABLE as reason:
        raise RecordError(
            f"The header of {path.name} is damaged ({one_line(reason)}). Export the recording again."
        ) from reason


def _open_first_ecg_device(
    path: Path, devices: list[dict[str, Any]], options: OpenOptions, lines: int | None
) -> OpenSignalsRecord:
    """Open the first device with an ECG; `devices` have the keys of the text header and the order of the file."""
    before = 0  # columns of the preceding devices
    for device in devices:
        sensors = [plain_text(sensor).upper() for sensor in device["sensor"]]
        ecg = [at for at, sensor in enumerate(sensors) if sensor in ("ECG", "ECGBIT", "EKG")]
        # Older versions name no sensor. Then a gain stated by the user means that the channel is an ECG.
        unnamed = [at for at, sensor in enumerate(sensors) if sensor in ("", "RAW", "CUSTOM", "OTHER")]
        chosen = ecg or (unnamed if options.uv_per_lsb is not None else [])
        if chosen:
            return _open_device(path, device, chosen, sensors, before, options, lines, len(devices))
        before += len(device.get("column") or [])
    found = ", ".join(plain_text(sensor) or "no name" for device in devices for sensor in device["sensor"])
    raise RecordError(
        f"No sensor of {path.name} is named as an ECG; it has {found or 'none'}. Name another recording, or give "
        "--uv-per-lsb if a sensor without a name is an ECG."
    )


def _open_device(
    path: Path, device: dict[str, Any], chosen: list[int], sensors: list[str], before: int, options: OpenOptions,
    lines: int | None, n_devices: int,
) -> OpenSignalsRecord:  # fmt: skip
    fs = float(device["sampling rate"])
    if not 1 <= fs <= _FASTEST:
        raise RecordError(f"{path.name} states a sampling rate of {fs:g} Hz, which no ECG has. Export the file again.")
    labels = [plain_text(label) for label in device["label"]]
    names = unique_names([f"ECG {labels[at]}" if len(chosen) > 1 else "ECG" for at in chosen])
    remarks = []
    ignored = [f"{labels[at]} ({sensor or 'no name'})" for at, sensor in enumerate(sensors) if at not in chosen]
    if n_devices > 1:
        ignored.append(f"the channels of {n_devices - 1} more devices")
    if ignored:
        remarks.append(Remark("lead", f"Ignored in {path.name}, because they are not an ECG: {', '.join(ignored)}."))
    model = next((known for known in _DEVICES if str(device["device"]).lower().startswith(known)), None)
    modulus = _DEVICES[model][2] if model else 1 << 16
    scale = tuple(_scale(device, at, model, options, path.name) for at in chosen)
    if lines is None:
        source = _Source(path, True, tuple(device["data sets"][at] for at in chosen), device["counter"], modulus)
    else:
        columns = [str(column) for column in device["column"]]
        places = tuple(before + columns.index(labels[at]) for at in chosen)
        counter = before + columns.index("nSeq") if "nSeq" in columns else None
        source = _Source(path, False, places, counter, modulus, lines)
    return OpenSignalsRecord(path, fs, names, scale, source, tuple(remarks))


def _scale(device: dict[str, Any], at: int, model: str | None, options: OpenOptions, file: str) -> tuple[float, float]:
    """Millivolts per count, and the count at 0 mV."""
    if int(device.get("convertedValues") or 0):
        if options.uv_per_lsb is not None:
            raise UsageError(f"{file} is in millivolts: omit --uv-per-lsb.")
        return 1.0, 0.0
    bits = int(_resolution(device, at))
    if not 1 <= bits <= 24:
        raise RecordError(f"{file} states a resolution of {bits} bits, which is invalid. Export the recording again.")
    if options.uv_per_lsb is not None:
        if model is not None and str(device["sensor"][at]).strip():
            raise UsageError(f"{file} is from a {model}, whose gain is known: omit --uv-per-lsb.")
        return options.uv_per_lsb * 1e-3, 2.0 ** (bits - 1)
    if model is None:
        raise UsageError(
            f"The gain of the ECG sensor of {plain_text(device['device'])!r} in {file} is unknown: give "
            "--uv-per-lsb, in microvolts per count."
        )
    vcc, gain, _ = _DEVICES[model]
    return vcc / gain * 1e3 / 2.0**bits, 2.0 ** (bits - 1)


def _resolution(device: dict[str, Any], at: int) -> Any:
    """Resolution of a channel in bits; a text header states it for each column or for each channel."""
    columns, stated = [str(column) for column in device.get("column") or []], list(device["resolution"])
    if columns and len(stated) == len(columns):
        return stated[columns.index(str(device["label"][at]))]
    return stated[at]


def _text_header(path: Path) -> tuple[list[dict[str, Any]], int]:
    """The devices in the JSON line of a text file, and the number of header lines."""
    with path.open(encoding="utf-8", errors="replace") as file:
        file.readline(_LONGEST_LINE)
        head = json.loads(file.readline(_LONGEST_LINE).removeprefix("#"))
        for number in range(3, 100):
            if file.readline(_LONGEST_LINE).startswith(_END_OF_HEADER):
                return [dict(device) for device in head.values()], number
    raise RecordError(f"{path.name} has no line {_END_OF_HEADER}. Export the recording again.")


def _h5py() -> Any:
    try:
        import h5py
    except ImportError as missing:
        raise MissingExtra("h5py, which reads the HDF5 files of OpenSignals,", "records") from missing
    return h5py


def _has_attributes(path: Path) -> bool:
    """Whether OpenSignals wrote an HDF5 file; True without h5py, so that opening the file names the missing package."""
    try:
        with _h5py().File(path, "r") as file:
            return any("sampling rate" in group.attrs and "raw" in group for group in file.values())
    except MissingExtra:
        return True
    except _UNREADABLE:
        return path.suffix.lower() == ".h5"  # True, so that opening the file reports the damage


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
    """Successive rows `(n, leads + 1)`; the last column is the sequence number, or NaN if the file has none."""
    return _hdf5_pieces(source) if source.is_hdf5 else _text_pieces(source)


def _hdf5_pieces(source: _Source) -> Generator[NDArray[np.float64], None, None]:
    try:
        with _h5py().File(source.path, "r") as file:
            columns = [file[name] for name in source.columns]
            counter = None if source.counter is None else file[source.counter]
            n = min(len(column) for column in columns)
            if n > _MOST_SAMPLES_A_BYTE * source.path.stat().st_size:
                raise RecordError(
                    f"{source.path.name} states {n} samples, more than a file of its size can contain. Copy it again."
                )
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
    """The pieces with a row of NaN for each missing sequence number."""
    last: float | None = None
    for piece in pieces:
        numbers = piece[:, -1]
        if not numbers.size or np.isnan(numbers).any():
            yield piece
            continue
        before = numbers[0] - 1 if last is None else last
        last = float(numbers[-1])
        lost = np.mod(np.diff(numbers, prepend=before) - 1, source.modulus).astype(np.int64)
        if lost.sum() > _MOST_LOST:
            raise RecordError(f"The sequence numbers of {source.path.name} are damaged. Copy the file again.")
        at = np.arange(len(piece)) + np.cumsum(lost)
        filled = np.full((len(piece) + int(lost.sum()), piece.shape[1]), np.nan)
        filled[at] = piece
        yield filled
