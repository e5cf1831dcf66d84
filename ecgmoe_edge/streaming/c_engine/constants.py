"""The constants of the C engine as numbers; computed once for all monitors that have the same."""

from __future__ import annotations

from array import array
from collections.abc import Hashable, Mapping, Sequence
from functools import lru_cache

from ecgmoe_edge.streaming.c_tables.fill import values
from ecgmoe_edge.streaming.c_tables.tables import tables
from ecgmoe_edge.streaming.decision import DecisionRule
from ecgmoe_edge.streaming.rhythm.limits import RhythmLimits
from ecgmoe_edge.streaming.signal.mains import AUTO, MainsChoice

_KEPT = 32  # number of sets of constants in memory, 10 kB each

_Classes = tuple[tuple[str, tuple[str, ...]], ...]
_Outputs = tuple[tuple[str, int], ...]


def front_end_constants(
    fs: float, *, mains: MainsChoice, invert: bool, peaks_only: bool, limits: RhythmLimits | None
) -> array[float]:
    """Return the constants of a front end; arguments as in `tables`.

    Raises:
        SignalError: a `mains` that cannot be used.
    """
    if not isinstance(mains, Hashable):  # it is refused
        tables(fs, mains=mains)
    return _constants(fs, mains, invert, peaks_only, (), (), None, limits)


def labeller_constants(
    fs: float,
    *,
    classes: Mapping[str, Sequence[str]],
    outputs: Mapping[str, int],
    rule: DecisionRule | None,
    limits: RhythmLimits | None,
) -> array[float]:
    """Return the constants of a labeller; arguments as in `tables`."""
    named = tuple((task, tuple(names)) for task, names in classes.items())
    return _constants(fs, AUTO, False, False, named, tuple(outputs.items()), rule, limits)


@lru_cache(maxsize=_KEPT, typed=True)
def _constants(
    fs: float,
    mains: MainsChoice,
    invert: bool,
    peaks_only: bool,
    classes: _Classes,
    outputs: _Outputs,
    rule: DecisionRule | None,
    limits: RhythmLimits | None,
) -> array[float]:
    return values(
        tables(
            fs,
            mains=mains,
            invert=invert,
            peaks_only=peaks_only,
            classes=dict(classes),
            outputs=dict(outputs),
            rule=rule,
            limits=limits,
        )
    )
