from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ecgmoe_edge.converters.accuracy import accuracy_on
from ecgmoe_edge.streaming.beat_model import ModelFunction
from ecgmoe_edge.streaming.decision import DecisionRule
from ecgmoe_edge.tasks import BEAT_CLASSES

wfdb = pytest.importorskip("wfdb")


def always(label: str) -> ModelFunction:
    def infer(_: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        return {"beat": np.array([[4.0 if name == label else 0.0 for name in BEAT_CLASSES]], np.float32)}

    return ModelFunction({"beat": BEAT_CLASSES}, DecisionRule(), infer)


@pytest.fixture
def record(simulated_ecg: Callable[..., Any], tmp_path: Path) -> Path:
    """A minute of beats of which every other one is called V."""
    ecg = simulated_ecg(60.0)
    wfdb.wrsamp("r", fs=360.0, units=["mV"], sig_name=["II"], p_signal=ecg.signal[:, None], fmt=["16"],
                write_dir=str(tmp_path))  # fmt: skip
    symbols = ["V" if i % 2 else "N" for i in range(len(ecg.r_peaks))]
    wfdb.wrann("r", "atr", ecg.r_peaks, symbol=symbols, write_dir=str(tmp_path))
    return tmp_path / "r"


def test_a_model_that_lost_a_class_fails(record: Path) -> None:
    result = accuracy_on([record], "made up", 0.5)(always("V"), always("N"))
    gates = {gate.name: gate for gate in result.gates}
    assert gates["V F1 lost"].status == "failed"
    lost = gates["V F1 lost"].value
    assert lost is not None
    assert lost > 50
    assert gates["S F1 lost"].status == "not run"
    assert result.metrics.full_precision["V F1"] == lost


def test_a_model_that_lost_nothing_passes(record: Path) -> None:
    result = accuracy_on([record], "made up", 0.5)(always("V"), always("V"))
    assert [gate.status for gate in result.gates] == ["not run", "passed"]
    assert result.metrics.full_precision == result.metrics.exported


@pytest.mark.parametrize("faulty", ["full", "exported", "both"])
def test_an_answer_that_is_no_number_fails_whatever_f1_says(record: Path, faulty: str) -> None:
    def with_one_fault() -> ModelFunction:
        sound = always("V")
        beats = iter(range(10_000))

        def infer(inputs: Mapping[str, NDArray[np.float32]]) -> Mapping[str, NDArray[np.float32]]:
            outputs = sound.infer(inputs)
            return {"beat": np.full_like(outputs["beat"], np.nan)} if next(beats) == 7 else outputs

        return ModelFunction({"beat": BEAT_CLASSES}, DecisionRule(), infer)

    full = always("V") if faulty == "exported" else with_one_fault()
    exported = always("V") if faulty == "full" else with_one_fault()
    result = accuracy_on([record], "made up", 50.0)(full, exported)
    assert [gate.status for gate in result.gates] == ["not run", "failed"]
