"""What every recording offers, whatever file it lies in: a rate, named leads, and millivolts in blocks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.errors import RecordError

Lead: TypeAlias = str | int
Sex: TypeAlias = Literal["M", "F"]

_MILLIVOLTS: dict[str, float] = {"v": 1e3, "mv": 1.0, "uv": 1e-3, "µv": 1e-3, "μv": 1e-3, "nv": 1e-6}


class Recording(Protocol):
    """A recording that is read in blocks, so that a day of ECG never has to fit in memory."""

    @property
    def name(self) -> str:
        """Name of the record, without folder and extension."""

    @property
    def fs(self) -> float:
        """Samples a second and lead, Hz."""

    @property
    def leads(self) -> tuple[str, ...]:
        """Names of the leads, in the order of the file."""

    @property
    def n_samples(self) -> int | None:
        """Samples a lead; None where only reading the file would tell."""

    @property
    def age(self) -> int | None:
        """Age in years, where the file says so."""

    @property
    def sex(self) -> Sex | None:
        """M or F, where the file says so."""

    def blocks(self, seconds: float = 60.0, leads: Sequence[Lead] | None = None) -> Iterator[NDArray[np.float64]]:
        """Successive blocks of `seconds`, `(leads, n)` in mV, invalid samples as NaN; the last is shorter."""


def millivolts_per(unit: str) -> float:
    """How many mV one of `unit` is: V, mV, uV, µV or nV, in any case.

    Raises:
        RecordError: the unit is not a voltage that this package knows.
    """
    try:
        return _MILLIVOLTS[unit.strip().casefold()]
    except KeyError:
        raise RecordError(f"{unit!r} is not a voltage. Use a signal in V, mV, uV or nV.") from None


def choose_leads(available: Sequence[str], wanted: Sequence[Lead] | None, record: str) -> list[int]:
    """Positions in `available` of the wanted leads, each a name or a position counted from 0; None is all.

    A name is taken as it is, then without regard to case, then, if it is a number, as a position.

    Raises:
        RecordError: no such lead, or none wanted.
    """
    if wanted is None:
        return list(range(len(available)))
    if not wanted:
        raise RecordError(f"No lead of {record} was asked for. Name at least one of {_listed(available)}.")
    return [_choose_lead(available, lead, record) for lead in wanted]


def _choose_lead(available: Sequence[str], lead: Lead, record: str) -> int:
    if isinstance(lead, str):
        if lead in available:
            return list(available).index(lead)
        folded = [name.casefold() for name in available]
        if lead.casefold() in folded:
            return folded.index(lead.casefold())
    if isinstance(lead, int) or lead.isdecimal():
        position = int(lead)
        if 0 <= position < len(available):
            return position
    raise RecordError(
        f"{record} has no lead {lead!r}. It has {_listed(available)}: give one of these names or its "
        "position, counted from 0."
    )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)
