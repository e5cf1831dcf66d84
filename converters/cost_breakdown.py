"""Cost breakdown of a model file: parameters, bytes, multiplications and memory of trunk, experts and tail.

The figures are counted from the graph, not measured. A runtime can fuse operators or allocate additional memory.
"""

from __future__ import annotations

import collections
import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ecgmoe_edge.contract import is_route
from ecgmoe_edge.converters.file_contents import Graph, Node
from ecgmoe_edge.converters.targets import target_of_file
from ecgmoe_edge.errors import ConversionError

#: Operators that can write their output over their input, or that a runtime fuses with a neighbour.
_IN_PLACE = {"QuantizeLinear", "DequantizeLinear", "Relu", "Reshape", "Unsqueeze", "Flatten", "Identity", "RESHAPE"}
# Errors that the readers of a format raise for a damaged file.
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
class PartCost:
    """Cost of one part of a model."""

    name: str  # "trunk", "morphology_2", "tail", "tail of beat"
    operators: Mapping[str, int]  # number of occurrences by operator name
    parameters: int
    bytes: int  # stored size of weights and biases
    macs: int  # multiplications with a weight for one beat that runs this part
    peak_bytes: int  # largest total size of the activations that are needed at the same time


@dataclass(frozen=True)
class CostBreakdown:
    """Cost of a whole file and of its parts."""

    parts: tuple[PartCost, ...]
    macs_per_beat: int  # trunk, tail, and the most expensive expert of each path
    peak_bytes: int  # peak of the whole model, with the expert that needs the most memory
    lora_copies: int  # copies of the fusion block: one per task
    lora_bytes: int  # stored size of all copies except the first

    @property
    def experts(self) -> tuple[PartCost, ...]:
        """The experts of all paths."""
        return tuple(part for part in self.parts if part.name.rpartition("_")[2].isdigit())


def cost_breakdown(path: Path | str) -> CostBreakdown:
    """Count the cost of each part of a model file that selects its experts with nested `If`.

    Raises:
        ConversionError: the file cannot be read.
    """
    try:
        main = target_of_file(path).graph(Path(path))
    except _DAMAGED as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ConversionError(
            f"The cost of {Path(path).name} cannot be counted ({reason}). Export the bundle again."
        ) from error
    after = _depending_on_experts(main)
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
            first_two = _weighted(own)[:2]  # the linear layers of the fusion block
            copies.append(sum(_stored(node, main) for node in first_two))
    banks = collections.defaultdict(list)
    for part in parts:
        if part.name.rpartition("_")[2].isdigit():
            banks[part.name.rpartition("_")[0]].append(part.macs)
    always = sum(part.macs for part in parts if not part.name.rpartition("_")[2].isdigit())
    return CostBreakdown(
        parts=tuple(part for part in parts if part.operators),
        macs_per_beat=always + sum(max(macs) for macs in banks.values()),
        peak_bytes=_peak(main.nodes, main),
        lora_copies=max(1, len(copies)),
        lora_bytes=sum(copies[1:]),
    )


def _leaves(block: Graph) -> Iterator[Graph]:
    inner = [branch for node in block.nodes for branch in node.branches]
    if not inner:
        yield block
    for branch in inner:
        yield from _leaves(branch)


def _depending_on_experts(main: Graph) -> set[str]:
    """Return the tensors that depend on the output of an expert."""
    found: set[str] = set()
    for node in main.nodes:
        if node.branches or found.intersection(node.inputs):
            found.update(node.outputs)
    return found


def _tasks_of(main: Graph, tail: Sequence[Node]) -> dict[int, set[str]]:
    """Return the tasks that need each node of the tail, by the id of the node."""
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


def _stored(node: Node, block: Graph) -> int:
    return sum(block.weights[name].bytes for name in node.inputs if name in block.weights)


def _cost(name: str, nodes: Sequence[Node], block: Graph) -> PartCost:
    read = {tensor for node in _weighted(nodes) for tensor in node.inputs}
    weights = {tensor: weight for tensor, weight in block.weights.items() if tensor in read}
    macs = 0
    for node in _weighted(nodes):
        kernel = block.weights.get(node.inputs[1])
        if kernel is not None:
            macs += math.prod(block.shapes.get(node.outputs[0], ())) * kernel.elements // max(1, kernel.rows)
    return PartCost(
        name=name,
        operators=dict(collections.Counter(node.kind for node in nodes).most_common()),
        parameters=sum(weight.elements for weight in weights.values()),
        bytes=sum(weight.bytes for weight in weights.values()),
        macs=macs,
        peak_bytes=_peak(nodes, block),
    )


def _peak(nodes: Sequence[Node], block: Graph) -> int:
    """Return the largest total size of live tensors, in bytes.

    A tensor is freed after its last reader. An `If` adds the peak of its largest branch.
    """
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
                size[key] = max(size.get(key, 0), math.prod(block.shapes[tensor]) * block.bytes_per_element)
                last[key] = index
    for output in block.outputs:
        if home(output) in last:
            last[home(output)] = len(nodes)
    live: set[str] = set()
    peak = 0
    for index, node in enumerate(nodes):
        live |= {home(tensor) for tensor in (*node.inputs, *node.outputs)} & size.keys()
        inner = max((_peak(branch.nodes, branch) for branch in node.branches), default=0)
        in_branch = {home(tensor) for tensor in node.inputs} if node.branches else set()  # counted in the branch
        peak = max(peak, inner + sum(size[tensor] for tensor in live - in_branch))
        live = {tensor for tensor in live if last[tensor] > index}
    return peak
