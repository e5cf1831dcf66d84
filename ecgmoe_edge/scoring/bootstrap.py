"""Bootstrap confidence intervals with the patient as the unit of resampling.

The beats of one patient are correlated, so patients are resampled and not beats: each draw takes as many patients as
there are, with replacement, and every figure is computed again from the draw. This is the percentile bootstrap of
Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
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
SEED = 20260  # fixed seed: the same records give the same intervals
_LEAST_PATIENTS = 3  # an interval over fewer patients has no meaning


@dataclass(frozen=True)
class Bootstrap:
    """Confidence intervals and the parameters of the bootstrap that made them."""

    patients: int
    intervals: Mapping[str, tuple[float, float] | None]  # figure -> (low, high); None if too few draws define it
    draws: int = DRAWS
    level: float = LEVEL
    seed: int = SEED

    def to_json(self) -> dict[str, Any]:
        """The parameters and the intervals for JSON; each interval is [low, high] in the unit of its figure."""
        parameters = {"unit": "patient", "patients": self.patients, "draws": self.draws, "level": self.level}
        intervals = {
            name: None if pair is None else [round(end, 3) for end in pair] for name, pair in self.intervals.items()
        }
        return {**parameters, "seed": self.seed, "figures": intervals}


def bootstrap(
    patients: Sequence[str],
    tables: NDArray[Any],
    figures: Callable[[NDArray[Any]], Figures],
    *,
    draws: int = DRAWS,
    level: float = LEVEL,
    seed: int = SEED,
) -> Bootstrap:
    """Confidence intervals of figures that can be computed from a sum over records.

    Args:
        patients: patient of each record.
        tables: counts or sums of each record, `(records, ...)`.
        figures: computes the figures, by name, from the sum of such tables, `(...)`; a figure that is not defined
            is None.
        draws: number of bootstrap resamples.
        level: share of the resamples inside an interval, such as 0.95.
        seed: seed of the random generator.

    Returns:
        The interval of each figure. It is None for fewer than three patients, and for a figure that more than half
        of the resamples leave undefined.

    >>> def sensitivity(total):  # total: sum of (found, annotated)
    ...     return {"se": 100 * total[0] / total[1]}
    >>> found = np.array([[90, 100], [80, 100], [100, 100], [95, 100]])
    >>> low, high = bootstrap(["a", "b", "c", "c"], found, sensitivity).intervals["se"]
    >>> 80.0 <= low < 91.25 < high <= 97.5
    True
    """
    names = sorted(set(patients))
    position_of = {name: position for position, name in enumerate(names)}
    patient_tables = np.zeros((len(names), *tables.shape[1:]), np.float64)
    np.add.at(patient_tables, [position_of[name] for name in patients], tables)
    figure_names = figures(patient_tables.sum(axis=0))
    if len(names) < _LEAST_PATIENTS:
        return Bootstrap(len(names), dict.fromkeys(figure_names), draws, level, seed)
    rng = np.random.default_rng(seed)
    times_drawn = rng.multinomial(len(names), np.full(len(names), 1.0 / len(names)), size=draws)
    sums = np.tensordot(times_drawn.astype(np.float64), patient_tables, axes=1)
    resampled = [figures(total) for total in sums]
    percentiles = (50.0 * (1.0 - level), 50.0 * (1.0 + level))
    intervals = {name: _interval([each[name] for each in resampled], percentiles) for name in figure_names}
    return Bootstrap(len(names), intervals, draws, level, seed)


def _interval(values: Sequence[float | None], percentiles: tuple[float, float]) -> tuple[float, float] | None:
    known = [value for value in values if value is not None]
    if len(known) < len(values) / 2:  # the class is absent from most resamples
        return None
    low, high = np.percentile(known, percentiles)
    return float(low), float(high)
