"""What a model is given: the same numbers from the stream, the calibration beats and the training examples."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ecgmoe_edge import contract
from ecgmoe_edge.streaming.decision import DecisionRule
from ecgmoe_edge.streaming.monitor import Monitor

FS = 250.0


class Keeps:
    """A model that keeps what it is given."""

    classes: Mapping[str, tuple[str, ...]] = {"beat": ("N", "S", "V", "F")}
    tasks = ("beat",)
    decision = DecisionRule()
    batched = False

    def __init__(self, context_samples: int) -> None:
        self.context_samples = context_samples
        self.given: list[Mapping[str, NDArray[np.float32]]] = []

    def infer(self, inputs: Mapping[str, NDArray[np.float32]]) -> Mapping[str, NDArray[np.float32]]:
        self.given.append(inputs)
        return {"beat": np.zeros((len(inputs["beat"]), 4), np.float32)}

    def all(self, beats: int) -> dict[str, NDArray[np.float32]]:
        """The first `beats`, by name."""
        return {name: np.concatenate([one[name] for one in self.given[:beats]]) for name in self.given[0]}


def _streamed(signal: NDArray[np.float64], context_samples: int) -> Keeps:
    model = Keeps(context_samples)
    Monitor(model, FS).push(signal)
    return model


def test_stream_calibration_and_training_give_a_model_the_same_numbers(
    tmp_path: Path, simulated_ecg: Callable[..., Any]
) -> None:
    wfdb = pytest.importorskip("wfdb")
    pytest.importorskip("torch")
    from ecgmoe_edge.converters.calibration import folder_beats
    from ecgmoe_edge.training.augment import clean_batch
    from ecgmoe_edge.training.config import DataSet
    from ecgmoe_edge.training.examples import examples_of
    from ecgmoe_edge.training.sources import Source

    ecg = simulated_ecg(40.0, fs=FS, noise_mv=0.02)
    wfdb.wrsamp(
        "r", fs=FS, units=["mV"], sig_name=["II"], p_signal=ecg.signal[:, None], fmt=["16"], adc_gain=[1000.0],
        baseline=[0], write_dir=str(tmp_path),
    )  # fmt: skip
    wfdb.wrann("r", "atr", ecg.r_peaks, ["N"] * len(ecg.r_peaks), write_dir=str(tmp_path))
    signal = wfdb.rdrecord(str(tmp_path / "r")).p_signal.T

    live = _streamed(signal, contract.CONTEXT_SAMPLES)
    beats = len(live.given)
    assert beats > 40
    streamed = live.all(beats)
    assert tuple(streamed) == (*contract.INPUTS, contract.CONTEXT)
    for name, values in streamed.items():
        assert values.shape == (beats, *contract.SHAPES[name])
        assert values.dtype == np.float32
        assert np.abs(values).max() <= contract.LIMITS[name]

    device = _streamed(signal, 0).all(beats)
    calibration = folder_beats(tmp_path).inputs
    examples = examples_of(Source(DataSet("one", "."), tmp_path / "r", "r"))
    batch = clean_batch(examples, np.arange(beats))
    assert tuple(device) == tuple(calibration) == contract.INPUTS
    for name in contract.INPUTS:
        np.testing.assert_array_equal(device[name], streamed[name])
        np.testing.assert_array_equal(calibration[name][:beats], streamed[name])
        np.testing.assert_array_equal(getattr(batch, name).numpy(), streamed[name])
    # Examples keep the context in half precision.
    np.testing.assert_allclose(batch.context.numpy(), streamed[contract.CONTEXT], atol=2e-3)


def test_a_context_is_relative_to_the_r_amplitude_and_limited() -> None:
    beats, size = 2, contract.SHAPES[contract.BEAT][1]
    inputs = contract.assemble_inputs(
        np.zeros((beats, size), np.float32),
        np.zeros((beats, size), np.float32),
        np.array([0.5, 0.0], np.float32),
        np.zeros((beats, 15), np.float32),
        np.zeros((beats, 2, 32), np.float32),
        np.array([[1.0, -9.0, 0.0], [1.0, 0.0, -1.0]], np.float32),
    )
    np.testing.assert_array_equal(inputs["context"], [[[2.0, -6.0, 0.0]], [[6.0, 0.0, -6.0]]])


def test_a_route_and_its_path_name_one_another() -> None:
    assert contract.ROUTES == ("route_morphology", "route_rhythm")
    assert tuple(map(contract.path_of, contract.ROUTES)) == contract.PATHS
    assert [contract.is_route(name) for name in ("beat", "rhythm", "route_rhythm")] == [False, False, True]
    assert contract.routes_by_path({"beat": 1, "route_morphology": 2, "route_rhythm": 3}) == {
        "morphology": 2,
        "rhythm": 3,
    }


@pytest.mark.parametrize("first", ["contract", "streaming", "streaming.features", "runtime"])
def test_the_contract_and_the_stream_import_one_another_in_any_order(first: str) -> None:
    code = f"import ecgmoe_edge.{first}, ecgmoe_edge.contract as c; from ecgmoe_edge import Monitor; print(c.INPUTS)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
