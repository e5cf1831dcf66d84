"""The full-precision models in the live monitor: given there what they were given in training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import wfdb
from beat_models import FakeModel, Tensors

from ecgmoe_edge.contract import CONTEXT, CONTEXT_SAMPLES, INPUTS, SHAPES_WITH_CONTEXT
from ecgmoe_edge.errors import ModelError
from ecgmoe_edge.model.streaming_models import (
    StreamingTeacher,
    load_streaming_student,
    load_streaming_teacher,
    refuse_unusable,
)
from ecgmoe_edge.model.student import Student, StudentConfig, save_student
from ecgmoe_edge.model.teacher import EcgMoe
from ecgmoe_edge.model.teacher_config import TeacherConfig
from ecgmoe_edge.model.teacher_file import save_teacher
from ecgmoe_edge.streaming.monitor import Monitor
from ecgmoe_edge.tasks import task_named
from ecgmoe_edge.training.augment import clean_batch
from ecgmoe_edge.training.config import DataSet
from ecgmoe_edge.training.examples import examples_of
from ecgmoe_edge.training.sources import Source

FS = 250.0


def test_the_live_teacher_gets_the_same_inputs_as_in_training(
    tmp_path: Path, simulated_ecg: Callable[..., Any]
) -> None:
    ecg = simulated_ecg(40.0, fs=FS, noise_mv=0.02)
    wfdb.wrsamp(
        "r", fs=FS, units=["mV"], sig_name=["II"], p_signal=ecg.signal[:, None], fmt=["16"], adc_gain=[1000.0],
        baseline=[0], write_dir=str(tmp_path),
    )  # fmt: skip
    wfdb.wrann("r", "atr", ecg.r_peaks, ["N"] * len(ecg.r_peaks), write_dir=str(tmp_path))
    examples = examples_of(Source(DataSet("one", "."), tmp_path / "r", "r"))
    batch = clean_batch(examples, np.arange(len(examples)))

    teacher = StreamingTeacher(EcgMoe(), ("beat", "rhythm", "rr", "age", "sex"))
    model = FakeModel(
        teacher.infer,
        teacher.tasks,
        context_samples=teacher.context_samples,
        batched=True,
        answers=teacher.classes["beat"],
    )
    monitor = Monitor(model, FS)
    signal = wfdb.rdrecord(str(tmp_path / "r")).p_signal.T
    monitor.push(signal)
    assert 40 < len(model.inputs) <= len(examples)
    for name, trained in zip((*INPUTS, CONTEXT), batch.teacher_inputs(), strict=True):
        live = np.concatenate([inputs[name] for inputs in model.inputs])
        tolerance = 2e-3 if name == CONTEXT else 1e-5  # examples keep the context in half precision
        np.testing.assert_allclose(live, trained[: len(live)].numpy(), atol=tolerance)


@pytest.mark.parametrize("leads", [1, 2])
def test_a_teacher_is_tried_with_the_inputs_of_a_monitor(tmp_path: Path, leads: int) -> None:
    tried: dict[str, np.ndarray] = {}

    class Watched(StreamingTeacher):
        def infer(self, inputs: Tensors) -> dict[str, np.ndarray]:
            tried.update(inputs)
            return super().infer(inputs)

    refuse_unusable(Watched(EcgMoe(TeacherConfig(leads=leads)), ("beat",)), tmp_path)
    shapes = {**SHAPES_WITH_CONTEXT, CONTEXT: (leads, CONTEXT_SAMPLES)}
    assert {name: x.shape for name, x in tried.items()} == {name: (1, *shape) for name, shape in shapes.items()}


def test_regressions_come_out_in_their_unit(tmp_path: Path) -> None:
    model = EcgMoe().eval()
    save_teacher(tmp_path / "teacher.safetensors", model, {"trained_tasks": "beat,rhythm,rr,age"})
    teacher = load_streaming_teacher(tmp_path / "teacher.safetensors")
    assert teacher.tasks == ("beat", "rhythm", "rr", "age")
    assert set(teacher.classes) == {"beat", "rhythm"}
    rng = np.random.default_rng(0)
    inputs = {name: rng.normal(size=(3, *shape)).astype(np.float32) for name, shape in SHAPES_WITH_CONTEXT.items()}
    with torch.inference_mode():
        raw = model(**{name: torch.from_numpy(x) for name, x in inputs.items()})
    answers = teacher.infer(inputs)
    age = task_named("age")
    np.testing.assert_allclose(answers["age"], raw["age"].numpy() * age.scale + age.offset, rtol=1e-5)
    np.testing.assert_allclose(answers["beat"], raw["beat"].numpy(), rtol=1e-4, atol=1e-5)
    assert "sex" not in answers
    assert "potassium" not in answers


def test_a_head_that_nothing_taught_is_left_out_where_the_file_does_not_say(tmp_path: Path) -> None:
    save_teacher(tmp_path / "teacher.safetensors", EcgMoe())
    assert "potassium" not in load_streaming_teacher(tmp_path / "teacher.safetensors").tasks


def test_a_teacher_without_beats_cannot_monitor() -> None:
    with pytest.raises(ModelError, match="beat"):
        StreamingTeacher(EcgMoe(), ("age",))


def test_a_float_student_runs_in_the_monitor(tmp_path: Path, simulated_ecg: Callable[..., Any]) -> None:
    save_student(tmp_path / "student.safetensors", Student(StudentConfig.named("nano")))
    student = load_streaming_student(tmp_path / "student.safetensors")
    events = Monitor(student, FS).push(simulated_ecg(20.0, fs=FS).signal[None])
    assert {event.label for event in events if hasattr(event, "label") and hasattr(event, "rr_ms")} <= set("NSVF?")
