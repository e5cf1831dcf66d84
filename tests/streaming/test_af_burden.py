"""The end of a stream states how much of it was atrial fibrillation, in agreement with the rhythm events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from beat_models import FakeModel, Tensors, always

from ecgmoe_edge.calibration_data import load_calibration
from ecgmoe_edge.live.summary import render_summary
from ecgmoe_edge.streaming.events import End, Event, Rhythm, to_json
from ecgmoe_edge.streaming.monitor import Monitor
from ecgmoe_edge.tasks import BEAT_CLASSES, RHYTHM_CLASSES


def rhythm_model(rhythm_of_beat: list[str]) -> FakeModel:
    """A model that calls every beat N; each beat gets the next rhythm of the list, the last one for all others."""
    remaining = iter(rhythm_of_beat)
    current = rhythm_of_beat[-1]

    def outputs(inputs: Tensors) -> Tensors:
        nonlocal current
        rows = len(inputs["beat"])
        current = next(remaining, current)
        logits = np.array([9.0 if name == current else 0.0 for name in RHYTHM_CLASSES], np.float32)
        beat = np.array([9.0 if name == "N" else 0.0 for name in BEAT_CLASSES], np.float32)
        return {"beat": np.tile(beat, (rows, 1)), "rhythm": np.tile(logits, (rows, 1))}

    return FakeModel(outputs, ("beat", "rhythm"))


def run(model: FakeModel, *, lost_after_s: float | None = None) -> list[Event]:
    """Events of the first two minutes of the shipped recording; after `lost_after_s`, ten seconds are lost."""
    recording = load_calibration()
    signal = recording.signal[:, : int(120 * recording.fs)]
    monitor = Monitor(model, recording.fs, leads=recording.leads)
    cut = signal.shape[1] if lost_after_s is None else int(lost_after_s * recording.fs)
    events = monitor.push(signal[:, :cut])
    if lost_after_s is not None:
        events += monitor.gap(int(10 * recording.fs), "link")
        events += monitor.push(signal[:, cut:])
    return [*events, *monitor.flush()]


def end_of(events: list[Event]) -> End:
    assert isinstance(events[-1], End)
    return events[-1]


def test_the_burden_is_the_sum_of_the_episodes() -> None:
    events = run(rhythm_model(["N"] * 60 + ["AF"] * 60 + ["noisy"] * 30 + ["other"]), lost_after_s=60.0)
    ended = [event for event in events if isinstance(event, Rhythm) and event.to_s is not None and not event.limit]
    durations = [event.to_s - event.from_s for event in ended if event.label == "AF" and event.to_s is not None]
    known_s = sum(e.to_s - e.from_s for e in ended if e.label in ("N", "AF", "other") and e.to_s is not None)
    burden = end_of(events).af_burden
    assert burden is not None
    assert len(durations) >= 1
    assert burden.episodes == len(durations)
    assert burden.af_s == pytest.approx(sum(durations))
    assert burden.longest_s == max(durations)
    assert burden.classified_s == pytest.approx(known_s)
    assert burden.percent == pytest.approx(100.0 * sum(durations) / known_s)
    assert any(event.label == "noisy" for event in ended), "noise is not classified time"


def test_an_episode_that_lasts_to_the_end_counts(simulated_ecg: Callable[..., Any]) -> None:
    irregular = simulated_ecg(120.0, fs=250.0, variability=0.2)
    monitor = Monitor(rhythm_model(["AF"]), 250.0)
    events = [*monitor.push(irregular.signal[None]), *monitor.flush()]
    last = [event for event in events if isinstance(event, Rhythm)][-1]
    assert (last.label, last.phase) == ("AF", "end")
    burden = end_of(events).af_burden
    assert burden is not None
    assert burden.percent is not None
    assert burden.percent > 80.0
    assert burden.longest_s > 90.0


def test_an_interruption_ends_an_episode() -> None:
    def episodes(lost_after_s: float | None) -> int:
        burden = end_of(run(rhythm_model(["AF"]), lost_after_s=lost_after_s)).af_burden
        assert burden is not None
        return burden.episodes

    assert episodes(90.0) == episodes(None) + 1


def test_a_model_without_rhythms_has_no_burden() -> None:
    end = end_of(run(always("N")))
    assert end.af_burden is None
    assert to_json(end)["af_burden"] is None
    assert "AF burden" not in render_summary(end)


def test_the_summary_states_the_burden() -> None:
    end = end_of(run(rhythm_model(["AF"])))
    assert end.af_burden is not None
    assert f"AF burden   {end.af_burden.percent:.1f} % of" in render_summary(end)
