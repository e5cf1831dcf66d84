"""Runs a file in the real TFLite Micro interpreter on this machine: its outputs, and the tensor arena that it needs."""

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

_LARGEST = 1 << 20  # bytes; largest arena that is tried
_STEP = 256  # bytes; resolution of the search for the smallest arena


def available() -> bool:
    """Return whether the package `tflite-micro` is installed; it has no wheels for some machines."""
    return util.find_spec("tflite_micro") is not None


class MicroEngine:
    """TFLite Micro on this machine with a tensor arena of a given size."""

    def __init__(
        self, model: bytes, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], arena_bytes: int = _LARGEST
    ) -> None:
        """Load a model.

        Args:
            model: content of a TFLite file.
            inputs: the inputs, in the order of the file.
            outputs: the outputs, in the order of the file.
            arena_bytes: size of the tensor arena.

        Raises:
            ConversionError: the arena is too small, or TFLite Micro lacks an operator.
        """
        from tflite_micro.python.tflite_micro import runtime

        try:
            with _quiet():
                self._interpreter = runtime.Interpreter.from_bytes(model, arena_size=arena_bytes)
        except RuntimeError as error:
            raise ConversionError(
                f"TFLite Micro cannot load this file with an arena of {arena_bytes} bytes ({error})."
            ) from error
        self._writers = [(spec.name, Writer(spec)) for spec in inputs]
        self._readers = [(spec.name, Reader(spec)) for spec in outputs]

    def run(self, inputs: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        """Run the model on each beat: inputs (beats, ...) to outputs (beats, ...), all float32."""
        rows = [self._run_one({name: x[i : i + 1] for name, x in inputs.items()}) for i in range(len(inputs[BEAT]))]
        return {name: np.concatenate([row[name] for row in rows]) for name, _ in self._readers}

    def _run_one(self, inputs: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        # All inputs are set before each inference, because the arena reuses their memory for other tensors.
        for index, (name, writer) in enumerate(self._writers):
            self._interpreter.set_input(writer.store(inputs[name]), index)
        self._interpreter.invoke()
        return {name: reader.real(self._interpreter.get_output(i)) for i, (name, reader) in enumerate(self._readers)}


def smallest_arena(model: bytes) -> int:
    """Return the size of the smallest tensor arena that TFLite Micro accepts on this machine, in bytes, within 256.

    A 32-bit microcontroller needs less, because its pointers are half as long.

    Raises:
        ConversionError: TFLite Micro cannot load the file even with an arena of 1 MiB.
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
    """Return the gate on the tensor arena of TFLite Micro; it is not run if the package tflite-micro is missing.

    Args:
        model: content of a TFLite file.
        limit_kib: largest arena in KiB.
        file: name of the file, for the manifest.

    Raises:
        ConversionError: TFLite Micro cannot load the file.
    """
    name = "TFLite Micro arena"
    if not available():
        why = "the package tflite-micro is not installed"
        return Gate.not_run(name, why, limit=limit_kib, sense="at most", unit="KiB")
    return Gate.judge(name, smallest_arena(model) / 1024, limit_kib, "at most", data=file, unit="KiB")


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the error lines that TFLite Micro writes to stderr for each arena that is too small."""
    stderr, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(null)
