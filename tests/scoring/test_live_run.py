from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from beat_models import FakeModel, Tensors
from numpy.typing import NDArray

from ecgmoe_edge.scoring.live_run import LiveRun, run_live
from ecgmoe_edge.streaming.beat_model import BeatModel
from ecgmoe_edge.streaming.events import Beat, Rhythm
from ecgmoe_edge.streaming.monitor import Monitor
from ecgmoe_edge.streaming.signal.windows import BEAT_GRID

FS = 250.0


def _outputs(inputs: Tensors) -> Tensors:
    """Outputs that depend on every input value."""
    rows = len(inputs["beat"])
    total = np.sum([np.abs(x).reshape(rows, -1).sum(1) for x in inputs.values()], axis=0)
    logits = np.stack([np.sin(total + k) for k in range(4)], axis=1).astype(np.float32)
    return {"beat": logits, "rhythm": 3 * logits, "route_morphology": logits[:, :3]}


def _model(*, batched: bool, context_samples: int = 0) -> FakeModel:
    return FakeModel(_outputs, ("beat", "rhythm"), batched=batched, context_samples=context_samples)


def _rows(model: FakeModel) -> list[int]:
    """Number of rows of each call of the model."""
    return [len(inputs["beat"]) for inputs in model.inputs]


def _run(ecg: Any, model: BeatModel | None, *, keep_waves: bool = False, leads: tuple[str, ...] = ("II",)) -> LiveRun:
    return run_live(Monitor(model, FS, leads=leads), _blocks(ecg, len(leads)), keep_waves=keep_waves)


def _blocks(ecg: Any, leads: int) -> list[NDArray[np.float64]]:
    return np.array_split(np.stack([ecg.signal, -0.5 * ecg.signal][:leads]), 7, axis=1)


def _assert_same_events(one: LiveRun, other: LiveRun) -> None:
    """The scores of two engines differ by little more than their rounding to 1e-6."""
    for run in (one, other):
        assert run.beats
    first, second = ([(b.sample, b.label, dict(b.experts), b.delay_ms) for b in run.beats] for run in (one, other))
    assert first == second
    assert one.rhythms == other.rhythms
    first_scores, second_scores = ([list(b.scores.values()) for b in run.beats] for run in (one, other))
    np.testing.assert_allclose(first_scores, second_scores, rtol=0.0, atol=5e-6)


def test_batched_inference_gives_the_events_of_beat_by_beat_inference(
    simulated_ecg: Callable[..., Any],
) -> None:
    ecg = simulated_ecg(220.0, fs=FS, noise_mv=0.02)
    for context in (0, 1280):
        single, batched = (_model(batched=batched, context_samples=context) for batched in (False, True))
        slow, fast = _run(ecg, single), _run(ecg, batched)
        _assert_same_events(slow, fast)
        assert set(_rows(single)) == {1}
        assert max(_rows(batched)) > 100
        for name, outputs in slow.outputs.items():
            np.testing.assert_allclose(outputs, fast.outputs[name], atol=1e-6)


def test_a_record_run_stage_by_stage_has_the_beats_and_rhythms_of_a_monitor(simulated_ecg: Callable[..., Any]) -> None:
    ecg = simulated_ecg(120.0, fs=FS, noise_mv=0.02)
    monitor = Monitor(_model(batched=False), FS)
    events = [event for block in _blocks(ecg, 1) for event in monitor.push(block)] + monitor.flush()
    live = LiveRun(
        tuple(event for event in events if isinstance(event, Beat)),
        tuple(event for event in events if isinstance(event, Rhythm)),
        {},
        np.zeros((0, BEAT_GRID.size), np.float32),
    )
    assert len(live.beats) > 100
    assert live.rhythms
    _assert_same_events(live, _run(ecg, _model(batched=True)))


def test_batched_inference_gives_the_same_events_for_two_leads(simulated_ecg: Callable[..., Any]) -> None:
    ecg = simulated_ecg(220.0, fs=FS, noise_mv=0.002)
    single, batched = _model(batched=False), _model(batched=True)
    slow, fast = (_run(ecg, model, leads=("II", "V1")) for model in (single, batched))
    _assert_same_events(slow, fast)
    assert _rows(single).count(2) > 0.9 * len(slow.beats)
    assert len(slow.outputs["beat"]) == len(slow.beats)
    np.testing.assert_allclose(slow.outputs["beat"], fast.outputs["beat"], atol=1e-6)


@pytest.mark.parametrize("context", [0, 1280])
def test_outputs_and_waveforms_are_in_the_order_of_the_beats(simulated_ecg: Callable[..., Any], context: int) -> None:
    run = _run(simulated_ecg(30.0, fs=FS), _model(batched=False, context_samples=context), keep_waves=True)
    assert run.waves.shape == (len(run.beats), BEAT_GRID.size)  # also those of a model with a longer window
    r = int(np.flatnonzero(BEAT_GRID == 0)[0])
    assert np.abs(run.waves[5:]).argmax(1).tolist() == [r] * (len(run.beats) - 5)
    for beat, logits in zip(run.beats, run.outputs["route_morphology"], strict=True):
        assert beat.experts["morphology"] == int(logits.argmax())


def test_without_a_model_a_run_has_r_peaks_only(simulated_ecg: Callable[..., Any]) -> None:
    run = _run(simulated_ecg(30.0, fs=FS), None)
    assert run.beats
    assert {beat.label for beat in run.beats} == {None}
    assert (run.outputs, run.waves.shape) == ({}, (0, BEAT_GRID.size))
