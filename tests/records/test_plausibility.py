"""The plausibility check of a recording: amplitude, sampling rate, and leads without an ECG."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ecgmoe_edge.calibration_data import load_calibration
from ecgmoe_edge.errors import RecordError
from ecgmoe_edge.records.plausibility import CHECKED_S, check_plausibility, plausibility_remarks, remarks_json
from ecgmoe_edge.records.recording import ArrayRecording, Remark

FS = 250.0
_SEEN: list[float] = []


@dataclass(frozen=True)
class InUnits(ArrayRecording):
    """A recording whose leads may have other units than voltages."""

    of_leads: tuple[str, ...] = ()

    @property
    def units(self) -> tuple[str, ...]:
        return self.of_leads


def recording(*leads: NDArray[np.float64], fs: float = FS, units: tuple[str, ...] = ()) -> ArrayRecording:
    names = tuple(f"L{k}" for k in range(len(leads)))
    return InUnits(Path("r.made"), fs, names, np.stack(leads), of_leads=units or ("mV",) * len(leads))


@pytest.fixture(scope="module")
def ecg(simulated_ecg: Callable[..., Any]) -> NDArray[np.float64]:
    signal: NDArray[np.float64] = simulated_ecg(90.0, fs=FS, noise_mv=0.01).signal
    return signal


def texts(remarks: tuple[Remark, ...]) -> str:
    return " ".join(one.text for one in remarks)


@pytest.mark.parametrize("mv", [0.2, 1.0, 8.0])
def test_an_ecg_of_plausible_amplitude_gets_no_remark(ecg: NDArray[np.float64], mv: float) -> None:
    for offset in (0.0, 300.0, -1e6):
        seen = check_plausibility(recording(mv * ecg + offset))
        assert (seen.remarks, seen.problem, seen.usable) == ((), None, (0,))
    real = load_calibration()
    assert plausibility_remarks(ArrayRecording(Path("c"), real.fs, ("MLII",), real.signal[:1])) == ()


@pytest.mark.parametrize(
    ("factor", "message"),
    [
        (1e3, "R waves of about 1,300 mV in L0: the values are probably uV; give --unit uV"),
        (1e6, "the values are probably nV; give --unit nV"),
        (1e-3, "the values are probably V; give --unit V"),
        (40.0, "the unit or the gain is probably wrong; give --unit"),
        (1e9, "the unit or the gain is probably wrong"),  # larger than the front end accepts
        (1e-6, "the unit or the gain is probably wrong"),
    ],
)
def test_an_implausible_amplitude_gets_a_remark_with_the_likely_unit(
    ecg: NDArray[np.float64], factor: float, message: str
) -> None:
    seen = check_plausibility(recording(factor * ecg))
    assert [one.kind for one in seen.remarks] == ["amplitude"]
    assert message in texts(seen.remarks)
    assert (seen.usable, seen.problem) == ((0,), None)


def test_the_likely_unit_refers_to_the_stored_values(ecg: NDArray[np.float64]) -> None:
    (of_volts,) = plausibility_remarks(recording(1e6 * ecg, units=("V",)))  # microvolts that the file states as V
    assert "give --unit uV" in of_volts.text
    (of_microvolts,) = plausibility_remarks(recording(1e-3 * ecg, units=("uV",)))
    assert "give --unit mV" in of_microvolts.text


def test_leads_with_the_same_fault_share_a_remark(ecg: NDArray[np.float64]) -> None:
    (remark,) = plausibility_remarks(recording(1000 * ecg, 0.9 * ecg, -700 * ecg))
    assert remark.leads == ("L0", "L2")
    assert remarks_json([remark]) == [{"kind": "amplitude", "leads": ["L0", "L2"], "text": remark.text}]


@pytest.mark.parametrize(("true_fs", "stated_fs"), [(250.0, 1000.0), (125.0, 500.0), (1000.0, 250.0), (1000.0, 125.0)])
def test_a_heart_rate_due_to_a_wrong_sampling_rate_gets_a_remark_with_the_likely_rate(
    true_fs: float, stated_fs: float, simulated_ecg: Callable[..., Any]
) -> None:
    seconds = 120.0 * stated_fs / true_fs
    (remark,) = plausibility_remarks(recording(simulated_ecg(seconds, fs=true_fs, noise_mv=0.01).signal, fs=stated_fs))
    assert remark.kind == "rate"
    assert f"about {true_fs:g} Hz. Give --fs {true_fs:g}, or correct the rate in the header." in remark.text


@pytest.mark.parametrize("heart_rate", [35.0, 150.0, 200.0])
def test_a_slow_or_fast_heart_rate_gets_no_remark(heart_rate: float, simulated_ecg: Callable[..., Any]) -> None:
    assert (
        plausibility_remarks(recording(simulated_ecg(120.0, fs=FS, heart_rate=heart_rate, noise_mv=0.01).signal)) == ()
    )


def test_leads_without_a_signal_or_without_an_ecg_get_a_remark(ecg: NDArray[np.float64]) -> None:
    n = ecg.size
    noise = 0.3 * np.random.default_rng(1).standard_normal(n)
    railed = np.where(np.arange(n) % 3 == 0, 4.9, 5.0)
    seen = check_plausibility(recording(np.full(n, np.nan), ecg, np.zeros(n), noise, np.arange(n) / FS, railed))
    assert (seen.with_signal, seen.usable, seen.problem) == ((1, 3, 4), (1,), None)
    assert {one.leads: one.text for one in seen.remarks} == {
        ("L0",): "Lead L0 has no valid sample in its first minutes.",
        ("L2",): "Lead L2 is constant at 0 mV in its first minutes.",
        ("L3",): "Lead L3 shows no ECG in its first minutes.",
        ("L4",): "Lead L4 shows no ECG in its first minutes.",
        ("L5",): "Lead L5 is clipped for most of the time in its first minutes.",
    }


@pytest.mark.parametrize(
    ("signal", "problem"),
    [
        (np.full(9000, np.nan), "r contains no signal: lead L0 has no valid sample."),
        (np.full(9000, np.inf), "r contains no signal: lead L0 has no valid sample."),
        (np.full(9000, 0.5), "r contains no signal: lead L0 is constant at 0.5 mV."),
        (np.empty(0), "r contains no signal: lead L0 has no valid sample."),
        (np.random.default_rng(2).standard_normal(9000), "No beat was found in r (L0): it shows no ECG."),
        (np.linspace(0.0, 5.0, 9000), "No beat was found in r (L0): it shows no ECG."),
    ],
)
def test_a_recording_without_a_usable_lead_has_a_problem(signal: NDArray[np.float64], problem: str) -> None:
    seen = check_plausibility(recording(signal))
    assert (seen.usable, seen.problem) == ((), problem)
    assert texts(plausibility_remarks(recording(signal))) == problem


def test_a_lead_with_an_offset_beyond_the_range_of_the_front_end_has_no_signal(ecg: NDArray[np.float64]) -> None:
    seen = check_plausibility(recording(ecg + 1.1e7))
    assert (seen.usable, "baseline, gain or unit is wrong" in str(seen.problem)) == ((), True)


@pytest.mark.parametrize(("share", "is_reported"), [(0.05, False), (0.4, True)])
def test_a_lead_that_lacks_much_of_its_samples_gets_a_remark(
    ecg: NDArray[np.float64], share: float, is_reported: bool
) -> None:
    cut = ecg.copy()
    cut[round((1 - share) * len(cut)) :] = np.nan
    seen = check_plausibility(recording(cut))
    assert seen.usable == (0,)
    assert ("has no valid samples for" in texts(seen.remarks)) == is_reported


def test_a_rate_that_the_front_end_does_not_support_is_a_problem(ecg: NDArray[np.float64]) -> None:
    for fs in (64.0, 5000.0):
        seen = check_plausibility(recording(ecg, fs=fs))
        assert seen.with_signal == ()
        assert f"{fs:g} Hz cannot be used" in str(seen.problem)


def test_leads_that_are_not_voltages_are_ignored_with_a_remark(ecg: NDArray[np.float64]) -> None:
    seen = check_plausibility(recording(80 + 20 * ecg, ecg, units=("mmHg", "mV")))
    assert (seen.usable, texts(seen.remarks)) == ((1,), "Lead L0 is in mmHg, which is not a voltage: it is ignored.")
    alone = check_plausibility(recording(80 + 20 * ecg, units=("mmHg",)))
    assert "No lead of r is a voltage (L0 in mmHg): correct the unit" in str(alone.problem)
    with pytest.raises(RecordError, match="no lead 'V9'"):
        check_plausibility(recording(ecg), ["V9"])


def test_a_late_start_of_the_signal_is_found_without_reading_the_whole_recording(ecg: NDArray[np.float64]) -> None:
    @dataclass(frozen=True)
    class Watched(ArrayRecording):
        def blocks(self, seconds: float = 60.0, leads: Any = None) -> Any:
            for block in super().blocks(seconds, leads):
                _SEEN.append(block.shape[1] / self.fs)
                yield block

    _SEEN.clear()
    late = np.concatenate([np.full(round(600 * FS), np.nan), *[ecg] * 20])
    seen = check_plausibility(Watched(Path("late"), FS, ("II",), late[None]))
    assert (seen.usable, seen.remarks) == ((0,), ())
    assert sum(_SEEN) <= 600.0 + CHECKED_S + 60.0
