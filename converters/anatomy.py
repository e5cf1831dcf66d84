"""What a file costs, part by part: parameters, bytes, multiplications and memory of trunk, experts and tail.

Counted from the graph, not measured: what a runtime fuses or keeps besides is its own affair.
"""

from __future__ import annotations

import collections
import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ecgmoe_edge.contract import is_route
from ecgmoe_edge.converters.graph_of_file import Block, Node
from ecgmoe_edge.converters.targets import target_of_file
from ecgmoe_edge.errors import ConversionError

#: Operators whose output can lie where their input lay, or that a runtime fuses with their neighbour.
_IN_PLACE = {"QuantizeLinear", "DequantizeLinear", "Relu", "Reshape", "Unsqueeze", "Flatten", "Identity", "RESHAPE"}
# What the readers of a format raise for a file that a runtime may still take.
_DAMAGED = (
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    RuntimeError,
    struct.error,
    MemoryError,
)
_WEIGHTED = {"Conv", "Gemm", "MatMul", "CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"}


@dataclass(frozen=True)
class Cost:
    """One part of a model."""

    name: str  # "trunk", "morphology_2", "tail", "tail of beat"
    operators: Mapping[str, int]
    parameters: int
    bytes: int  # of weights and biases as they are stored
    macs: int  # multiplications with a weight, a beat that takes this part
    peak_bytes: int  # largest sum of tensors that are needed at one time


@dataclass(frozen=True)
class Anatomy:
    """A whole file."""

    parts: tuple[Cost, ...]
    macs_per_beat: int  # trunk, tail and the most expensive expert a path
    peak_bytes: int  # of the whole, with the expert that needs most
    lora_copies: int  # copies of the fusion block: one a task
    lora_bytes: int  # what the copies cost beyond the first

    @property
    def experts(self) -> tuple[Cost, ...]:
        """The experts of all paths."""
        return tuple(part for part in self.parts if part.name.rpartition("_")[2].isdigit())


def anatomy(path: Path | str) -> Anatomy:
    """Take a model file with nested `If` apart.

    Raises:
        ConversionError: the file cannot be read.
    """
    try:
        main = target_of_file(path).graph(Path(path))
    except _DAMAGED as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ConversionError(
            f"{Path(path).name} cannot be taken apart ({reason}). Export the bundle again."
        ) from error
    after = _behind_experts(main)
    tail = [node for node in main.nodes if node.outputs and after.intersection(node.outputs) and not node.branches]
    owners = _tasks_of(main, tail)
    trunk = [node for node in main.nodes if node not in tail and not node.branches]
    parts = [_cost("trunk", trunk, main)]
    for node in main.nodes:
        leaves = [leaf for branch in node.branches for leaf in _leaves(branch)]
        parts += [_cost(leaf.name, leaf.nodes, leaf) for leaf in sorted(leaves, key=lambda leaf: leaf.name)]
    tasks = [task for task in main.outputs if not is_route(task)]
    parts.append(_cost("tail", [node for node in tail if owners[id(node)] == set(tasks)], main))
    copies = []
    for task in tasks:
        own = [node for node in tail if owners[id(node)] == {task} and len(tasks) > 1]
        if own:
            parts.append(_cost(f"tail of {task.removesuffix('_logits')}", own, main))
            copies.append(sum(_stored(node, main) for node in _weighted(own)[:2]))  # fusion up and down
    banks = collections.defaultdict(list)
    for part in parts:
        if part.name.rpartition("_")[2].isdigit():
            banks[part.name.rpartition("_")[0]].append(part.macs)
    always = sum(part.macs for part in parts if not part.name.rpartition("_")[2].isdigit())
    return Anatomy(
        parts=tuple(part for part in parts if part.operators),
        macs_per_beat=always + sum(max(macs) for macs in banks.values()),
        peak_bytes=_peak(main.nodes, main),
        lora_copies=max(1, len(copies)),
        lora_bytes=sum(copies[1:]),
    )


def _leaves(block: Block) -> Iterator[Block]:
    inner = [branch for node in block.nodes for branch in node.branches]
    if not inner:
        yield block
    for branch in inner:
        yield from _leaves(branch)


def _behind_experts(main: Block) -> set[str]:
    """Tensors that depend on what an expert yields."""
    found: set[str] = set()
    for node in main.nodes:
        if node.branches or found.intersection(node.inputs):
            found.update(node.outputs)
    return found


def _tasks_of(main: Block, tail: Sequence[Node]) -> dict[int, set[str]]:
    """For each node of the tail, the tasks that need it."""
    needed: dict[str, set[str]] = collections.defaultdict(set)
    for output in main.outputs:
        needed[output].add(output)
    owners: dict[int, set[str]] = {}
    for node in reversed(main.nodes):
        tasks = set().union(*(needed[output] for output in node.outputs))
        for tensor in node.inputs:
            needed[tensor] |= tasks
        owners[id(node)] = {task for task in tasks if not is_route(task)}
    return {id(node): owners[id(node)] for node in tail}


def _weighted(nodes: Sequence[Node]) -> list[Node]:
    return [node for node in nodes if node.kind in _WEIGHTED]


def _stored(node: Node, block: Block) -> int:
    return sum(block.weights[name].bytes for name in node.inputs if name in block.weights)


def _cost(name: str, nodes: Sequence[Node], block: Block) -> Cost:
    read = {tensor for node in _weighted(nodes) for tensor in node.inputs}
    weights = {tensor: weight for tensor, weight in block.weights.items() if tensor in read}
    macs = 0
    for node in _weighted(nodes):
        kernel = block.weights.get(node.inputs[1])
        if kernel is not None:
            macs += math.prod(block.shapes.get(node.outputs[0], ())) * kernel.elements // max(1, kernel.rows)
    return Cost(
        name=name,
        operators=dict(collections.Counter(node.kind for node in nodes).most_common()),
        parameters=sum(weight.elements for weight in weights.values()),
        bytes=sum(weight.bytes for weight in weights.values()),
        macs=macs,
        peak_bytes=_peak(nodes, block),
    )


def _peak(nodes: Sequence[Node], block: Block) -> int:
    """Largest sum of live tensors, each freed after its last reader, and of the branch that needs most on top."""
    place: dict[str, str] = {}

    def home(name: str) -> str:
        while name in place:
            name = place[name]
        return name

    for node in nodes:
        if node.kind in _IN_PLACE and node.inputs:
            place[node.outputs[0]] = node.inputs[0]
    size: dict[str, int] = {}
    last: dict[str, int] = {}
    for index, node in enumerate(nodes):
        for tensor in (*node.inputs, *node.outputs):
            if tensor in block.shapes and tensor not in block.weights:
                key = home(tensor)
                size[key] = max(size.get(key, 0), math.prod(block.shapes[tensor]) * block.bytes_each)
                last[key] = index
    for output in block.outputs:
        if home(output) in last:
            last[home(output)] = len(nodes)
    live: set[str] = set()
    peak = 0
    for index, node in enumerate(nodes):
        live |= {home(tensor) for tensor in (*node.inputs, *node.outputs)} & size.keys()
        inner = max((_peak(branch.nodes, branch) for branch in node.branches), default=0)
        handed = {home(tensor) for tensor in node.inputs} if node.branches else set()  # counted inside
        peak = max(peak, inner + sum(size[tensor] for tensor in live - handed))
        live = {tensor for tensor in live if last[tensor] > index}
    return peak
