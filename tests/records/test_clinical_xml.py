"""HL7 aECG and MUSE XML: values against files decoded by hand, and refusal of dangerous XML."""

from __future__ import annotations

import base64
import os
import re
from pathlib import Path

import numpy as np
import pytest
from clinical_files import aecg_set, drawn_counts, muse_lead, write_aecg, write_muse

from ecgmoe_edge.errors import RecordError, UsageError
from ecgmoe_edge.records import safe_xml
from ecgmoe_edge.records.registry import find_recordings, open_recording

COUNTS = drawn_counts()


def test_an_aecg_is_read_with_scale_origin_and_unit(tmp_path: Path) -> None:
    recording = open_recording(write_aecg(tmp_path / "a.xml", [aecg_set(COUNTS)]))
    assert (recording.fs, recording.leads) == (500.0, ("I", "aVR"))
    assert (recording.age, recording.sex) == (46, "F")
    assert np.allclose(recording.read(), (COUNTS * 2.5 + 10) * 1e-3, rtol=0, atol=1e-12)
    assert not recording.remarks
    with pytest.raises(UsageError, match="states its own"):
        open_recording(tmp_path / "a.xml", unit="mV")


def test_sequence_sets_are_placed_at_their_times(tmp_path: Path) -> None:
    sets = [aecg_set(COUNTS), aecg_set(COUNTS, head="20240305120008.000")]
    recording = open_recording(write_aecg(tmp_path / "a.xml", sets))
    assert recording.n_samples == 4000 + 3000
    read = recording.read()
    assert np.isnan(read[:, 3000:4000]).all()
    assert np.array_equal(read[:, :3000], read[:, 4000:])
    relative = [aecg_set(COUNTS, head="0"), aecg_set(COUNTS, ["II", "V1"], head="0")]
    assert open_recording(write_aecg(tmp_path / "b.xml", relative)).leads == ("I", "aVR", "II", "V1")


def test_a_representative_beat_and_other_sequences_are_ignored(tmp_path: Path) -> None:
    beat = f"<derivation><derivedSeries>{aecg_set(COUNTS, ['V1', 'V2'])}</derivedSeries></derivation>"
    sets = [aecg_set(COUNTS, ["I", "MDC_PRESS_BLD"])]
    recording = open_recording(write_aecg(tmp_path / "a.xml", sets, after=beat))
    assert recording.leads == ("I",)
    assert "MDC_PRESS_BLD" in recording.remarks[0].text
    with pytest.raises(RecordError, match="no rhythm"):
        open_recording(write_aecg(tmp_path / "b.xml", [aecg_set(COUNTS)], code="REPRESENTATIVE_BEAT"))


@pytest.mark.parametrize(
    ("old", "new"),
    [('increment value="0.002"', 'increment value="0"'), ('scale value="2.5"', 'scale value="0"'),
     ('scale value="2.5"', 'scale value="nan"'), ("<digits>", "<digits>x "), ("<digits>", "<digits>nan "),
     ("<digits>", "<digits>1_0 "), ('origin value="10" unit="uV"', 'origin value="10" unit="mmHg"'),
     ("TIME_ABSOLUTE", "TIME"), ("</AnnotatedECG>", "")],
)  # fmt: skip
def test_an_invalid_value_is_refused(tmp_path: Path, old: str, new: str) -> None:
    path = write_aecg(tmp_path / "a.xml", [aecg_set(COUNTS)])
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(RecordError):
        open_recording(path)


@pytest.mark.parametrize(
    "doctype",
    ['<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>\n',
     '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>\n', '<!DOCTYPE x [<!ELEMENT x ANY>]>\n'],
)  # fmt: skip
def test_entities_are_refused(tmp_path: Path, doctype: str) -> None:
    path = write_aecg(tmp_path / "a.xml", [aecg_set(COUNTS)], doctype=doctype)
    with pytest.raises(RecordError, match="entities"):
        open_recording(path)


def test_an_entity_of_an_external_dtd_is_refused_and_not_fetched(tmp_path: Path) -> None:
    path = write_aecg(tmp_path / "a.xml", [aecg_set(COUNTS)], doctype='<!DOCTYPE x SYSTEM "x.dtd">\n')
    assert open_recording(path).n_samples == 3000
    path.write_text(path.read_text().replace("<digits>", "<digits>&digits;"))
    with pytest.raises(RecordError, match="entities"):
        open_recording(path)


def test_size_depth_and_number_of_elements_have_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = write_aecg(tmp_path / "deep.xml", ["<a>" * 10_000 + "</a>" * 10_000])
    many = write_aecg(tmp_path / "many.xml", ["<a/>" * 400_000])
    for path in (deep, many):
        with pytest.raises(RecordError, match="more XML elements"):
            open_recording(path)
    monkeypatch.setattr(safe_xml, "_LARGEST", 1000)
    with pytest.raises(RecordError, match="too much"):
        open_recording(many)


def test_a_muse_xml_is_read_with_calculated_limb_leads(tmp_path: Path) -> None:
    leads = [muse_lead("I", COUNTS[0]), muse_lead("II", COUNTS[1]), muse_lead("V1", COUNTS[0])]
    path = write_muse(tmp_path / "a.xml", leads, median=muse_lead("I", COUNTS[0, :600]))
    recording = open_recording(path)
    assert recording.leads == ("I", "II", "III", "aVR", "aVL", "aVF", "V1")
    assert (recording.fs, recording.n_samples, recording.age, recording.sex) == (500.0, 3000, 63, "M")
    one, two = COUNTS.astype(float) * 4.88e-3
    expected = [one, two, two - one, -(one + two) / 2, one - two / 2, two - one / 2, one]
    assert np.allclose(recording.read(), expected, rtol=0, atol=1e-12)
    assert [remark.leads for remark in recording.remarks] == [(), ("III", "aVR", "aVL", "aVF")]
    assert find_recordings(tmp_path) == [path]


def test_leads_in_a_muse_xml_are_not_calculated(tmp_path: Path) -> None:
    leads = [muse_lead(name, COUNTS[0]) for name in ("I", "II", "III", "AVR", "AVL", "AVF")]
    recording = open_recording(write_muse(tmp_path / "a.xml", leads))
    assert recording.leads == ("I", "II", "III", "aVR", "aVL", "aVF")
    assert np.array_equal(recording.read()[2], recording.read()[0])
    assert not recording.remarks
    alone = open_recording(write_muse(tmp_path / "b.xml", [muse_lead("V1", COUNTS[0])]))
    assert alone.leads == ("V1",)


@pytest.mark.parametrize(
    "fields",
    [{"LeadDataCRC32": 1}, {"LeadSampleCountTotal": 2999}, {"LeadAmplitudeUnitsPerBit": "x"}, {"LeadSampleSize": 4},
     {"LeadAmplitudeUnits": "FURLONGS"}, {"WaveFormData": "!"}, {"LeadID": ""}],
)  # fmt: skip
def test_a_muse_waveform_that_contradicts_its_description_is_refused(tmp_path: Path, fields: dict[str, object]) -> None:
    with pytest.raises(RecordError):
        open_recording(write_muse(tmp_path / "a.xml", [muse_lead("I", COUNTS[0], **fields)]))


@pytest.mark.parametrize("base", ["", "x", 0, 999999])
def test_an_invalid_muse_rate_is_refused(tmp_path: Path, base: object) -> None:
    with pytest.raises(RecordError, match="sampling rate"):
        open_recording(write_muse(tmp_path / "a.xml", [muse_lead("I", COUNTS[0])], base=base))


def test_a_file_with_only_median_beats_is_refused(tmp_path: Path) -> None:
    path = write_muse(tmp_path / "a.xml", [muse_lead("I", COUNTS[0])])
    path.write_text(path.read_text().replace(">Rhythm<", ">Median<"))
    with pytest.raises(RecordError, match="no rhythm waveform"):
        open_recording(path)


@pytest.mark.skipif("ECGMOE_DATA" not in os.environ, reason="ECGMOE_DATA is not set")
def test_real_clinical_xml_gives_the_values_decoded_by_hand() -> None:
    folder = Path(os.environ["ECGMOE_DATA"]) / "formats"
    if not folder.is_dir():
        pytest.skip("no sample formats in ECGMOE_DATA")
    text = (folder / "muse_xml" / "example1.xml").read_text(encoding="latin-1")
    rhythm = text.split("<WaveformType>Rhythm<")[1]
    read = open_recording(folder / "muse_xml" / "example1.xml")
    for name, data in zip(
        re.findall("<LeadID>(.*?)<", rhythm), re.findall("<WaveFormData>(.*?)<", rhythm, re.S), strict=True
    ):
        counts = np.frombuffer(base64.b64decode(data), "<i2")
        assert np.allclose(read.read(leads=[name])[0], counts * 4.88e-3, rtol=0, atol=1e-12)
    text = (folder / "clinical" / "Example.xml").read_text()
    digits = re.search(r'MDC_ECG_LEAD_V5".*?<digits>(.*?)</digits>', text[text.index("<sequenceSet>") :], re.S)
    assert digits
    v5 = np.array(digits[1].split(), dtype=float) * 2.5e-3
    assert np.allclose(
        open_recording(folder / "clinical" / "Example.xml").read(leads=["V5"])[0], v5, rtol=0, atol=1e-12
    )
