"""The time column of a table gives the sampling rate and missing time, and is never a lead."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ecgmoe_edge.errors import RecordError, UsageError
from ecgmoe_edge.records.formats.csv_record import CsvRecord, open_csv
from ecgmoe_edge.records.registry import open_recording

_START = datetime(2024, 3, 5, 22, 59, 40)
_EPOCH = 1_709_679_580


def _iso(k: int, fs: float, sep: str = " ", timespec: str = "milliseconds") -> str:
    return (_START + timedelta(seconds=k / fs)).isoformat(sep=sep, timespec=timespec)


def _clock(k: int, fs: float, digits: int = 3) -> str:
    seconds = 86_390 + k / fs  # midnight is after ten seconds
    seconds %= 86_400
    return f"{int(seconds // 3600):02d}:{int(seconds % 3600 // 60):02d}:{seconds % 60:0{digits + 3}.{digits}f}"


_FORMS: dict[str, tuple[str, Callable[[int, float], str]]] = {
    "seconds": ("time", lambda k, fs: f"{k / fs:.4f}"),
    "seconds since another moment": ("t", lambda k, fs: f"{812.25 + k / fs:.4f}"),
    "milliseconds named": ("time (ms)", lambda k, fs: f"{1000 * k / fs:.1f}"),
    "milliseconds in a suffix": ("time_ms", lambda k, fs: f"{1000 * k / fs:.1f}"),
    "milliseconds unnamed": ("timestamp", lambda k, fs: f"{round(1000 * k / fs)}"),
    "microseconds": ("elapsed [µs]", lambda k, fs: f"{round(1e6 * k / fs)}"),
    "microseconds unstated": ("timestamp", lambda k, fs: f"{round(1e6 * k / fs)}"),
    "nanoseconds": ("sensor timestamp [ns]", lambda k, fs: f"{599618164814402794 + round(1e9 * k / fs)}"),
    "epoch s": ("unix time", lambda k, fs: f"{_EPOCH + k / fs:.4f}"),
    "epoch ms": ("timestamp", lambda k, fs: f"{1000 * _EPOCH + round(1000 * k / fs)}"),
    "epoch us": ("Timestamp", lambda k, fs: f"{1_000_000 * _EPOCH + round(1e6 * k / fs)}"),
    "iso": ("datetime", _iso),
    "iso T Z": ("date", lambda k, fs: _iso(k, fs, "T") + "Z"),
    "iso zone": ("date", lambda k, fs: _iso(k, fs, "T", "microseconds") + "+01:00"),
    "iso basic": ("time", lambda k, fs: (_START + timedelta(seconds=k / fs)).strftime("%Y%m%dT%H%M%S.%f")),
    "german date": ("Zeit", lambda k, fs: (_START + timedelta(seconds=k / fs)).strftime("%d.%m.%Y %H:%M:%S.%f")),
    "american date": ("Time", lambda k, fs: (_START + timedelta(seconds=k / fs)).strftime("%m/%d/%Y %I:%M:%S.%f %p")),
    "clock over midnight": ("clock", _clock),
    "clock in quotes": ("'Elapsed time'", lambda k, fs: f"'{int(k / fs // 60)}:{k / fs % 60:06.3f}'"),
    "MATLAB date": ("Time", lambda k, fs: (_START + timedelta(seconds=k / fs)).strftime("%d-%b-%Y %H:%M:%S.%f")),
    "named month": ("Time", lambda k, fs: (_START + timedelta(seconds=k / fs)).strftime("%b %d %Y %I:%M:%S.%f %p")),
    "PhysioBank": ("Time", lambda k, fs: (_START + timedelta(seconds=k / fs)).strftime("'[%H:%M:%S.%f %d/%m/%Y]'")),
    "hours": ("time [h]", lambda k, fs: f"{k / fs / 3600:.9f}"),
    "no name": ("", lambda k, fs: f"{k / fs:.4f}"),
    "a name of no meaning": ("X", lambda k, fs: f"{k / fs:.4f}"),
}


def _signal(n: int, seed: int = 0) -> NDArray[np.float64]:
    return np.round(np.random.default_rng(seed).normal(0, 0.4, n), 4)


def _write(folder: Path, text: str, name: str = "ecg.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def _table(folder: Path, times: list[str], signal: NDArray[np.float64], header: str = "time,ECG") -> Path:
    rows = (f"{time},{value}\n" for time, value in zip(times, signal, strict=True))
    return _write(folder, f"{header}\n" + "".join(rows))


def _all(record: CsvRecord, seconds: float = 7.0) -> NDArray[np.float64]:
    return np.concatenate(list(record.blocks(seconds)), axis=1)


@pytest.mark.parametrize("fs", [125.0, 360.0])
@pytest.mark.parametrize("form", _FORMS)
def test_a_time_column_of_any_form_gives_the_rate_and_is_not_a_lead(tmp_path: Path, form: str, fs: float) -> None:
    label, write = _FORMS[form]
    signal = _signal(round(fs * 12))
    record = open_csv(_table(tmp_path, [write(k, fs) for k in range(len(signal))], signal, f"{label},ECG"))
    assert (record.leads, record.fs) == (("ECG",), fs)
    np.testing.assert_array_equal(_all(record), signal[None])
    assert record.n_samples == len(signal)


@pytest.mark.parametrize("form", _FORMS)
def test_gaps_in_any_time_column_are_missing_time_of_the_same_length(tmp_path: Path, form: str) -> None:
    label, write = _FORMS[form]
    fs, signal = 250.0, _signal(5000, seed=2)
    wanted = signal.copy()
    for start, n in ((700, 1), (1203, 2), (2222, 77), (3000, 1250)):
        wanted[start : start + n] = np.nan
    kept = np.flatnonzero(np.isfinite(wanted))
    path = _table(tmp_path, [write(int(k), fs) for k in kept], signal[kept], f"{label},ECG")
    for seconds in (0.3, 60.0):
        np.testing.assert_array_equal(_all(open_csv(path), seconds), wanted[None])
    assert open_csv(path).n_samples == 5000


def test_missing_time_is_nan_in_every_lead(tmp_path: Path) -> None:
    kept = [k for k in range(800) if not 300 <= k < 340]
    rows = "".join(f"{k / 200},{k},{-k}\n" for k in kept)
    signal = _all(open_csv(_write(tmp_path, f"t,I,II\n{rows}")))
    assert signal.shape == (2, 800)
    assert np.isnan(signal[:, 300:340]).all()
    np.testing.assert_array_equal(signal[:, 340], [340, -340])


@pytest.mark.parametrize("packet", [8, 73])
@pytest.mark.parametrize("at_end", [False, True])
def test_rows_of_a_packet_may_share_a_time_stamp(tmp_path: Path, packet: int, at_end: bool) -> None:
    fs, n = 130.0, packet * 220
    signal = _signal(n)
    lost = {100, 150, 151}
    kept = np.array([k for k in range(n) if k // packet not in lost])
    stamps = [f"{1000 * (k // packet + at_end) * packet / fs:.0f}" for k in kept]
    record = open_csv(_table(tmp_path, stamps, signal[kept], "timestamp [ms],ecg"))
    assert record.fs == 130.0
    wanted = signal.copy()
    wanted[[k for k in range(n) if k // packet in lost]] = np.nan
    np.testing.assert_array_equal(_all(record)[0, : len(wanted)], wanted)


def test_time_stamps_in_whole_seconds_give_the_rate(tmp_path: Path) -> None:
    n = 250 * 25
    stamps = [str(_EPOCH + int((k + 60) / 250)) for k in range(n)]
    record = open_csv(_table(tmp_path, stamps, _signal(n)))
    assert (record.fs, record.n_samples) == (250.0, n)


def test_gaps_between_time_stamps_in_whole_seconds_do_not_change_the_rate(tmp_path: Path) -> None:
    kept = [k for k in range(130 * 40) if not any(a <= k < a + 73 for a in (560, 1460, 3000, 3300, 4100))]
    stamps = [str(_EPOCH + int((k + 60) / 130)) for k in kept]
    record = open_csv(_table(tmp_path, stamps, _signal(len(kept))))
    assert (record.fs, record.n_samples) == (130.0, 130 * 40)


def test_fractions_of_a_second_without_leading_zeros_are_refused(tmp_path: Path) -> None:
    moments = [_START + timedelta(seconds=k / 130) for k in range(1000)]
    stamps = [f"{moment:%Y/%m/%d %H:%M:%S}.{moment.microsecond // 1000}" for moment in moments]
    path = _table(tmp_path, stamps, _signal(1000))
    with pytest.raises(RecordError, match="without leading zeros"):
        open_csv(path)
    assert open_csv(path, 130.0, time_column="none").n_samples == 1000


@pytest.mark.parametrize("fs", [100.0, 125.0, 1000.0])
def test_fractions_of_a_second_may_lack_zeros_at_the_end(tmp_path: Path, fs: float) -> None:
    stamps = [f"10:00:{k / fs:012.9f}".rstrip("0").rstrip(".") for k in range(round(fs * 3))]
    record = open_csv(_table(tmp_path, stamps, _signal(len(stamps))))
    assert (record.fs, record.n_samples) == (fs, len(stamps))


@pytest.mark.parametrize("seed", range(4))
def test_jitter_of_the_stamps_is_not_a_gap(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    fs, n = 250.0, 6000
    times = np.arange(n) / fs + rng.uniform(0, 0.006, n)
    signal = _signal(n, seed)
    record = open_csv(_table(tmp_path, [f"{time:.5f}" for time in np.maximum.accumulate(times)], signal))
    assert record.fs == pytest.approx(fs, rel=2e-3)
    np.testing.assert_array_equal(_all(record), signal[None])


def test_a_long_gap_is_found_despite_jitter(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    kept = np.array([k for k in range(6000) if not 3000 <= k < 3500])
    times = np.maximum.accumulate(kept / 250 + rng.uniform(0, 0.006, len(kept)))
    signal = _all(open_csv(_table(tmp_path, [f"{time:.5f}" for time in times], _signal(len(kept)))))
    assert np.isnan(signal).sum() == pytest.approx(500, abs=3)
    assert np.isnan(signal[0, 3010:3490]).all()


def test_a_wrapping_counter_is_not_a_lead_and_its_gaps_are_missing_time(tmp_path: Path) -> None:
    signal = _signal(3000)
    wanted = signal.copy()
    wanted[1000:1040] = wanted[2047] = np.nan
    kept = np.flatnonzero(np.isfinite(wanted))
    for header in ("", "Sample Index,ECG\n"):
        rows = "".join(f"{k % 256},{signal[k]}\n" for k in kept)
        path = _write(tmp_path, header + rows)
        record = open_csv(path, 250.0)
        assert len(record.leads) == 1
        np.testing.assert_array_equal(_all(record), wanted[None])
        with pytest.raises(UsageError, match=r"give --fs, in Hz, or name the time column"):
            open_recording(path)


def test_a_wrapping_counter_and_uneven_time_together_find_long_gaps(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    n = 8000
    kept = np.array([k for k in range(n) if not 4000 <= k < 4750])  # 750 = 2 * 256 + 238
    times = 1.7e9 + np.maximum.accumulate(kept / 250 + rng.uniform(0, 0.03, len(kept)))
    signal = _signal(n)
    rows = "".join(f"{k % 256},{signal[k]},{time:.6f}\n" for k, time in zip(kept, times, strict=True))
    record = open_csv(_write(tmp_path, "Sample Index,ECG,Timestamp\n" + rows))
    wanted = signal.copy()
    wanted[4000:4750] = np.nan
    np.testing.assert_array_equal(_all(record), wanted[None])


def test_a_rate_that_contradicts_the_time_column_is_refused(tmp_path: Path) -> None:
    path = _table(tmp_path, [f"{k / 250:.3f}" for k in range(1000)], _signal(1000))
    with pytest.raises(UsageError, match=r"shows a rate of 250 Hz, but --fs is 360 Hz.*--time-column none"):
        open_csv(path, 360.0)
    assert open_csv(path, 251.0).fs == 251.0
    record = open_csv(path, 360.0, time_column="none")
    assert (record.fs, record.leads, record.n_samples) == (360.0, ("ECG",), 1000)


@pytest.mark.parametrize(
    ("stamp", "message"), [(100, "jumps backwards by"), (499, "repeats"), (10**9, "jumps forwards by")]
)
def test_time_that_goes_backwards_repeats_or_jumps_is_refused_with_its_line(
    tmp_path: Path, stamp: int, message: str
) -> None:
    stamps = [f"{k / 250:.3f}" for k in range(1000)]
    stamps.insert(500, f"{stamp / 250:.3f}")
    with pytest.raises(RecordError, match=rf"time of ecg\.csv {message}.*line 50\d"):
        _all(open_csv(_table(tmp_path, stamps, _signal(1001))))


@pytest.mark.parametrize(("label", "scale"), [("micros", 4000), ("ms", 4)])
def test_a_wrap_of_a_32_bit_clock_is_removed(tmp_path: Path, label: str, scale: int) -> None:
    signal = _signal(9000)
    stamps = [str((2**32 - 7000 * scale + k * scale) % 2**32) for k in range(9000)]
    np.testing.assert_array_equal(_all(open_csv(_table(tmp_path, stamps, signal, f"{label},ECG"))), signal[None])


def test_a_missing_time_stamp_loses_no_sample(tmp_path: Path) -> None:
    stamps = [f"{k / 250:.3f}" for k in range(1000)]
    for k in (0, 1, 600, 601):
        stamps[k] = ""
    signal = _signal(1000)
    np.testing.assert_array_equal(_all(open_csv(_table(tmp_path, stamps, signal))), signal[None])


def test_text_in_the_time_column_is_reported_with_line_and_column(tmp_path: Path) -> None:
    stamps = [f"{k / 250:.3f}" for k in range(1000)]
    stamps[600] = "later"
    with pytest.raises(RecordError, match=r"Line 602, column 1 \(time\) of ecg\.csv contains 'later'"):
        _all(open_csv(_table(tmp_path, stamps, _signal(1000))))


def test_the_time_column_may_be_named(tmp_path: Path) -> None:
    signal = _signal(500)
    rows = "".join(f"{signal[k]},{k / 250:.3f},{k / 500:.3f}\n" for k in range(500))
    path = _write(tmp_path, "ECG,a,b\n" + rows)
    for column in ("b", 2):
        record = open_recording(path, time_column=column)
        assert record.fs == 500.0
    with pytest.raises(RecordError, match=r"no lead 'c'"):
        open_csv(path, time_column="c")
    with pytest.raises(RecordError, match=r"Column ECG of ecg\.csv does not increase like time"):
        open_csv(path, time_column="ECG")


def test_the_time_column_cannot_be_chosen_as_a_lead(tmp_path: Path) -> None:
    path = _table(tmp_path, [f"{k / 250:.3f}" for k in range(100)], _signal(100))
    with pytest.raises(RecordError, match=r"Column time of ecg\.csv is a time column"):
        open_csv(path, columns=["time", "ECG"])


@pytest.mark.parametrize("stamps", [["Monday"] * 50, ["7"] * 50, ["2024-03-05"] * 50])
def test_an_unclear_time_column_is_not_a_lead_and_the_rate_is_requested(tmp_path: Path, stamps: list[str]) -> None:
    path = _table(tmp_path, stamps, _signal(50))
    with pytest.raises(UsageError, match="--fs"):
        open_csv(path)
    record = open_csv(path, 250.0)
    assert (record.leads, record.n_samples) == (("ECG",), 50)
    assert any("ime" in remark.text or "ignored" in remark.text for remark in record.remarks)


def test_separate_date_and_clock_columns_are_not_leads(tmp_path: Path) -> None:
    rows = "".join(f"05/03/2024,{_clock(k, 250.0)},{k / 1000}\n" for k in range(4000))
    record = open_csv(_write(tmp_path, "Date,Time,ECG\n" + rows))
    assert (record.leads, record.fs, record.n_samples) == (("ECG",), 250.0, 4000)


def test_the_use_of_the_time_column_gets_a_remark(tmp_path: Path) -> None:
    path = _table(tmp_path, [f"{k / 250:.3f}" for k in range(500)], _signal(500))
    kinds: dict[str, Any] = {remark.kind: remark.text for remark in open_csv(path).remarks}
    assert "250 Hz" in kinds["rate"]
    assert "time" in kinds["rate"]
    assert "mV is assumed" in kinds["unit"]


def test_text_in_the_first_rows_is_reported_with_its_first_line(tmp_path: Path) -> None:
    stamps = [f"{k / 250:.3f}" if k < 40 or k > 3800 else "later" for k in range(4000)]
    with pytest.raises(RecordError, match=r"Line 42, column 1 \(time\) of ecg\.csv contains 'later'"):
        _all(open_csv(_table(tmp_path, stamps, _signal(4000)), 250.0))


def test_a_gap_of_hours_needs_little_memory(tmp_path: Path) -> None:
    hole = 18_000_000  # 20 h
    rows = "".join(f"{k / 250:.3f},{k % 9}\n" for k in (*range(1000), *range(1000 + hole, 2000 + hole)))
    record = open_csv(_write(tmp_path, "time,ECG\n" + rows))
    tracemalloc.start()
    try:
        n = sum(block.shape[1] for block in record.blocks(60.0))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert n == hole + 2000
    assert peak < 10e6
