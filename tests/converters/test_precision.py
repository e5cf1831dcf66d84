from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from ecgmoe_edge.contract import SHAPES
from ecgmoe_edge.converters.precision import choose_precision
from ecgmoe_edge.converters.targets import target_named
from ecgmoe_edge.device_profiles import Profile, list_profiles, load_profile
from ecgmoe_edge.model.student import Student, StudentConfig


class SlowEngine:
    """An engine with a given inference time."""

    inputs = outputs = ()
    batched = False

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def run(self, _: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        time.sleep(self.seconds)
        return {}

    def describe(self) -> dict[str, Any]:
        return {}


INPUTS = {"beat": np.zeros((3, *SHAPES["beat"]), np.float32)}


def test_the_faster_precision_is_chosen() -> None:
    fast, slow = SlowEngine(0.001), SlowEngine(0.003)
    kept = choose_precision(fast, slow, INPUTS, (1000, 4000))
    assert kept.precision == "int8"
    assert "1,000 bytes instead of 4,000" in kept.why
    dropped = choose_precision(slow, fast, INPUTS, (1000, 4000))
    assert dropped.precision == "float32"
    assert "float32 is kept" in dropped.why


def test_slightly_slower_int8_is_kept_only_if_its_file_is_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ecgmoe_edge.converters.precision.time_ratio", lambda *_: 1.05)
    one, other = SlowEngine(0.0), SlowEngine(0.0)
    assert "smaller and nearly as fast" in choose_precision(one, other, INPUTS, (1000, 4000)).why
    assert choose_precision(one, other, INPUTS, (4000, 4000)).precision == "float32"


def reason_on(machine: str, profile: Profile, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr("platform.machine", lambda: machine)
    return target_named(profile.runtime.format).unmeasured_here(profile)


def test_precision_is_measured_only_on_a_machine_of_the_board_s_architecture(monkeypatch: pytest.MonkeyPatch) -> None:
    assert reason_on("x86_64", load_profile("generic-cpu"), monkeypatch) == ""
    assert reason_on("aarch64", load_profile("generic-cpu"), monkeypatch) == ""
    assert "aarch64 and this machine x86_64" in reason_on("x86_64", load_profile("jetson"), monkeypatch)
    assert "Tensorrt" in reason_on("aarch64", load_profile("jetson"), monkeypatch)
    assert "microcontroller" in reason_on("x86_64", load_profile("cortex-m4"), monkeypatch)
    cpu = load_profile("jetson")
    runtime = msgspec.structs.replace(cpu.runtime, providers=("CPUExecutionProvider",))
    assert reason_on("arm64", msgspec.structs.replace(cpu, runtime=runtime), monkeypatch) == ""


def test_the_float32_file_fits_the_memory_limit_of_profiles_that_allow_it() -> None:
    for name in list_profiles():
        profile = load_profile(name)
        if profile.precision.keep_float_if_not_better and profile.runtime.format == "onnx":
            student = Student(StudentConfig.named(profile.model.width))
            assert 4 * sum(p.numel() for p in student.parameters()) < 1024 * profile.memory.model_kib, name
