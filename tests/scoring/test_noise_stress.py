"""The noise stress test against the definition of PhysioNet's nst, on cases computed by hand and on recordings."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from wfdb_records import write_wfdb

from ecgmoe_edge.errors import RecordError
from ecgmoe_edge.records.annotations import BeatAnnotations, read_annotations
from ecgmoe_edge.records.recording import Recording
from ecgmoe_edge.records.registry import open_recording
from ecgmoe_edge.records.splits import noise_record
from ecgmoe_edge.scoring.ec57 import score_record, total_peaks
from ecgmoe_edge.scoring.noise_stress import NoiseLevel, NoiseTrack, load_noise, noise_gain, noisy_blocks, qrs_amplitude
from ecgmoe_edge.scoring.offline_reference import detect_offline

pytest.importorskip("wfdb", reason="records need the records extra")

FS = 128.0
MINUTE = 60 * 128


@pytest.fixture
def write_record(tmp_path: Path) -> Callable[..., Recording]:
    """`write_record(name, signals, fs=...)`: writes signals, (leads, n) in mV, as a WFDB record and opens it."""

    def write(name: str, signals: NDArray[np.float64], fs: float = FS) -> Recording:
        leads = [f"L{lead}" for lead in range(len(signals))]
        return open_recording(write_wfdb(tmp_path, name, signals, fs, leads=leads))

    return write


def _beats(samples: NDArray[np.int64], symbols: str) -> BeatAnnotations:
    codes = np.array([symbols[beat % len(symbols)] for beat in range(len(samples))], dtype=np.str_)
    return BeatAnnotations(samples, codes, codes, (), ())


def _sines(seconds: float, fs: float, *rms_mv: float) -> NDArray[np.float64]:
    time = np.arange(round(seconds * fs)) / fs
    signals: NDArray[np.float64] = np.stack([np.sqrt(2) * rms * np.sin(2 * np.pi * 4.0 * time + rms) for rms in rms_mv])
    return signals


def _added(record: Recording, position: int, beats: BeatAnnotations, level: NoiseLevel) -> NDArray[np.float64]:
    clean = record.read(leads=[position])[0]
    noisy = np.concatenate(list(noisy_blocks(record, position, beats, level, 60.0)), axis=1)
    return np.asarray(noisy[0] - clean)


def test_the_gain_follows_the_definition() -> None:
    # S = 2^2 / 8 = 0.5 and N = 0.5^2 = 0.25, so the ratio is 3.01 dB without a gain
    assert noise_gain(2.0, 0.5, 0.0) == pytest.approx(np.sqrt(2.0))
    assert noise_gain(2.0, 0.5, 20.0) == pytest.approx(np.sqrt(2.0) / 10)
    assert noise_gain(2.0, 0.5, -6.0) == pytest.approx(np.sqrt(2.0) * 10**0.3)


def test_noise_starts_after_five_minutes_and_alternates_every_two_minutes() -> None:
    track = NoiseTrack(np.random.default_rng(0).normal(size=3 * MINUTE + 17), FS)
    noise = track.take(13 * MINUTE)
    is_noisy = [bool(np.ptp(noise[minute * MINUTE : (minute + 1) * MINUTE]) > 0) for minute in range(13)]
    assert is_noisy == [False] * 5 + [True, True, False, False] * 2
    assert noise[5 * MINUTE - 1] == 0.0
    assert np.ptp(noise[5 * MINUTE : 5 * MINUTE + 2]) > 0


def test_noise_advances_with_the_record_and_repeats() -> None:
    recorded = np.random.default_rng(0).normal(size=4 * MINUTE)
    noise = NoiseTrack(recorded, FS).take(11 * MINUTE)
    np.testing.assert_allclose(np.diff(noise[5 * MINUTE : 7 * MINUTE]), np.diff(recorded[MINUTE : 3 * MINUTE]))
    np.testing.assert_allclose(np.diff(noise[9 * MINUTE : 11 * MINUTE]), np.diff(recorded[MINUTE : 3 * MINUTE]))


def test_the_sum_has_no_step_where_noise_starts_stops_or_repeats() -> None:
    drift = np.linspace(-5.0, 8.0, 6 * MINUTE)  # would have a step of 13 mV where it repeats, at minute 6
    noise = NoiseTrack(drift, FS).take(12 * MINUTE)
    assert np.abs(np.diff(noise)).max() <= 1.001 * (drift[1] - drift[0])
    assert noise[0] == 0.0


def test_the_noise_does_not_depend_on_the_block_length() -> None:
    rng = np.random.default_rng(1)
    recorded = rng.normal(size=1000)
    whole = NoiseTrack(recorded, FS).take(12 * MINUTE)
    track, pieces, left = NoiseTrack(recorded, FS), [], 12 * MINUTE
    while left:
        size = min(left, int(rng.integers(0, 3000)))
        pieces.append(track.take(size))
        left -= size
    np.testing.assert_array_equal(np.concatenate(pieces), whole)


def test_a_day_of_noise_needs_no_more_memory_than_a_few_minutes() -> None:
    track = NoiseTrack(np.random.default_rng(0).normal(size=900 * 128), FS)
    track.take(round(60 * FS))
    tracemalloc.start()
    for _ in range(24 * 60):
        track.take(MINUTE)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10 * MINUTE * 8


def test_the_qrs_amplitude_is_the_trimmed_mean_of_the_first_300_normal_beats(
    write_record: Callable[..., Recording],
) -> None:
    peaks = np.arange(1, 351, dtype=np.int64) * 128
    signal = np.zeros((2, 352 * 128))
    signal[0, peaks] = 1.0
    signal[0, peaks[:15]], signal[0, peaks[15:30]] = 9.0, 0.1  # the largest and the smallest 5 %
    signal[0, peaks[300:]] = 7.0  # after the first 300 beats
    signal[0, peaks - 10] = -3.0  # 78 ms before R: outside the window
    signal[1, peaks - 6] = -0.25  # 47 ms before R: inside the window
    record = write_record("a", signal)
    assert qrs_amplitude(record, 0, _beats(peaks, "N")) == pytest.approx(1.0)
    assert qrs_amplitude(record, 1, _beats(peaks, "N")) == pytest.approx(0.25)


def test_ventricular_and_fusion_beats_are_not_measured(write_record: Callable[..., Recording]) -> None:
    peaks = np.arange(1, 61, dtype=np.int64) * 128
    signal = np.zeros((1, 62 * 128))
    signal[0, peaks[0::3]], signal[0, peaks[1::3]], signal[0, peaks[2::3]] = 1.0, 4.0, 5.0
    record = write_record("a", signal)
    assert qrs_amplitude(record, 0, _beats(peaks, "NVF")) == pytest.approx(1.0)
    with pytest.raises(RecordError, match="no normal beat"):
        qrs_amplitude(record, 0, _beats(peaks, "V"))
    with pytest.raises(RecordError, match="no normal beat"):
        qrs_amplitude(write_record("flat", np.zeros((1, 62 * 128))), 0, _beats(peaks, "N"))


def test_each_lead_gets_noise_at_the_requested_ratio(write_record: Callable[..., Recording]) -> None:
    peaks = np.arange(1, 59 * 8, dtype=np.int64) * 128
    signal = np.zeros((3, 480 * 128))
    for lead, height in enumerate((1.0, 0.4, 2.0)):
        signal[lead, peaks] = height
    record, beats = write_record("a", signal), _beats(peaks, "N")
    noise = write_record("em", _sines(1000.0, FS, 0.5, 0.2))
    for snr_db in (12.0, -6.0):
        for lead, height in enumerate((1.0, 0.4, 2.0)):
            added = _added(record, lead, beats, NoiseLevel(noise.path, snr_db))
            power = np.var(added[5 * MINUTE : 7 * MINUTE])
            assert 10 * np.log10(height**2 / 8 / power) == pytest.approx(snr_db, abs=0.05)
    shape = [_added(record, lead, beats, NoiseLevel(noise.path, 0.0))[5 * MINUTE : 6 * MINUTE] for lead in range(3)]
    assert np.corrcoef(shape[0], shape[2])[0, 1] > 0.999  # two noise signals: the third lead gets the first again
    assert np.corrcoef(shape[0], shape[1])[0, 1] < 0.99


def test_only_the_second_half_is_added_with_the_gain_of_the_whole_record(
    write_record: Callable[..., Recording],
) -> None:
    quiet, loud = _sines(600.0, FS, 0.1), _sines(600.0, FS, 0.3)
    noise = load_noise(write_record("em", np.concatenate([quiet, loud], axis=1)).path, FS)
    assert noise.signals.shape == (1, 600 * 128)
    assert noise.signals.std() == pytest.approx(0.3, rel=0.01)
    assert noise.rms_mv[0] == pytest.approx(0.1, rel=0.01)
    whole = load_noise(_noise_path(write_record, quiet, loud), FS, "whole")
    assert whole.signals.shape == (1, 1200 * 128)


def _noise_path(write_record: Callable[..., Recording], *parts: NDArray[np.float64]) -> Path:
    return write_record("ma", np.concatenate(parts, axis=1)).path


@pytest.mark.parametrize("fs", [128.0, 250.0, 360.0, 500.0, 257.0])
def test_noise_is_resampled_to_the_rate_of_the_record(write_record: Callable[..., Recording], fs: float) -> None:
    noise = load_noise(write_record(f"n{fs:g}", _sines(700.0, 360.0, 0.5), fs=360.0).path, fs)
    assert abs(noise.signals.shape[1] - 350.0 * fs) <= 2
    assert noise.signals[:, 500:-500].std() == pytest.approx(0.5, rel=0.01)
    assert noise.rms_mv[0] == pytest.approx(0.5, rel=0.01)
    spectrum = np.abs(np.fft.rfft(noise.signals[0]))
    assert np.argmax(spectrum) * fs / noise.signals.shape[1] == pytest.approx(4.0, abs=0.05)


def test_silent_noise_is_refused(write_record: Callable[..., Recording]) -> None:
    with pytest.raises(RecordError, match="silent"):
        load_noise(write_record("em", np.zeros((2, 600 * 128))).path, FS)


def test_invalid_samples_stay_invalid(
    write_record: Callable[..., Recording], simulated_ecg: Callable[..., Any]
) -> None:
    ecg = simulated_ecg(400.0, fs=FS)
    signal = ecg.signal[None].copy()
    signal[0, 330 * 128 : 331 * 128] = np.nan
    record = write_record("a", signal)
    noise = write_record("em", _sines(700.0, FS, 0.5))
    noisy = np.concatenate(
        list(noisy_blocks(record, 0, _beats(ecg.r_peaks, "N"), NoiseLevel(noise.path, 0.0), 7.0)), axis=1
    )
    np.testing.assert_array_equal(np.isnan(noisy), np.isnan(record.read()))


def test_noise_records_are_found_in_and_beside_the_folder_of_a_database(tmp_path: Path) -> None:
    for folder in ("mitdb", "nstdb"):
        (tmp_path / folder).mkdir()
    (tmp_path / "mitdb" / "100.hea").touch()
    (tmp_path / "nstdb" / "em.hea").touch()
    for data in (tmp_path, tmp_path / "mitdb", tmp_path / "nstdb"):
        assert noise_record(data, "em") == tmp_path / "nstdb" / "em"
    with pytest.raises(RecordError, match="Copy PhysioNet's nstdb"):
        noise_record(tmp_path, "bw")


# F1 of sleepecg on 118 and 119 with the whole of `em` added, measured independently of this code.
SLEEPECG_F1 = {24.0: 99.6, 12.0: 97.8, 6.0: 89.1, 0.0: 80.4, -6.0: 72.3}


def test_sleepecg_reaches_the_f1_measured_independently(data_dir: Path) -> None:
    pytest.importorskip("sleepecg", reason="the detector to compare with needs the dev extra")
    try:
        level = NoiseLevel(noise_record(data_dir, "em"), 0.0, part="whole")
    except RecordError as absent:
        pytest.skip(str(absent))
    for snr_db, expected in SLEEPECG_F1.items():
        scores = []
        for name in ("118", "119"):
            record = open_recording(data_dir / "mitdb" / name)
            beats = read_annotations(record)
            noisy = np.concatenate(list(noisy_blocks(record, 0, beats, replace(level, snr_db=snr_db), 300.0)), axis=1)
            peaks = detect_offline(noisy[0], record.fs, "sleepecg")
            scores.append(score_record(beats, peaks, fs=record.fs, n_samples=record.n_samples).rpeaks)
        assert total_peaks(scores).f1 == pytest.approx(expected, abs=0.4)
