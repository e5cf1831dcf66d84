"""Small int8 TFLite files made by hand: one with `IF` inside, one in pieces for host dispatch, of the same
weights.
"""

from __future__ import annotations

import math
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from ecgmoe_edge.contract import SHAPES

F32 = NDArray[np.float32]
EXPERTS = 2
BEAT_SIZE = math.prod(SHAPES["beat"])
SCALE = {"beat": 6 / 127, "features": 4 / 127, "rr_sequence": 1.5 / 127, "route": 0.05, "y": 0.05, "logit": 0.1}
_INT8, _INT32, _BOOL = schema.TensorType.INT8, schema.TensorType.INT32, schema.TensorType.BOOL
_OPS = schema.BuiltinOperator
_OPTIONS = schema.BuiltinOptions


def weights() -> dict[str, F32]:
    """Weights that int8 holds exactly: (outputs, inputs), whole steps of 1/127 of each matrix's own scale."""
    rng = np.random.default_rng(2)
    shapes = {"route_m": (2, 27), "route_r": (2, 27), "gate": (4, 27), "tail_m": (4, 4), "tail_r": (4, 4)}
    shapes |= {f"m{k}": (4, BEAT_SIZE) for k in range(EXPERTS)} | {f"r{k}": (4, 64) for k in range(EXPERTS)}
    return {name: (rng.integers(-127, 128, shape) * 0.002).astype(np.float32) for name, shape in shapes.items()}


def expected(inputs: dict[str, F32]) -> dict[str, F32]:
    """What the files compute, without the rounding of int8."""
    w, rows = weights(), len(inputs["beat"])
    z_m, z_r, features = inputs["beat"].reshape(rows, -1), inputs["rr_sequence"].reshape(rows, -1), inputs["features"]
    route_m, route_r = features @ w["route_m"].T, features @ w["route_r"].T
    y_m = np.stack([w[f"m{route_m[i].argmax()}"] @ z_m[i] for i in range(rows)])
    y_r = np.stack([w[f"r{route_r[i].argmax()}"] @ z_r[i] for i in range(rows)])
    return {
        "beat": y_m @ w["tail_m"].T + features @ w["gate"].T,
        "rhythm": y_r @ w["tail_r"].T,
        "route_morphology": route_m,
        "route_rhythm": route_r,
    }


class _Graph:
    """One subgraph, tensor by tensor and operator by operator."""

    def __init__(self, model: _Model, name: str) -> None:
        self.model = model
        self.named: dict[str, int] = {}
        self.graph = schema.SubGraphT()
        self.graph.name, self.graph.tensors, self.graph.operators = name.encode(), [], []

    def tensor(
        self, name: str, shape: tuple[int, ...], kind: int = _INT8, scale: float = 0, data: NDArray[Any] | None = None
    ) -> int:
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type = name.encode(), np.array(shape, np.int32), kind
        tensor.buffer = self.model.buffer(data)
        if scale:
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale, tensor.quantization.zeroPoint = [scale], [0]
        self.graph.tensors.append(tensor)
        self.named[name] = index = len(self.graph.tensors) - 1
        return index

    def op(self, code: int, version: int, ins: list[int], outs: list[int], kind: int = 0, options: Any = None) -> None:
        operator = schema.OperatorT()
        operator.opcodeIndex = self.model.opcode(code, version)
        operator.inputs, operator.outputs = np.array(ins, np.int32), np.array(outs, np.int32)
        operator.builtinOptionsType, operator.builtinOptions = kind, options
        self.graph.operators.append(operator)

    def dense(self, source: int, weight: str, name: str, scale: float) -> int:
        matrix = weights()[weight]
        w = self.tensor(f"w_{name}", matrix.shape, _INT8, 0.002, np.rint(matrix / 0.002).astype(np.int8))
        out = self.tensor(name, (1, matrix.shape[0]), scale=scale)
        options = schema.FullyConnectedOptionsT()
        self.op(_OPS.FULLY_CONNECTED, 4, [source, w, -1], [out], _OPTIONS.FullyConnectedOptions, options)
        return out

    def flatten(self, source: int, name: str, size: int, scale: float) -> int:
        to = self.tensor(f"shape_{name}", (2,), _INT32, data=np.array([1, size], np.int32))
        out = self.tensor(name, (1, size), scale=scale)
        self.op(_OPS.RESHAPE, 1, [source, to], [out], _OPTIONS.ReshapeOptions, schema.ReshapeOptionsT())
        return out

    def trunk(self) -> None:
        beat = self.tensor("beat", (1, *SHAPES["beat"]), scale=SCALE["beat"])
        features = self.tensor("features", (1, 27), scale=SCALE["features"])
        rr = self.tensor("rr_sequence", (1, 2, 32), scale=SCALE["rr_sequence"])
        self.graph.inputs = np.array([beat, features, rr], np.int32)
        self.flatten(beat, "z_morphology", BEAT_SIZE, SCALE["beat"])
        self.flatten(rr, "z_rhythm", 64, SCALE["rr_sequence"])
        self.dense(features, "route_m", "route_morphology", SCALE["route"])
        self.dense(features, "route_r", "route_rhythm", SCALE["route"])
        self.dense(features, "gate", "gate_beat", SCALE["logit"])

    def tail(self, y_m: int, y_r: int, gate: int) -> list[int]:
        own = self.dense(y_m, "tail_m", "own_beat", SCALE["logit"])
        out = self.tensor("beat_logits", (1, 4), scale=SCALE["logit"])
        self.op(_OPS.ADD, 2, [own, gate], [out], _OPTIONS.AddOptions, schema.AddOptionsT())
        return [out, self.dense(y_r, "tail_r", "rhythm_logits", SCALE["logit"])]

    def outputs(self, tensors: list[int]) -> None:
        self.graph.outputs = np.array(tensors, np.int32)


class _Model:
    def __init__(self) -> None:
        self.model = schema.ModelT()
        self.model.version, self.model.description = 3, b"tiny"
        self.model.buffers, self.model.operatorCodes, self.model.subgraphs = [], [], []
        self.model.signatureDefs = []
        self.buffer(None)

    def buffer(self, data: NDArray[Any] | None) -> int:
        buffer = schema.BufferT()
        buffer.data = None if data is None else np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
        self.model.buffers.append(buffer)
        return len(self.model.buffers) - 1

    def opcode(self, code: int, version: int) -> int:
        for index, known in enumerate(self.model.operatorCodes):
            if known.builtinCode == code:
                return index
        new = schema.OperatorCodeT()
        new.builtinCode, new.deprecatedBuiltinCode, new.version = code, min(code, 127), version
        self.model.operatorCodes.append(new)
        return len(self.model.operatorCodes) - 1

    def add(self, graph: _Graph) -> int:
        self.model.subgraphs.append(graph.graph)
        return len(self.model.subgraphs) - 1

    def signature(self, key: str, index: int, ins: dict[str, int], outs: dict[str, int]) -> None:
        definition = schema.SignatureDefT()
        definition.signatureKey, definition.subgraphIndex = key.encode(), index
        definition.inputs, definition.outputs = _maps(ins), _maps(outs)
        self.model.signatureDefs.append(definition)

    def packed(self) -> bytes:
        builder = flatbuffers.Builder(1 << 16)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def _maps(names: dict[str, int]) -> list[Any]:
    maps = []
    for name, index in names.items():
        entry = schema.TensorMapT()
        entry.name, entry.tensorIndex = name.encode(), index
        maps.append(entry)
    return maps


def _expert(model: _Model, path: str, k: int) -> _Graph:
    graph = _Graph(model, f"{path}_{k}")
    size, scale = (BEAT_SIZE, SCALE["beat"]) if path == "morphology" else (64, SCALE["rr_sequence"])
    ins = [graph.tensor("z", (1, size), scale=scale)]
    graph.graph.inputs = np.array(ins, np.int32)
    graph.outputs([graph.dense(ins[0], f"{path[0]}{k}", "y", SCALE["y"])])
    return graph


def host_model(*, leave_out: str = "", expert_scale: float = 0.0) -> bytes:
    """The file in pieces. `leave_out` drops a signature; `expert_scale` gives expert morphology_1 another
    output scale.
    """
    model = _Model()
    trunk = _Graph(model, "trunk")
    trunk.trunk()
    gives = ["z_morphology", "z_rhythm", "route_morphology", "route_rhythm", "gate_beat"]
    trunk.outputs([trunk.named[name] for name in gives])
    takes = {name: trunk.named[name] for name in ("beat", "features", "rr_sequence")}
    pieces = [("trunk", trunk, takes, {name: trunk.named[name] for name in gives})]
    for path in ("morphology", "rhythm"):
        for k in range(EXPERTS):
            expert = _expert(model, path, k)
            if expert_scale and (path, k) == ("morphology", 1):
                expert.graph.tensors[expert.named["y"]].quantization.scale = [expert_scale]
            pieces.append((f"{path}_{k}", expert, {"z": expert.named["z"]}, {"y": expert.named["y"]}))
    tail = _Graph(model, "tail")
    ins = {
        "y_morphology": tail.tensor("y_morphology", (1, 4), scale=SCALE["y"]),
        "y_rhythm": tail.tensor("y_rhythm", (1, 4), scale=SCALE["y"]),
        "gate_beat": tail.tensor("gate_beat", (1, 4), scale=SCALE["logit"]),
    }
    tail.graph.inputs = np.array(list(ins.values()), np.int32)
    outs = tail.tail(ins["y_morphology"], ins["y_rhythm"], ins["gate_beat"])
    tail.outputs(outs)
    pieces.append(("tail", tail, ins, {"beat": outs[0], "rhythm": outs[1]}))
    for key, graph, taken, given in pieces:
        index = model.add(graph)
        if key != leave_out:
            model.signature(key, index, taken, given)
    return model.packed()


def if_model() -> bytes:
    """The file with `IF` inside and one signature."""
    model = _Model()
    main = _Graph(model, "main")
    model.add(main)
    main.trunk()
    chosen = []
    for path in ("morphology", "rhythm"):
        branches = [model.add(_expert(model, path, k)) for k in range(EXPERTS)]
        axis = main.tensor(f"axis_{path}", (), _INT32, data=np.array(-1, np.int32))
        index = main.tensor(f"index_{path}", (1,), _INT32)
        options = schema.ArgMaxOptionsT()
        options.outputType = _INT32
        route = main.named[f"route_{path}"]
        main.op(_OPS.ARG_MAX, 2, [route, axis], [index], _OPTIONS.ArgMaxOptions, options)
        one = main.tensor(f"one_{path}", (1,), _INT32, data=np.array([1], np.int32))
        first = main.tensor(f"first_{path}", (1,), _BOOL)
        main.op(_OPS.LESS, 1, [index, one], [first], _OPTIONS.LessOptions, schema.LessOptionsT())
        y = main.tensor(f"y_{path}", (1, 4), scale=SCALE["y"])
        pick = schema.IfOptionsT()
        pick.thenSubgraphIndex, pick.elseSubgraphIndex = branches
        main.op(_OPS.IF, 1, [first, main.named[f"z_{path}"]], [y], _OPTIONS.IfOptions, pick)
        chosen.append(y)
    outs = main.tail(chosen[0], chosen[1], main.named["gate_beat"])
    routes = [main.named["route_morphology"], main.named["route_rhythm"]]
    main.outputs([*outs, *routes])
    names = dict(zip(("beat", "rhythm", "route_morphology", "route_rhythm"), [*outs, *routes], strict=True))
    model.signature("serving_default", 0, {n: main.named[n] for n in ("beat", "features", "rr_sequence")}, names)
    return model.packed()
