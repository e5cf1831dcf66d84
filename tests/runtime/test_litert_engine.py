from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert", reason="LiteRT is not installed")
from tiny_onnx import random_inputs
from tiny_tflite import SCALE, expected, host_model, if_model

from ecgmoe_edge.contract import SHAPES
from ecgmoe_edge.errors import BundleError, MissingExtra, SignalError
from ecgmoe_edge.runtime.litert_engine import Kernels, LiteRtEngine
from ecgmoe_edge.runtime.manifest import TensorSpec
from ecgmoe_edge.runtime.quantized_tensors import Reader, Writer

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("kernels", ["xnnpack", "builtin", "reference"])
@pytest.mark.parametrize("dispatch", ["if", "host"])
def test_an_integer_model_gives_the_real_numbers_of_its_weights(dispatch: str, kernels: Kernels) -> None:
    engine = LiteRtEngine(if_model() if dispatch == "if" else host_model(), kernels=kernels)
    inputs = random_inputs(40)
    got, want = engine.run(inputs), expected(inputs)
    assert engine.describe()["dispatch"] == ("in the file" if dispatch == "if" else "host")
    sure = np.abs(np.diff(want["route_morphology"])) > 0.1  # a route on the fence may fall either way
    sure &= np.abs(np.diff(want["route_rhythm"])) > 0.1
    rows = np.flatnonzero(sure)
    assert len(rows) > 25
    for name, value in got.items():
        assert value.dtype == np.float32
        step = SCALE["route"] if name.startswith("route_") else SCALE["logit"]
        assert np.abs(value - want[name])[rows].max() < 2.0 * step, name
    routes = {(m.argmax(), r.argmax()) for m, r in zip(got["route_morphology"], got["route_rhythm"], strict=True)}
    assert len(routes) == 4, "the data must send beats through every expert"


def test_host_dispatch_and_dispatch_in_the_file_agree_to_the_bit() -> None:
    inputs = random_inputs(30, seed=3)
    inside = LiteRtEngine(if_model(), kernels="reference").run(inputs)
    host = LiteRtEngine(host_model(), kernels="reference").run(inputs)
    for name, value in inside.items():
        assert np.array_equal(value, host[name]), name


def test_the_specs_tell_how_the_tensors_are_stored() -> None:
    engine = LiteRtEngine(if_model())
    beat = engine.inputs[0]
    assert (beat.name, beat.shape, beat.dtype, beat.zero_point) == ("beat", (1, *SHAPES["beat"]), "int8", 0)
    assert beat.scale == pytest.approx(SCALE["beat"], rel=1e-6)
    LiteRtEngine(if_model(), inputs=engine.inputs, outputs=engine.outputs)
    wrong = TensorSpec("beat", (1, *SHAPES["beat"]), "int8", 0.01, 0)
    with pytest.raises(BundleError, match="disagree on the input beat: int8"):
        LiteRtEngine(if_model(), inputs=(wrong, *engine.inputs[1:]))


def test_values_beyond_the_range_are_held_at_its_ends() -> None:
    writer = Writer(TensorSpec("x", (1, 5), "int8", 0.5, 3))
    stored = writer.store(np.array([[-1e9, -1.0, 0.24, 0.26, 1e9]], np.float32))
    assert stored.tolist() == [[-128, 1, 3, 4, 127]]
    back = Reader(TensorSpec("x", (1, 5), "int8", 0.5, 3)).real(stored)
    assert back.tolist() == [[-65.5, -1.0, 0.0, 0.5, 62.0]]


def test_pieces_that_are_missing_or_do_not_fit_are_refused() -> None:
    with pytest.raises(BundleError, match="lacks the experts rhythm_1"):
        LiteRtEngine(host_model(leave_out="rhythm_1"))
    with pytest.raises(BundleError, match="lacks tail"):
        LiteRtEngine(host_model(leave_out="tail"))
    with pytest.raises(BundleError, match="y_morphology is computed as int8"):
        LiteRtEngine(host_model(expert_scale=0.07))


@pytest.mark.parametrize("content", [b"", b"not a model" * 20, if_model()[:300]])
def test_a_file_that_is_no_model_is_refused(content: bytes) -> None:
    with pytest.raises(BundleError, match="cannot load the model"):
        LiteRtEngine(content)


def test_inputs_that_do_not_fit_are_refused() -> None:
    with pytest.raises(SignalError, match="features was not given"):
        LiteRtEngine(if_model()).run({"beat": random_inputs(1)["beat"]})


def environment_of(folder: Path, packages: tuple[str, ...]) -> dict[str, str]:
    """Variables for a Python that finds this package, `packages` and nothing else."""
    for name in packages:
        home = Path(import_module(name).__path__[0])
        (folder / name).symlink_to(home)
        for libraries in home.parent.glob(f"{name}.libs"):
            (folder / libraries.name).symlink_to(libraries)
    return {"PATH": os.environ["PATH"], "PYTHONPATH": f"{folder}:{ROOT}"}


def test_where_no_runtime_is_installed_the_extra_is_named(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path\n"
        "from ecgmoe_edge.errors import MissingExtra\n"
        "from ecgmoe_edge.runtime.litert_engine import LiteRtEngine\n"
        "from ecgmoe_edge.runtime.onnx_engine import OnnxEngine\n"
        "for engine in (LiteRtEngine, OnnxEngine):\n"
        "    try:\n"
        "        engine(b'')\n"
        "    except MissingExtra as error:\n"
        "        print(error)\n"
    )
    env = environment_of(tmp_path, ("numpy", "scipy", "msgspec"))
    done = subprocess.run([sys.executable, "-S", "-c", code], env=env, capture_output=True, text=True, check=True)
    first, second = done.stdout.splitlines()
    assert "ecgmoe-edge[tflite]" in first
    assert "ecgmoe-edge[onnx]" in second


@pytest.mark.skipif(np.__version__.startswith("1."), reason="tflite-runtime works with this numpy")
def test_a_tflite_runtime_that_numpy_is_too_new_for_counts_as_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tflite_runtime-2.14.0.dist-info").mkdir()
    metadata = "Metadata-Version: 2.1\nName: tflite-runtime\nVersion: 2.14.0\n"
    (tmp_path / "tflite_runtime-2.14.0.dist-info" / "METADATA").write_text(metadata)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingExtra, match=r"numpy below 2 and finds .*\[tflite\]"):
        LiteRtEngine(if_model(), runtime="tflite-runtime")


RUN_IN_TFLITE_RUNTIME = """
import json, sys
from pathlib import Path
import numpy as np
from ecgmoe_edge.runtime.litert_engine import LiteRtEngine

with np.load(sys.argv[1]) as held:
    inputs = {name: held[name] for name in held.files}
engine = LiteRtEngine(Path(sys.argv[2]))
outputs = engine.run(inputs)
print(json.dumps({"engine": engine.describe(), "outputs": {k: v.tolist() for k, v in outputs.items()}}))
"""


@pytest.fixture(scope="module")
def tflite_runtime_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment that has tflite-runtime and no LiteRT."""
    python = next((found for v in ("3.10", "3.11") if (found := _works(f"python{v}"))), None)
    if python is None:
        pytest.skip("tflite-runtime has wheels for Python 3.11 and older only")
    home = tmp_path_factory.mktemp("tflite-runtime")
    subprocess.run([python, "-m", "venv", home], check=True)
    wanted = ["numpy<2", "scipy", "msgspec", "tflite-runtime==2.14.0"]
    subprocess.run([home / "bin" / "pip", "install", "-q", *wanted], check=True)
    return home / "bin" / "python"


def _works(name: str) -> str | None:
    found = shutil.which(name)
    if found is None:
        return None
    return found if subprocess.run([found, "-c", ""], capture_output=True, check=False).returncode == 0 else None


def in_tflite_runtime(python: Path, content: bytes, inputs: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """What the engine says there: how it describes itself, and its outputs."""
    (folder / "model.tflite").write_bytes(content)
    np.savez(folder / "inputs.npz", **inputs)
    command = [str(python), "-c", RUN_IN_TFLITE_RUNTIME, str(folder / "inputs.npz"), str(folder / "model.tflite")]
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    described: dict[str, Any] = json.loads(done.stdout)
    assert described["engine"]["runtime"] == "tflite-runtime"
    assert described["engine"]["version"] == "2.14.0"
    return described


@pytest.mark.slow
@pytest.mark.parametrize("dispatch", ["if", "host"])
def test_tflite_runtime_takes_over_where_litert_is_not_installed(
    dispatch: str, tflite_runtime_python: Path, tmp_path: Path
) -> None:
    content = if_model() if dispatch == "if" else host_model()
    inputs = random_inputs(20)
    described = in_tflite_runtime(tflite_runtime_python, content, inputs, tmp_path)
    here = LiteRtEngine(content).run(inputs)
    for name, value in here.items():
        step = SCALE["route"] if name.startswith("route_") else SCALE["logit"]
        assert np.abs(np.array(described["outputs"][name]) - value).max() <= 1.01 * step, name


@pytest.mark.slow
def test_one_file_of_the_shipped_nano_student_runs_unchanged_on_all_three_runtimes(
    tflite_runtime_python: Path, tmp_path: Path
) -> None:
    pytest.importorskip("litert_torch", reason="the converter is not installed")
    pytest.importorskip("tflite_micro", reason="tflite-micro has no wheel for this machine")
    from importlib import resources

    from ecgmoe_edge.compress.qat import load_qat
    from ecgmoe_edge.converters.calibration import shipped_beats
    from ecgmoe_edge.converters.parity import compare, torch_model
    from ecgmoe_edge.converters.targets.tflite.microcontroller import MicroEngine
    from ecgmoe_edge.converters.targets.tflite.static import export_tflite

    weights = Path(str(resources.files("ecgmoe_edge"))) / "pretrained" / "student-nano-qat.safetensors"
    student = load_qat(weights).convert()
    path = tmp_path / "nano.tflite"
    assert export_tflite(student, path).operators["IF"] >= 2
    content, inputs = path.read_bytes(), shipped_beats().inputs
    expected = torch_model(student)(inputs)
    engine = LiteRtEngine(content)
    old = in_tflite_runtime(tflite_runtime_python, content, inputs, tmp_path)["outputs"]
    answers = {
        "ai-edge-litert": engine.run(inputs),
        "tflite-runtime": {name: np.array(value, np.float32) for name, value in old.items()},
        "tflite-micro": MicroEngine(content, engine.inputs, engine.outputs).run(inputs),
    }
    for name, outputs in answers.items():
        report = compare(expected, outputs)
        assert report.route_agreement >= 0.995, name
        assert min(report.label_agreement.values()) >= 0.998, name
        assert report.logit_difference < 0.3, name
