"""Truth against answer of a classification of whole records or stretches of time, and the figures that follow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.scoring.bootstrap import Figures


@dataclass(frozen=True)
class ClassTable:
    """How much of each true class got each answer: `table` is (classes, answers), in records or in seconds.

    `answers` are the classes and, where something may be left unanswered, "none" after them.
    """

    classes: tuple[str, ...]
    answers: tuple[str, ...]
    table: NDArray[np.float64]

    def figures(self, scored: Sequence[str] | None = None) -> dict[str, float | None]:
        """Se, +P and F1 of each class in per cent, accuracy, and the mean F1 of the classes `scored` (None: of all).

        None stands where there is nothing to divide; a class that never occurs has no F1 and is not in the mean.
        """
        out: dict[str, float | None] = {}
        for row, name in enumerate(self.classes):
            hit, there = self.table[row, self.answers.index(name)], self.table[row].sum()
            said = self.table[:, self.answers.index(name)].sum()
            out[f"{name}.se"] = _per_cent(hit, there)
            out[f"{name}.ppv"] = _per_cent(hit, said)
            out[f"{name}.f1"] = _per_cent(2 * hit, there + said) if there else None
        known = [f1 for name in scored or self.classes if (f1 := out[f"{name}.f1"]) is not None]
        right = sum(self.table[row, self.answers.index(name)] for row, name in enumerate(self.classes))
        out["accuracy"] = _per_cent(right, self.table.sum())
        out["mean_f1"] = sum(known) / len(known) if known else None
        return out

    def to_json(self, scored: Sequence[str] | None = None) -> dict[str, Any]:
        """Figures by class, accuracy, mean F1, and the table itself."""
        flat = rounded(self.figures(scored))
        return {
            "classes": {name: {key: flat[f"{name}.{key}"] for key in ("se", "ppv", "f1")} for name in self.classes},
            "accuracy": flat["accuracy"],
            "mean_f1": flat["mean_f1"],
            "mean_f1_of": list(scored or self.classes),
            "confusion": {
                truth: {answer: round(float(cell), 1) for answer, cell in zip(self.answers, row, strict=True)}
                for truth, row in zip(self.classes, self.table, strict=True)
            },
        }


def rounded(figures: Figures) -> Mapping[str, float | None]:
    """To three digits after the point, as JSON shows them."""
    return {name: None if value is None else round(float(value), 3) for name, value in figures.items()}


def _per_cent(part: float, whole: float) -> float | None:
    return 100.0 * float(part) / float(whole) if whole else None
