"""Input that a monitor refuses, with a sentence and without a change of its state; input that it accepts; reset."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any, get_args

import numpy as np
import pytest
from beat_models import random_model
from event_lists import untimed
from numpy.typing import NDArray

from ecgmoe_edge.calibration_data import load_calibration
from ecgmoe_edge.errors import SignalError
from ecgmoe_edge.streaming import Monitor
from ecgmoe_edge.streaming.events import Beat, End, Event, Gap, GapReason, LeadOff
from ecgmoe_edge.streaming.input_checks import distinct_names

FS = 360.0
LEADS = ("II", "V1")


@pytest.fixture(scope="module")
def signal() -> NDArray[np.float64]:
    first = np.asarray(load_calibration().signal[0, : 20 * 360], np.float64)
    return np.stack((first, -0.5 * np.roll(first, 3)))


@pytest.mark.parametrize(
    ("leads", "message"),
    [
        ("II", r"such as leads=\('II',\)"),
        (b"II", "not a list of names"),
        ((), "at least one lead"),
        (None, "not a list of names"),
        (2, "not a list of names"),
        (("II", 1), "not a list of names"),
        (("II", ""), "empty name"),
        (("II", " "), "empty name"),
        (("ECG", "V1", "ECG"), "Two leads are called ECG"),
    ],
)
def test_leads_that_are_not_a_list_of_different_names_are_refused(leads: Any, message: str) -> None:
    with pytest.raises(SignalError, match=message):
        Monitor(None, FS, leads=leads)


@pytest.mark.parametrize("leads", [["II", "V1"], ("II", "V1"), np.array(["II", "V1"])])
def test_names_of_leads_can_be_any_sequence(leads: Any) -> None:
    monitor = Monitor(None, FS, leads=leads)
    assert monitor.leads == ("II", "V1")
    assert all(type(name) is str for name in monitor.leads)


def test_rate_and_leads_of_a_monitor_cannot_be_changed() -> None:
    monitor: Any = Monitor(None, FS)
    for name, value in (("leads", ("I", "II")), ("fs", 250.0)):
        with pytest.raises(AttributeError):
            setattr(monitor, name, value)


@pytest.mark.parametrize("fs", [True, "360", None, [360], 360 + 0j, np.array(360.0), float("nan"), np.bool_(True)])
def test_a_rate_that_is_not_a_number_is_refused(fs: Any) -> None:
    with pytest.raises(SignalError, match="sampling rate"):
        Monitor(None, fs)


@pytest.mark.parametrize("fs", [360, np.int16(360), np.float32(360), Fraction(360)])
def test_a_rate_of_any_type_of_number_is_accepted(fs: Any, signal: NDArray[np.float64]) -> None:
    monitor = Monitor(None, fs)
    assert monitor.fs == FS
    assert type(monitor.fs) is float
    assert untimed(monitor.push(signal[:1])) == untimed(Monitor(None, FS).push(signal[:1]))


@pytest.mark.parametrize("mains", [True, False, "50", 55, 0, float("nan"), [50], np.array([50, 60])])
def test_mains_are_50_or_60_hz_auto_or_none(mains: Any) -> None:
    with pytest.raises(SignalError, match="give 50, 60"):
        Monitor(None, FS, mains=mains)


@pytest.mark.parametrize("invert", ["no", 1, None, (True,), np.array([True])])
def test_invert_is_true_or_false(invert: Any) -> None:
    with pytest.raises(SignalError, match="neither True nor False"):
        Monitor(None, FS, invert=invert)


REFUSED: list[tuple[Callable[[Any], object], str]] = [
    (lambda m: m.push("text"), "not a real number"),
    (lambda m: m.push([["a", "b"], ["c", "d"]]), "not a real number"),
    (lambda m: m.push(np.array([["1.0"], ["2.0"]])), "not a real number"),
    (lambda m: m.push(np.array([[1.0, None], [2.0, 3.0]], object)), "not a real number"),
    (lambda m: m.push([[1.0, None], [2.0, 3.0]]), "not a real number"),
    (lambda m: m.push(np.zeros((2, 9), complex)), "not a real number"),
    (lambda m: m.push(np.zeros((2, 9), bool)), "not a real number"),
    (lambda m: m.push(np.zeros((2, 9), "M8[s]")), "not a real number"),
    (lambda m: m.push([[1.0, 2.0], [3.0]]), "not an array of numbers"),
    (lambda m: m.push(None), "not a real number"),
    (lambda m: m.push(np.float64(1.0)), r"\(leads, samples\)"),
    (lambda m: m.push(np.zeros(9)), r"\(leads, samples\)"),
    (lambda m: m.push(np.zeros((2, 9, 1))), r"\(leads, samples\)"),
    (lambda m: m.push(np.zeros((1, 9))), r"2 lead\(s\) II, V1"),
    (lambda m: m.push(np.zeros((9, 2))), r"2 lead\(s\) II, V1"),
    (lambda m: m.gap(-500, "link"), "A gap of -500 samples is not possible"),
    (lambda m: m.gap(float("nan"), "link"), "A gap of nan"),
    (lambda m: m.gap(2.5, "link"), r"A gap of 2\.5"),
    (lambda m: m.gap(5.0, "link"), r"A gap of 5\.0"),
    (lambda m: m.gap(True, "link"), "A gap of True"),
    (lambda m: m.gap("9", "link"), "A gap of '9'"),
    (lambda m: m.gap(2**70, "link"), "is not possible"),
    (lambda m: m.gap(9, "lost"), "no reason 'lost': give one of link, device overflow, host overflow"),
    (lambda m: m.gap(9, None), "no reason None"),
    (lambda m: m.gap(None, ["link"]), "no reason"),
    (lambda m: m.lead_off((True,)), r"1 lead-off flags do not fit 2 lead\(s\) II, V1"),
    (lambda m: m.lead_off((True, False, False)), "3 lead-off flags"),
    (lambda m: m.lead_off((1, 0)), "True or False"),
    (lambda m: m.lead_off(("off", "on")), "True or False"),
    (lambda m: m.lead_off("TF"), "True or False"),
    (lambda m: m.lead_off(True), "True or False"),
    (lambda m: m.lead_off(None), "True or False"),
    (lambda m: m.lead_off(np.array([[True], [False]])), "True or False"),
]


@pytest.mark.parametrize(("call", "message"), REFUSED)
def test_unusable_input_is_refused_with_a_sentence(call: Callable[[Any], object], message: str) -> None:
    with pytest.raises(SignalError, match=message) as caught:
        call(Monitor(None, FS, LEADS))
    assert str(caught.value).endswith(".")


def test_a_call_that_is_refused_changes_nothing(signal: NDArray[np.float64]) -> None:
    """All refused calls, made between the pieces of a stream, change neither its events nor its totals."""

    def played(*, disturbed: bool) -> list[Event]:
        monitor = Monitor(None, FS, LEADS)
        events: list[Event] = []

        def disturb() -> None:
            for call, _ in REFUSED if disturbed else ():
                with pytest.raises(SignalError):
                    call(monitor)

        for piece in np.array_split(signal[:, :3000], 7, axis=1):
            events += monitor.push(piece)
            disturb()
        events += monitor.gap(100, "link")
        disturb()
        events += monitor.push(signal[:, 3100:4000])
        events += monitor.lead_off((True, False))
        disturb()
        events += monitor.push(signal[:, 4000:])
        disturb()
        return untimed([*events, *monitor.flush()])

    quiet = played(disturbed=False)
    assert sum(isinstance(event, Beat) for event in quiet) > 10
    assert played(disturbed=True) == quiet


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.uint16, np.float32, ">f8", np.longdouble, np.float16])
def test_samples_of_any_real_type_are_accepted(dtype: Any, signal: NDArray[np.float64]) -> None:
    typed = np.rint(100.0 * signal + 500.0).astype(dtype)
    monitor, plain = Monitor(None, FS, LEADS), Monitor(None, FS, LEADS)
    events = untimed([*monitor.push(typed), *monitor.flush()])
    assert sum(isinstance(event, Beat) for event in events) > 10
    assert events == untimed([*plain.push(typed.astype(np.float64)), *plain.flush()])


def test_lists_and_other_memory_layouts_are_accepted(signal: NDArray[np.float64]) -> None:
    want = untimed(Monitor(None, FS, LEADS).push(signal))
    listed: Any = signal.tolist()
    assert untimed(Monitor(None, FS, LEADS).push(listed)) == want
    assert untimed(Monitor(None, FS, LEADS).push(np.asfortranarray(signal))) == want
    assert untimed(Monitor(None, FS, LEADS).push(np.repeat(signal, 2, axis=1)[:, ::2])) == want


def test_masked_samples_are_unusable(signal: NDArray[np.float64]) -> None:
    masked = np.ma.masked_array(signal.copy(), np.zeros(signal.shape, bool))
    masked[:, 3000:3100] = np.ma.masked
    (gap,) = [event for event in Monitor(None, FS, LEADS).push(masked) if isinstance(event, Gap)]
    assert (gap.sample, gap.lost, gap.reason) == (3000, 100, "nan")


@pytest.mark.parametrize("invert", [False, True])
@pytest.mark.parametrize("size", [1, 50, 2000])
def test_the_array_of_the_caller_is_neither_changed_nor_kept(
    signal: NDArray[np.float64], size: int, invert: bool
) -> None:
    spoiled = signal[:, :4000].copy()
    spoiled[0, 1500:1600] = np.nan
    whole, reused = Monitor(None, FS, LEADS, invert), Monitor(None, FS, LEADS, invert)
    before, buffer = spoiled.copy(), np.empty((2, size))
    events: list[Event] = []
    for at in range(0, 4000, size):
        buffer[:] = spoiled[:, at : at + size]
        events += reused.push(buffer)
        assert np.array_equal(buffer, spoiled[:, at : at + size], equal_nan=True)
        buffer[:] = 7.0
    spoiled.setflags(write=False)
    want = untimed([*whole.push(spoiled), *whole.flush()])
    assert untimed([*events, *reused.flush()]) == want
    assert np.array_equal(spoiled, before, equal_nan=True)


@pytest.mark.parametrize("lost", [None, 0, 5, np.int32(5), np.uint64(5)])
def test_a_gap_accepts_any_whole_number_and_none(lost: Any) -> None:
    monitor = Monitor(None, FS)
    (gap,) = monitor.gap(lost, "link")
    assert isinstance(gap, Gap)
    assert gap.lost == lost
    assert gap.lost is None or type(gap.lost) is int  # so that it can be written as JSON
    (*_, end) = monitor.flush()
    assert isinstance(end, End)
    assert end.lost == (lost or 0)


@pytest.mark.parametrize("reason", get_args(GapReason))
def test_the_samples_of_a_gap_count_as_lost_for_any_reason(reason: GapReason) -> None:
    monitor = Monitor(None, FS)
    monitor.push(np.zeros((1, 10)))
    monitor.gap(5, reason)
    end = monitor.flush()[-1]
    assert isinstance(end, End)
    assert (end.samples, end.lost, end.unusable, end.gaps) == (10, 5, 0, 1)


@pytest.mark.parametrize("mask", [[True, False], (np.bool_(True), np.bool_(False)), np.array([True, False])])
def test_lead_off_flags_can_be_any_sequence(mask: Any) -> None:
    assert Monitor(None, FS, LEADS).lead_off(mask) == [LeadOff(0, 0.0, ("II",))]


def test_after_a_reset_the_events_are_those_of_a_new_monitor(signal: NDArray[np.float64]) -> None:
    """Nothing of the first patient is kept: samples, lead-off flags, gaps, totals, history."""
    monitor, new = (Monitor(random_model(), FS, LEADS, mains=50) for _ in range(2))
    monitor.push(3.0 * signal[::-1, :5000])
    monitor.gap(77, "link")
    monitor.push(np.full((2, 100), np.nan))
    monitor.push(signal[:, :1234])
    monitor.lead_off((True, True))
    monitor.push(signal[:, :100])
    monitor.reset()
    assert (monitor.leads, monitor.fs) == (LEADS, FS)
    after = untimed([*monitor.push(signal), *monitor.flush()])
    assert sum(isinstance(event, Beat) for event in after) > 10
    assert after == untimed([*new.push(signal), *new.flush()])


@pytest.mark.parametrize(
    ("names", "own"),
    [
        (("II", "V1"), ("II", "V1")),
        (("ECG", "ECG", "ECG"), ("ECG", "ECG 2", "ECG 3")),
        (("ECG", "ECG", "ECG 2"), ("ECG", "ECG 3", "ECG 2")),
        (("ECG", "ECG 2", "ECG"), ("ECG", "ECG 2", "ECG 3")),
        (("", "lead 0", " "), ("lead 0", "lead 0 2", "lead 2")),
    ],
)
def test_repeated_names_become_different_names(names: tuple[str, ...], own: tuple[str, ...]) -> None:
    assert distinct_names(names) == own
    Monitor(None, FS, distinct_names(names))
