from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.scoring.live_run import LiveRun, run_live
from ecgmoe_edge.streaming.beat_model import BeatModel
from ecgmoe_edge.streaming.decision import DecisionRule
from ecgmoe_edge.streaming.events import Beat, Rhythm
from ecgmoe_edge.streaming.monitor import Monitor

FS = 250.0


class Sums:
    """A model whose answers depend on every number that it is given."""

    classes: Mapping[str, tuple[str, ...]] = {"beat": ("N", "S", "V", "F"), "rhythm": ("N", "AF", "other", "noisy")}
    tasks = ("beat", "rhythm")
    decision = DecisionRule()

    def __init__(self, *, batched: bool, context_samples: int = 0) -> None:
        self.batched, self.context_samples = batched, context_samples
        self.rows: list[int] = []

    def infer(self, inputs: Mapping[str, NDArray[np.float32]]) -> Mapping[str, NDArray[np.float32]]:
        rows = len(inputs["beat"])
        self.rows.append(rows)
        total = np.sum([np.abs(x).reshape(rows, -1).sum(1) for x in inputs.values()], axis=0)
        turn = np.stack([np.sin(total + k) for k in range(4)], axis=1).astype(np.float32)
        return {"beat": turn, "rhythm": 3 * turn, "route_morphology": turn[:, :3]}


def _run(ecg: Any, model: BeatModel | None, *, keep_waves: bool = False, leads: tuple[str, ...] = ("II",)) -> LiveRun:
    return run_live(Monitor(model, FS, leads=leads), _blocks(ecg, len(leads)), keep_waves=keep_waves)


def _blocks(ecg: Any, leads: int) -> list[NDArray[np.float64]]:
    return np.array_split(np.stack([ecg.signal, -0.5 * ecg.signal][:leads]), 7, axis=1)


def _events(run: LiveRun) -> list[Any]:
    beats = [(b.sample, b.label, dict(b.scores), dict(b.experts), b.delay_ms) for b in run.beats]
    return [*beats, *run.rhythms]


def test_a_model_asked_in_batches_gives_the_events_of_one_asked_beat_by_beat(
    simulated_ecg: Callable[..., Any],
) -> None:
    ecg = simulated_ecg(220.0, fs=FS, noise_mv=0.02)
    for context in (0, 1280):
        one_by_one, in_batches = (
            Sums(batched=False, context_samples=context),
            Sums(batched=True, context_samples=context),
        )
        slow, fast = _run(ecg, one_by_one), _run(ecg, in_batches)
        assert _events(slow) == _events(fast)
        assert set(one_by_one.rows) == {1}
        assert max(in_batches.rows) > 100
        for name, answers in slow.outputs.items():
            np.testing.assert_allclose(answers, fast.outputs[name], atol=1e-6)


def test_a_record_through_the_stages_has_the_beats_and_rhythms_of_a_monitor(simulated_ecg: Callable[..., Any]) -> None:
    ecg = simulated_ecg(120.0, fs=FS, noise_mv=0.02)
    monitor = Monitor(Sums(batched=False), FS)
    events = [event for block in _blocks(ecg, 1) for event in monitor.push(block)] + monitor.flush()
    live = LiveRun(
        tuple(event for event in events if isinstance(event, Beat)),
        tuple(event for event in events if isinstance(event, Rhythm)),
        {},
        np.zeros((0, 103), np.float32),
    )
    assert len(live.beats) > 100
    assert live.rhythms
    assert _events(live) == _events(_run(ecg, Sums(batched=True)))


def test_so_does_one_that_is_asked_about_two_leads_of_a_beat(simulated_ecg: Callable[..., Any]) -> None:
    ecg = simulated_ecg(220.0, fs=FS, noise_mv=0.002)
    one_by_one, in_batches = Sums(batched=False), Sums(batched=True)
    slow, fast = (_run(ecg, model, leads=("II", "V1")) for model in (one_by_one, in_batches))
    assert _events(slow) == _events(fast)
    assert one_by_one.rows.count(2) > 0.9 * len(slow.beats)
    assert len(slow.outputs["beat"]) == len(slow.beats)
    np.testing.assert_allclose(slow.outputs["beat"], fast.outputs["beat"], atol=1e-6)


def test_outputs_and_waves_stand_beside_the_beats(simulated_ecg: Callable[..., Any]) -> None:
    run = _run(simulated_ecg(30.0, fs=FS), Sums(batched=False), keep_waves=True)
    assert run.waves.shape == (len(run.beats), 103)
    assert np.abs(run.waves[5:]).argmax(1).tolist() == [45] * (len(run.beats) - 5)  # R lies where the grid has it
    for beat, logits in zip(run.beats, run.outputs["route_morphology"], strict=True):
        assert beat.experts["morphology"] == int(logits.argmax())


def test_without_a_model_there_are_peaks_alone(simulated_ecg: Callable[..., Any]) -> None:
    run = _run(simulated_ecg(30.0, fs=FS), None)
    assert run.beats
    assert {beat.label for beat in run.beats} == {None}
    assert (run.outputs, run.waves.shape) == ({}, (0, 103))
