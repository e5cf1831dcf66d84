from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

import ecgmoe_edge
from ecgmoe_edge.compress.merge import merge_student
from ecgmoe_edge.compress.qat import QatSettings, QatStudent, save_qat
from ecgmoe_edge.converters import export as module
from ecgmoe_edge.converters.accuracy import AccuracyResult
from ecgmoe_edge.converters.calibration import CalibrationBeats, shipped_beats
from ecgmoe_edge.converters.export import ExportRequest, export_model
from ecgmoe_edge.converters.file_contents import ModelSummary
from ecgmoe_edge.converters.parity import compare, torch_model
from ecgmoe_edge.converters.targets.onnx.target import OnnxTarget
from ecgmoe_edge.device_profiles import Profile, list_profiles, load_profile
from ecgmoe_edge.errors import BundleError, ConversionError, GateFailed, ModelError
from ecgmoe_edge.model.macs import count_macs
from ecgmoe_edge.model.student import Student, save_student
from ecgmoe_edge.runtime.bundle import load_bundle
from ecgmoe_edge.runtime.manifest import Gate, Metrics
from ecgmoe_edge.streaming.beat_model import ModelFunction

PRETRAINED = Path(ecgmoe_edge.__file__).parent / "pretrained"


@pytest.fixture
def weights(student: Student, tmp_path: Path) -> Path:
    path = tmp_path / "student.safetensors"
    save_student(path, student)
    return path


def changed(profile: Profile, **parts: Mapping[str, object]) -> Profile:
    return msgspec.structs.replace(
        profile, **{name: msgspec.structs.replace(getattr(profile, name), **values) for name, values in parts.items()}
    )


@pytest.fixture
def float_profile() -> Profile:
    precision = {"precision": "float32", "activations": "float32"}
    return changed(load_profile("generic-cpu"), precision=precision, model={"width": "nano"})


@pytest.fixture
def ready_made(float_onnx: ModelSummary, monkeypatch: pytest.MonkeyPatch) -> None:
    """Use the float file of the session instead of converting the same student again."""

    def copy(_: object, __: object, ___: object, path: Path) -> ModelSummary:
        path.write_bytes(float_onnx.path.read_bytes())
        return replace(float_onnx, path=path)

    monkeypatch.setattr(OnnxTarget, "convert", copy)


@pytest.mark.usefixtures("ready_made")
def test_a_float_bundle_runs_with_the_outputs_of_the_student(
    weights: Path, float_profile: Profile, student: Student, beats: CalibrationBeats, tmp_path: Path
) -> None:
    request = ExportRequest(weights, float_profile, calibration=beats, command="ecgmoe-edge export")
    exported = export_model(request, tmp_path / "bundle")
    bundle = load_bundle(exported.folder)
    assert compare(torch_model(student)(beats.inputs), bundle.infer(beats.inputs)).logit_difference < 1e-3
    assert bundle.manifest.model.experts == {"morphology": 3, "rhythm": 4}
    macs, counted = bundle.manifest.model.macs, count_macs(student.config)
    assert macs is not None
    assert macs.mean_macs == pytest.approx(counted.mean(bundle.infer(beats.inputs)), abs=0.1)
    assert (macs.max_macs, macs.dense_twin_macs) == (counted.most, count_macs(student.config.dense_twin()).most)
    assert (macs.data, macs.beats) == (beats.source, len(beats))
    status = {gate.name: gate.status for gate in bundle.manifest.gates}
    assert status["route agreement"] == status["label agreement"] == status["logit difference"] == "passed"
    assert status["experts in the file"] == "passed"
    assert status["V F1 lost"] == "not run"
    assert status["label delay, p95"] == "not run"  # these beats are random numbers, not beats of a recording
    card = (exported.folder / "MODEL_CARD.md").read_text()
    assert "Not a medical device" in card
    assert "Not measured" in card
    assert f"{macs.mean_macs:,.0f} in the mean" in card
    assert "## Split" in card
    assert "## Limits" in card
    assert "torch" in bundle.manifest.versions


@pytest.mark.usefixtures("ready_made")
def test_a_failed_gate_writes_no_bundle(
    weights: Path, float_profile: Profile, beats: CalibrationBeats, tmp_path: Path
) -> None:
    out = tmp_path / "bundle"
    strict = changed(float_profile, gates={"float_logit_difference": 1e-12})
    with pytest.raises(GateFailed, match="logit difference"):
        export_model(ExportRequest(weights, strict, calibration=beats), out)
    small = changed(float_profile, memory={"model_kib": 1})
    with pytest.raises(GateFailed, match="size"):
        export_model(ExportRequest(weights, small, calibration=beats), out)
    late = replace(beats, delays_ms=(500.0,) * len(beats))
    hasty = changed(float_profile, latency={"label_delay_ms_p95": 499.0})
    with pytest.raises(GateFailed, match="label delay, p95 is 500"):
        export_model(ExportRequest(weights, hasty, calibration=late), out)

    def worse(full: ModelFunction, exported: ModelFunction) -> AccuracyResult:
        agree = compare(full.infer(beats.inputs), exported.infer(beats.inputs)).label_agreement["beat"]
        gate = Gate.judge("V F1 lost", 1.0 + agree, 0.5, "at most", data="made up", unit="points")
        return AccuracyResult((gate,), Metrics("made up", {"V F1": 90.0}, {"V F1": 88.0}))

    with pytest.raises(GateFailed, match=r"V F1 lost is 2\.0"):
        export_model(ExportRequest(weights, float_profile, calibration=beats, accuracy=worse), out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["student.safetensors"]


def test_a_folder_that_is_not_empty_is_refused_before_any_work(
    weights: Path, float_profile: Profile, tmp_path: Path
) -> None:
    with pytest.raises(BundleError, match="not empty"):
        export_model(ExportRequest(weights, float_profile), tmp_path)


def test_a_profile_that_the_format_does_not_support_is_refused(
    weights: Path, float_profile: Profile, beats: CalibrationBeats, tmp_path: Path
) -> None:
    tflite = {"format": "tflite", "engine": "litert", "providers": (), "opset": None, "ir_version": None}
    with pytest.raises(ConversionError, match="TFLite files are written only in int8"):
        export_model(
            ExportRequest(weights, changed(float_profile, runtime=tflite), calibration=beats), tmp_path / "bundle"
        )
    old = changed(float_profile, runtime={"opset": 19, "ir_version": 8})
    with pytest.raises(ConversionError, match="Opset 19 needs ONNX IR version 9"):
        export_model(ExportRequest(weights, old, calibration=beats), tmp_path / "bundle")
    c_source = {"format": "c", "engine": "firmware", "providers": (), "opset": None, "ir_version": None}
    firmware = changed(load_profile("generic-cpu"), runtime=c_source)
    with pytest.raises(ConversionError, match="writes no c files; it writes onnx, tflite"):
        export_model(ExportRequest(weights, firmware, calibration=beats), tmp_path / "bundle")
    host = changed(float_profile, model={"dispatch": "host"})
    with pytest.raises(ConversionError, match="dispatch = 'if'"):
        export_model(ExportRequest(weights, host, calibration=beats), tmp_path / "bundle")
    with pytest.raises(ModelError, match="not age"):
        export_model(ExportRequest(weights, float_profile, ("age",), calibration=beats), tmp_path / "bundle")


def test_int8_ranges_come_from_quantization_aware_training_if_it_fits_the_profile(
    student: Student, beats: CalibrationBeats, tmp_path: Path
) -> None:
    qat = QatStudent(student, QatSettings())
    qat.calibrate(beats.batches())
    path = tmp_path / "qat.safetensors"
    save_qat(path, qat)
    profile = changed(load_profile("generic-cpu"), model={"width": "nano"})
    for tasks, symmetric, expected in (
        (None, False, "quantization-aware training."),
        (("beat",), True, "other tasks or another kind of zero point"),
    ):
        kind = {"symmetric_activations": symmetric, "activations": "int8" if symmetric else "uint8"}
        request = ExportRequest(path, changed(profile, precision=kind), tasks, calibration=beats)
        config, full, quantized, notes = module._load(request)
        model, notes = module._reference_model(request, config, full, quantized, beats, notes)
        assert expected in notes[-1]
        outputs = torch_model(model)(beats.inputs)
        assert list(outputs) == [*(tasks or student.tasks), "route_morphology", "route_rhythm"]
        whole = torch_model(merge_student(student))(beats.inputs)
        assert np.abs(whole["beat"] - torch_model(full)(beats.inputs)["beat"]).max() < 1e-3


def test_a_student_without_experts_to_choose_from_is_refused(
    student: Student, float_profile: Profile, beats: CalibrationBeats, tmp_path: Path
) -> None:
    path = tmp_path / "dense.safetensors"
    save_student(path, Student(student.config.dense_twin()))
    with pytest.raises(ConversionError, match="only one morphology expert"):
        export_model(ExportRequest(path, float_profile, calibration=beats), tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", list_profiles())
def test_every_profile_exports_a_bundle_that_runs(name: str, tmp_path: Path) -> None:
    profile, beats = load_profile(name), shipped_beats()
    suffix = "-symmetric" if profile.precision.symmetric_activations else ""
    weights = PRETRAINED / f"student-{profile.model.width}-qat{suffix}.safetensors"
    exported = export_model(ExportRequest(weights, profile, calibration=beats), tmp_path / "bundle")
    outputs = load_bundle(exported.folder).infer(beats.inputs)
    assert set(outputs) == {*profile.model.tasks, "route_morphology", "route_rhythm"}
