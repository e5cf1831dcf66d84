"""Headers of recorders, converters and editors: read if their meaning is clear, otherwise refused."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from ecgmoe_edge.errors import RecordError
from ecgmoe_edge.records.formats.wfdb_record import FORMAT, WfdbRecord, open_record
from ecgmoe_edge.records.recording import voltage_leads
from ecgmoe_edge.records.registry import find_recordings, open_recording

RAMP = np.arange(-250, 250, dtype=np.int16)


def _open(
    folder: Path, header: str | bytes, name: str = "a", signal: bytes = RAMP.astype("<i2").tobytes()
) -> WfdbRecord:
    """The record of a header; its signal file has one lead of format 16."""
    (folder / f"{name}.dat").write_bytes(signal)
    (folder / f"{name}.hea").write_bytes(header if isinstance(header, bytes) else header.encode())
    return open_record(folder / name)


def _kinds(record: WfdbRecord) -> list[str]:
    return sorted(remark.kind for remark in record.remarks)


@pytest.mark.parametrize(
    "tail",
    [
        "500 09:49:17 05/08/2014", "500 9:49:17.25 5/8/2014", "500 05-May-2020 09:49:17", "500 2014-05-08 05:05:15",
        "500 09:49:17 2006", "500 09:49:17 5.8.2014", "500 2014-05-08T05:05:15Z", "500 31:51.982", "500 12 25:99:99",
        "09:49:17 05/08/2014", "05-May-2020 09:49:17", "2014-05-08T05:05:15", "0 09:49:17", "500.0", "5e2", "",
    ],
)  # fmt: skip
@pytest.mark.parametrize("rate", ["250", "250/1000", "250/1000(17.5)", "250.0/250(-3)", "2.5e2"])
def test_date_and_time_of_any_form_are_accepted(tmp_path: Path, rate: str, tail: str) -> None:
    record = _open(tmp_path, f"a 1 {rate} {tail}\na.dat 16 200/mV 16 0 0 0 0 II\n")
    assert (record.fs, record.n_samples, record.remarks) == (250.0, 500, ())


@pytest.mark.parametrize(
    ("field", "scale", "level"),
    [
        ("200", 1, 0), ("200/mV", 1, 0), ("200(100)", 1, 100), ("200(100)/mV", 1, 100), ("200/mV(100)", 1, 100),
        ("2.0e2(-3)/mV", 1, -3), ("200.(1.5)/mV", 1, 1.5), ("+200/mV", 1, 0), (".2/uV", 1, 0), ("2E5/V", 1, 0),
        ("2.0e-4/nV", 1, 0), ("-200/mV", -1, 0), ("200/MV", 1, 0), ("0.2/microvolts", 1, 0), ("200/Millivolt", 1, 0),
        ("0", 1, 0), ("0/mV", 1, 0), ("0(100)/mV", 1, 100), ("", 1, 0),
    ],
)  # fmt: skip
def test_a_gain_of_any_documented_form_gives_millivolts(tmp_path: Path, field: str, scale: int, level: float) -> None:
    record = _open(tmp_path, f"a 1 250 500\na.dat 16 {field}{' 16 0 -250 0 0 II' if field else ''}\n")
    np.testing.assert_allclose(record.read()[0], scale * (RAMP - level) / 200.0, rtol=1e-12)


def test_the_default_of_the_baseline_is_the_adc_zero(tmp_path: Path) -> None:
    record = _open(tmp_path, "a 1 250 500\na.dat 16 200/mV 16 1024 0 0 0 II\n")
    np.testing.assert_allclose(record.read()[0], (RAMP - 1024) / 200.0)
    record = _open(tmp_path, "a 1 250 500\na.dat 16 200(-3)/mV 16 1024 0 0 0 II\n")
    np.testing.assert_allclose(record.read()[0], (RAMP + 3) / 200.0)


@pytest.mark.parametrize(
    ("line", "kinds", "leads"),
    [
        ("a.dat 16 200/mV 16 0 0 0 0 II", [], "II"),
        ("a.dat 16 0/mV 16 0 0 0 0 II", ["gain"], "II"),
        ("a.dat 16 200 16 0 0 0 0 II", ["unit"], "II"),
        ("a.dat 16", ["gain", "unit"], "lead 0"),
        ("a.dat 16 II", ["gain", "unit"], "II"),
        ("a.dat 16 1/adu 16 0 0 0 0 II", ["unit"], "II"),
        ("a.dat 16 200 16 0 0 0 0 Resp. Imp.", ["unit"], "Resp. Imp."),
        ("a.dat 16 1/mV 16 0 0 0 0 II", ["amplitude"], "II"),
        ("a.dat 16 1e9/mV 16 0 0 0 0 II", ["amplitude"], "II"),
    ],
)
def test_assumed_gains_and_units_get_a_remark(tmp_path: Path, line: str, kinds: list[str], leads: str) -> None:
    record = _open(tmp_path, f"a 1 250 500\n{line}\n")
    assert (_kinds(record), record.leads) == (kinds, (leads,))
    for remark in record.remarks:
        assert remark.leads == (leads,)
        assert f"Lead {leads} of a" in remark.text


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        (np.full(500, -32768), "no valid sample"),
        (np.full(500, 7), "is flat"),
        (RAMP * 120, "has a peak-to-peak amplitude"),
    ],
)
def test_an_implausible_amplitude_in_the_first_seconds_gets_a_remark(
    tmp_path: Path, counts: np.ndarray[tuple[int], np.dtype[np.int64]], message: str
) -> None:
    record = _open(tmp_path, "a 1 250 500\na.dat 16 200/mV 16 0 0 0 0 II\n", signal=counts.astype("<i2").tobytes())
    assert [(remark.kind, remark.leads) for remark in record.remarks] == [("amplitude", ("II",))]
    assert message in record.remarks[0].text


def test_an_assumed_rate_gets_a_remark(tmp_path: Path) -> None:
    record = _open(tmp_path, "a 1\na.dat 16 200/mV 16 0 0 0 0 II\n")
    assert (record.fs, record.n_samples, _kinds(record)) == (250.0, 500, ["rate"])
    assert "250 Hz is assumed" in record.remarks[0].text


@pytest.mark.parametrize(
    "unit",
    [
        "µV".encode(),
        "μV".encode(),
        "µV".encode("latin-1"),
        "ÂµV".encode(),
        "Î¼V".encode(),
        b"uV",
        b"UV",
        b"mcV",
        "µV".encode("cp437"),
        "μV".encode("shift_jis"),
        "µV".encode("mac_roman"),
    ],
)
def test_a_micro_sign_of_any_kind_makes_microvolts(tmp_path: Path, unit: bytes) -> None:
    record = _open(tmp_path, b"a 1 250 500\na.dat 16 0.2/" + unit + b" 16 0 0 0 0 II\n# Ger\xe4t: 22 \xb0C\n")
    np.testing.assert_allclose(record.read()[0], RAMP / 200.0)
    record = _open(tmp_path, b"a 1 250 500\na.dat 16 0.2/" + unit + b" 16 0 0 0 0 II\n")
    assert voltage_leads(record) == ["II"]
    np.testing.assert_allclose(record.read()[0], RAMP / 200.0)


@pytest.mark.parametrize("unit", ["?V", "\ufffdV", "adu", "mmHg", "%", "NU", "mV/s"])
def test_a_lead_without_a_voltage_is_listed_and_refused_only_when_read(tmp_path: Path, unit: str) -> None:
    two = "a.dat 16 200/mV 16 0 0 0 0 II\na.dat 16 200/" + unit + " 16 0 0 0 0 other\n"
    record = _open(tmp_path, f"a 2 250 250\n{two}")
    assert record.leads == ("II", "other")
    assert record.units == ("mV", unit)
    assert sum(block.shape[1] for block in record.blocks(0.3, leads=voltage_leads(record))) == 250
    with pytest.raises(RecordError, match=r"Lead other of a: .* is not a voltage"):
        next(record.blocks(leads=["other"]))


@pytest.mark.parametrize(
    ("encode", "end"),
    [("utf-8", "\n"), ("utf-8-sig", "\r\n"), ("latin-1", "\r"), ("utf-16", "\r\n"), ("latin-1", "\r\n")],
)
def test_a_header_of_any_encoding_and_line_end_is_read(tmp_path: Path, encode: str, end: str) -> None:
    lines = [
        "# Müller",
        "  # more",
        "a 1 250 500",
        "",
        "a.dat 16 200/mV\t16 0 0 0 0 Brustwand links ü",
        "#Age: 61",
        "#Sex: F",
    ]
    record = _open(tmp_path, end.join(lines).encode(encode))
    assert (record.leads, record.n_samples, record.age, record.sex) == (("Brustwand links ü",), 500, 61, "F")


@pytest.mark.parametrize(
    "name", ["Müller, Hans", "night 2 250", "a.b.c", "2024-05-01 10.30", "100", "ß", "EKG (1)", "rec 1 2", "x" * 100]
)
def test_unusual_record_names_are_accepted(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "Eigene Dateien" / "Größe 1"
    folder.mkdir(parents=True)
    record = _open(folder, f"{name} 1 360 500\n{name}.dat 16 200/mV 16 0 0 0 0 II\n", name)
    assert (record.name, record.fs, record.n_samples, record.leads) == (name, 360.0, 500, ("II",))
    for path in (folder / f"{name}.hea", folder / f"{name}.dat"):
        assert open_recording(path).path == folder / name
    assert find_recordings(folder) == [folder / name]


def test_a_header_that_names_another_record_than_its_file_is_read(tmp_path: Path) -> None:
    assert _open(tmp_path, "what ever 1 250 500\na.dat 16 200/mV 16 0 0 0 0 II\n").n_samples == 500
    with pytest.raises(RecordError, match=r"signal file 100\.dat.*If it was renamed to a\.dat"):
        _open(tmp_path, "100 1 250 500\n100.dat 16 200/mV 16 0 0 0 0 II\n")


def test_the_name_of_a_signal_file_may_differ_in_case(tmp_path: Path) -> None:
    _open(tmp_path, "a 1 250 500\na.dat 16 200/mV 16 0 0 0 0 II\n")
    (tmp_path / "a.hea").write_text("a 1 250 500\nA.DAT 16 200/mV 16 0 0 0 0 II\n")
    assert open_recording(tmp_path / "a").n_samples == 500


def test_a_packed_signal_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "b.dat.gz").write_bytes(b"packed")
    with pytest.raises(RecordError, match=r"Unpack b\.dat\.gz with gunzip"):
        _open(tmp_path, "a 1 250 500\nb.dat 16 200/mV 16 0 0 0 0 II\n")


def test_a_signal_file_is_read_only_in_or_below_the_folder_of_its_header(tmp_path: Path) -> None:
    folder = tmp_path / "records"
    (folder / "data").mkdir(parents=True)
    for place in (tmp_path, folder / "data"):
        (place / "s.dat").write_bytes(bytes(1000))
    for separator in "/\\":
        assert _open(folder, f"a 1 250 500\ndata{separator}s.dat 16 200/mV 16 0 0 0 0 II\n").n_samples == 500
    for name in ("../s.dat", str(tmp_path / "s.dat"), "data/../../s.dat", "..\\s.dat", "C:\\s.dat"):
        with pytest.raises(RecordError, match=r"a\.hea names the file .*Move it to the folder of the header"):
            _open(folder, f"a 1 250 500\n{name} 16 200/mV 16 0 0 0 0 II\n")


def test_leads_get_unique_names(tmp_path: Path) -> None:
    record = _open(tmp_path, "a 2 250 250\n" + "a.dat 16 200/mV 16 0 0 0 0 II\n" * 2)
    assert (record.leads, _kinds(record)) == (("II", "II (2)"), ["lead"])
    np.testing.assert_array_equal(record.read(leads=["II (2)"])[0], RAMP[1::2] / 200.0)


def test_a_file_longer_than_its_header_states_gets_a_remark(tmp_path: Path) -> None:
    record = _open(tmp_path, "a 1 100 300\na.dat 16 200/mV 16 0 0 0 0 II\n")
    assert (record.n_samples, _kinds(record)) == (300, ["length"])
    assert "2 s longer" in record.remarks[0].text
    record = _open(tmp_path, "a 1 250 500\n" + "a.dat 16 200/mV 16 0 0 0 0 II\n" * 2)
    assert _kinds(record) == ["lead"]


def test_records_with_several_samples_per_frame_are_read_at_the_rate_of_the_ecg_leads(tmp_path: Path) -> None:
    """A record as of edf2mit: frames of 1 s with 256 samples of ECG, 32 of respiration and one of heart rate."""
    rng = np.random.default_rng(0)
    seconds, ecg = 20, rng.integers(-300, 300, size=20 * 256)
    frames = np.hstack([ecg.reshape(seconds, 256), rng.integers(-9, 9, size=(seconds, 33))]).astype("<i2")
    header = (
        f"a 3 1 {seconds}\na.dat 16x256 200/mV 16 0 0 0 0 ECG\na.dat 16x32 100/l 16 0 0 0 0 Resp\n"
        "a.dat 16 1/bpm 16 0 0 0 0 HR\n"
    )
    record = _open(tmp_path, header, signal=frames.tobytes())
    assert (record.fs, record.n_samples, record.frame_rate) == (256.0, 20 * 256, 1.0)
    assert (record.leads, record.units, record.remarks) == (("ECG", "Resp", "HR"), ("mV", "l", "bpm"), ())
    np.testing.assert_array_equal(record.read(leads=["ECG"])[0], ecg / 200.0)
    np.testing.assert_array_equal(np.concatenate(list(record.blocks(0.7, ["ECG"])), axis=1)[0], ecg / 200.0)


@pytest.mark.parametrize(
    ("frames_a_second", "per_frame", "fs"), [("0.0333333", 7680, 256.0), ("62.4725", 4, 249.89), ("0.1", 2000, 200.0)]
)
def test_a_rounded_frame_rate_gives_an_integer_sampling_rate(
    tmp_path: Path, frames_a_second: str, per_frame: int, fs: float
) -> None:
    header = f"a 1 {frames_a_second} 3\na.dat 16x{per_frame} 200/mV 16 0 0 0 0 ECG\n"
    assert _open(tmp_path, header, signal=bytes(6 * per_frame)).fs == fs


def test_a_slower_lead_is_interpolated_and_a_faster_voltage_is_ignored(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    n = 50
    fast, slow, odd, eeg = (rng.integers(-300, 300, size=n * k) for k in (4, 2, 3, 8))
    invalid = slow.copy()
    invalid[7] = -32768
    frames = np.hstack([part.reshape(n, -1) for part in (eeg, fast, invalid, odd)]).astype("<i2")
    lines = [("x8", "EEG Fp1-A1"), ("x4", "II"), ("x2", "V1"), ("x3", "V2")]
    header = f"a 4 62.5 {n}\n" + "".join(f"a.dat 16{x} 200/mV 16 0 0 0 0 {name}\n" for x, name in lines)
    record = _open(tmp_path, header, signal=frames.tobytes())
    assert (record.fs, record.leads) == (250.0, ("II", "V1", "V2"))
    assert [(remark.kind, remark.leads) for remark in record.remarks] == [
        ("rate", ("EEG Fp1-A1",)), ("rate", ("V1", "V2")),
    ]  # fmt: skip
    read = record.read()
    np.testing.assert_array_equal(read[0], fast / 200.0)
    grid = np.arange(4 * n)
    expected = np.interp(grid / 2, np.arange(2 * n), slow / 200.0)
    expected[13:16] = np.nan  # no interpolation next to an invalid sample
    np.testing.assert_allclose(read[1], expected)
    np.testing.assert_allclose(read[2], np.interp(grid * 3 / 4, np.arange(3 * n), odd / 200.0))
    for seconds in (0.004, 0.02, 0.1, 0.3):
        np.testing.assert_array_equal(np.concatenate(list(record.blocks(seconds)), axis=1), read)


def test_skew_shifts_a_lead_and_leaves_missing_samples_at_the_end(tmp_path: Path) -> None:
    pairs = np.stack([RAMP, RAMP], axis=1).astype("<i2").tobytes()
    header = "a 2 250 500\na.dat 16 200/mV 16 0 0 0 0 I\na.dat 16:7 200/mV 16 0 0 0 0 II\n"
    record = _open(tmp_path, header, signal=pairs)
    read = record.read()
    np.testing.assert_array_equal(read[0], RAMP / 200.0)
    np.testing.assert_array_equal(read[1], np.append(RAMP[7:] / 200.0, [np.nan] * 7))
    np.testing.assert_array_equal(np.concatenate(list(record.blocks(0.05)), axis=1), read)


def test_a_null_signal_is_nan(tmp_path: Path) -> None:
    record = _open(tmp_path, "a 2 250 500\n~ 0 200/mV 16 0 0 0 0 I\na.dat 16 200/mV 16 0 0 0 0 II\n")
    read = record.read()
    assert np.isnan(read[0]).all()
    np.testing.assert_array_equal(read[1], RAMP / 200.0)


_GOOD = "a.dat 16 200/mV 16 0 0 0 0 II"


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (f"a 1 250 500\n{_GOOD.replace('200/mV', '204,8/mV')}", r"'204,8/mV'.*comma: write a decimal point"),
        (f"a 1 250 500\n{_GOOD.replace('200/mV', '204,8')}", "comma: write a decimal point"),
        (f"a 1 250,5 500\n{_GOOD}", r"'250,5' with a comma: write a decimal point"),
        (f"a 1 250 500\n{_GOOD.replace('200/mV', 'nan/mV')}", r"gain 'nan/mV'"),
        (f"a 1 250 500\n{_GOOD.replace('200/mV', '-inf')}", r"gain '-inf'"),
        (f"a 1 250 500\n{_GOOD.replace('200/mV', '1e400/mV')}", "gain '1e400/mV'"),
        (f"a 1 250 500\n{_GOOD.replace('200/mV', '1e-200/mV')}", "gain '1e-200/mV'"),
        (f"a 1 250 500\n{_GOOD.replace('200/mV', '200(1e400)/mV')}", r"gain '200\(1e400\)/mV'"),
        (f"a 1 250 500\n{_GOOD.replace('200/mV', '200(x)/mV')}", r"gain '200\(x\)/mV'"),
        (f"a 1 250 500\n{_GOOD.replace('200/mV 16', '1/mm Hg 16')}", "'Hg' in .* ADC resolution"),
        (f"a 1 250 500\n{_GOOD.replace('16 0 0', '16 0.5 0')}", r"'0\.5' in .* ADC zero"),
        (f"a 1 nan 500\n{_GOOD}", "sampling rate 'nan'"),
        (f"a 1 -250 500\n{_GOOD}", "sampling rate of -250 Hz.*true rate"),
        (f"a 1 1e300 500\n{_GOOD}", "sampling rate of 1e.300 Hz"),
        (f"a 1 250 -500\n{_GOOD}", "'-500' as the number of samples"),
        (f"a 1 250 many\n{_GOOD}", "'many' as the number of samples"),
        (f"a 1 1e-300 500\n{_GOOD}", "more than 20 years"),
        (f"a 1 250 {10**17}\n{_GOOD.replace('a.dat 16', '~ 0')}", "more than 20 years"),
        (f"a {10**12} 250 500\n{_GOOD}", f"states '{10**12}' signals"),
        (f"a {'9' * 500} 250 500\n{_GOOD}", "states '9+\\.\\.\\.' signals"),
        (f"a -2 250 500\n{_GOOD}", "states '-2' signals"),
        ("a 0 250 500\n", "describes no signal"),
        (f"a 3 250 500\n{_GOOD}", "states 3 signals but describes 1"),
        (f"a/{10**9} 1 250 500\ns1 500", f"states '{10**9}' segments"),
        (f"a 1 250 500\n{_GOOD.replace(' 16 ', f' 16x{10**9} ', 1)}", r"over 1048576 samples per frame"),
        (f"a 1 250 1\n{_GOOD.replace(' 16 ', ' 16x500000 ', 1)}", "is truncated: 0 of the"),
        (f"a 1 500 500\n{_GOOD.replace(' 16 ', ' 0x500000 ', 1)}", r"a rate of 2\.5e\+08 Hz"),
        (f"a 1 250 500\n{_GOOD.replace(' 16 ', ' 16x0 ', 1)}", "'0' samples per frame"),
        (f"a 1 250 500\n{_GOOD.replace(' 16 ', ' 16:-3 ', 1)}", "'-3' samples of skew"),
        (f"a 1 250 500\n{_GOOD.replace(' 16 ', f' 16+{10**15} ', 1)}", "bytes before the signal"),
        (f"a 1 250 500\n{_GOOD.replace(' 16 ', ' 16+990 ', 1)}", "5 of the 500 samples per lead"),
        (f"a 1 250 500\n{_GOOD.replace(' 16 ', ' 17 ', 1)}", "format 17"),
        (f"a 2 250 250\n{_GOOD}\n{_GOOD.replace(' 16 ', ' 61 ', 1)}", "two formats"),
        ("a 1 250 500\nno signal line", "states no signal file and format"),
        (f"a 1 250 500\n{'x' * 3000} 16", "over 2000 characters"),
        (f"a 1 250 500\n{'x' * 1500} 16", "names the signal file"),
        ("%PDF-1.4\n", "states no number of signals"),
        ("a 1 250 500\n\x00 16 200", "it is not text"),
    ],
)
def test_an_invalid_header_is_refused_with_a_sentence_and_little_memory(
    tmp_path: Path, header: str, message: str
) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(RecordError, match=message) as refused:
            _open(tmp_path, header)
        assert tracemalloc.get_traced_memory()[1] < 3e6
    finally:
        tracemalloc.stop()
    assert len(str(refused.value)) < 500 + len(str(tmp_path)) * 2
    assert str(refused.value).endswith((".", "characters.", "by name"))


def test_a_header_that_is_far_too_large_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "a.hea").open("wb") as opened:
        opened.truncate(10**12)  # a sparse file
    with pytest.raises(RecordError, match="over 16 MiB"):
        open_record(tmp_path / "a")


def test_a_record_too_long_to_be_read_at_once_is_read_in_blocks(tmp_path: Path) -> None:
    record = _open(tmp_path, f"a 1 250 {10**10}\n~ 0 200/mV 16 0 0 0 0 I\n")
    with pytest.raises(RecordError, match="Read it in blocks"):
        record.read()
    assert next(record.blocks(2.0)).shape == (1, 500)


def test_an_invalid_file_name_is_refused_with_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"a\.hea names the signal file 'x+\.\.\.', which is not in"):
        _open(tmp_path, f"a 1 250 500\n{'x' * 1500}.dat 16 200/mV 16 0 0 0 0 II\n")
    for name in ("x" * 1500, "a\0b"):
        assert FORMAT.recognise(tmp_path / name) is None
        with pytest.raises(RecordError, match="There is no header"):
            open_record(tmp_path / name)
