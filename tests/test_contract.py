"""The inputs of a model are the same numbers in the live stream, the calibration beats and the training examples."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from beat_models import FakeModel
from numpy.typing import NDArray
from wfdb_records import write_wfdb

from ecgmoe_edge import contract
from ecgmoe_edge.records.registry import open_recording
from ecgmoe_edge.streaming.features import FEATURE_NAMES
from ecgmoe_edge.streaming.monitor import Monitor

FS = 250.0


def _streamed(
    signal: NDArray[np.float64], context_samples: int, engine: str | None = None
) -> dict[str, NDArray[np.float32]]:
    """The inputs of all beats in the live stream: name -> (beats, ...)."""
    model = FakeModel(lambda inputs: {"beat": np.zeros((1, 4), np.float32)}, context_samples=context_samples)
    Monitor(model, FS, engine=engine).push(signal)
    return {name: np.concatenate([one[name] for one in model.inputs]) for name in model.inputs[0]}


def test_stream_calibration_and_training_have_the_same_model_inputs(
    tmp_path: Path, simulated_ecg: Callable[..., Any]
) -> None:
    pytest.importorskip("wfdb")
    pytest.importorskip("torch")
    from ecgmoe_edge.converters.calibration import folder_beats
    from ecgmoe_edge.training.augment import clean_batch
    from ecgmoe_edge.training.config import DataSet
    from ecgmoe_edge.training.examples import examples_of
    from ecgmoe_edge.training.sources import Source

    ecg = simulated_ecg(40.0, fs=FS, noise_mv=0.02)
    record = write_wfdb(tmp_path, "r", ecg.signal[None], FS, r_peaks=ecg.r_peaks)
    signal = open_recording(record).read()

    streamed = _streamed(signal, contract.CONTEXT_SAMPLES)
    beats = len(streamed[contract.BEAT])
    assert beats > 40
    assert tuple(streamed) == (*contract.INPUTS, contract.CONTEXT)
    device, reference = _streamed(signal, 0), _streamed(signal, 0, "numpy")
    for inputs, shapes in ((reference, contract.SHAPES), (streamed, contract.SHAPES_WITH_CONTEXT)):
        for name, values in inputs.items():
            assert values.shape == (beats, *shapes[name])
            assert values.dtype == np.float32
            assert np.abs(values).max() <= contract.LIMITS[name]

    calibration = folder_beats(tmp_path).inputs
    examples = examples_of(Source(DataSet("one", "."), record, "r"))
    batch = clean_batch(examples, np.arange(beats))
    assert tuple(device) == tuple(calibration) == contract.INPUTS
    for name, trained in zip(contract.INPUTS, batch.student_inputs(), strict=True):
        np.testing.assert_allclose(device[name], reference[name], rtol=0.0, atol=1e-6)  # of the engine that runs
        np.testing.assert_array_equal(calibration[name][:beats], reference[name])
        np.testing.assert_array_equal(trained.numpy(), reference[name])
    *most, context = batch.teacher_inputs()
    for name, trained in zip(contract.INPUTS, most, strict=True):
        np.testing.assert_array_equal(trained.numpy(), streamed[name])
    # Examples keep the context in half precision.
    np.testing.assert_allclose(context.numpy(), streamed[contract.CONTEXT], atol=2e-3)


def test_a_model_with_context_gets_the_same_beat_with_a_later_end(simulated_ecg: Callable[..., Any]) -> None:
    signal = simulated_ecg(20.0, fs=FS, noise_mv=0.02).signal[None]
    short, long = _streamed(signal, 0, "numpy"), _streamed(signal, contract.CONTEXT_SAMPLES)
    points, beats = contract.SHAPES[contract.BEAT][-1], len(long[contract.BEAT])
    assert contract.SHAPES_WITH_CONTEXT[contract.BEAT][-1] > points
    np.testing.assert_array_equal(long[contract.BEAT][..., :points], short[contract.BEAT][:beats])
    np.testing.assert_array_equal(long[contract.RR_SEQUENCE], short[contract.RR_SEQUENCE][:beats])
    later = {"correlation, beat", "log energy ratio, beat", "correlation, T", "log energy ratio, T"}
    apart = (long[contract.FEATURES] != short[contract.FEATURES][:beats]).any(axis=0)
    assert {name for name, differs in zip(FEATURE_NAMES, apart.tolist(), strict=True) if differs} == later


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


def test_router_outputs_and_paths_map_to_each_other() -> None:
    assert contract.ROUTES == ("route_morphology", "route_rhythm")
    assert tuple(map(contract.path_of, contract.ROUTES)) == contract.PATHS
    assert [contract.is_route(name) for name in ("beat", "rhythm", "route_rhythm")] == [False, False, True]
    assert contract.routes_by_path({"beat": 1, "route_morphology": 2, "route_rhythm": 3}) == {
        "morphology": 2,
        "rhythm": 3,
    }


@pytest.mark.parametrize("first", ["contract", "streaming", "streaming.features", "runtime"])
def test_contract_and_streaming_modules_can_be_imported_in_any_order(first: str) -> None:
    code = f"import ecgmoe_edge.{first}, ecgmoe_edge.contract as c; from ecgmoe_edge import Monitor; print(c.INPUTS)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
