from __future__ import annotations

from importlib import resources
from pathlib import Path

import pytest

from ecgmoe_edge.device_profiles import list_profiles, load_profile
from ecgmoe_edge.errors import ProfileError


def shipped_text(name: str) -> str:
    return (Path(str(resources.files("ecgmoe_edge.device_profiles"))) / f"{name}.toml").read_text()


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text)
    return path


def test_four_boards_have_a_profile() -> None:
    assert set(list_profiles()) >= {"cortex-m4", "generic-cpu", "jetson", "raspberry-pi"}


@pytest.mark.parametrize("name", list_profiles())
def test_a_shipped_profile_has_the_name_of_its_file_and_the_limits_of_the_product(name: str) -> None:
    profile = load_profile(name)
    assert profile.name == name
    assert "beat" in profile.model.tasks
    assert profile.latency.label_delay_ms_p95 <= 600.0
    assert profile.gates.accuracy_drop_points <= (0.5 if name == "generic-cpu" else 1.5)
    assert profile.gates.label_agreement >= (0.98 if profile.precision.symmetric_activations else 0.99)
    if profile.runtime.format == "onnx":
        assert profile.runtime.ir_version is not None
        assert profile.runtime.ir_version <= 10


def test_activations_have_the_integer_type_of_the_fast_kernels() -> None:
    assert load_profile("generic-cpu").precision.activations == "uint8"
    assert load_profile("raspberry-pi").precision.activations == "int8"
    assert load_profile("jetson").precision.symmetric_activations


def test_a_microcontroller_gets_the_nano_student_with_the_beat_task_as_tflite() -> None:
    profile = load_profile("cortex-m4")
    assert profile.model.tasks == ("beat",)
    assert profile.model.width == "nano"
    assert profile.runtime.format == "tflite"
    assert profile.board.flash_kib is not None
    assert profile.memory.model_kib < profile.board.flash_kib


def test_a_user_s_own_profile_is_read_by_its_path(tmp_path: Path) -> None:
    text = shipped_text("raspberry-pi").replace('name = "raspberry-pi"', 'name = "mine"').replace("10.0", "20.0")
    profile = load_profile(written(tmp_path, text))
    assert profile.name == "mine"
    assert profile.latency.inference_ms_p95 == 20.0


def test_an_unknown_name_lists_the_shipped_profiles() -> None:
    with pytest.raises(ProfileError, match=r"no profile 'jetsonn'.*generic-cpu, jetson, raspberry-pi"):
        load_profile("jetsonn")


def test_a_missing_file_is_refused_by_its_path(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match=r"absent\.toml cannot be read"):
        load_profile(tmp_path / "absent.toml")


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("label_agreement = 0.99", "label_agreemnt = 0.99", "label_agreemnt"),
        ("label_agreement = 0.99", "label_agreement = 99.0", "<= 1"),
        ("opset = 18 ", "opset = 21 ", "<= 20"),
        ('width = "small"', 'width = "huge"', "huge"),
        ('engine = "onnxruntime"', 'engine = "litert"', "litert does not run onnx"),
        ('providers = ["CPUExecutionProvider"]', "providers = []", "onnx needs providers"),
        ("symmetric_activations = false", "symmetric_activations = true", "zero point 0"),
        ('tasks = ["beat", "rhythm"]', 'tasks = ["rhythm"]', "must include beat"),
        ("schema = 1", "schema = 2", "schema 2 is unknown"),
        ("[gates]", "[gates", "is not valid"),
        ('cpu = "x86-64 or aarch64"', 'cpu = "x"\nunverified = ["clock"]', "does not have: clock"),
    ],
)
def test_an_invalid_profile_is_refused_with_the_reason(tmp_path: Path, before: str, after: str, message: str) -> None:
    text = shipped_text("generic-cpu")
    assert before in text
    with pytest.raises(ProfileError, match=message):
        load_profile(written(tmp_path, text.replace(before, after)))
