"""A peak that the model answers to be no beat: label `?` with a reason, and no influence on rhythm and history."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import count, pairwise

import numpy as np
import pytest
from beat_models import FakeModel, Tensors, answering, random_outputs
from event_lists import beats, untimed
from numpy.typing import NDArray

from ecgmoe_edge.calibration_data import load_calibration
from ecgmoe_edge.streaming import Monitor
from ecgmoe_edge.streaming.beats import BeatContext
from ecgmoe_edge.streaming.classifier import Answer
from ecgmoe_edge.streaming.events import Beat, End, Event, Rhythm
from ecgmoe_edge.streaming.frontend import FrontEnd
from ecgmoe_edge.streaming.labeller import Labeller
from ecgmoe_edge.streaming.rhythm.tracker import RhythmTracker
from ecgmoe_edge.streaming.signal.windows import BEAT_GRID
from ecgmoe_edge.tasks import BEAT_ANSWERS, BEAT_CLASSES

FS = 360.0
ARTEFACT = BEAT_ANSWERS.index("?")


@pytest.fixture(scope="module")
def signal() -> NDArray[np.float64]:
    return np.asarray(load_calibration().signal[:1, : 60 * 360], np.float64)


def played(model: FakeModel, signal: NDArray[np.float64]) -> list[Event]:
    monitor = Monitor(model, FS)
    return untimed([*monitor.push(signal), *monitor.flush()])


def end_of(events: list[Event]) -> End:
    assert isinstance(events[-1], End)
    return events[-1]


# -- the event


def test_an_artefact_is_a_beat_event_with_the_label_question_mark_and_its_reason(signal: NDArray[np.float64]) -> None:
    plain = beats(played(answering("N"), signal))
    found = beats(played(answering("N?V" * 5 + "N"), signal))
    assert [beat.sample for beat in found] == [beat.sample for beat in plain]
    assert [beat.rr_ms for beat in found] == [beat.rr_ms for beat in plain]
    assert [(beat.label, beat.reason) for beat in found[:6]] == [("N", None), ("?", "artefact"), ("V", None)] * 2
    assert set(found[1].scores) == set(BEAT_ANSWERS)
    assert found[1].scores["?"] > 0.99


def test_the_end_counts_artefacts_and_leaves_their_rr_intervals_out_of_the_heart_rate(
    signal: NDArray[np.float64],
) -> None:
    events = played(answering("N" * 10 + "N?" * 8 + "N"), signal)
    end, found = end_of(events), beats(events)
    poor = sum(beat.label == "?" and beat.reason != "artefact" for beat in found)
    assert (end.artefacts, end.beats["?"]) == (8, 8 + poor)
    assert tuple(end.beats) == BEAT_ANSWERS
    kept = [
        beat.rr_ms
        for before, beat in pairwise(found)
        if beat.rr_ms is not None and "artefact" not in (before.reason, beat.reason)
    ]
    assert len(kept) == sum(beat.rr_ms is not None for beat in found) - 2 * 8
    assert end.mean_heart_rate_bpm == pytest.approx(60000.0 / float(np.mean(kept)))


def test_a_model_without_this_answer_gives_the_same_labels_as_one_that_never_uses_it(
    signal: NDArray[np.float64],
) -> None:
    tasks = ("beat", "rhythm")
    sound = random_outputs(tasks)

    def never_an_artefact(inputs: Tensors) -> Tensors:
        found = sound(inputs)
        logits = np.pad(found["beat"], ((0, 0), (0, 1)), constant_values=-60.0)
        return {**found, "beat": logits}

    four = played(FakeModel(sound, tasks), signal)
    five = played(FakeModel(never_an_artefact, tasks, answers=BEAT_ANSWERS), signal)
    assert {beat.label for beat in beats(four)} >= {"N", "S", "V"}
    assert all(set(beat.scores) == set(BEAT_CLASSES) for beat in beats(four))
    cleared = [
        replace(event, scores={name: event.scores[name] for name in BEAT_CLASSES}) if isinstance(event, Beat) else event
        for event in five
    ]
    assert cleared == four


def test_nothing_is_learnt_from_artefacts(signal: NDArray[np.float64]) -> None:
    """Two models whose logits differ for the artefacts alone give the same labels to the other peaks."""
    tasks = ("beat", "rhythm")

    def model(spoil: Callable[[dict[str, NDArray[np.float32]]], None]) -> FakeModel:
        sound, number = random_outputs(tasks), count()

        def outputs(inputs: Tensors) -> Tensors:
            found = sound(inputs)
            found["beat"] = np.pad(found["beat"], ((0, 0), (0, 1)), constant_values=-60.0)
            if next(number) % 3 == 1:
                spoil(found)
                found["beat"][:, ARTEFACT] = 50.0
            return found

        return FakeModel(outputs, tasks, answers=BEAT_ANSWERS)

    def like_v(outputs: dict[str, NDArray[np.float32]]) -> None:
        outputs["beat"][:] = (-40.0, -40.0, 40.0, -40.0, 0.0)
        outputs["rhythm"][:] = (-40.0, 40.0, -40.0, -40.0)

    def like_s(outputs: dict[str, NDArray[np.float32]]) -> None:
        outputs["beat"][:] = (-40.0, 40.0, -40.0, -40.0, 0.0)
        outputs["rhythm"][:] = (-40.0, -40.0, -40.0, 40.0)

    one, two = played(model(like_v), signal), played(model(like_s), signal)
    others = [[beat for beat in beats(events) if beat.reason != "artefact"] for events in (one, two)]
    assert others[0] == others[1]
    assert [event for event in one if isinstance(event, Rhythm)] == [
        event for event in two if isinstance(event, Rhythm)
    ]
    assert end_of(one).artefacts == end_of(two).artefacts > 10


# -- why a beat is `?`


def logits_of(answer: str) -> NDArray[np.float32]:
    return np.array([[9.0 if name == answer else 0.0 for name in BEAT_ANSWERS]], np.float32)


@pytest.fixture(scope="module")
def sound_beat(signal: NDArray[np.float64]) -> BeatContext:
    items = FrontEnd(FS, grid=BEAT_GRID).push(signal)
    return next(item for item in items if isinstance(item, BeatContext) and item.quality > 0.5)


@pytest.mark.parametrize(
    ("complete", "no_qrs", "quality", "answer", "reason"),
    [
        (True, False, 1.0, "V", None),
        (True, False, 1.0, "?", "artefact"),
        (True, False, 1.0, "unusable", "model"),
        (True, False, 0.001, "V", "quality"),
        (True, False, 0.001, "?", "quality"),
        (True, False, 0.001, "unusable", "quality"),
        (True, True, 0.001, "?", "no QRS"),
        (False, True, 0.001, "unusable", "incomplete"),
    ],
)
def test_the_first_reason_that_applies_is_given(
    sound_beat: BeatContext, complete: bool, no_qrs: bool, quality: float, answer: str, reason: str | None
) -> None:
    beat = replace(sound_beat, complete=complete, no_qrs=no_qrs, quality=quality)
    logits = np.full((1, len(BEAT_ANSWERS)), np.nan, np.float32) if answer == "unusable" else logits_of(answer)
    labeller = Labeller(FS, {"beat": BEAT_ANSWERS})
    event = labeller.take(beat, Answer({"beat": logits}, np.zeros((1, BEAT_GRID.size), np.float32)))[0]
    assert isinstance(event, Beat)
    assert (event.label, event.reason) == ("V" if reason is None else "?", reason)
    without_model = Labeller(FS, {}).take(beat)[0]
    assert isinstance(without_model, Beat)
    assert (without_model.label, without_model.reason) == (None, None)


def test_the_rules_neither_make_an_artefact_of_a_beat_nor_a_beat_of_an_artefact(sound_beat: BeatContext) -> None:
    """In a patient whose beats are all like V, the logit of V is lowered below that of the artefact."""
    labeller = Labeller(FS, {"beat": BEAT_ANSWERS})
    like_v = np.array([[-2.0, -9.0, 1.0, -9.0, 0.9]], np.float32)
    waveform = np.zeros(BEAT_GRID.size, np.float32)
    events = [labeller.take(sound_beat, Answer({"beat": like_v}, waveform[None]))[0] for _ in range(300)]
    last = events[-1]
    assert isinstance(last, Beat)
    assert max(last.scores, key=lambda name: last.scores[name]) == "?"
    assert (last.label, last.reason) == ("V", None)


# -- rhythm


class Peaks:
    """A rhythm tracker that gets one peak after the other; `?` is an artefact."""

    def __init__(self) -> None:
        self.tracker = RhythmTracker(())
        self.time_s = 0.0

    def take(self, labels: str, rr_s: float = 0.8) -> list[Rhythm]:
        out: list[Rhythm] = []
        for label in labels:
            self.time_s += rr_s
            if label == "?":
                out += self.tracker.artefact(self.time_s)
            else:
                out += self.tracker.beat(self.time_s, 1000 * rr_s, label, None)
        return out

    def silence(self, seconds: float) -> list[Rhythm]:
        return self.tracker.silence(self.time_s, seconds, after_beat=True)


def phases(events: Iterable[Rhythm]) -> list[tuple[str, str]]:
    return [(event.label, event.phase) for event in events]


def test_a_v_run_with_an_artefact_inside_goes_on() -> None:
    peaks = Peaks()
    peaks.take("N" * 30)
    (begin,) = peaks.take("VV?V", 0.4)
    assert (begin.label, begin.phase) == ("V run", "begin")
    assert begin.from_s == pytest.approx(30 * 0.8 + 0.4)
    last_v_s = peaks.time_s + 4 * 0.4
    assert not peaks.take("?V?V", 0.4)
    (end,) = peaks.take("N", 0.4)
    assert (end.label, end.phase) == ("V run", "end")
    assert end.to_s == pytest.approx(last_v_s)


def test_v_beats_far_apart_among_artefacts_are_no_run() -> None:
    peaks = Peaks()
    peaks.take("N" * 30)
    assert not peaks.take("V??????V??????V??????V", 0.4)
    peaks.take("N")
    assert not peaks.take("V?V?V", 1.5)


def test_a_v_run_ends_if_artefacts_alone_follow() -> None:
    peaks = Peaks()
    peaks.take("N" * 30)
    assert phases(peaks.take("VVV", 0.4)) == [("V run", "begin")]
    last_v_s = peaks.time_s
    (end,) = peaks.take("?" * 6, 0.4)
    assert (end.phase, end.to_s) == ("end", last_v_s)


def test_artefacts_change_no_rate() -> None:
    peaks = Peaks()
    peaks.take("N" * 30)
    assert not peaks.take("NNNNNNNN?" * 6, 0.65)  # with the artefacts as beats, it is the same rate
    assert not peaks.take("N?N?N?N?N?N?N?N?N?N?N?N?", 0.4)  # with them, it would be 150 per minute


def test_a_rate_alarm_ends_if_artefacts_alone_follow() -> None:
    peaks = Peaks()
    peaks.take("N" * 30)
    assert phases(peaks.take("N" * 20, 0.4)) == [("tachycardia", "begin")]
    assert phases(peaks.take("?" * 8, 0.4)) == [("tachycardia", "end")]


def test_an_artefact_ends_no_pause_and_no_asystole() -> None:
    peaks = Peaks()
    peaks.take("N" * 30)
    assert phases(peaks.silence(2.0)) == [("pause", "begin")]
    assert not peaks.take("?", 2.5)
    assert phases(peaks.silence(4.0)) == [("asystole", "begin")]
    assert not peaks.take("?", 4.5)
    assert Counter(phases(peaks.take("N", 1.0))) == Counter([("pause", "end"), ("asystole", "end")])


def test_a_pause_after_an_artefact_is_reported() -> None:
    peaks = Peaks()
    peaks.take("N" * 30 + "?")
    (begin,) = peaks.silence(2.0)
    assert (begin.label, begin.from_s) == ("pause", peaks.time_s)


def test_no_alarm_begins_after_many_artefacts() -> None:
    peaks = Peaks()
    peaks.take("N" * 30 + "?" * 16)
    assert not peaks.silence(2.0)
    peaks.take("?" * 70)
    assert not peaks.silence(4.0)
