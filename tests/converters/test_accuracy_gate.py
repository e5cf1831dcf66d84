from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import beat_models
import numpy as np
import pytest
from beat_models import FakeModel, Tensors

from ecgmoe_edge.converters.accuracy import accuracy_on
from ecgmoe_edge.streaming.beat_model import ModelFunction

wfdb = pytest.importorskip("wfdb")


def function_of(model: FakeModel) -> ModelFunction:
    return ModelFunction(model.classes, model.decision, model.infer)


def always(label: str) -> ModelFunction:
    return function_of(beat_models.always(label))


@pytest.fixture
def record(simulated_ecg: Callable[..., Any], tmp_path: Path) -> Path:
    """A record of one minute in which every second beat is annotated V."""
    ecg = simulated_ecg(60.0)
    wfdb.wrsamp("r", fs=360.0, units=["mV"], sig_name=["II"], p_signal=ecg.signal[:, None], fmt=["16"],
                write_dir=str(tmp_path))  # fmt: skip
    symbols = ["V" if i % 2 else "N" for i in range(len(ecg.r_peaks))]
    wfdb.wrann("r", "atr", ecg.r_peaks, symbol=symbols, write_dir=str(tmp_path))
    return tmp_path / "r"


def test_a_model_that_misses_a_class_fails(record: Path) -> None:
    result = accuracy_on([record], "made up", 0.5)(always("V"), always("N"))
    gates = {gate.name: gate for gate in result.gates}
    assert gates["V F1 lost"].status == "failed"
    lost = gates["V F1 lost"].value
    assert lost is not None
    assert lost > 50
    assert gates["S F1 lost"].status == "not run"
    assert result.metrics is not None
    assert result.metrics.full_precision["V F1"] == lost


def test_gates_are_not_run_on_few_beats_or_without_a_usable_record(
    record: Path, simulated_ecg: Callable[..., Any], tmp_path: Path
) -> None:
    peaks = simulated_ecg(60.0).r_peaks
    symbols = ["V" if i % 4 == 1 else "N" for i in range(len(peaks))]
    assert 0 < symbols.count("V") < 20
    wfdb.wrann("r", "atr", peaks, symbol=symbols, write_dir=str(tmp_path))
    result = accuracy_on([record], "made up", 0.5)(always("V"), always("N"))
    gates = {gate.name: gate for gate in result.gates}
    assert gates["V F1 lost"].status == "not run"
    assert f"{symbols.count('V')} V beats, 20 are needed" in gates["V F1 lost"].why
    (tmp_path / "r.atr").unlink()
    nothing = accuracy_on([record], "made up", 0.5)(always("V"), always("N"))
    assert [gate.status for gate in nothing.gates] == ["not run", "not run"]
    assert nothing.metrics is None
    assert "r.atr" in nothing.left_out["r"]


def routed(label: str) -> ModelFunction:
    """A model whose router selects expert 2 for every third beat, and else expert 0."""
    sound = beat_models.always(label)
    count = iter(range(10**6))

    def outputs(inputs: Tensors) -> Tensors:
        morphology = np.eye(3, dtype=np.float32)[[2 if next(count) % 3 == 2 else 0]]
        return {
            "beat": sound.infer(inputs)["beat"],
            "route_morphology": morphology,
            "route_rhythm": np.zeros((1, 2), np.float32),
        }

    return function_of(FakeModel(outputs))


def test_the_beats_of_all_named_records_are_counted_by_their_experts(record: Path) -> None:
    alone = accuracy_on([record], "made up", 0.5)(always("V"), routed("V")).routes
    assert alone is not None
    assert alone.data == "made up"
    assert len(alone) > 50
    assert abs(alone.experts["morphology"].count(2) - len(alone) / 3) < 1
    more = {"again": [record], "missing": [record.with_name("none")]}
    both = accuracy_on([record], "made up", 0.5, also_counted=more)(always("V"), routed("V"))
    assert both.routes is not None
    assert both.routes.data == "made up and again"
    assert len(both.routes) == 2 * len(alone)
    assert set(both.left_out) == {"none"}
    assert accuracy_on([record], "made up", 0.5)(always("V"), always("V")).routes is None  # it has no routers


def test_a_record_that_cannot_be_scored_does_not_change_the_figures(record: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.hea").write_text("broken 1 250 1000\nbroken.dat 16 200/mV 16 0 0 0 0 II\n")
    alone = accuracy_on([record], "made up", 0.5)(always("V"), always("V"))
    beside = accuracy_on([tmp_path / "broken", record], "made up", 0.5)(always("V"), always("V"))
    assert (beside.gates, beside.metrics) == (alone.gates, alone.metrics)
    assert set(beside.left_out) == {"broken"}


def test_a_model_with_the_same_labels_passes(record: Path) -> None:
    result = accuracy_on([record], "made up", 0.5)(always("V"), always("V"))
    assert [gate.status for gate in result.gates] == ["not run", "passed"]
    assert result.metrics is not None
    assert result.metrics.full_precision == result.metrics.exported


@pytest.mark.parametrize("faulty", ["full", "exported", "both"])
def test_an_output_that_is_not_finite_fails_regardless_of_f1(record: Path, faulty: str) -> None:
    def with_one_fault() -> ModelFunction:
        sound = beat_models.always("V")

        def outputs(inputs: Tensors) -> Tensors:
            logits = sound.infer(inputs)["beat"]
            return {"beat": np.full_like(logits, np.nan) if len(sound.inputs) == 8 else logits}

        return function_of(FakeModel(outputs))

    full = always("V") if faulty == "exported" else with_one_fault()
    exported = always("V") if faulty == "full" else with_one_fault()
    result = accuracy_on([record], "made up", 50.0)(full, exported)
    assert [gate.status for gate in result.gates] == ["not run", "failed"]
