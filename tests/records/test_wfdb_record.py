from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ecgmoe_edge.errors import RecordError
from ecgmoe_edge.records.formats.wfdb_record import open_record

wfdb = pytest.importorskip("wfdb", reason="WFDB records need the records extra")

WriteRecord = Callable[..., Path]


def _ramp(n: int, leads: int = 2) -> NDArray[np.int16]:
    return (np.arange(leads * n).reshape(leads, n) % 2000 - 1000).astype(np.int16)


def test_concatenated_blocks_are_the_record_in_millivolts(write_record: WriteRecord) -> None:
    signal = _ramp(1003)
    record = open_record(write_record("a", signal))
    blocks = list(record.blocks(seconds=1.0))
    assert [block.shape for block in blocks] == [(2, 250)] * 4 + [(2, 3)]
    np.testing.assert_allclose(np.concatenate(blocks, axis=1), signal / 200.0)
    assert blocks[0].dtype == np.float64


def test_leads_are_returned_in_the_requested_order(write_record: WriteRecord) -> None:
    record = open_record(write_record("a", _ramp(500)))
    both = record.read()
    np.testing.assert_array_equal(record.read(leads=["V1", "MLII"]), both[::-1])
    np.testing.assert_array_equal(record.read(leads=[1]), both[1:])
    np.testing.assert_array_equal(record.read(100, 200, leads=["v1"]), both[1:, 100:200])


@pytest.mark.parametrize(
    ("written", "rate"), [("250/128", 250.0), ("360", 360.0), ("360/360(0)", 360.0), ("128.5", 128.5)]
)
def test_a_rate_is_read_with_and_without_counter_frequency(
    write_record: WriteRecord, written: str, rate: float
) -> None:
    record = open_record(write_record("a", _ramp(500), fs=written))
    assert record.fs == rate
    assert isinstance(record.fs, float)


@pytest.mark.parametrize(("unit", "scale"), [("mV", 1.0), ("uV", 1e-3), ("V", 1e3)])
def test_units_are_converted_to_millivolts(write_record: WriteRecord, unit: str, scale: float) -> None:
    signal = _ramp(500)
    record = open_record(write_record("a", signal, units=unit))
    np.testing.assert_allclose(record.read(), signal / 200.0 * scale)


def test_a_lead_that_is_not_a_voltage_is_refused_only_when_read(write_record: WriteRecord) -> None:
    record = open_record(write_record("a", _ramp(500), units="mmHg", leads=("ABP", "ECG")))
    with pytest.raises(RecordError, match=r"Lead ABP of a.*mmHg.*voltage"):
        record.read(leads=["ABP"])


def test_invalid_samples_are_nan(write_record: WriteRecord) -> None:
    signal = _ramp(500)
    signal[1, 40:50] = -32768
    read = open_record(write_record("a", signal)).read()
    assert np.flatnonzero(np.isnan(read[1])).tolist() == list(range(40, 50))
    assert not np.isnan(read[0]).any()


def test_a_signal_file_that_starts_after_some_bytes_is_read(write_record: WriteRecord) -> None:
    signal = _ramp(500)
    record = open_record(write_record("a", signal, prefix=b"x" * 24))
    np.testing.assert_allclose(np.concatenate(list(record.blocks(0.5)), axis=1), signal / 200.0)


@pytest.mark.parametrize(
    ("comments", "age", "sex"),
    [
        (["69 M 1085 1629 x1", "Aldomet, Inderal"], 69, "M"),
        (["-1 F 742 654 x1"], None, "F"),
        (["<age>: 63  <sex>: F  <diagnoses>: none"], 63, "F"),
        (["Age: 41", "Sex: Male"], 41, "M"),
        (["age: 77 sex: M", "taken on 5 May"], 77, "M"),
        (["manages well, no history"], None, None),
        ([], None, None),
    ],
)
def test_age_and_sex_come_from_the_comments(
    write_record: WriteRecord, comments: list[str], age: int | None, sex: str | None
) -> None:
    record = open_record(write_record("a", _ramp(500), comments=comments))
    assert (record.age, record.sex) == (age, sex)


def test_a_day_of_ecg_is_read_with_little_memory(write_record: WriteRecord) -> None:
    n = 24 * 3600 * 128
    signal = (np.arange(n, dtype=np.int64) % 4001 - 2000).astype(np.int16)[None]
    path = write_record("day", signal, fs="128", leads=("ECG",))
    total, samples = float(signal.sum(dtype=np.int64)) / 200.0, 0
    del signal
    open_record(path).read(0, 10)  # the first read fills caches, which do not count
    tracemalloc.start()
    try:
        record = open_record(path)
        read = 0.0
        for block in record.blocks(seconds=600.0):
            read += float(block.sum())
            samples += block.shape[1]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert samples == n
    assert read == pytest.approx(total, abs=1e-3)
    assert peak < 6e6, f"{peak / 1e6:.1f} MB for a record of {n * 8 / 1e6:.0f} MB as float64"


def test_the_message_about_a_missing_header_explains_how_to_name_a_record(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"no header .*nothing\.hea.*without the extension"):
        open_record(tmp_path / "nothing")


def test_a_missing_signal_file_is_reported(write_record: WriteRecord) -> None:
    path = write_record("a", _ramp(500))
    path.with_suffix(".dat").unlink()
    with pytest.raises(RecordError, match=r"a\.hea names the signal file a\.dat"):
        open_record(path)


def test_a_truncated_signal_is_refused_with_both_counts_or_read_on_request(write_record: WriteRecord) -> None:
    signal = _ramp(300)
    path = write_record("a", signal, stated=500)
    with pytest.raises(RecordError, match=r"300 of the 500 samples per lead"):
        open_record(path)
    record = open_record(path, truncated="read")
    assert record.n_samples == 300
    np.testing.assert_allclose(np.concatenate(list(record.blocks(0.3)), axis=1), signal / 200.0)


def test_a_truncated_format_212_file_is_detected(tmp_path: Path) -> None:
    (tmp_path / "b.dat").write_bytes(bytes(3 * 399))
    (tmp_path / "b.hea").write_text("b 2 360 400\nb.dat 212 200 11 0 0 0 0 I\nb.dat 212 200 11 0 0 0 0 II\n")
    with pytest.raises(RecordError, match=r"399 of the 400 samples per lead"):
        open_record(tmp_path / "b")


def test_a_rate_of_zero_is_refused(write_record: WriteRecord) -> None:
    with pytest.raises(RecordError, match=r"sampling rate of 0 Hz.*true rate"):
        open_record(write_record("a", _ramp(500), fs="0"))


@pytest.mark.parametrize("text", ["", "garbage here\n", "a two 250 100\n", "\x00\x01\x02\n"])
def test_a_file_that_is_not_a_header_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.hea").write_text(text)
    with pytest.raises(RecordError, match=r"a\.hea"):
        open_record(tmp_path / "a")


def test_the_message_about_an_unknown_lead_lists_the_leads(write_record: WriteRecord) -> None:
    record = open_record(write_record("a", _ramp(500)))
    for lead in ("V9", 2, -1, "7"):
        with pytest.raises(RecordError, match=r"has no lead .* It has MLII, V1"):
            record.read(leads=[lead])


def test_a_missing_length_is_determined_from_the_file(write_record: WriteRecord, tmp_path: Path) -> None:
    path = write_record("a", _ramp(500))
    header = path.with_suffix(".hea")
    header.write_text(header.read_text().replace("a 2 250 500", "a 2 250", 1))
    assert open_record(path).n_samples == 500


def test_records_of_several_segments_are_read_across_segments(write_record: WriteRecord, tmp_path: Path) -> None:
    first, second = _ramp(300), _ramp(200) + 7
    write_record("s1", first)
    write_record("s2", second)
    (tmp_path / "all.hea").write_text("all/2 2 250 500\ns1 300\ns2 200\n")
    record = open_record(tmp_path / "all")
    assert (record.leads, record.n_samples) == (("MLII", "V1"), 500)
    whole = np.concatenate([first, second], axis=1) / 200.0
    np.testing.assert_allclose(np.concatenate(list(record.blocks(seconds=0.5)), axis=1), whole)


def test_formats_212_and_80_are_read_the_same_in_blocks_and_as_a_whole(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    for kind, limit in (("212", 2047), ("80", 127), ("24", 30000), ("32", 30000)):
        signal = rng.integers(-limit, limit, size=(501, 2)).astype(np.int64)
        wfdb.wrsamp(
            f"f{kind}", fs=360, units=["mV", "mV"], sig_name=["I", "II"], d_signal=signal, fmt=[kind, kind],
            adc_gain=[200.0, 200.0], baseline=[0, 0], write_dir=str(tmp_path),
        )  # fmt: skip
        record = open_record(tmp_path / f"f{kind}.hea")
        np.testing.assert_allclose(np.concatenate(list(record.blocks(0.31)), axis=1), signal.T / 200.0)


def test_mitdb_is_read_with_its_rate_leads_age_and_sex(mitdb: Path) -> None:
    record = open_record(mitdb / "100")
    assert (record.fs, record.leads, record.n_samples) == (360.0, ("MLII", "V5"), 650000)
    assert (record.age, record.sex) == (69, "M")
    assert open_record(mitdb / "114").leads[0] == "V5"
    ages = [open_record(header).age for header in sorted(mitdb.glob("*.hea"))]
    assert sum(age is None for age in ages) == 2  # 103 and 219
    signal = record.read(leads=[0])
    np.testing.assert_allclose(signal[0, :2], [(995 - 1024) / 200] * 2)


def test_a_challenge_recording_in_a_matlab_file_is_read(cinc2017: Path) -> None:
    record = open_record(cinc2017 / "A00001")
    assert (record.fs, record.leads) == (300.0, ("ECG",))
    signal = record.read()
    assert signal.shape == (1, record.n_samples)
    assert 0.05 < float(signal.std()) < 2.0
