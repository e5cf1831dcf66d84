"""A TFLite file that would end the process inside LiteRT is refused in a sentence, and every exported one is not."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert", reason="LiteRT is not installed")
import flatbuffers
from ai_edge_litert import schema_py_generated as schema
from tiny_tflite import host_model, if_model

from ecgmoe_edge.errors import BundleError
from ecgmoe_edge.runtime.tflite_file import check_tflite_file

sys.path.insert(0, str(Path(__file__).parents[2]))
from benchmarks import fuzz_files

ROOT = Path(__file__).parents[2]
Change = Callable[[Any], object]


def changed(change: Change) -> bytes:
    """The file with `IF`, with a change to its object tree."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(bytearray(if_model()), 0))
    change(model)
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def named(model: Any, name: str, graph: int = 0) -> Any:
    return next(tensor for tensor in model.subgraphs[graph].tensors if tensor.name == name.encode())


def operator(model: Any, code: int) -> Any:
    """The first operator of the main subgraph with that code."""
    index = next(i for i, known in enumerate(model.operatorCodes) if known.builtinCode == code)
    return next(each for each in model.subgraphs[0].operators if each.opcodeIndex == index)


def test_a_file_of_either_dispatch_is_accepted() -> None:
    for content in (if_model(), host_model(), changed(lambda model: None)):
        check_tflite_file(content)


@pytest.mark.parametrize("number", [1845, 3912])
def test_damage_that_ended_the_process_is_found(number: int) -> None:
    rng = random.Random(f"tflite 3 {number}")
    rng.choice(("model.tflite",))
    with pytest.raises(BundleError, match="not a TFLite file of a student"):
        check_tflite_file(fuzz_files.damaged(if_model(), rng))


def _loops(model: Any) -> None:
    operator(model, schema.BuiltinOperator.IF).builtinOptions.thenSubgraphIndex = 0


def _shared_branches(model: Any) -> None:
    first, second = (each for each in model.subgraphs[0].operators if each.builtinOptionsType == 92)
    first.builtinOptions.elseSubgraphIndex = first.builtinOptions.thenSubgraphIndex
    assert second is not first


def _reordered(model: Any) -> None:
    model.subgraphs[0].operators.reverse()


def _external(model: Any) -> None:
    model.buffers[-1].offset, model.buffers[-1].size = 1 << 20, 16


def _custom(model: Any) -> None:
    vars(model.operatorCodes[0]).update(builtinCode=32, customCode=b"mine")


def _shape_tensor(model: Any, numbers: list[int]) -> None:
    tensor = named(model, "shape_z_morphology")
    model.buffers[tensor.buffer].data = np.frombuffer(np.array(numbers, np.int32).tobytes(), np.uint8)


def _axis(model: Any, axis: int) -> None:
    tensor = named(model, "axis_morphology")
    model.buffers[tensor.buffer].data = np.frombuffer(np.array(axis, np.int32).tobytes(), np.uint8)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: setattr(m, "version", 2), "version"),
        (lambda m: setattr(named(m, "beat"), "buffer", 10**6), "no buffer"),
        (lambda m: setattr(named(m, "beat"), "shape", np.array([1, 1 << 20, 1 << 20], np.int32)), "impossible shape"),
        (lambda m: setattr(named(m, "beat"), "shape", np.array([1, 0, 82], np.int32)), "impossible shape"),
        (lambda m: setattr(named(m, "beat"), "shape", np.array([1, -2, 82], np.int32)), "impossible shape"),
        (lambda m: setattr(named(m, "beat"), "type", schema.TensorType.STRING), "type 5"),
        (lambda m: setattr(named(m, "beat"), "isVariable", True), "variable"),
        (lambda m: setattr(named(m, "w_gate_beat"), "shape", np.array([4, 28], np.int32)), "bytes"),
        (lambda m: setattr(named(m, "y_morphology").quantization, "scale", [0.0]), "scale"),
        (lambda m: setattr(named(m, "y_morphology").quantization, "scale", [float("nan")]), "scale"),
        (lambda m: setattr(named(m, "y_morphology").quantization, "scale", [0.1, 0.1, 0.1]), "3 scales"),
        (lambda m: setattr(named(m, "y_morphology").quantization, "zeroPoint", [400]), "zero point"),
        (lambda m: setattr(named(m, "y_morphology").quantization, "zeroPoint", []), "zero points"),
        (lambda m: setattr(named(m, "y_morphology"), "quantization", None), "do not fit"),
        (lambda m: setattr(operator(m, 9), "inputs", np.array([4000, 0, -1], np.int32)), "input that was not computed"),
        (lambda m: setattr(operator(m, 9), "outputs", np.array([-7], np.int32)), "absent"),
        (lambda m: setattr(operator(m, 9), "opcodeIndex", 99), "no code"),
        (lambda m: setattr(operator(m, 9), "builtinOptionsType", 1), "options of another operator"),
        (lambda m: setattr(operator(m, 9).builtinOptions, "weightsFormat", 1), "FULLY_CONNECTED do not fit"),
        (lambda m: setattr(operator(m, 0).builtinOptions, "fusedActivationFunction", 60), "ADD do not fit"),
        (lambda m: setattr(operator(m, 118).builtinOptions, "elseSubgraphIndex", 77), "absent, or runs without end"),
        (_loops, "runs without end"),
        (_shared_branches, "the same subgraph"),
        (_reordered, "input that was not computed"),
        (_external, "after the end of the flatbuffer"),
        (_custom, "no export writes"),
        (lambda m: _shape_tensor(m, [1, 207]), "RESHAPE do not fit"),
        (lambda m: _shape_tensor(m, [-1, -1]), "RESHAPE do not fit"),
        (lambda m: _axis(m, 7), "ARG_MAX do not fit"),
        (lambda m: _axis(m, -(1 << 31)), "ARG_MAX do not fit"),
        (lambda m: setattr(m.signatureDefs[0], "subgraphIndex", 9), "no subgraph"),
        (lambda m: setattr(m.signatureDefs[0].inputs[0], "tensorIndex", 999), "names a tensor"),
        (lambda m: setattr(m.signatureDefs[0].inputs[0], "name", b"\xff"), "not UTF-8 text"),
        (lambda m: setattr(m.subgraphs[0], "inputs", np.array([0, 0, 2], np.int32)), "computed twice"),
        (lambda m: m.subgraphs[1].tensors[0].shape.__setitem__(1, 205), "do not fit|other inputs"),
        (lambda m: setattr(m, "subgraphs", []), "0 subgraphs"),
    ],
)
def test_what_is_well_formed_and_no_student_is_refused(change: Change, message: str) -> None:
    with pytest.raises(BundleError, match=f"not a TFLite file of a student: .*({message})"):
        check_tflite_file(changed(change))


def test_a_file_of_many_names_for_the_same_table_is_not_read_for_long() -> None:
    """A list of tables may name one table a million times, and lists may be nested: 40 kB would be read for hours."""
    content = bytearray(if_model())
    model = schema.Model.GetRootAs(content, 0)
    graphs = model._tab.Vector(model._tab.Offset(8))
    for place in range(4):
        at = graphs + 4 * place
        target = graphs + int.from_bytes(content[graphs : graphs + 4], "little")
        content[at : at + 4] = (target - at).to_bytes(4, "little")
    with pytest.raises(BundleError):
        check_tflite_file(bytes(content))


def test_the_check_needs_numpy_alone() -> None:
    code = (
        "import sys; sys.modules.update(dict.fromkeys(('flatbuffers', 'ai_edge_litert', 'tensorflow')))\n"
        "from pathlib import Path\n"
        "from ecgmoe_edge.runtime.tflite_file import check_tflite_file\n"
        "check_tflite_file(sys.stdin.buffer.read())\n"
    )
    subprocess.run([sys.executable, "-c", code], input=if_model(), cwd=ROOT, check=True, timeout=60)
