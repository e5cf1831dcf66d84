"""Tells, before a command starts, which optional part of the package it needs and lacks."""

from __future__ import annotations

from importlib.util import find_spec

from ecgmoe_edge.errors import MissingExtra


def require(extra: str, *modules: str) -> None:
    """Raise MissingExtra unless every one of these modules of `extra` can be found; imports none of them."""
    for module in modules:
        if find_spec(module) is None:
            raise MissingExtra(module, extra)
