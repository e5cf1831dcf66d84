"""Top-1 dispatch outside the model file: trunk, then the one expert a path that its router picks, then the
tail.

For runtimes without `IF`. The TFLite file has one signature a piece, and integers pass between them
untouched:

    trunk            in  the model's inputs    out  z_<path>, route_<path> for each path, and what the tail needs
    <path>_<k>       in  z                     out  y
    tail             in  y_<path>, ...         out  the tasks' logits
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
    """The pieces of one file. Raises BundleError where pieces are missing or do not fit each other."""

    def __init__(self, interpreter: Any, signatures: Sequence[str]) -> None:
        self._pieces = {key: interpreter.get_signature_runner(key) for key in signatures}
        missing = {"trunk", "tail"} - set(self._pieces)
        if missing:
            raise BundleError(
                f"The model file has the signatures {', '.join(signatures)} and lacks "
                f"{', '.join(sorted(missing))}: it cannot be dispatched. Export it again."
            )
        trunk, tail = self._pieces["trunk"], self._pieces["tail"]
        trunk_gives, tail_gives = trunk.get_output_details(), tail.get_output_details()
        routes = routes_by_path(trunk_gives)
        self._routers = {path: route_name(path) for path in routes}
        self._experts = {path: self._bank(path, int(route["shape"][-1])) for path, route in routes.items()}
        self._check_seams(trunk_gives, tail.get_input_details())
        self.inputs = [spec_of(name, detail) for name, detail in trunk.get_input_details().items()]
        gives = (*tail_gives.items(), *((route_name(path), route) for path, route in routes.items()))
        self.outputs = [spec_of(name, detail) for name, detail in gives]
        self._tail_takes = tuple(tail.get_input_details())
        self._writers: tuple[tuple[str, str, Writer], ...] = ()
        self._readers: tuple[tuple[str, str, Reader], ...] = ()

    def _bank(self, path: str, count: int) -> tuple[Any, ...]:
        names = [f"{path}_{k}" for k in range(count)]
        missing = [name for name in names if name not in self._pieces]
        if missing:
            raise BundleError(f"The model file lacks the experts {', '.join(missing)}. Export it again.")
        return tuple(self._pieces[name] for name in names)

    def _check_seams(self, trunk_gives: dict[str, Any], tail_takes: dict[str, Any]) -> None:
        """What one piece gives must be stored just as the next one takes it."""
        given = dict(trunk_gives)
        for path, bank in self._experts.items():
            for k, expert in enumerate(bank):
                takes, gives = expert.get_input_details(), expert.get_output_details()
                if set(takes) != {"z"} or set(gives) != {"y"} or f"z_{path}" not in trunk_gives:
                    raise BundleError(f"Expert {path}_{k} does not take z_{path} and give y_{path}. Export it again.")
                _same(f"z_{path}", trunk_gives[f"z_{path}"], takes["z"])
                _same(f"y_{path}", given.setdefault(f"y_{path}", gives["y"]), gives["y"])
        for name, detail in tail_takes.items():
            if name not in given:
                raise BundleError(f"The model's tail takes {name}, which no other piece gives. Export it again.")
            _same(name, given[name], detail)

    def prepare(self, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> None:
        """Fix which tensors `run_one` takes and gives, and under which names."""
        self._writers = tuple((spec.name, spec.file_name, Writer(spec)) for spec in inputs)
        self._readers = tuple((spec.name, spec.file_name, Reader(spec)) for spec in outputs)

    def run_one(self, inputs: Tensors) -> dict[str, NDArray[np.float32]]:
        """One beat: trunk, one expert a path, tail."""
        stored = {file_name: writer.store(inputs[name]) for name, file_name, writer in self._writers}
        held = self._pieces["trunk"](**stored)
        for path, router in self._routers.items():
            expert = self._experts[path][int(held[router].argmax())]
            held[f"y_{path}"] = expert(z=held[f"z_{path}"])["y"]
        held.update(self._pieces["tail"](**{name: held[name] for name in self._tail_takes}))
        return {name: reader.real(held[file_name]) for name, file_name, reader in self._readers}


def _same(name: str, gives: dict[str, Any], takes: dict[str, Any]) -> None:
    shape_differs = tuple(gives["shape"]) != tuple(takes["shape"])
    if shape_differs or gives["dtype"] != takes["dtype"] or gives["quantization"] != takes["quantization"]:
        raise BundleError(
            f"The pieces of the model do not fit: {name} is given as {gives['dtype'].__name__} "
            f"{gives['quantization']} and taken as {takes['dtype'].__name__} {takes['quantization']}. Export it again."
        )
