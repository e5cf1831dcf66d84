"""Detection in several leads: each helps, none is needed, and a fault of one is reported."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from beat_models import FakeModel, Tensors, random_model
from event_lists import beats, untimed
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ecgmoe_edge.streaming import Monitor, to_json
from ecgmoe_edge.streaming.decision import DecisionRule
from ecgmoe_edge.streaming.events import Beat, End, Event, Flatline, Gap, LeadChange, LeadOff, Rhythm

FS = 250.0
SECONDS = 60
LEADS = ("II", "V1")
Ecg = tuple[NDArray[np.float64], NDArray[np.int64]]


def points_down(inputs: Tensors) -> NDArray[np.bool_]:
    """Whether the beat points down, in each lead, (leads, 1)."""
    window = inputs["beat"][:, 0]
    return np.asarray((-window.min(axis=1) > window.max(axis=1))[:, None])


def v_if_down(inputs: Tensors) -> Tensors:
    """V in a lead in which the beat points down, N in one in which it points up."""
    logits = np.where(points_down(inputs), [0.0, -9.0, 4.0, -9.0], [4.0, -9.0, -4.0, -9.0])
    return {"beat": logits.astype(np.float32)}


def other_if_up(inputs: Tensors) -> Tensors:
    """Every beat is N; the rhythm is N with much certainty in a lead that points down, other with less elsewhere."""
    down = points_down(inputs)
    beat = np.tile(np.array([9.0, 0.0, 0.0, 0.0], np.float32), (len(down), 1))
    return {"beat": beat, "rhythm": np.where(down, [9.0, 0.0, -9.0, -9.0], [0.0, -9.0, 3.0, -9.0]).astype(np.float32)}


@pytest.fixture(scope="module")
def two_leads(simulated_ecg: Callable[..., Any]) -> Ecg:
    """A tall lead and a small inverted one of the same heart, (2, n) in mV, and the R peaks."""
    ecg = simulated_ecg(SECONDS, fs=FS, seed=1)
    rng = np.random.default_rng(2)
    second = -0.4 * np.roll(ecg.signal, 3)
    return np.stack((ecg.signal, second)) + rng.normal(0, 0.01, (2, ecg.signal.size)), ecg.r_peaks


def played(
    signal: NDArray[np.float64], cuts: Iterable[int] = (), *, leads: tuple[str, ...] = LEADS, model: bool = False
) -> list[Event]:
    monitor = Monitor(random_model(("beat",)) if model else None, FS, leads=leads)
    events: list[Event] = []
    for chunk in np.split(signal, sorted({c for c in cuts if 0 < c < signal.shape[1]}), axis=1):
        events += monitor.push(chunk)
    return untimed(events + monitor.flush())


def changes(events: Iterable[Event]) -> list[LeadChange]:
    return [event for event in events if isinstance(event, LeadChange)]


def missed_and_false(events: Iterable[Event], r_peaks: NDArray[np.int64], within: int = 10) -> tuple[int, int]:
    found = np.array([beat.sample for beat in beats(events)])
    apart = np.abs(found[:, None] - r_peaks[None])
    return int((apart.min(axis=0) > within).sum()), int((apart.min(axis=1) > within).sum())


def spoiled(signal: NDArray[np.float64]) -> NDArray[np.float64]:
    """NaN and flatline in one lead or both, partly at the same time, and a burst of noise in the first."""
    out = signal.copy()
    out[0, 2000:2400] = np.nan
    out[1, 4000:4900] = out[1, 4000]
    out[:, 7000:7300] = np.nan
    out[0, 9000:9700] = 0.3
    out[1, 9500:9900] = np.nan
    out[0, 11500:13000] += np.random.default_rng(5).normal(0, 1.5, 1500)
    return out


@settings(max_examples=10, deadline=None)
@given(cuts=st.lists(st.integers(1, SECONDS * 250 - 1), max_size=60), spoil=st.booleans(), model=st.booleans())
def test_any_chunking_gives_the_same_events(two_leads: Ecg, cuts: list[int], spoil: bool, model: bool) -> None:
    signal = spoiled(two_leads[0]) if spoil else two_leads[0]
    whole = played(signal, model=model)
    assert len(beats(whole)) > 50
    assert played(signal, cuts, model=model) == whole


def test_a_break_within_a_long_push_loses_no_waiting_beat(two_leads: Ecg) -> None:
    signal = spoiled(two_leads[0])
    assert played(signal, [4483]) == played(signal)


@pytest.mark.parametrize("model", [True, False])
def test_with_one_sample_a_push_each_beat_comes_out_exactly_its_delay_after_r(two_leads: Ecg, model: bool) -> None:
    signal = spoiled(two_leads[0])[:, : 30 * 250]
    monitor = Monitor(random_model(("beat",)) if model else None, FS, leads=LEADS)
    events: list[Event] = []
    for at in range(signal.shape[1]):
        came = untimed(monitor.push(signal[:, at : at + 1]))
        assert all(beat.sample + round(beat.delay_ms * FS / 1000) == at for beat in beats(came))
        events += came
    assert len(beats(events)) > 25
    assert untimed(events + monitor.flush()) == played(signal, model=model)


def test_every_beat_is_found_and_its_waveform_is_the_first_lead_s(two_leads: Ecg) -> None:
    signal, r_peaks = two_leads
    events = played(signal)
    assert missed_and_false(events, r_peaks, within=2) == (0, 0)
    assert {beat.lead for beat in beats(events)} == {"II"}
    assert not changes(events)


def test_the_order_of_the_leads_moves_no_beat_by_more_than_their_distance(two_leads: Ecg) -> None:
    signal, r_peaks = two_leads
    assert missed_and_false(played(signal[::-1]), r_peaks, within=5) == (0, 0)


def test_one_lead_gives_no_lead_events_and_two_equal_leads_give_the_same_beats(two_leads: Ecg) -> None:
    alone = played(two_leads[0][:1], leads=("II",), model=True)
    assert not changes(alone)
    assert {beat.lead for beat in beats(alone)} == {None}
    twice = played(np.repeat(two_leads[0][:1], 2, axis=0), model=True)
    assert [(b.sample, b.rr_ms, b.label) for b in beats(twice)] == [(b.sample, b.rr_ms, b.label) for b in beats(alone)]


def labels_of(signal: NDArray[np.float64], leads: tuple[str, ...] = LEADS) -> tuple[list[Beat], list[int]]:
    """Beats after the first second, and the number of leads in the model's inputs of each beat."""
    model = FakeModel(v_if_down, decision=DecisionRule(shape_share=0.0))
    monitor = Monitor(model, FS, leads=leads)
    events = [*monitor.push(signal), *monitor.flush()]
    return [beat for beat in beats(events) if beat.time_s > 1.0], [len(inputs["beat"]) for inputs in model.inputs]


@pytest.fixture(scope="module")
def early_beats(two_leads: Ecg) -> NDArray[np.float64]:
    """The two leads with a fifth of a second removed before every tenth beat, so that it comes early."""
    signal, r_peaks = two_leads
    out = np.ones(signal.shape[1], bool)
    for r in r_peaks[10:-1:10]:
        out[r - 100 : r - 50] = False
    return signal[:, out]


def test_an_early_beat_that_is_v_in_any_lead_is_v(early_beats: NDArray[np.float64]) -> None:
    alone, leads_used = labels_of(early_beats[:1], ("II",))
    assert {beat.label for beat in alone} == {"N"}
    assert set(leads_used) == {1}
    both, leads_used = labels_of(early_beats)
    assert leads_used.count(2) > 0.9 * len(leads_used)
    rr_ms = np.array([beat.rr_ms or math.nan for beat in both])
    early = [bool(rr_ms[k] < 0.9 * rr_ms[k - 8 : k].mean()) for k in range(9, len(both))]
    assert 3 <= sum(early) < len(early) / 4
    assert [beat.label == "V" for beat in both[9:]] == early
    assert {beat.label for beat in labels_of(early_beats[::-1])[0]} == {"V"}  # of the first lead, early or not


@pytest.mark.parametrize("context", [0, 1280])
def test_the_inputs_of_each_lead_have_the_history_of_that_lead(two_leads: Ecg, context: int) -> None:
    """The inputs for a beat in one lead are those of a monitor with that lead alone."""
    signal = np.stack((two_leads[0][0], -0.4 * two_leads[0][0]))
    signal[1] += 0.05 * np.sin(np.arange(signal.shape[1]) * 2 * np.pi * 7 / FS)  # the leads differ in more than size
    inputs_of = {}
    for leads, rows in ((LEADS, slice(None)), (LEADS[:1], slice(0, 1)), (LEADS[1:], slice(1, 2))):
        model = random_model(("beat",), context_samples=context)
        monitor = Monitor(model, FS, leads=leads)
        found = beats([*monitor.push(signal[rows]), *monitor.flush()])
        inputs_of[leads] = {beat.sample: one for beat, one in zip(found, model.inputs, strict=True)}
    for row, lead in enumerate(LEADS):
        alone = inputs_of[lead,]
        compared = 0
        for sample, both in inputs_of[LEADS].items():
            if sample > 20 * FS and sample in alone and len(both["beat"]) == 2:
                compared += 1
                for name, least in (("beat", 0.9), ("context", 0.9), ("features", 0.5)):
                    if name in both:  # equal except on the slopes of an R peak that is shifted by a sample
                        apart = np.abs(both[name][row] - alone[sample][name][0])
                        assert np.quantile(apart, least) < 0.03, (name, sample)
        assert compared > 20


def test_the_rhythm_is_the_mean_of_both_leads(two_leads: Ecg) -> None:
    rhythms = {}
    for leads in (LEADS[:1], LEADS):
        monitor = Monitor(FakeModel(other_if_up, ("beat", "rhythm")), FS, leads=leads)
        events = [*monitor.push(two_leads[0][: len(leads)]), *monitor.flush()]
        rhythms[leads] = {event.label for event in events if isinstance(event, Rhythm)}
    assert rhythms == {LEADS[:1]: {"other"}, LEADS: {"N"}}


def test_a_lead_in_noise_is_not_classified(two_leads: Ecg) -> None:
    signal = two_leads[0].copy()
    signal[1] += np.random.default_rng(6).normal(0, 1.0, signal.shape[1])
    found, leads_used = labels_of(signal)
    assert {beat.label for beat in found} == {"N"}
    assert set(leads_used) == {1}


def test_at_most_two_leads_are_classified(early_beats: NDArray[np.float64]) -> None:
    upright = early_beats[0]
    found, leads_used = labels_of(np.stack((upright, 0.7 * upright, -upright)), ("I", "II", "III"))
    assert {beat.label for beat in found} == {"N"}
    assert max(leads_used) == 2


@pytest.mark.parametrize("reason", ["nan", "flat", "off"])
@pytest.mark.parametrize("lost", [0, 1])
def test_a_lead_that_fails_costs_no_beat_and_comes_back(two_leads: Ecg, reason: str, lost: int) -> None:
    signal, r_peaks = two_leads
    signal = signal.copy()
    middle = slice(5000, 10000)
    if reason != "off":
        signal[lost, middle] = np.nan if reason == "nan" else signal[lost, 5000]
    monitor = Monitor(random_model(("beat",)), FS, leads=LEADS)
    events = monitor.push(signal[:, :5000])
    events += monitor.lead_off([reason == "off" and k == lost for k in range(2)])
    events += monitor.push(signal[:, middle])
    events += monitor.lead_off([False, False])
    events += [*monitor.push(signal[:, 10000:]), *monitor.flush()]
    assert missed_and_false(events, r_peaks) == (0, 0)
    assert [beat.rr_ms is None for beat in beats(events)].count(True) == 1  # the first of all
    other = LEADS[1 - lost]
    reported = [(change.leads, dict(change.others)) for change in changes(events)]
    assert reported == [((other,), {LEADS[lost]: reason}), ((other,), {LEADS[lost]: "settling"}), (LEADS, {})]
    assert all(beat.label != "?" for beat in beats(events) if beat.time_s > 1.0)
    assert {b.lead for b in beats(events) if 5300 < b.sample < 9800} == {LEADS[1] if lost == 0 else LEADS[0]}
    assert changes(events)[-1].time_s < 10000 / FS + 6.0  # back within six seconds
    assert not [event for event in events if isinstance(event, Gap)]
    assert isinstance(events[-1], End)
    assert events[-1].unusable == 0


def test_a_flatline_names_its_lead(two_leads: Ecg) -> None:
    signal = two_leads[0].copy()
    signal[1, 5000:6000] = 0.1
    flatlines = [event for event in played(signal) if isinstance(event, Flatline)]
    assert {event.lead for event in flatlines} == {"V1"}


def test_no_rr_interval_spans_a_loss_of_all_leads(two_leads: Ecg) -> None:
    signal, r_peaks = two_leads
    signal = signal.copy()
    signal[0, 5000:6000] = np.nan
    signal[1, 5400:7000] = signal[1, 5400]  # counts as signal for its first second
    events = played(signal)
    gone = [change for change in changes(events) if change.broken]
    assert [change.leads for change in gone] == [()]
    after = next(beat for beat in beats(events) if beat.sample > 6000)
    assert after.rr_ms is None
    assert missed_and_false(events, r_peaks[(r_peaks < 5300) | (r_peaks > 6100)])[0] == 0


def test_a_gap_on_the_link_is_a_gap_on_all_leads(two_leads: Ecg) -> None:
    signal, _ = two_leads
    monitor = Monitor(None, FS, leads=LEADS)
    events = [*monitor.push(signal[:, :5000]), *monitor.gap(500, "link"), *monitor.push(signal[:, 5500:])]
    events += monitor.flush()
    assert [(e.sample, e.lost) for e in events if isinstance(e, Gap)] == [(5000, 500)]
    after = next(beat for beat in beats(events) if beat.sample >= 5500)
    assert after.rr_ms is None
    assert isinstance(events[-1], End)
    assert (events[-1].samples, events[-1].lost) == (signal.shape[1] - 500, 500)


def test_noise_on_one_lead_costs_at_most_two_beats(two_leads: Ecg) -> None:
    """Noise with the frequencies of a QRS complex and twice its size, in the first lead, for twenty seconds."""
    signal, r_peaks = two_leads
    signal = signal.copy()
    rng = np.random.default_rng(8)
    noise = np.convolve(rng.normal(0, 1, 5000 + 7), np.ones(8) / 8, "valid")
    signal[0, 2500:7500] += 2.0 * noise / noise.std()
    alone = missed_and_false(played(signal[:1], leads=("II",)), r_peaks)
    assert sum(alone) > 20
    events = played(signal)
    assert sum(missed_and_false(events, r_peaks, within=37)) <= 2  # at first, the noise moves the R peaks
    assert [(change.leads, dict(change.others)) for change in changes(events)][:1] == [(("V1",), {"II": "noise"})]
    within = [beat.lead for beat in beats(events) if 4500 < beat.sample < 7000]
    assert within.count("V1") > 0.8 * len(within)
    assert beats(events)[-1].lead == "II"


def test_twelve_leads_most_of_them_flat_or_noise(two_leads: Ecg) -> None:
    signal, r_peaks = two_leads
    rng = np.random.default_rng(4)
    twelve = np.concatenate((rng.normal(0, 0.5, (8, signal.shape[1])), np.zeros((2, signal.shape[1])), signal))
    events = played(twelve, leads=tuple(f"L{k}" for k in range(12)))
    assert sum(missed_and_false(events, r_peaks[r_peaks > 10 * FS])) <= sum(beat.time_s <= 10 for beat in beats(events))
    assert {beat.lead for beat in beats(events) if beat.time_s > 20} == {"L10"}


def test_a_change_of_leads_is_a_json_line(two_leads: Ecg) -> None:
    signal = two_leads[0].copy()
    signal[0, 5000:] = np.nan
    (change,) = changes(played(signal))
    assert to_json(change) == {
        "event": "lead_change", "schema": 2, "sample": 5001, "time_s": 5001 / FS, "leads": ("V1",),
        "others": {"II": "nan"}, "broken": False,
    }  # fmt: skip


def test_lead_off_names_its_leads(two_leads: Ecg) -> None:
    monitor = Monitor(None, FS, leads=LEADS)
    monitor.push(two_leads[0][:, :1000])
    assert monitor.lead_off([True, False]) == [LeadOff(1000, 4.0, ("II",))]


@pytest.mark.parametrize("name", ["118", "119"])
def test_electrode_motion_at_0_db_in_the_first_lead_leaves_the_result_of_the_second(
    data_dir: Path, mitdb: Path, name: str
) -> None:
    pytest.importorskip("wfdb", reason="records need the records extra")
    from ecgmoe_edge.records.annotations import read_annotations
    from ecgmoe_edge.records.registry import open_recording
    from ecgmoe_edge.records.splits import noise_record
    from ecgmoe_edge.scoring.ec57 import score_record
    from ecgmoe_edge.scoring.noise_stress import NoiseLevel, noisy_blocks

    record = open_recording(mitdb / name)
    annotated = read_annotations(record)
    noisy = noisy_blocks(record, 0, annotated, NoiseLevel(noise_record(data_dir, "em"), 0.0), 60.0)
    first = np.concatenate(list(noisy), axis=1)[:, : round(600 * record.fs)]
    second = record.read(0, first.shape[1], leads=[1])
    f1 = {}
    for tried, signal in (("first", first), ("second", second), ("fused", np.concatenate((first, second)))):
        monitor = Monitor(None, record.fs, leads=[f"L{k}" for k in range(len(signal))])
        found = [beat.sample for beat in beats([*monitor.push(signal), *monitor.flush()])]
        inside = annotated.samples < first.shape[1]
        cut = replace(annotated, **{key: getattr(annotated, key)[inside] for key in ("samples", "symbols", "classes")})
        f1[tried] = score_record(cut, found, fs=record.fs, n_samples=first.shape[1]).rpeaks.f1 or 0.0
    assert f1["first"] < 92.0
    assert f1["second"] > 99.8
    assert f1["fused"] > f1["second"] - 1.0
