"""The drawings of a report, each as the bytes of an SVG file; matplotlib is imported on first use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.errors import MissingExtra
from ecgmoe_edge.scoring.report.curves import Reliability, Separation
from ecgmoe_edge.streaming.signal.windows import BEAT_GRID, MODEL_RATE_HZ

_COLOURS = ("#2463a6", "#c2571a", "#3a8a4d", "#8a4fa3", "#7d6b2f", "#3b9aa8", "#b03060", "#5f6b76")


def confusion_drawing(rows: Sequence[str], columns: Sequence[str], table: NDArray[np.number], unit: str) -> bytes:
    """Confusion matrix with counts; the shade of a cell is its share of the row."""
    figure, axes = _figure(1.1 * len(columns) + 1.6, 0.55 * len(rows) + 1.3)
    totals = table.sum(1, keepdims=True)
    shares = np.divide(table, totals, out=np.zeros(table.shape), where=totals > 0)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for row in range(len(rows)):
        for column in range(len(columns)):
            text = f"{table[row, column]:,.0f}"
            colour = "white" if shares[row, column] > 0.6 else "#1c2530"
            axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=9)
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), rows)
    axes.set_xlabel(f"predicted ({unit})")
    axes.set_ylabel("true")
    return _svg(figure)


def reliability_drawing(curves: Mapping[str, Reliability]) -> bytes:
    """Reliability diagram; on the diagonal the score equals the probability that the label is correct."""
    figure, axes = _figure(5.2, 4.6)
    axes.plot([0, 1], [0, 1], color="#9aa5b1", linewidth=1, linestyle="--")
    for colour, (name, curve) in zip(_COLOURS, curves.items(), strict=False):
        ece = curve.ece
        label = name if ece is None else f"{name} (ECE {ece:.3f})"
        axes.plot(curve.predicted, curve.observed, marker="o", markersize=4, color=colour, label=label)
    axes.set(xlabel="score", ylabel="share of correct labels", xlim=(0, 1), ylim=(0, 1))
    axes.legend(frameon=False, fontsize=8)
    return _svg(figure)


def separation_drawing(curves: Mapping[str, Separation]) -> bytes:
    """ROC and precision-recall curves of each class against the rest, side by side."""
    figure, both = _figure(10.0, 4.4, columns=2)
    roc, precision = both
    for colour, (name, curve) in zip(_COLOURS, curves.items(), strict=False):
        roc.plot(curve.false_rate, curve.se, color=colour, label=f"{name} (area {curve.auroc:.3f})")
        label = f"{name} (average precision {curve.average_precision:.3f})"
        precision.plot(curve.se, curve.ppv, color=colour, label=label)
    roc.set(xlabel="false positive rate", ylabel="Se", title="ROC", xlim=(0, 1), ylim=(0, 1.01))
    precision.set(xlabel="Se (recall)", ylabel="+P (precision)", title="precision-recall", xlim=(0, 1), ylim=(0, 1.01))
    for axes in both:
        axes.legend(frameon=False, fontsize=8, loc="lower center")
    return _svg(figure)


def load_drawing(rows: Sequence[str], by_row: NDArray[np.int64]) -> bytes:
    """Share of each expert in the beats of each row; the last row is the load over all beats."""
    table = np.concatenate([by_row, by_row.sum(0, keepdims=True)])
    names = [*rows, "all"]
    totals = table.sum(1, keepdims=True)
    shares = 100.0 * np.divide(table, totals, out=np.zeros(table.shape), where=totals > 0)
    figure, axes = _figure(1.0 * table.shape[1] + 2.6, 0.42 * len(names) + 1.1)
    axes.imshow(shares, cmap="Greens", vmin=0, vmax=100, aspect="auto")
    for row in range(len(names)):
        for column in range(table.shape[1]):
            if totals[row, 0]:
                colour = "white" if shares[row, column] > 60 else "#1c2530"
                text = f"{shares[row, column]:.0f} %"
                axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=8)
    axes.axhline(len(rows) - 0.5, color="#1c2530", linewidth=1)
    axes.set_xticks(range(table.shape[1]), [f"expert {number}" for number in range(table.shape[1])])
    axes.set_yticks(range(len(names)), [f"{name} ({total:,})" for name, total in zip(names, totals[:, 0], strict=True)])
    return _svg(figure)


def beats_drawing(waves: Sequence[NDArray[np.float32]], titles: Sequence[str]) -> bytes:
    """Waveforms of beats, one panel per title; time in ms from R, amplitude in units of the R amplitude."""
    figure, panels = _figure(3.0 * len(waves), 2.6, columns=len(waves), share=True)
    time_ms = 1000.0 * BEAT_GRID / MODEL_RATE_HZ
    for axes, drawn, title, colour in zip(np.atleast_1d(panels), waves, titles, _many_colours(), strict=False):
        for wave in drawn:
            axes.plot(time_ms, wave, color=colour, linewidth=0.9, alpha=0.6)
        axes.set_title(title, fontsize=9)
        axes.set_xlabel("ms from R")
        axes.set_ylim(-2.5, 2.5)
    return _svg(figure)


def scatter_drawing(truth: NDArray[np.float64], answer: NDArray[np.float64], unit: str) -> bytes:
    """Predicted against true value, one point per record."""
    figure, axes = _figure(5.0, 4.6)
    ends = [float(min(truth.min(), answer.min())), float(max(truth.max(), answer.max()))]
    axes.plot(ends, ends, color="#9aa5b1", linewidth=1, linestyle="--")
    axes.scatter(truth, answer, s=14, color=_COLOURS[0], alpha=0.6)
    axes.set(xlabel=f"true ({unit})", ylabel=f"predicted ({unit})")
    return _svg(figure)


def errors_drawing(errors: Mapping[str, NDArray[np.float64]], unit: str) -> bytes:
    """Cumulative distribution of the absolute errors, one curve per source."""
    figure, axes = _figure(6.0, 4.0)
    shares = np.linspace(0.0, 99.5, 200)
    for colour, (name, values) in zip(_COLOURS, errors.items(), strict=False):
        known = np.abs(values[~np.isnan(values)])
        if known.size:
            axes.plot(np.percentile(known, shares), shares, color=colour, label=name)
    axes.set(xlabel=f"absolute error ({unit})", ylabel="% of windows below", xscale="symlog")
    axes.legend(frameon=False, fontsize=8)
    return _svg(figure)


def _many_colours() -> list[str]:
    return list(_COLOURS) * 4


def _figure(width: float, height: float, *, columns: int = 1, share: bool = False) -> tuple[Any, Any]:
    try:
        from matplotlib.figure import Figure
    except ImportError as missing:
        raise MissingExtra("matplotlib, which draws reports,", "train") from missing
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(1, columns, sharex=share, sharey=share)
    for one in np.atleast_1d(axes):
        one.spines[["top", "right"]].set_visible(False)
        one.tick_params(labelsize=8)
    return figure, axes


def _svg(figure: Any) -> bytes:
    import matplotlib

    file = BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "ecgmoe-edge"}):  # equal figures give equal bytes
        figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()
