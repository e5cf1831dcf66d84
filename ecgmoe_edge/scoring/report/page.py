"""Writes a report: one HTML file that contains all drawings and loads nothing from the network."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from ecgmoe_edge import __version__
from ecgmoe_edge.durable_files import write_text
from ecgmoe_edge.errors import RecordError
from ecgmoe_edge.scoring.report.beat_sections import beat_sections
from ecgmoe_edge.scoring.report.markup import code, page, paragraph, table
from ecgmoe_edge.scoring.report.task_sections import task_sections
from ecgmoe_edge.scoring.results import Evaluation
from ecgmoe_edge.scoring.task_results import TaskEvaluation

FILE = "report.html"
_PACKAGES = ("numpy", "scipy", "wfdb", "onnxruntime", "ai-edge-litert", "torch", "matplotlib")


def write_beat_report(folder: Path, scored: Evaluation, evaluation: Mapping[str, Any], command: str) -> Path:
    """Write the report of beats.

    Args:
        folder: receives `report.html`; it is created if it does not exist.
        scored: an evaluation with traces.
        evaluation: the output of `scored.to_json`, with the model under "model".
        command: the command line of the evaluation.

    Returns:
        The file written.

    Raises:
        RecordError: the folder cannot be written.
        MissingExtra: matplotlib is not installed.
    """
    sections = [*beat_sections(scored, evaluation), ("How this report was made", _provenance(evaluation, command))]
    return _write(folder, "Beats, scored by EC57", sections)


def write_task_report(folder: Path, scored: TaskEvaluation, evaluation: Mapping[str, Any], command: str) -> Path:
    """Write the report of a task other than beats; arguments and errors as for `write_beat_report`."""
    sections = [*task_sections(scored, evaluation), ("How this report was made", _provenance(evaluation, command))]
    return _write(folder, f"Task {scored.task}", sections)


def _write(folder: Path, title: str, sections: Sequence[tuple[str, str]]) -> Path:
    file = folder / FILE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_text(file, page(f"ecgmoe-edge: {title}", sections))
    except OSError as reason:
        raise RecordError(
            f"The report cannot be written to {folder} ({reason}). Give --report another folder."
        ) from reason
    return file


def _provenance(evaluation: Mapping[str, Any], command: str) -> str:
    now = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    model = evaluation.get("model", {})
    versions = [("ecgmoe-edge", __version__), ("Python", platform.python_version()), *_installed()]
    intervals = evaluation["intervals"]
    return (
        paragraph(f"On {now}, on {platform.machine()} {platform.system()}, with the command:")
        + code(command)
        + table(("model", ""), model.items())
        + table(("software", "version"), versions)
        + paragraph(
            f"Intervals: percentile bootstrap over patients, {intervals['draws']} draws, seed {intervals['seed']}. "
            "Method: docs/evaluation.md."
        )
    )


def _installed() -> list[tuple[str, str]]:
    installed = {distribution.name.lower(): distribution.version for distribution in distributions()}
    return [(name, installed[name]) for name in _PACKAGES if name in installed]
