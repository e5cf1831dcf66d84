"""A recording is judged before it is believed: amplitude, sampling rate, and leads that hold no ECG."""

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
from ecgmoe_edge.records.plausibility import LOOKED_AT_S, examine, judge, remarks_json
from ecgmoe_edge.records.recording import ArrayRecording, Remark

FS = 250.0
_SEEN: list[float] = []


@dataclass(frozen=True)
class InUnits(ArrayRecording):
    """Leads of which some are no voltages."""

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
def test_an_ecg_of_plausible_height_is_passed_without_a_word(ecg: NDArray[np.float64], mv: float) -> None:
    for offset in (0.0, 300.0, -1e6):
        seen = examine(recording(mv * ecg + offset))
        assert (seen.remarks, seen.problem, seen.usable) == ((), None, (0,))
    real = load_calibration()
    assert judge(ArrayRecording(Path("c"), real.fs, ("MLII",), real.signal[:1])) == ()


@pytest.mark.parametrize(
    ("factor", "says"),
    [
        (1e3, "R waves of about 1,300 mV in L0: the values are probably uV; give --unit uV"),
        (1e6, "the values are probably nV; give --unit nV"),
        (1e-3, "the values are probably V; give --unit V"),
        (40.0, "the unit or the gain is probably wrong; give --unit"),
        (1e9, "the unit or the gain is probably wrong"),  # beyond what the front end takes for a sample
        (1e-6, "the unit or the gain is probably wrong"),
    ],
)
def test_an_implausible_height_names_the_likely_unit_and_the_option(
    ecg: NDArray[np.float64], factor: float, says: str
) -> None:
    seen = examine(recording(factor * ecg))
    assert [one.kind for one in seen.remarks] == ["amplitude"]
    assert says in texts(seen.remarks)
    assert (seen.usable, seen.problem) == ((0,), None)


def test_the_likely_unit_is_that_of_the_values_as_the_file_has_them(ecg: NDArray[np.float64]) -> None:
    (of_volts,) = judge(recording(1e6 * ecg, units=("V",)))  # microvolts that the file calls V
    assert "give --unit uV" in of_volts.text
    (of_microvolts,) = judge(recording(1e-3 * ecg, units=("uV",)))
    assert "give --unit mV" in of_microvolts.text


def test_leads_that_are_wrong_in_the_same_way_are_one_remark(ecg: NDArray[np.float64]) -> None:
    (remark,) = judge(recording(1000 * ecg, 0.9 * ecg, -700 * ecg))
    assert remark.leads == ("L0", "L2")
    assert remarks_json([remark]) == [{"kind": "amplitude", "leads": ["L0", "L2"], "text": remark.text}]


@pytest.mark.parametrize(("true_fs", "stated_fs"), [(250.0, 1000.0), (125.0, 500.0), (1000.0, 250.0), (1000.0, 125.0)])
def test_a_heart_rate_that_only_another_sampling_rate_explains_names_it(
    true_fs: float, stated_fs: float, simulated_ecg: Callable[..., Any]
) -> None:
    seconds = 120.0 * stated_fs / true_fs
    (remark,) = judge(recording(simulated_ecg(seconds, fs=true_fs, noise_mv=0.01).signal, fs=stated_fs))
    assert remark.kind == "rate"
    assert f"about {true_fs:g} Hz. Give --fs {true_fs:g}, or correct the rate in the header." in remark.text


@pytest.mark.parametrize("heart_rate", [35.0, 150.0, 200.0])
def test_a_slow_or_fast_heart_is_no_wrong_rate(heart_rate: float, simulated_ecg: Callable[..., Any]) -> None:
    assert judge(recording(simulated_ecg(120.0, fs=FS, heart_rate=heart_rate, noise_mv=0.01).signal)) == ()


def test_a_lead_without_a_signal_or_without_an_ecg_is_named_beside_a_good_one(ecg: NDArray[np.float64]) -> None:
    n = ecg.size
    noise = 0.3 * np.random.default_rng(1).standard_normal(n)
    railed = np.where(np.arange(n) % 3 == 0, 4.9, 5.0)
    seen = examine(recording(np.full(n, np.nan), ecg, np.zeros(n), noise, np.arange(n) / FS, railed))
    assert (seen.moving, seen.usable, seen.problem) == ((1, 3, 4), (1,), None)
    assert {one.leads: one.text for one in seen.remarks} == {
        ("L0",): "Lead L0 holds no valid sample in its first minutes.",
        ("L2",): "Lead L2 does not move from 0 mV in its first minutes.",
        ("L3",): "Lead L3 shows no ECG in its first minutes.",
        ("L4",): "Lead L4 shows no ECG in its first minutes.",
        ("L5",): "Lead L5 stands at its rail for most of the time in its first minutes.",
    }


@pytest.mark.parametrize(
    ("signal", "problem"),
    [
        (np.full(9000, np.nan), "r holds no signal: lead L0 holds no valid sample."),
        (np.full(9000, np.inf), "r holds no signal: lead L0 holds no valid sample."),
        (np.full(9000, 0.5), "r holds no signal: lead L0 does not move from 0.5 mV."),
        (np.empty(0), "r holds no signal: lead L0 holds no valid sample."),
        (np.random.default_rng(2).standard_normal(9000), "No beat was found in r (L0): it shows no ECG."),
        (np.linspace(0.0, 5.0, 9000), "No beat was found in r (L0): it shows no ECG."),
    ],
)
def test_a_recording_of_which_nothing_can_be_made_says_why(signal: NDArray[np.float64], problem: str) -> None:
    seen = examine(recording(signal))
    assert (seen.usable, seen.problem) == ((), problem)
    assert texts(judge(recording(signal))) == problem


def test_a_rate_that_the_front_end_does_not_take_is_the_problem(ecg: NDArray[np.float64]) -> None:
    for fs in (64.0, 5000.0):
        seen = examine(recording(ecg, fs=fs))
        assert seen.moving == ()
        assert f"{fs:g} Hz cannot be used" in str(seen.problem)


def test_what_is_no_voltage_is_left_out_with_its_unit(ecg: NDArray[np.float64]) -> None:
    seen = examine(recording(80 + 20 * ecg, ecg, units=("mmHg", "mV")))
    assert (seen.usable, texts(seen.remarks)) == ((1,), "Lead L0 is in mmHg, which is no voltage: it is left out.")
    alone = examine(recording(80 + 20 * ecg, units=("mmHg",)))
    assert alone.problem == "No lead of r is a voltage: it holds no ECG."
    with pytest.raises(RecordError, match="no lead 'V9'"):
        examine(recording(ecg), ["V9"])


def test_a_signal_that_begins_late_is_found_and_no_more_is_read_than_needed(ecg: NDArray[np.float64]) -> None:
    @dataclass(frozen=True)
    class Watched(ArrayRecording):
        def blocks(self, seconds: float = 60.0, leads: Any = None) -> Any:
            for block in super().blocks(seconds, leads):
                _SEEN.append(block.shape[1] / self.fs)
                yield block

    _SEEN.clear()
    late = np.concatenate([np.full(round(600 * FS), np.nan), *[ecg] * 20])
    seen = examine(Watched(Path("late"), FS, ("II",), late[None]))
    assert (seen.usable, seen.remarks) == ((0,), ())
    assert sum(_SEEN) <= 600.0 + LOOKED_AT_S + 60.0
