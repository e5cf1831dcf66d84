"""GE MUSE XML (RestingECG): the rhythm waveforms, and the limb leads that are calculated from I and II."""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import Element
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.errors import RecordError
from ecgmoe_edge.records.first_bytes import files_in, first_bytes
from ecgmoe_edge.records.names import LIMB_AND_CHEST, plain_text, usual_name
from ecgmoe_edge.records.parts import Part, PartsRecording, recording_of_parts
from ecgmoe_edge.records.recording import OpenOptions, Remark, Sex
from ecgmoe_edge.records.safe_xml import named, read_xml, text_of

_ROOT = re.compile(rb"<RestingECG[\s>]")
_MILLIVOLTS = {"MICROVOLTS": 1e-3, "MILLIVOLTS": 1.0, "NANOVOLTS": 1e-6, "": 1e-3}
_SEXES: dict[str, Sex] = {"MALE": "M", "FEMALE": "F", "M": "M", "F": "F"}
_RATES = range(50, 16_001)  # Hz

#: Lead -> factors of I and of II (Einthoven, Goldberger), for leads that the file does not contain.
_DERIVED = {"III": (-1.0, 1.0), "aVR": (-0.5, -0.5), "aVL": (1.0, -0.5), "aVF": (-0.5, 1.0)}


class MuseFormat:
    """An XML file whose root is RestingECG."""

    name = "GE MUSE XML (.xml)"
    states_rate = True
    in_folders = True

    def recognise(self, path: Path) -> Path | None:
        """The file itself, if it is a MUSE XML."""
        return path if _ROOT.search(first_bytes(path).replace(b"\0", b"")) else None

    def find(self, folder: Path) -> Iterator[Path]:
        """XML files that are a MUSE XML."""
        return (path for path in files_in(folder, (".xml",)) if self.recognise(path) is not None)

    def open(self, path: Path, options: OpenOptions) -> PartsRecording:
        """Open the file with `open_muse`."""
        return open_muse(path)


FORMAT = MuseFormat()


def open_muse(path: Path | str) -> PartsRecording:
    """Open a MUSE XML. Its rhythm waveform is read; the median beat is ignored.

    Limb leads that the file does not contain are calculated: III = II - I, aVR = -(I + II) / 2, aVL = I - II / 2 and
    aVF = II - I / 2.

    Raises:
        RecordError: the file is damaged, has no rhythm waveform, or a waveform contradicts its description.
    """
    path = Path(path)
    root = read_xml(path)
    rhythms = [one for one in named(root, "Waveform") if text_of(one, "WaveformType").casefold() == "rhythm"]
    if not rhythms:
        raise RecordError(
            f"{path.name} contains no rhythm waveform, at most a median beat. Export the full disclosure."
        )
    fs = _rate(rhythms[0], path.name)
    remarks = []
    if any(text_of(one, "WaveformType").casefold() == "median" for one in named(root, "Waveform")):
        remarks.append(Remark("lead", f"The median beat of {path.name} is ignored."))
    leads = {}
    for data in rhythms[0].findall("LeadData"):
        name, part = _lead(data, fs, path.name)
        leads[name] = part
    derived = [name for name in _DERIVED if name not in leads]
    if derived and _can_derive(leads):
        first, second = leads["I"], leads["II"]
        lead_i, lead_ii = (part.millivolts(0, part.start, part.stop) for part in (first, second))
        for name in derived:
            factor_i, factor_ii = _DERIVED[name]
            signal = factor_i * lead_i + factor_ii * lead_ii
            leads[name] = Part(first.start, (name,), signal[:, None], (1.0,), (0.0,))
        remarks.append(Remark("lead", f"{', '.join(derived)} are calculated from I and II.", tuple(derived)))
    order = [name for name in LIMB_AND_CHEST if name in leads]
    parts = [leads[name] for name in (*order, *(name for name in leads if name not in order))]
    age, sex = _age_and_sex(root)
    return recording_of_parts(path, fs, parts, age=age, sex=sex, remarks=remarks)


def _can_derive(leads: dict[str, Part]) -> bool:
    if not {"I", "II"} <= leads.keys():
        return False
    return (leads["I"].start, leads["I"].stop) == (leads["II"].start, leads["II"].stop)


def _rate(waveform: Element, file: str) -> float:
    base, exponent = text_of(waveform, "SampleBase"), text_of(waveform, "SampleExponent") or "0"
    if not re.fullmatch(r"\d{1,6}", base) or not re.fullmatch(r"-?\d", exponent):
        raise RecordError(f"{file} states no sampling rate (SampleBase). Export the recording again.")
    rate = int(base) * 10.0 ** int(exponent)
    if not _RATES.start <= rate <= _RATES.stop:
        raise RecordError(f"{file} states a sampling rate of {rate:g} Hz, which no ECG has. Export the file again.")
    return rate


def _lead(data: Element, fs: float, file: str) -> tuple[str, Part]:
    name = usual_name(text_of(data, "LeadID"))
    if not name:
        raise RecordError(f"{file} has a waveform without a lead name. Export the recording again.")
    unit, factor = text_of(data, "LeadAmplitudeUnits").upper(), text_of(data, "LeadAmplitudeUnitsPerBit")
    if unit not in _MILLIVOLTS or not re.fullmatch(r"\d{1,6}(\.\d{1,9})?", factor) or not float(factor):
        raise RecordError(f"Lead {name} of {file} has no scale (LeadAmplitudeUnitsPerBit). Export it again.")
    counts = _counts(data, name, file)
    offset = text_of(data, "LeadTimeOffset") or "0"  # ms
    start = round(int(offset) / 1000 * fs) if re.fullmatch(r"\d{1,7}", offset) else 0
    return name, Part(start, (name,), counts[:, None], (float(factor) * _MILLIVOLTS[unit],), (0.0,))


def _counts(data: Element, name: str, file: str) -> NDArray[np.int16]:
    try:
        raw = b64decode("".join(text_of(data, "WaveFormData").split()), validate=True)
    except (binascii.Error, ValueError):
        raise RecordError(f"The waveform of lead {name} of {file} is not base64. Copy the file again.") from None
    stated, size = text_of(data, "LeadSampleCountTotal"), text_of(data, "LeadSampleSize") or "2"
    if size != "2" or not stated.isdecimal() or len(raw) != 2 * int(stated):
        samples = f"{plain_text(stated) or 'no'} samples of {plain_text(size)}"
        raise RecordError(
            f"The waveform of lead {name} of {file} has {len(raw)} bytes for {samples} bytes. Copy the file again, or "
            "export it without compression."
        )
    checksum = text_of(data, "LeadDataCRC32")
    if checksum.isdecimal() and int(checksum) and crc32(raw) != int(checksum):
        raise RecordError(f"The checksum of the waveform of lead {name} of {file} is wrong. Copy the file again.")
    return np.frombuffer(raw, "<i2")


def _age_and_sex(root: Element) -> tuple[int | None, Sex | None]:
    person = next(named(root, "PatientDemographics"), None)
    if person is None:
        return None, None
    age = text_of(person, "PatientAge")
    in_years = text_of(person, "AgeUnits").upper() in ("", "YEARS", "YEAR", "YR")
    known = in_years and re.fullmatch(r"\d{1,3}", age) is not None
    return (int(age) if known else None), _SEXES.get(text_of(person, "Gender").upper())
