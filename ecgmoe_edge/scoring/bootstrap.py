"""Intervals of figures by drawing patients anew, for whom a few patients decide what a figure is.

Beats of one patient resemble each other, so it is patients and not beats that are drawn (with replacement, as many as
there are), and each figure is taken anew of each draw: the percentile bootstrap of Efron and Tibshirani 1993, chapter
13, with the patient as the unit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Figures: TypeAlias = Mapping[str, float | None]

DRAWS = 1000
LEVEL = 0.95
SEED = 20260  # of the draws: the same records give the same intervals
_LEAST_PATIENTS = 3  # with fewer, an interval says nothing


@dataclass(frozen=True)
class Bootstrap:
    """How intervals were made, and what they are: figure -> (low, high), None where it is not defined often enough."""

    patients: int
    intervals: Mapping[str, tuple[float, float] | None]
    draws: int = DRAWS
    level: float = LEVEL
    seed: int = SEED

    def to_json(self) -> dict[str, Any]:
        """JSON-ready; an interval is a list of two numbers in the unit of its figure."""
        made = {"unit": "patient", "patients": self.patients, "draws": self.draws, "level": self.level}
        held = {
            name: None if pair is None else [round(end, 3) for end in pair] for name, pair in self.intervals.items()
        }
        return {**made, "seed": self.seed, "figures": held}


def bootstrap(
    patients: Sequence[str],
    tables: NDArray[Any],
    figures: Callable[[NDArray[Any]], Figures],
    *,
    draws: int = DRAWS,
    level: float = LEVEL,
    seed: int = SEED,
) -> Bootstrap:
    """Intervals of figures that follow from a sum over records.

    Args:
        patients: whose each record is.
        tables: counts or sums of each record, `(records, ...)`.
        figures: from a sum of such tables, `(...)`, to figures by name; None where a figure is not defined.
        draws: how often the patients are drawn.
        level: share of the draws that an interval holds.
        seed: of the draws.

    >>> def sensitivity(total):  # of a sum (found, annotated)
    ...     return {"se": 100 * total[0] / total[1]}
    >>> found = np.array([[90, 100], [80, 100], [100, 100], [95, 100]])
    >>> low, high = bootstrap(["a", "b", "c", "c"], found, sensitivity).intervals["se"]
    >>> 80.0 <= low < 91.25 < high <= 97.5
    True
    """
    names = sorted(set(patients))
    place = {name: position for position, name in enumerate(names)}
    of_patient = np.zeros((len(names), *tables.shape[1:]), np.float64)
    np.add.at(of_patient, [place[name] for name in patients], tables)
    wanted = figures(of_patient.sum(axis=0))
    if len(names) < _LEAST_PATIENTS:
        return Bootstrap(len(names), dict.fromkeys(wanted), draws, level, seed)
    rng = np.random.default_rng(seed)
    times = rng.multinomial(len(names), np.full(len(names), 1.0 / len(names)), size=draws)
    sums = np.tensordot(times.astype(np.float64), of_patient, axes=1)
    drawn = [figures(total) for total in sums]
    ends = (50.0 * (1.0 - level), 50.0 * (1.0 + level))
    return Bootstrap(
        len(names), {name: _interval([one[name] for one in drawn], ends) for name in wanted}, draws, level, seed
    )


def _interval(values: Sequence[float | None], ends: tuple[float, float]) -> tuple[float, float] | None:
    known = [value for value in values if value is not None]
    if len(known) < len(values) / 2:  # a figure of a class that hardly any draw has
        return None
    low, high = np.percentile(known, ends)
    return float(low), float(high)
