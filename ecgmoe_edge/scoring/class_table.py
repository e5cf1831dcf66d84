"""Confusion matrix of a classification of whole records or of stretches of time, and the figures computed from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.scoring.bootstrap import Figures


@dataclass(frozen=True)
class ClassTable:
    """A confusion matrix: `table` is `(classes, answers)`, in records or in seconds.

    `answers` are the classes, followed by "none" if a record can be left without an answer.
    """

    classes: tuple[str, ...]
    answers: tuple[str, ...]
    table: NDArray[np.float64]

    def figures(self, scored: Sequence[str] | None = None) -> dict[str, float | None]:
        """Se, +P and F1 of each class, accuracy and mean F1.

        Args:
            scored: classes that enter the mean F1; None takes all of them.

        Returns:
            Figures in per cent, by name. A figure with a zero denominator is None. A class that never occurs has no
            F1 and does not enter the mean.
        """
        out: dict[str, float | None] = {}
        for row, name in enumerate(self.classes):
            column = self.answers.index(name)
            correct, present, predicted = self.table[row, column], self.table[row].sum(), self.table[:, column].sum()
            out[f"{name}.se"] = _per_cent(correct, present)
            out[f"{name}.ppv"] = _per_cent(correct, predicted)
            out[f"{name}.f1"] = _per_cent(2 * correct, present + predicted) if present else None
        known = [f1 for name in scored or self.classes if (f1 := out[f"{name}.f1"]) is not None]
        correct = sum(self.table[row, self.answers.index(name)] for row, name in enumerate(self.classes))
        out["accuracy"] = _per_cent(correct, self.table.sum())
        out["mean_f1"] = sum(known) / len(known) if known else None
        return out

    def to_json(self, scored: Sequence[str] | None = None) -> dict[str, Any]:
        """Figures by class, accuracy, mean F1 and the confusion matrix, for JSON."""
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
    """The figures rounded to three decimals, as JSON output has them."""
    return {name: None if value is None else round(float(value), 3) for name, value in figures.items()}


def _per_cent(part: float, whole: float) -> float | None:
    return 100.0 * float(part) / float(whole) if whole else None
