"""Runs many beats at once through an ONNX file that takes one beat: trunk, each expert for its beats, tail.

One beat a call costs onnxruntime more for the calls of about 70 small operators than for the arithmetic. The pieces of
`onnx_pieces` share these calls among the beats of a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.runtime.onnx_pieces import Boundary, Expert, IndivisibleFileError, Piece, divide

Arrays = Mapping[str, NDArray[Any]]
LARGEST_BATCH = 32  # beats in one call of a piece; with more of them, their data no longer fit in the cache of a core


class OnnxBatches:
    """The pieces of one file, each in a session of onnxruntime.

    Args:
        content: the file, which `check_onnx_file` has accepted.
        inputs: the inputs of its session.
        start: starts a session for the bytes of a file.

    Raises:
        IndivisibleFileError: the file cannot be divided.
        Exception: onnxruntime cannot run a piece: one of its own exceptions.
    """

    def __init__(self, content: bytes, inputs: Sequence[Any], start: Callable[[bytes], Any]) -> None:
        pieces = divide(content)
        given = [Boundary(value.name, value.type, value.shape) for value in inputs]
        self._start = start
        self._known: dict[str, Boundary] = {}
        self._trunk = self._started(pieces.trunk, given)
        self._experts = {
            output: [(expert, self._started(expert.piece)) for expert in bank]
            for output, bank in pieces.experts.items()
        }
        for output, bank in pieces.experts.items():
            source = self._known[bank[0].piece.outputs[0]]
            self._known[output] = Boundary(output, source.type, source.shape)
        self._tail = self._started(pieces.tail)
        self._pieces = pieces

    def _started(self, piece: Piece, inputs: Sequence[Boundary] | None = None) -> Any:
        """Start the session of a piece, and remember what its outputs are."""
        if inputs is None:
            inputs = [self._known[name] for name in piece.inputs]
        session = self._start(piece.file(inputs))
        for value in session.get_outputs():
            self._known[value.name] = Boundary(value.name, value.type, value.shape)
        return session

    def run(self, inputs: Arrays, outputs: Sequence[str]) -> list[NDArray[np.float32]]:
        """Return outputs (b, ...) of b beats, all names as in the file."""
        values = _run(self._trunk, self._pieces.trunk.outputs, inputs)
        for output, bank in self._experts.items():
            values[output] = _run_bank(bank, values)
        tail = self._pieces.tail
        values.update(_run(self._tail, tail.outputs, {name: values[name] for name in tail.inputs}))
        return [values[name] for name in outputs]


def _run(session: Any, outputs: Sequence[str], inputs: Arrays) -> dict[str, NDArray[Any]]:
    """Run a piece in batches of at most `LARGEST_BATCH` beats; return its outputs for all beats."""
    beats = min(map(len, inputs.values()))
    batches = -(-beats // LARGEST_BATCH)
    parts = []
    for k in range(batches):
        # The tensor of a boundary may have several rows for a beat.
        part = {name: x[_share(len(x), beats, k) : _share(len(x), beats, k + 1)] for name, x in inputs.items()}
        parts.append(session.run(outputs, part))
    joined = parts[0] if batches == 1 else [np.concatenate(part) for part in zip(*parts, strict=True)]
    return dict(zip(outputs, joined, strict=True))


def _share(rows: int, beats: int, batch: int) -> int:
    """Number of rows of a tensor in the first batches."""
    return min(rows, rows // beats * LARGEST_BATCH * batch)


def _run_bank(bank: Sequence[tuple[Expert, Any]], values: Arrays) -> NDArray[Any]:
    """Run each expert on the beats that are for it; return the outputs of all beats in their order."""
    rows: list[NDArray[np.intp]] = []
    results: list[NDArray[Any]] = []
    for expert, session in bank:
        wanted = np.logical_and.reduce([values[name] == value for name, value in expert.conditions])
        chosen = np.flatnonzero(wanted)
        if chosen.size:
            feed = {name: values[name][chosen] for name in expert.piece.inputs}
            rows.append(chosen)
            results += _run(session, expert.piece.outputs, feed).values()
    out = np.empty((sum(map(len, rows)), *results[0].shape[1:]), results[0].dtype)
    out[np.concatenate(rows)] = np.concatenate(results)
    return out


__all__ = ["LARGEST_BATCH", "IndivisibleFileError", "OnnxBatches"]
