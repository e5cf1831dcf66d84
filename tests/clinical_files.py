"""Writes clinical files with given counts: DICOM, HL7 aECG, MUSE XML and OpenSignals."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int16]


def drawn_counts(n_leads: int = 2, n: int = 3000, seed: int = 3) -> Counts:
    """`(leads, n)` over the whole range of counts, including both ends."""
    counts = np.random.default_rng(seed).integers(-32768, 32768, (n_leads, n)).astype(np.int16)
    counts[:, :2] = -32768, 32767
    return counts


def dicom_group(counts: Counts, names: Sequence[str] = ("Lead I (Einthoven)", "Lead II"), **fields: Any) -> Any:
    """A multiplex group of 500 Hz and 2.5 uV per count; fields with a capital letter are DICOM fields."""
    channels = []
    for name in names:
        channel = _dataset(ChannelSourceSequence=[_dataset(CodeMeaning=name)], WaveformBitsStored=16)
        if fields.get("sensitivity", 2.5) is not None:
            scale = {
                "ChannelSensitivity": fields.get("sensitivity", 2.5),
                "ChannelSensitivityUnitsSequence": [_dataset(CodeValue=fields.get("unit", "uV"))],
                "ChannelSensitivityCorrectionFactor": fields.get("correction", 1),
                "ChannelBaseline": fields.get("baseline", 0),
            }
            _set(channel, scale)
        channels.append(channel)
    group = _dataset(
        WaveformOriginality="ORIGINAL",
        NumberOfWaveformChannels=counts.shape[0],
        NumberOfWaveformSamples=counts.shape[1],
        SamplingFrequency="500",
        MultiplexGroupLabel="RHYTHM",
        WaveformBitsAllocated=16,
        WaveformSampleInterpretation="SS",
        WaveformData=counts.T.astype("<i2").tobytes(),
        ChannelDefinitionSequence=channels,
    )
    return _set(group, {key: value for key, value in fields.items() if key[0].isupper()})


def write_dicom(
    path: Path, groups: Sequence[Any], sop_class: str = "1.2.840.10008.5.1.4.1.1.9.1.1", **fields: Any
) -> Path:
    """Write a DICOM file of these groups."""
    from pydicom.dataset import FileDataset, FileMetaDataset

    meta = _set(
        FileMetaDataset(),
        {
            "MediaStorageSOPClassUID": sop_class,
            "MediaStorageSOPInstanceUID": "1.2.3",
            "TransferSyntaxUID": "1.2.840.10008.1.2.1",
        },
    )
    data = FileDataset(str(path), {}, file_meta=meta, preamble=bytes(128))
    given = {
        "SOPClassUID": sop_class, "SOPInstanceUID": "1.2.3", "Modality": "ECG", "PatientBirthDate": "19510306",
        "PatientSex": "F", "AcquisitionDateTime": "20240305120000", "WaveformSequence": list(groups),
    } | fields  # fmt: skip
    _set(data, given).save_as(path, enforce_file_format=True)
    return path


def _dataset(**fields: Any) -> Any:
    from pydicom.dataset import Dataset

    return _set(Dataset(), fields)


def _set(dataset: Any, fields: dict[str, Any]) -> Any:
    for key, value in fields.items():
        setattr(dataset, key, value)
    return dataset


def aecg_set(
    counts: Counts, leads: Sequence[str] = ("I", "AVR"), head: str = "20240305120000.000", step: str = "0.002"
) -> str:
    """A sequence set of 2.5 uV per digit."""
    absolute = len(head) > 10
    kind, name = ("GLIST_TS", "TIME_ABSOLUTE") if absolute else ("GLIST_PQ", "TIME_RELATIVE")
    unit = "" if absolute else ' unit="s"'
    parts = [
        f'<component><sequence><code code="{name}"/><value xsi:type="{kind}"><head value="{head}"{unit}/>'
        f'<increment value="{step}" unit="s"/></value></sequence></component>'
    ]
    for lead, row in zip(leads, counts, strict=True):
        code = lead if lead.startswith("MDC") else f"MDC_ECG_LEAD_{lead}"
        digits = " ".join(map(str, row.tolist()))
        parts.append(
            f'<component><sequence><code code="{code}"/><value xsi:type="SLIST_PQ"><origin value="10" unit="uV"/>'
            f'<scale value="2.5" unit="uV"/><digits>{digits}</digits></value></sequence></component>'
        )
    return f"<component><sequenceSet>{''.join(parts)}</sequenceSet></component>"


def write_aecg(path: Path, sets: Sequence[str], *, doctype: str = "", code: str = "RHYTHM", after: str = "") -> Path:
    """An aECG with one series of these sets; `after` follows it in the series, such as a derivation."""
    path.write_text(
        f'<?xml version="1.0" encoding="UTF-8"?>\n{doctype}<AnnotatedECG xmlns="urn:hl7-org:v3" '
        'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><administrativeGenderCode code="F"/>'
        '<relatedObservation><code code="21612-7"/><value xsi:type="PQ" value="46" unit="a"/></relatedObservation>'
        f'<component><series><code code="{code}"/>{"".join(sets)}{after}</series></component></AnnotatedECG>\n',
        encoding="utf-8",
    )
    return path


def muse_lead(name: str, counts: NDArray[np.int16], **fields: object) -> str:
    """A LeadData element of 4.88 uV per count."""
    raw = counts.astype("<i2").tobytes()
    given = {
        "LeadSampleCountTotal": len(counts), "LeadAmplitudeUnitsPerBit": 4.88, "LeadAmplitudeUnits": "MICROVOLTS",
        "LeadID": name, "LeadSampleSize": 2, "LeadDataCRC32": crc32(raw), "WaveFormData": b64encode(raw).decode(),
    } | fields  # fmt: skip
    return "<LeadData>" + "".join(f"<{key}>{value}</{key}>" for key, value in given.items()) + "</LeadData>"


def write_muse(path: Path, leads: Sequence[str], *, base: object = 500, median: str = "") -> Path:
    """A MUSE XML with a rhythm waveform and, if given, a median waveform before it."""
    waves = [("Median", median)] if median else []
    waves.append(("Rhythm", "".join(leads)))
    body = "".join(
        f"<Waveform><WaveformType>{kind}</WaveformType><SampleBase>{base}</SampleBase><SampleExponent>0</SampleExponent>"
        f"{data}</Waveform>"
        for kind, data in waves
    )
    path.write_text(
        '<?xml version="1.0" encoding="ISO-8859-1"?>\n<!DOCTYPE RestingECG SYSTEM "restecg.dtd">\n<RestingECG>'
        "<PatientDemographics><PatientAge>63</PatientAge><AgeUnits>YEARS</AgeUnits><Gender>MALE</Gender>"
        f"</PatientDemographics>{body}</RestingECG>\n",
        encoding="latin-1",
    )
    return path


def opensignals_device(**fields: Any) -> dict[str, Any]:
    """The JSON of a biosignalsplux with one ECG sensor."""
    return {
        "sensor": ["ECG"], "device name": "00:07:80:00:00:00", "column": ["nSeq", "DI", "CH1"], "channels": [1],
        "device": "biosignalsplux", "sampling rate": 1000, "label": ["CH1"], "resolution": [16],
    } | fields  # fmt: skip


def write_opensignals_text(path: Path, rows: NDArray[np.int64], *devices: dict[str, Any]) -> Path:
    """A text file of these rows."""
    head = {f"00:0{number}": device for number, device in enumerate(devices)}
    lines = ["# OpenSignals Text File Format", f"# {json.dumps(head)}", "# EndOfHeader"]
    lines += ["\t".join(map(str, row)) + "\t" for row in rows.tolist()]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def write_opensignals_hdf5(path: Path, counts: NDArray[np.int64], counter: NDArray[np.int64], **fields: Any) -> Path:
    """An HDF5 file of one channel."""
    import h5py

    device = opensignals_device(**fields)
    with h5py.File(path, "w") as file:
        group = file.create_group("00:07:80:00:00:00")
        for key in ("device", "sampling rate", "resolution", "channels"):
            group.attrs[key] = device[key]
        channel = group.create_dataset("raw/channel_1", data=counts[:, None].astype("<u2"))
        channel.attrs["sensor"], channel.attrs["label"] = device["sensor"][0], "CH1"
        group.create_dataset("raw/nSeq", data=counter[:, None].astype("<u2"))
    return path
