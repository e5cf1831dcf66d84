"""What TFLite Micro itself makes of a file: the tensor arena that it needs, and what it answers."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import util

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.contract import BEAT
from ecgmoe_edge.errors import ConversionError
from ecgmoe_edge.runtime.manifest import Gate, TensorSpec
from ecgmoe_edge.runtime.quantized_tensors import Reader, Writer

_LARGEST = 1 << 20
_STEP = 256


def available() -> bool:
    """Whether the package `tflite-micro` is installed, which has no wheels for some machines."""
    return util.find_spec("tflite_micro") is not None


class MicroEngine:
    """TFLite Micro on this machine, with an arena of a given size.

    Raises:
        ConversionError: the arena is too small, or an operator is missing.
    """

    def __init__(
        self, model: bytes, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], arena_bytes: int = _LARGEST
    ) -> None:
        """`inputs` and `outputs` in the order of the file."""
        from tflite_micro.python.tflite_micro import runtime

        try:
            with _quiet():
                self._interpreter = runtime.Interpreter.from_bytes(model, arena_size=arena_bytes)
        except RuntimeError as error:
            raise ConversionError(f"TFLite Micro cannot hold this file in {arena_bytes} bytes ({error}).") from error
        self._writers = [(spec.name, Writer(spec)) for spec in inputs]
        self._readers = [(spec.name, Reader(spec)) for spec in outputs]

    def run(self, inputs: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        """Outputs (b, ...) of the beats (b, ...), all float32."""
        rows = [self._run_one({name: x[i : i + 1] for name, x in inputs.items()}) for i in range(len(inputs[BEAT]))]
        return {name: np.concatenate([row[name] for row in rows]) for name, _ in self._readers}

    def _run_one(self, inputs: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        for index, (name, writer) in enumerate(self._writers):  # each time: their memory is used for others too
            self._interpreter.set_input(writer.store(inputs[name]), index)
        self._interpreter.invoke()
        return {name: reader.real(self._interpreter.get_output(i)) for i, (name, reader) in enumerate(self._readers)}


def smallest_arena(model: bytes) -> int:
    """Bytes of the smallest tensor arena that TFLite Micro accepts on this machine, to within 256.

    A microcontroller's pointers are half as long as this machine's, so that it needs less.

    Raises:
        ConversionError: TFLite Micro does not take the file at all.
    """
    low, high = 0, _LARGEST
    MicroEngine(model, (), (), high)
    while high - low > _STEP:
        middle = (low + high) // 2 // 16 * 16
        try:
            MicroEngine(model, (), (), middle)
        except ConversionError:
            low = middle
        else:
            high = middle
    return high


def arena_gate(model: bytes, limit_kib: float, file: str) -> Gate:
    """The file loads into TFLite Micro, and its arena is within the limit; not run where the package is missing."""
    name = "TFLite Micro arena"
    if not available():
        why = "the package tflite-micro is not installed"
        return Gate.not_run(name, why, limit=limit_kib, sense="at most", unit="KiB")
    return Gate.judge(name, smallest_arena(model) / 1024, limit_kib, "at most", data=file, unit="KiB")


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep TFLite Micro's complaints about each arena that is too small off the terminal."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
