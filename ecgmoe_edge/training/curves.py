"""Plot of the learning curves of a fit: losses, score that selects the epoch, and F1 of S, V and AF per data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ecgmoe_edge.durable_files import replace_file

Rows = Sequence[Mapping[str, float]]


def plot_curves(path: Path, title: str, rows: Rows, best_epoch: int | None) -> None:
    """Write the learning curves as a PNG file, atomically; write nothing if there are no rows.

    Args:
        path: the file.
        title: name of the fit.
        rows: metrics of each epoch, as in `<name>.metrics.csv`.
        best_epoch: number of the selected epoch, from 1; None before the first validation.
    """
    if not rows:
        return
    # Imported late, and without pyplot, which would open windows and keep global state.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    losses, scores = figure.subplots(1, 2)
    names = list(dict.fromkeys(name for row in rows for name in row))
    for name in names:
        if name.startswith("train."):
            _line(losses, rows, name, name.removeprefix("train."), linewidth=2.0 if name == "train.loss" else 1.0)
    scale = "log" if all(row.get("train.loss", 1.0) > 0.0 for row in rows) else "linear"
    losses.set(title=f"{title}: training loss", xlabel="epoch", ylabel="loss", yscale=scale)
    _line(scores, rows, "score", "score", color="black", linewidth=2.0)
    for name in names:
        if name.endswith((".S.f1", ".V.f1", ".rhythm.AF.f1")):
            _line(scores, rows, name, name.removesuffix(".f1"), linewidth=1.0)
    if best_epoch:
        scores.axvline(best_epoch, color="grey", linestyle=":", label="kept")
    scores.set(title=f"{title}: validation F1", xlabel="epoch", ylabel="%")
    for axes in (losses, scores):
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7)
    with replace_file(path) as partial:
        figure.savefig(partial, format="png", dpi=110)


def _line(axes: Any, rows: Rows, name: str, label: str, **style: Any) -> None:
    points = [(row["epoch"], row[name]) for row in rows if name in row]
    if points:
        axes.plot(*zip(*points, strict=True), marker=".", label=label, **style)
