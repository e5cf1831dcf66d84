"""Top-1 dispatch outside the model file, for runtimes without the operator `IF`.

For each beat, the trunk runs first, then for each path the one expert that the router selects, then the tail. The
TFLite file has one signature for each of these parts. Integer tensors pass between the parts unchanged:

    signature     inputs                 outputs
    trunk         the model's inputs     z_<path> and route_<path> for each path, and other inputs of the tail
    <path>_<k>    z                      y
    tail          y_<path>, ...          logits of the tasks
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.contract import route_name, routes_by_path
from ecgmoe_edge.errors import BundleError
from ecgmoe_edge.runtime.engine import Tensors
from ecgmoe_edge.runtime.manifest import TensorSpec
from ecgmoe_edge.runtime.quantized_tensors import Reader, Writer, spec_of


class HostDispatch:
    """The parts of one file, run in order.

    Raises:
        BundleError: a part is missing, or two parts do not fit together.
    """

    def __init__(self, interpreter: Any, signatures: Sequence[str]) -> None:
        self._parts = {key: interpreter.get_signature_runner(key) for key in signatures}
        missing = {"trunk", "tail"} - set(self._parts)
        if missing:
            raise BundleError(
                f"The model file has the signatures {', '.join(signatures)} and lacks "
                f"{', '.join(sorted(missing))}, so it cannot run. Export it again."
            )
        trunk, tail = self._parts["trunk"], self._parts["tail"]
        trunk_outputs, tail_outputs = trunk.get_output_details(), tail.get_output_details()
        routes = routes_by_path(trunk_outputs)
        self._routers = {path: route_name(path) for path in routes}
        self._experts = {path: self._bank(path, int(route["shape"][-1])) for path, route in routes.items()}
        self._check_boundaries(trunk_outputs, tail.get_input_details())
        self.inputs = [spec_of(name, detail) for name, detail in trunk.get_input_details().items()]
        details = (*tail_outputs.items(), *((route_name(path), route) for path, route in routes.items()))
        self.outputs = [spec_of(name, detail) for name, detail in details]
        self._tail_inputs = tuple(tail.get_input_details())
        self._writers: tuple[tuple[str, str, Writer], ...] = ()
        self._readers: tuple[tuple[str, str, Reader], ...] = ()

    def _bank(self, path: str, count: int) -> tuple[Any, ...]:
        names = [f"{path}_{k}" for k in range(count)]
        missing = [name for name in names if name not in self._parts]
        if missing:
            raise BundleError(f"The model file lacks the experts {', '.join(missing)}. Export it again.")
        return tuple(self._parts[name] for name in names)

    def _check_boundaries(self, trunk_outputs: dict[str, Any], tail_inputs: dict[str, Any]) -> None:
        """Check that each tensor between two parts has the same shape, type and scale in both."""
        computed = dict(trunk_outputs)
        for path, bank in self._experts.items():
            for k, expert in enumerate(bank):
                inputs, outputs = expert.get_input_details(), expert.get_output_details()
                if set(inputs) != {"z"} or set(outputs) != {"y"} or f"z_{path}" not in trunk_outputs:
                    raise BundleError(f"Expert {path}_{k} does not turn z into y. Export it again.")
                _check_equal(f"z_{path}", trunk_outputs[f"z_{path}"], inputs["z"])
                _check_equal(f"y_{path}", computed.setdefault(f"y_{path}", outputs["y"]), outputs["y"])
        for name, detail in tail_inputs.items():
            if name not in computed:
                raise BundleError(f"The model's tail needs {name}, which no other part computes. Export it again.")
            _check_equal(name, computed[name], detail)

    def prepare(self, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> None:
        """Set the input and output tensors of `run_one`, and their names."""
        self._writers = tuple((spec.name, spec.file_name, Writer(spec)) for spec in inputs)
        self._readers = tuple((spec.name, spec.file_name, Reader(spec)) for spec in outputs)

    def run_one(self, inputs: Tensors) -> dict[str, NDArray[np.float32]]:
        """Run one beat: trunk, one expert per path, tail."""
        stored = {file_name: writer.store(inputs[name]) for name, file_name, writer in self._writers}
        tensors = self._parts["trunk"](**stored)
        for path, router in self._routers.items():
            expert = self._experts[path][int(tensors[router].argmax())]
            tensors[f"y_{path}"] = expert(z=tensors[f"z_{path}"])["y"]
        tensors.update(self._parts["tail"](**{name: tensors[name] for name in self._tail_inputs}))
        return {name: reader.real(tensors[file_name]) for name, file_name, reader in self._readers}


def _check_equal(name: str, source: dict[str, Any], target: dict[str, Any]) -> None:
    same_shape = tuple(source["shape"]) == tuple(target["shape"])
    if not (same_shape and all(source[key] == target[key] for key in ("dtype", "quantization"))):
        raise BundleError(
            f"Two parts of the model do not fit: {name} is computed as {_text(source)} and read as {_text(target)}. "
            "Export it again."
        )


def _text(detail: dict[str, Any]) -> str:
    scale, zero_point = detail["quantization"]
    shape = tuple(map(int, detail["shape"]))
    return f"{detail['dtype'].__name__} {shape} with scale {scale:g} and zero point {zero_point}"
