"""EDF and BDF: samples against pyEDFlib and edfio, missing time of EDF+D, and invalid headers."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from edf_files import Edf, Signal, counts

from ecgmoe_edge.errors import RecordError, UsageError
from ecgmoe_edge.records.recording import OpenOptions
from ecgmoe_edge.records.registry import find_recordings, open_recording

SECONDS = 20


def ecg(rate: int = 250, label: str = "ECG II", **further: object) -> Signal:
    return Signal(label, counts(rate * SECONDS), rate, **further)  # type: ignore[arg-type]


def physical(signal: Signal) -> np.ndarray:
    """Millivolts by definition: a linear function through the two limits."""
    (d0, d1), (p0, p1) = ([float(x) for x in pair] for pair in (signal.digital, signal.physical))  # type: ignore[arg-type]
    return (p0 + (signal.counts - d0) * (p1 - p0) / (d1 - d0)) * 1e-3


@pytest.mark.parametrize("reserved", ["", "EDF+C"])
def test_an_edf_reads_as_pyedflib_and_edfio_read_it(tmp_path: Path, reserved: str) -> None:
    pyedflib, edfio = pytest.importorskip("pyedflib"), pytest.importorskip("edfio")
    onsets = range(SECONDS) if reserved else None
    signals = [ecg(), ecg(label="ECG V1", physical=(-5000, 5000))]
    path = Edf(signals, reserved, onsets).write(tmp_path / "night.edf")
    recording = open_recording(path)
    assert (recording.fs, recording.leads, recording.units) == (250.0, ("ECG II", "ECG V1"), ("uV", "uV"))
    assert recording.n_samples == 250 * SECONDS
    read = recording.read()
    with pyedflib.EdfReader(str(path)) as theirs:
        for lead, row in enumerate(read):
            assert np.allclose(row, theirs.readSignal(lead) * 1e-3, rtol=0, atol=1e-12)
            assert np.array_equal(
                np.rint((row * 1e3 - float(signals[lead].physical[0])) / (  # type: ignore[arg-type]
                    (float(signals[lead].physical[1]) - float(signals[lead].physical[0])) / 65535)) - 32768,  # type: ignore[arg-type]
                theirs.readSignal(lead, digital=True),
            )  # fmt: skip
    for lead, signal in enumerate(edfio.read_edf(path).signals):
        assert np.allclose(read[lead], signal.data * 1e-3, rtol=0, atol=1e-12)


def test_a_bdf_of_24_bits_reads_as_pyedflib_reads_it(tmp_path: Path) -> None:
    pyedflib = pytest.importorskip("pyedflib")
    signal = Signal("ECG", counts(500 * SECONDS, 24), 500, "uV", (-262144, 262143), (-8388608, 8388607))
    path = Edf([signal], "BDF+C", range(SECONDS), bdf=True).write(tmp_path / "night.bdf")
    read = open_recording(path).read()[0]
    with pyedflib.EdfReader(str(path)) as theirs:
        assert np.allclose(read, theirs.readSignal(0) * 1e-3, rtol=0, atol=1e-9)
    assert np.array_equal(np.rint((read * 1e3 + 262144) / (524287 / 16777215)) - 8388608, signal.counts)


def test_any_range_of_samples_and_leads_equals_that_of_the_whole_recording(tmp_path: Path) -> None:
    path = Edf([ecg(), Signal("Resp", counts(32 * SECONDS), 32), ecg(label="ECG V1")]).write(tmp_path / "night.edf")
    recording = open_recording(path)
    whole = recording.read()
    assert np.allclose(whole[0], physical(ecg()), atol=1e-12)
    for start, stop in ((0, 1), (249, 251), (250, 500), (1234, 4321), (4999, 5000), (5, 5)):
        assert np.array_equal(recording.read(start, stop, [1, 0]), whole[[1, 0], start:stop])
    for seconds in (0.1, 0.7, 3, 60):
        assert np.array_equal(np.concatenate(list(recording.blocks(seconds)), axis=1), whole)


def test_data_records_larger_than_one_read_give_the_same_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ecgmoe_edge.records.formats.edf import record

    path = Edf([ecg(), ecg(label="ECG V1")]).write(tmp_path / "night.edf")
    whole = open_recording(path).read()
    for limit in (300, 1100, 2500):
        monkeypatch.setattr(record, "_READ_BYTES", limit)
        assert np.array_equal(open_recording(path).read(), whole)


def test_only_the_ecg_of_a_polysomnography_is_read_with_a_remark(tmp_path: Path) -> None:
    signals = [
        Signal("EEG C3-A2", counts(256 * SECONDS), 256), ecg(256, "ECG"),
        Signal("Resp chest", counts(32 * SECONDS), 32),
        Signal("SaO2", counts(SECONDS), 1, "%", (0, 100)), Signal("HR ECG", counts(SECONDS), 1, "bpm", (0, 255)),
    ]  # fmt: skip
    recording = open_recording(Edf(signals, "EDF+C", range(SECONDS)).write(tmp_path / "psg.edf"))
    assert (recording.fs, recording.leads) == (256.0, ("ECG",))
    (remark,) = recording.remarks
    assert remark.kind == "lead"
    assert all(part in remark.text for part in ("EEG C3-A2", "Resp chest", "SaO2 (%, 1 Hz)", "HR ECG", "256 Hz"))


@pytest.mark.parametrize(
    ("label", "is_read"),
    [("EKG1", True), ("EEG EKG-Ref", True), ("POL ECG", True), ("MLII", True), ("aVR", True), ("Lead II", True),
     ("V5", True), ("CM5", True), ("EEG Fpz-Cz", False), ("Fp1", False), ("EMG chin", False), ("EOG L", False)],
)  # fmt: skip
def test_the_label_distinguishes_an_ecg_from_other_voltages(tmp_path: Path, label: str, is_read: bool) -> None:
    signals = [ecg(label=label), ecg(label="C4-A1")]
    path = Edf(signals).write(tmp_path / "night.edf")
    if is_read:
        assert open_recording(path).leads == (label,)
    else:
        with pytest.raises(RecordError, match="labelled as an ECG"):
            open_recording(path)


def test_a_voltage_with_an_unknown_label_is_read_with_a_remark(tmp_path: Path) -> None:
    recording = open_recording(Edf([ecg(label="CH1"), ecg(label="CH1"), ecg(label="Chin")]).write(tmp_path / "a.edf"))
    assert recording.leads == ("CH1", "CH1 2")
    assert [remark.kind for remark in recording.remarks] == ["lead", "lead"]


def test_interruptions_of_an_edf_d_are_missing_time(tmp_path: Path) -> None:
    onsets = [t if t < 8 else t + 10 if t < 12 else t + 12.5 for t in range(SECONDS)]
    recording = open_recording(Edf([ecg()], "EDF+D", onsets).write(tmp_path / "holes.edf"))
    assert recording.n_samples == 250 * SECONDS + 3125
    whole, true = recording.read()[0], physical(ecg())
    assert np.isnan(whole[2000:4500]).all()
    assert np.isnan(whole[5500:6125]).all()
    assert np.allclose(np.concatenate((whole[:2000], whole[4500:5500], whole[6125:])), true, atol=1e-12)
    for seconds in (0.3, 1, 7):
        assert np.array_equal(np.concatenate(list(recording.blocks(seconds)), axis=1)[0], whole, equal_nan=True)
    assert np.array_equal(recording.read(3000, 6200)[0], whole[3000:6200], equal_nan=True)
    assert "2 interruptions, 12.5 s" in recording.remarks[-1].text


def test_rounded_time_stamps_are_not_interruptions(tmp_path: Path) -> None:
    onsets = [f"{t + (0.001 if t % 3 else 0):.3f}" for t in range(SECONDS)]
    recording = open_recording(Edf([ecg()], "EDF+D", onsets).write(tmp_path / "rounded.edf"))
    assert recording.n_samples == 250 * SECONDS
    assert not np.isnan(recording.read()).any()


def test_a_gap_in_the_time_stamps_of_a_continuous_file_is_missing_time(tmp_path: Path) -> None:
    onsets = [t if t < 8 else t + 10 for t in range(SECONDS)]
    recording = open_recording(Edf([ecg()], "EDF+C", onsets).write(tmp_path / "holes.edf"))
    assert recording.n_samples == 250 * SECONDS + 2500
    assert any("states that it is continuous" in remark.text for remark in recording.remarks)


@pytest.mark.parametrize("onsets", [[0, 1, 2, 1.5, 4], [0, 1, 2, 1e9, 1e9 + 1], ["x"] * 5])
def test_time_that_goes_backwards_or_spans_years_is_refused(tmp_path: Path, onsets: list[float | str]) -> None:
    signal = Signal("ECG", counts(1250), 250)
    stamps = [f"{t:.1f}" if isinstance(t, float) else t for t in onsets]
    with pytest.raises(RecordError, match="Data record"):
        open_recording(Edf([signal], "EDF+D", stamps).write(tmp_path / "back.edf"))


def test_an_edf_d_without_time_stamps_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"Export it again as EDF\+C"):
        open_recording(Edf([ecg()], "EDF+D").write(tmp_path / "d.edf"))


def test_an_unknown_number_of_data_records_is_counted(tmp_path: Path) -> None:
    path = Edf([ecg()], fields={"n_records": -1}).write(tmp_path / "open.edf")
    path.write_bytes(path.read_bytes() + b"abc")
    recording = open_recording(path)
    assert recording.n_samples == 250 * SECONDS
    assert "3 bytes" in recording.remarks[0].text


def test_a_truncated_file_is_refused_or_read_to_its_end(tmp_path: Path) -> None:
    path = Edf([ecg()]).write(tmp_path / "cut.edf")
    path.write_bytes(path.read_bytes()[:-600])
    with pytest.raises(RecordError, match="18 of 20 data records"):
        open_recording(path)
    recording = open_recording(path, truncated="read")
    assert recording.n_samples == 18 * 250
    assert np.allclose(recording.read()[0], physical(ecg())[: 18 * 250], atol=1e-12)
    assert recording.remarks[0].kind == "length"


@pytest.mark.parametrize(
    "signal",
    [ecg(physical=(0, 0)), ecg(digital=(5, 5)), ecg(physical=("a", "b")), ecg(physical=("nan", "inf"))],
)
def test_a_signal_without_a_scale_is_refused_or_ignored(tmp_path: Path, signal: Signal) -> None:
    with pytest.raises(RecordError, match="no scale"):
        open_recording(Edf([signal]).write(tmp_path / "a.edf"))
    recording = open_recording(Edf([signal, ecg(label="ECG V1")]).write(tmp_path / "b.edf"))
    assert recording.leads == ("ECG V1",)
    assert "ECG II" in recording.remarks[0].text


def test_reversed_limits_reverse_the_polarity(tmp_path: Path) -> None:
    physical_ = open_recording(Edf([ecg(physical=(3276.7, -3276.8))]).write(tmp_path / "a.edf"))
    straight = open_recording(Edf([ecg()]).write(tmp_path / "b.edf")).read()
    assert np.allclose(physical_.read(), -straight - 1e-4, atol=1e-12)
    assert not physical_.remarks  # the specification allows it
    digital = open_recording(Edf([ecg(digital=(32767, -32768))]).write(tmp_path / "c.edf"))
    assert digital.remarks[0].kind == "gain"


def test_too_coarse_a_resolution_gets_a_remark(tmp_path: Path) -> None:
    recording = open_recording(Edf([ecg(unit="V")]).write(tmp_path / "v.edf"))
    assert "100 mV" in recording.remarks[0].text


def test_a_missing_unit_is_requested_and_a_second_unit_is_refused(tmp_path: Path) -> None:
    path = Edf([ecg(unit="")]).write(tmp_path / "a.edf")
    with pytest.raises(UsageError, match="--unit"):
        open_recording(path)
    assert np.allclose(open_recording(path, unit="uV").read()[0], physical(ecg()), atol=1e-12)
    with pytest.raises(UsageError, match="states its own"):
        open_recording(Edf([ecg()]).write(tmp_path / "b.edf"), unit="mV")
    with pytest.raises(UsageError, match="states its own"):
        open_recording(path, fs=250, unit="uV")


@pytest.mark.parametrize("unit", ["µV", "uV", "mV"])
def test_the_micro_sign_of_latin_1_is_read(tmp_path: Path, unit: str) -> None:
    recording = open_recording(Edf([ecg(unit=unit)]).write(tmp_path / "a.edf"))
    assert recording.units == (unit,)


@pytest.mark.parametrize("unit", ["Volt", "uVolt", "microvolts", "æV", "mcV"])
def test_other_spellings_of_volts_are_read(tmp_path: Path, unit: str) -> None:
    signal = ecg(unit=unit)
    recording = open_recording(Edf([signal]).write(tmp_path / "a.edf"))
    scale = 1e6 if unit == "Volt" else 1.0
    np.testing.assert_allclose(recording.read()[0], physical(signal) * scale, rtol=1e-6)


@pytest.mark.parametrize("unit", ["ADU", "?V", "mmHg"])
def test_an_ecg_in_another_unit_is_refused_with_its_unit(tmp_path: Path, unit: str) -> None:
    with pytest.raises(RecordError, match=r"which is not a voltage.*correct the unit") as refusal:
        open_recording(Edf([ecg(unit=unit)]).write(tmp_path / "a.edf"))
    assert repr(unit) in str(refusal.value)


def test_age_and_sex_come_from_the_patient_field(tmp_path: Path) -> None:
    path = Edf([ecg()], "EDF+C", range(SECONDS), patient="MCH-02 F 06-MAR-1951 X").write(tmp_path / "a.edf")
    recording = open_recording(path)
    assert (recording.age, recording.sex) == (72, "F")


@pytest.mark.parametrize(
    "fields", [{"n_signals": "x"}, {"n_signals": 0}, {"n_signals": 9999}, {"header_bytes": 1}, {"n_records": "many"}]
)
def test_the_damaged_field_of_a_header_is_named(tmp_path: Path, fields: dict[str, object]) -> None:
    with pytest.raises(RecordError, match="header"):
        open_recording(Edf([ecg()], fields=fields).write(tmp_path / "a.edf"))


@pytest.mark.parametrize("record_s", [0, -1, "x", "nan"])
def test_a_data_record_without_a_length_is_refused(tmp_path: Path, record_s: object) -> None:
    with pytest.raises(RecordError):
        open_recording(Edf([ecg()], record_s=record_s).write(tmp_path / "a.edf"))


def test_a_file_with_only_annotations_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="annotations and no signal"):
        open_recording(Edf([], "EDF+C", [0, 1]).write(tmp_path / "hypnogram.edf"))


def test_an_edf_is_recognised_by_its_bytes_and_found_in_a_folder(tmp_path: Path) -> None:
    Edf([ecg()]).write(tmp_path / "night.csv")
    assert open_recording(tmp_path / "night.csv").fs == 250.0
    Edf([ecg()]).write(tmp_path / "NIGHT.EDF")
    (tmp_path / "other.edf").write_bytes(b"no EDF")
    assert find_recordings(tmp_path) == [tmp_path / "NIGHT.EDF"]


def test_a_day_is_read_with_constant_memory(tmp_path: Path) -> None:
    path = Edf([Signal("ECG", np.zeros(250 * 3600, np.int64), 250)]).write(tmp_path / "hour.edf")
    recording = open_recording(path)
    tracemalloc.start()
    assert sum(block.shape[1] for block in recording.blocks()) == 250 * 3600
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000


@pytest.mark.skipif("ECGMOE_DATA" not in os.environ, reason="ECGMOE_DATA is not set")
def test_a_real_edf_of_another_manufacturer_reads_as_edfio_reads_it() -> None:
    edfio = pytest.importorskip("edfio")  # pyEDFlib refuses the file for the unit of another signal
    path = Path(os.environ["ECGMOE_DATA"]) / "formats" / "wfdb" / "test_generator_2.edf"
    if not path.is_file():
        pytest.skip("no sample formats in ECGMOE_DATA")
    recording = open_recording(path)
    assert recording.leads == ("ECG",)
    theirs = edfio.read_edf(path).get_signal("ECG").data
    assert np.allclose(recording.read()[0], theirs * 1e-3, rtol=0, atol=1e-12)


def test_options_are_optional(tmp_path: Path) -> None:
    from ecgmoe_edge.records.formats.edf.record import open_edf

    path = Edf([ecg()]).write(tmp_path / "a.edf")
    assert open_edf(path).n_samples == open_edf(path, OpenOptions()).n_samples
