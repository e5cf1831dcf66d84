"""Totals of a stream in constant memory."""

from __future__ import annotations

import math
from collections import Counter

_PERCENTS = (50, 95, 99)


class Percentiles:
    """Percentiles of positive numbers, to a hundredth of their size, however many there are."""

    def __init__(self) -> None:
        self._bins: Counter[int] = Counter()

    def add(self, value: float) -> None:
        """Count one value."""
        self._bins[round(100.0 * math.log(max(value, 1e-6)))] += 1

    def summary(self) -> dict[str, float | None]:
        """p50, p95 and p99 in the values' own unit; None where nothing was counted."""
        total = self._bins.total()
        if not total:
            return {f"p{p}": None for p in _PERCENTS}
        out: dict[str, float | None] = {}
        ordered = sorted(self._bins.items())
        for percent in _PERCENTS:
            rank, seen = math.ceil(total * percent / 100), 0
            for place, count in ordered:
                seen += count
                if seen >= rank:
                    out[f"p{percent}"] = round(math.exp(place / 100.0), 4)
                    break
        return out
