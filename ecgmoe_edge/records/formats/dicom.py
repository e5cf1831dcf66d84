"""DICOM ECG: 12-lead, general and ambulatory waveforms, read with pydicom; median beats are ignored.

Source: DICOM PS3.3 A.34 (waveform objects) and C.10.9 (waveform module), PS3.5 8.3 (sample encoding).
"""

from __future__ import annotations

import logging
import re
import struct
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.errors import MissingExtra, RecordError, UsageError, one_line
from ecgmoe_edge.records.first_bytes import files_in, first_bytes
from ecgmoe_edge.records.names import plain_text, unique_names, usual_name
from ecgmoe_edge.records.parts import Part, PartsRecording, recording_of_parts
from ecgmoe_edge.records.recording import (
    READ_TRUNCATED,
    OpenOptions,
    Remark,
    Sex,
    Truncated,
    is_voltage,
    millivolts_per,
)

_ECG_CLASS = "1.2.840.10008.5.1.4.1.1.9.1."  # 12-lead, general, ambulatory and general 32-bit ECG
_DEFLATED = "1.2.840.10008.1.2.1.99"
_BIG_ENDIAN = "1.2.840.10008.1.2.2"
#: Waveform Sample Interpretation -> NumPy type without byte order; mu-law and A-law (MB, AB) are audio encodings.
_SAMPLES = {"SB": "i1", "UB": "u1", "SS": "i2", "US": "u2", "SL": "i4", "UL": "u4"}
_FASTEST = 100_000.0  # Hz
_MOST_CHANNELS = 512
_EXTENSIONS = (".dcm", ".dicom")
_UNREADABLE = (
    OSError, ValueError, KeyError, AttributeError, TypeError, IndexError, EOFError, NotImplementedError, OverflowError,
    RecursionError, RuntimeError, struct.error,
)  # fmt: skip


@dataclass(frozen=True)
class _Channel:
    name: str
    gain: float  # mV per count
    offset: float  # mV at a count of 0


class DicomFormat:
    """A DICOM file, recognised by the four letters after its preamble."""

    name = "DICOM ECG (.dcm)"
    states_rate = True
    may_lack = ("uv_per_lsb",)
    in_folders = True

    def recognise(self, path: Path) -> Path | None:
        """The file itself, if it is a DICOM file."""
        return path if first_bytes(path)[128:132] == b"DICM" else None

    def find(self, folder: Path) -> Iterator[Path]:
        """DICOM files with a DICOM extension."""
        return (path for path in files_in(folder, _EXTENSIONS) if self.recognise(path) is not None)

    def open(self, path: Path, options: OpenOptions) -> PartsRecording:
        """Open the file with `open_dicom`."""
        return open_dicom(path, options)


FORMAT = DicomFormat()


def open_dicom(path: Path | str, options: OpenOptions | None = None) -> PartsRecording:
    """Open a DICOM ECG. Its original multiplex groups are read, each at its time offset.

    Args:
        path: the file.
        options: `truncated` and `uv_per_lsb` are used.

    Raises:
        RecordError: the file is not a DICOM ECG or is truncated, or a field is invalid.
        UsageError: the file states no sensitivity and `uv_per_lsb` is not given, or both are given.
        MissingExtra: pydicom is not installed.
    """
    path, options = Path(path), options or OpenOptions()
    try:
        from pydicom import errors
    except ImportError as missing:
        raise MissingExtra("pydicom, which reads DICOM files,", "records") from missing
    pydicom_errors: tuple[type[Exception], ...] = tuple(
        kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom warns about fields that are not used here
        logging.getLogger("pydicom").setLevel(logging.CRITICAL)
        try:
            return _open(path, _dataset(path), options)
        except pydicom_errors + _UNREADABLE as reason:
            raise RecordError(f"{path.name} is a damaged DICOM file ({one_line(reason)}). Copy it again.") from reason


def _open(path: Path, data: Any, options: OpenOptions) -> PartsRecording:
    groups = list(data.get("WaveformSequence") or [])
    if not str(data.get("SOPClassUID", "")).startswith(_ECG_CLASS) or not groups:
        kind = plain_text(data.get("Modality") or getattr(data.get("SOPClassUID"), "name", ""))
        contains = f"contains {kind} and no" if kind and kind != "ECG" else "contains no"
        raise RecordError(f"{path.name} is a DICOM file that {contains} ECG waveform. Name another file.")
    remarks = []
    kept = [group for group in groups if not _is_derived(group)]
    if len(kept) < len(groups):
        remarks.append(Remark("lead", f"Median beats and other derived waveforms of {path.name} are ignored."))
    if not kept:
        raise RecordError(
            f"{path.name} contains only derived waveforms, such as median beats. Export the rhythm waveforms."
        )
    rates = {id(group): _rate(group, path.name) for group in kept}
    fs = max(rates.values(), key=lambda rate: sum(_size(group) for group in kept if rates[id(group)] == rate))
    chosen = [group for group in kept if rates[id(group)] == fs]
    if len(chosen) < len(kept):
        remarks.append(Remark("rate", f"{path.name} is read at {fs:g} Hz; groups of other rates are ignored."))
    is_big = str(data.file_meta.get("TransferSyntaxUID", "")) == _BIG_ENDIAN
    parts = [_part(group, fs, ">" if is_big else "<", path.name, options, remarks) for group in chosen]
    age, sex = _age_and_sex(data)
    return recording_of_parts(path, fs, parts, age=age, sex=sex, remarks=remarks)


def _dataset(path: Path) -> Any:
    import pydicom
    from pydicom.filereader import read_file_meta_info

    if str(read_file_meta_info(path).get("TransferSyntaxUID", "")) == _DEFLATED:
        raise RecordError(f"{path.name} is a deflated DICOM file. Write it without compression, with dcmconv +te.")
    return pydicom.dcmread(path)


def _is_derived(group: Any) -> bool:
    label = str(group.get("MultiplexGroupLabel", "")).upper()
    return str(group.get("WaveformOriginality", "")).upper() == "DERIVED" or "MEDIAN" in label


def _size(group: Any) -> int:
    return int(group.NumberOfWaveformSamples) * int(group.NumberOfWaveformChannels)


def _rate(group: Any, file: str) -> float:
    rate = float(group.SamplingFrequency)
    if not 1 <= rate <= _FASTEST:
        raise RecordError(f"{file} states a sampling rate of {rate:g} Hz, which no ECG has. Export the file again.")
    return rate


def _part(group: Any, fs: float, order: str, file: str, options: OpenOptions, remarks: list[Remark]) -> Part:
    counts = _counts(group, order, file, options.truncated, remarks)
    definitions = list(group.ChannelDefinitionSequence)
    if len(definitions) != counts.shape[1]:
        raise RecordError(
            f"{file} describes {len(definitions)} channels but contains {counts.shape[1]}. Export the file again."
        )
    channels = [_channel(definition, at, file, options) for at, definition in enumerate(definitions)]
    read = [at for at, channel in enumerate(channels) if channel is not None]
    if len(read) < len(channels):
        ignored = [_name(definitions[at], at) for at, channel in enumerate(channels) if channel is None]
        remarks.append(Remark("lead", f"Ignored in {file}, because they are not voltages: {', '.join(ignored)}."))
    found = [channel for channel in channels if channel is not None]
    names = unique_names([channel.name for channel in found])
    invalid = _padding(group, counts[:, read], names, remarks)
    start = round(float(group.get("MultiplexGroupTimeOffset") or 0) / 1000 * fs)
    gains, offsets = tuple(channel.gain for channel in found), tuple(channel.offset for channel in found)
    return Part(start, names, counts[:, read], gains, offsets, invalid)


def _counts(group: Any, order: str, file: str, truncated: Truncated, remarks: list[Remark]) -> NDArray[Any]:
    """The stored samples, `(n, channels)`."""
    kind = plain_text(group.WaveformSampleInterpretation)
    if kind not in _SAMPLES or int(group.WaveformBitsAllocated) != 8 * int(_SAMPLES[kind][1]):
        raise RecordError(f"{file} has samples of the type {kind}, which no ECG has. Export it as 16-bit integers.")
    n, channels = int(group.NumberOfWaveformSamples), int(group.NumberOfWaveformChannels)
    if n < 1 or not 1 <= channels <= _MOST_CHANNELS:
        raise RecordError(f"{file} states {n} samples of {channels} channels, which is invalid. Export it again.")
    samples = np.frombuffer(bytes(group.WaveformData or b""), np.uint8)
    width = int(_SAMPLES[kind][1])
    present = samples.size // (width * channels)
    if present < n:
        if truncated == "error" or not present:
            raise RecordError(
                f"The waveform of {file} is truncated: {present} of {n} samples per lead are present. Copy the file "
                f"again, or {READ_TRUNCATED}."
            )
        remarks.append(Remark("length", f"{file} is truncated: {present} of {n} samples per lead are present."))
        n = present
    return samples[: n * channels * width].view(order + _SAMPLES[kind]).reshape(n, channels)


def _channel(definition: Any, position: int, file: str, options: OpenOptions) -> _Channel | None:
    """Name and scale of a channel; None if its unit is not a voltage."""
    name = _name(definition, position)
    if definition.get("ChannelSensitivity") is None:
        if options.uv_per_lsb is None:
            raise UsageError(f"{name} of {file} has no sensitivity: give --uv-per-lsb, in microvolts per count.")
        return _Channel(name, options.uv_per_lsb * 1e-3, 0.0)
    if options.uv_per_lsb is not None:
        raise UsageError(f"{file} states its own sensitivity: omit --uv-per-lsb.")
    units = definition.get("ChannelSensitivityUnitsSequence")
    unit = str(units[0].CodeValue) if units else "none"
    if not is_voltage(unit):
        return None
    # The sensitivity is the nominal value of a count, the correction factor comes from calibration, and the baseline is
    # the value of a count of 0 (PS3.3 C.10.9.1.4).
    factor = definition.get("ChannelSensitivityCorrectionFactor")
    gain = float(definition.ChannelSensitivity) * (1.0 if factor is None else float(factor)) * millivolts_per(unit)
    offset = float(definition.get("ChannelBaseline") or 0) * millivolts_per(unit)
    if not (np.isfinite(gain) and gain and np.isfinite(offset)):
        raise RecordError(f"{name} of {file} has a sensitivity that is 0 or not a number. Export the recording again.")
    return _Channel(name, gain, offset)


def _name(definition: Any, position: int) -> str:
    source = definition.get("ChannelSourceSequence")
    meaning = str(source[0].get("CodeMeaning", "")) if source else ""
    text = meaning or str(definition.get("ChannelLabel") or "")
    return usual_name(re.sub(r"\s*\(.*\)$", "", text)) or f"lead {position + 1}"  # "Lead I (Einthoven)"


def _padding(group: Any, counts: NDArray[Any], names: Sequence[str], remarks: list[Remark]) -> tuple[int | None, ...]:
    """The count of each lead that marks an invalid sample.

    A padding value within the range of the other counts cannot be distinguished from a sample (some programs state the
    padding value 0 although the file has no padding).
    """
    value = group.get("WaveformPaddingValue")
    if value is None:
        return ()
    if isinstance(value, bytes):
        if len(value) < counts.dtype.itemsize:
            return ()
        value = np.frombuffer(value[: counts.dtype.itemsize], counts.dtype)[0]
    padding = int(value)
    invalid: list[int | None] = []
    for column in range(counts.shape[1]):
        others = counts[:, column][counts[:, column] != padding]
        is_outside = others.size == 0 or not int(others.min()) < padding < int(others.max())
        invalid.append(padding if is_outside else None)
    doubtful = tuple(
        name
        for at, name in enumerate(names)
        if invalid[at] is None and padding != 0 and bool(np.any(counts[:, at] == padding))
    )
    if doubtful:
        text = f"The padding value {padding} of {', '.join(doubtful)} is within the signal: it is read as a sample."
        remarks.append(Remark("amplitude", text, doubtful))
    return tuple(invalid)


def _age_and_sex(data: Any) -> tuple[int | None, Sex | None]:
    """Age from Patient's Age (`063Y`), or else from birth date and study date; sex from Patient's Sex."""
    text = str(data.get("PatientSex") or "")
    sex: Sex | None = "M" if text == "M" else "F" if text == "F" else None
    age = re.fullmatch(r"(\d{3})Y", str(data.get("PatientAge") or ""))
    if age:
        return int(age[1]), sex
    born = str(data.get("PatientBirthDate") or "")
    recorded = str(data.get("AcquisitionDateTime") or data.get("StudyDate") or "")
    if not re.fullmatch(r"\d{8}", born) or not re.match(r"\d{8}", recorded):
        return None, sex
    years = int(recorded[:4]) - int(born[:4]) - (recorded[4:8] < born[4:8])
    return (years if 0 <= years <= 120 else None), sex
