"""Any chunking gives the same events, later samples do not change earlier events, and every loss is reported."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest
from beat_models import FakeModel, Tensors, random_model
from event_lists import beats, untimed
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ecgmoe_edge.calibration_data import load_calibration
from ecgmoe_edge.errors import SignalError
from ecgmoe_edge.streaming import Monitor
from ecgmoe_edge.streaming.decision import DecisionRule
from ecgmoe_edge.streaming.events import End, Event, Flatline, Gap, LeadOff
from ecgmoe_edge.tasks import RHYTHM_CLASSES

SECONDS = 40


@pytest.fixture(scope="module")
def recording() -> tuple[NDArray[np.float64], float]:
    calibration = load_calibration()
    signal = np.asarray(calibration.signal[:1, : round(SECONDS * calibration.fs)], np.float64)
    return signal, calibration.fs


def played(signal: NDArray[np.float64], fs: float, cuts: Iterable[int], *, model: bool = True) -> list[Event]:
    monitor = Monitor(random_model() if model else None, fs)
    events: list[Event] = []
    for chunk in np.split(signal, sorted({c for c in cuts if 0 < c < signal.shape[1]}), axis=1):
        events += monitor.push(chunk)
    return untimed(events + monitor.flush())


def spoiled(signal: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same recording with a stretch of NaN and a flatline."""
    out = signal.copy()
    out[:, 4000:4700] = np.nan
    out[:, 8000:8600] = out[:, 8000:8001]
    return out


@settings(max_examples=15, deadline=None)
@given(cuts=st.lists(st.integers(1, SECONDS * 360 - 1), max_size=60), spoil=st.booleans(), model=st.booleans())
def test_any_chunking_gives_the_same_events(
    recording: tuple[NDArray[np.float64], float], cuts: list[int], spoil: bool, model: bool
) -> None:
    signal, fs = recording
    signal = spoiled(signal) if spoil else signal
    whole = played(signal, fs, (), model=model)
    assert len(beats(whole)) > 30
    assert played(signal, fs, cuts, model=model) == whole


@pytest.mark.parametrize("model", [True, False])
def test_with_one_sample_a_push_each_beat_comes_out_exactly_its_delay_after_r(
    recording: tuple[NDArray[np.float64], float], model: bool
) -> None:
    signal, fs = recording
    signal = spoiled(signal)[:, : 15 * 360]
    monitor = Monitor(random_model() if model else None, fs)
    seen = 0
    for at in range(signal.shape[1]):
        for beat in beats(monitor.push(signal[:, at : at + 1])):
            if beat.label != "?":  # a beat cut short by a break is reported with the break
                assert beat.sample + round(beat.delay_ms * fs / 1000) == at
                seen += 1
    assert seen > 10


@pytest.mark.parametrize("fs", [100.0, 125.0, 128.0, 200.0, 250.0, 360.0, 500.0, 1000.0])
def test_a_label_comes_at_most_300_ms_after_r_unless_the_r_peak_was_certain_later(
    simulated_ecg: Callable[..., Any], fs: float
) -> None:
    found = beats(Monitor(random_model(), fs).push(simulated_ecg(30.0, fs=fs, noise_mv=0.02).signal[None]))
    assert len(found) > 25
    assert all(beat.delay_ms <= max(300.0, beat.detection_delay_ms) for beat in found)
    after_learning = [beat for beat in found if beat.time_s > 3.0]
    assert all(beat.delay_ms <= 300.0 for beat in after_learning)


@settings(max_examples=10, deadline=None)
@given(stop=st.integers(6 * 360, SECONDS * 360))
def test_a_recording_cut_short_gives_the_same_events_up_to_the_cut(
    recording: tuple[NDArray[np.float64], float], stop: int
) -> None:
    signal, fs = recording
    whole = [b for b in beats(played(signal, fs, ())) if b.sample + b.delay_ms * fs / 1000 < stop - 0.5]
    monitor = Monitor(random_model(), fs)
    cut = beats(untimed(monitor.push(signal[:, :stop])))
    assert cut == whole


def test_later_samples_do_not_change_earlier_events(recording: tuple[NDArray[np.float64], float]) -> None:
    signal, fs = recording
    other = signal.copy()
    other[:, 6000:] = -3.0 * other[:, 6000:] + 1.0
    before = [b for b in beats(played(signal, fs, ())) if b.sample + b.delay_ms * fs / 1000 < 6000]
    after = [b for b in beats(played(other, fs, ())) if b.sample + b.delay_ms * fs / 1000 < 6000]
    assert len(before) > 10
    assert before == after


def test_no_beat_and_no_rr_interval_spans_a_gap(recording: tuple[NDArray[np.float64], float]) -> None:
    signal, fs = recording
    monitor = Monitor(random_model(), fs)
    events = monitor.push(signal[:, :5000])
    events += monitor.gap(720, "link")
    events += monitor.push(signal[:, 5720:])
    events += monitor.flush()
    (gap,) = [e for e in events if isinstance(e, Gap)]
    assert (gap.sample, gap.lost, gap.reason) == (5000, 720, "link")
    later = [b for b in beats(events) if b.sample >= 5720]
    assert later[0].rr_ms is None
    assert not [b for b in beats(events) if 5000 <= b.sample < 5720]
    end = events[-1]
    assert isinstance(end, End)
    assert (end.samples, end.lost, end.gaps) == (signal.shape[1] - 720, 720, 1)
    # Some seconds after the gap, the beats have the same samples as without it, since lost samples count.
    whole = {b.sample for b in beats(played(signal, fs, ()))}
    assert {b.sample for b in later if b.sample > 5720 + 4 * 360} <= whole


def test_nan_samples_are_a_gap_with_their_exact_count(recording: tuple[NDArray[np.float64], float]) -> None:
    signal, fs = recording
    events = played(spoiled(signal), fs, range(0, signal.shape[1], 36))
    gaps = [e for e in events if isinstance(e, Gap)]
    assert [(e.sample, e.lost, e.reason, e.bridged) for e in gaps] == [(4000, 700, "nan", False)]
    end = events[-1]
    assert isinstance(end, End)
    assert (end.samples, end.lost, end.unusable) == (signal.shape[1], 0, 700)


def test_a_flatline_is_an_event_and_no_rr_interval_spans_it(
    recording: tuple[NDArray[np.float64], float],
) -> None:
    signal, fs = recording
    events = played(spoiled(signal), fs, ())
    flat = [e for e in events if isinstance(e, Flatline)]
    assert {e.sample for e in flat} <= {7999, 8000}
    assert flat[-1].duration_s == pytest.approx(600 / fs, abs=2 / fs)
    after = next(b for b in beats(events) if b.sample > 8600)
    assert after.rr_ms is None


def test_a_flat_lead_gives_no_beats_and_is_reported() -> None:
    monitor = Monitor(None, 250.0)
    events = [*monitor.push(np.zeros((1, 250 * 20))), *monitor.flush()]
    assert not beats(events)
    assert [e.kind for e in events if isinstance(e, Flatline)] == ["flat", "flat"]


def test_a_lead_that_is_off_gives_no_beats_until_it_is_back(recording: tuple[NDArray[np.float64], float]) -> None:
    signal, fs = recording
    monitor = Monitor(None, fs)
    events = monitor.push(signal[:, :3600])
    events += monitor.lead_off((True,))
    events += monitor.push(signal[:, 3600:7200])
    events += monitor.lead_off((False,))
    events += monitor.push(signal[:, 7200:])
    assert [e.leads for e in events if isinstance(e, LeadOff)] == [("II",), ()]
    assert not [b for b in beats(events) if 3600 <= b.sample < 7200]
    assert sum(e.lost or 0 for e in events if isinstance(e, Gap)) == 3600


def test_the_option_invert_undoes_an_inversion(recording: tuple[NDArray[np.float64], float]) -> None:
    signal, fs = recording
    monitor = Monitor(random_model(), fs, invert=True)
    inverted = untimed([*monitor.push(-signal), *monitor.flush()])
    assert inverted == played(signal, fs, ())


@pytest.mark.parametrize("fs", [0.0, -250.0, 99.0, 1001.0, float("nan"), float("inf")])
def test_an_impossible_sampling_rate_is_refused(fs: float) -> None:
    with pytest.raises(SignalError, match="sampling rate"):
        Monitor(None, fs)


def test_a_wrong_number_of_leads_is_refused() -> None:
    with pytest.raises(SignalError, match=r"\(leads, samples\)"):
        Monitor(None, 250.0).push(np.zeros((2, 10)))
    with pytest.raises(SignalError, match="Mains"):
        Monitor(None, 250.0, mains=55)


@pytest.mark.parametrize(("rhythm", "is_s"), [("AF", False), ("other", True)])
def test_an_early_beat_is_not_labelled_s_if_the_model_finds_fibrillation(
    recording: tuple[NDArray[np.float64], float], rhythm: str, is_s: bool
) -> None:
    def outputs(_: Tensors) -> Tensors:
        certain = 6.0 * (np.array(RHYTHM_CLASSES) == rhythm)
        return {"beat": np.array([[1.0, 2.2, -4.0, -4.0]], np.float32), "rhythm": certain[None].astype(np.float32)}

    signal, fs = recording
    rule = DecisionRule(irregular_share=0.0)  # one irregular interval of the last 32 is enough
    monitor = Monitor(FakeModel(outputs, ("beat", "rhythm"), decision=rule), fs)
    labels = [beat.label for beat in beats([*monitor.push(signal), *monitor.flush()])]
    assert labels.count("S" if is_s else "N") > 0.7 * len(labels)
