"""A small ONNX mixture of experts made by hand, with `If` inside, and what it computes written in numpy."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from ecgmoe_edge.contract import SHAPES

F32 = NDArray[np.float32]
EXPERTS = 2


def weights() -> dict[str, F32]:
    rng = np.random.default_rng(1)
    size = math.prod(SHAPES["beat"])
    shapes = {"route_m": (27, 2), "route_r": (27, 2), "skip": (27, 4)}
    shapes |= {f"m{k}": (size, 4) for k in range(EXPERTS)} | {f"r{k}": (64, 4) for k in range(EXPERTS)}
    return {name: (0.2 * rng.standard_normal(shape)).astype(np.float32) for name, shape in shapes.items()}


def onnx_model(batch: int | str = 1) -> bytes:
    """The model as a file; the `If` picks one expert a path, so it takes one beat at a time."""
    nodes = [
        helper.make_node("Reshape", ["beat", "flat"], ["z_m"]),
        helper.make_node("Reshape", ["rr_sequence", "flat"], ["z_r"]),
        helper.make_node("MatMul", ["features", "route_m"], ["route_morphology"]),
        helper.make_node("MatMul", ["features", "route_r"], ["route_rhythm"]),
        helper.make_node("MatMul", ["features", "skip"], ["skipped"]),
        *_dispatch("m", "route_morphology"),
        *_dispatch("r", "route_rhythm"),
        helper.make_node("Add", ["y_m", "skipped"], ["beat_logits"]),
        helper.make_node("Identity", ["y_r"], ["rhythm_logits"]),
    ]
    constants = [numpy_helper.from_array(array, name) for name, array in weights().items()]
    constants += [
        numpy_helper.from_array(np.array([1, -1], np.int64), "flat"),
        numpy_helper.from_array(np.array([0], np.int64), "zero"),
    ]
    sizes_out = {"beat_logits": 4, "rhythm_logits": 4, "route_morphology": 2, "route_rhythm": 2}
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, [batch, *s]) for n, s in SHAPES.items()],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, [batch, s]) for n, s in sizes_out.items()],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return bytes(model.SerializeToString())


def _dispatch(path: str, route: str) -> list[NodeProto]:
    branches = [
        helper.make_graph(
            [helper.make_node("MatMul", [f"z_{path}", f"{path}{k}"], [f"y_{path}{k}"])],
            f"{path}{k}",
            [],
            [helper.make_tensor_value_info(f"y_{path}{k}", TensorProto.FLOAT, [1, 4])],
        )
        for k in range(EXPERTS)
    ]
    return [
        helper.make_node("ArgMax", [route], [f"index_{path}"], axis=1, keepdims=0),
        helper.make_node("Equal", [f"index_{path}", "zero"], [f"first_{path}"]),
        helper.make_node("If", [f"first_{path}"], [f"y_{path}"], then_branch=branches[0], else_branch=branches[1]),
    ]


def expected(inputs: dict[str, F32]) -> dict[str, F32]:
    """What the model gives for a batch, in numpy."""
    w, rows = weights(), len(inputs["beat"])
    z_m, z_r, features = inputs["beat"].reshape(rows, -1), inputs["rr_sequence"].reshape(rows, -1), inputs["features"]
    route_m, route_r = features @ w["route_m"], features @ w["route_r"]
    y_m = np.stack([z_m[i] @ w[f"m{route_m[i].argmax()}"] for i in range(rows)])
    y_r = np.stack([z_r[i] @ w[f"r{route_r[i].argmax()}"] for i in range(rows)])
    return {
        "beat": y_m + features @ w["skip"],
        "rhythm": y_r,
        "route_morphology": route_m,
        "route_rhythm": route_r,
    }


def random_inputs(rows: int, seed: int = 0) -> dict[str, F32]:
    rng = np.random.default_rng(seed)
    return {name: rng.uniform(-1.4, 1.4, (rows, *shape)).astype(np.float32) for name, shape in SHAPES.items()}
