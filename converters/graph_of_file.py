"""A model file of any format as one kind of graph, for counting and drawing: nodes, branches, shapes and weights."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Weight:
    """A constant that a layer multiplies with or adds."""

    elements: int
    bytes: int
    rows: int  # outputs of the layer


@dataclass(frozen=True, eq=False)
class Node:
    """An operator; an `If` has branches."""

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    branches: tuple[Block, ...] = ()


@dataclass(frozen=True, eq=False)
class Block:
    """A graph or a branch of one."""

    name: str
    nodes: tuple[Node, ...]
    outputs: tuple[str, ...]
    bytes_each: int  # of one number of an activation: 1 in an integer file, else 4
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    weights: dict[str, Weight] = field(default_factory=dict)
