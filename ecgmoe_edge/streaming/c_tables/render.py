"""Nested constants as C: the initialiser of a const struct, and a function that fills the struct from numbers.

Constants are nested dictionaries and lists of numbers, named like the members of the struct and in their order.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from numbers import Integral, Real
from typing import Any, TypeAlias

import numpy as np

Constants: TypeAlias = Mapping[str, Any]  # member: number, text of an enumeration constant, or nested constants
_INDENT = "    "
_LINE = 116


def flatten(value: Any) -> Iterator[float]:
    """Yield all numbers in their order.

    >>> list(flatten({"a": 1, "b": [{"c": 2.5}, {"c": True}]}))
    [1.0, 2.5, 1.0]
    """
    if isinstance(value, Mapping):
        for member in value.values():
            yield from flatten(member)
    elif _is_list(value):
        for element in value:
            yield from flatten(element)
    else:
        yield float(value)


def shape(value: Any) -> Any:
    """Return the structure without the numbers: members in their order, and lengths.

    >>> shape({"a": 1, "b": [0.5, 0.25]})
    (('a', None), ('b', (2, None)))
    """
    if isinstance(value, Mapping):
        return tuple((name, shape(member)) for name, member in value.items())
    if _is_list(value):
        shapes = {shape(element) for element in value}
        if len(shapes) != 1:
            raise ValueError(f"an array in C needs elements of one structure, and at least one: {value!r}")
        return len(value), shapes.pop()
    return None


def initialiser(value: Any, depth: int = 0) -> str:
    """Return an initialiser with designators.

    >>> print(initialiser({"a": 1, "b": [0.5, 2.0]}))
    {
        .a = 1,
        .b = {0.5, 2.0},
    }
    """
    inner = _INDENT * (depth + 1)
    if isinstance(value, Mapping):
        members = (f"{inner}.{name} = {initialiser(member, depth + 1)},\n" for name, member in value.items())
        return "{\n" + "".join(members) + _INDENT * depth + "}"
    if not _is_list(value):
        return _literal(value)
    elements = [initialiser(element, depth + 1) for element in value]
    line = "{" + ", ".join(elements) + "}"
    if "\n" not in line and len(line) + len(inner) + 24 <= _LINE:
        return line
    return "{\n" + _wrapped(elements, inner) + _INDENT * depth + "}"


def _wrapped(elements: Sequence[str], indent: str) -> str:
    lines = [""]
    for element in elements:
        if lines[-1] and ("\n" in element or len(indent) + len(lines[-1]) + len(element) + 2 > _LINE):
            lines.append("")
        lines[-1] += (" " if lines[-1] else "") + element + ","
    return "".join(f"{indent}{line}\n" for line in lines)


def fill_statements(value: Any, target: str, depth: int = 0) -> str:
    """Return statements that assign the numbers `v[0]`, `v[1]`, ... to a structure, in the order of `flatten`.

    >>> print(fill_statements({"a": 1, "b": [0.5, 2.0]}, "t->"), end="")
        t->a = *v++;
        for (int i0 = 0; i0 < 2; i0++) {
            t->b[i0] = *v++;
        }
    """
    inner = _INDENT * (depth + 1)
    if isinstance(value, Mapping):
        join = target if target.endswith("->") else f"{target}."
        return "".join(fill_statements(member, f"{join}{name}", depth) for name, member in value.items())
    if _is_list(value):
        index = f"i{depth}"
        body = fill_statements(value[0], f"{target}[{index}]", depth + 1)
        return f"{inner}for (int {index} = 0; {index} < {len(value)}; {index}++) {{\n{body}{inner}}}\n"
    return f"{inner}{target} = *v++;\n"


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple, np.ndarray))


def _literal(value: Any) -> str:
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    if isinstance(value, Integral):
        return str(int(value)) if abs(int(value)) < 2**31 else f"INT64_C({int(value)})"
    if not isinstance(value, Real):
        raise TypeError(f"{value!r} is no number")
    number = float(value)
    if math.isfinite(number):
        return repr(number)
    return "NAN" if math.isnan(number) else "INFINITY" if number > 0 else "-INFINITY"
