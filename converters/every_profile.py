"""Export of one bundle per profile, with a table of size, time and accuracy: `ecgmoe-edge export --all`."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ecgmoe_edge.converters.calibration import CalibrationBeats, shipped_beats
from ecgmoe_edge.converters.export import ExportRequest, ExportResult, export_model, float_pieces
from ecgmoe_edge.converters.precision import time_ratio
from ecgmoe_edge.converters.targets import target_named
from ecgmoe_edge.errors import GateFailed
from ecgmoe_edge.runtime.bundle import load_bundle
from ecgmoe_edge.runtime.onnx_engine import OnnxEngine


@dataclass(frozen=True)
class Row:
    """One row of the table: the export for one profile."""

    profile: str
    runtime: str
    width: str
    precision: str = ""
    bytes: int | None = None
    # Inference time on this machine, relative to the same student in float32 that runs all experts; None: unmeasured.
    time_ratio: float | None = None
    lost: dict[str, float] | None = None  # F1 points below the float student, by class; None: no annotated recordings
    why: str = ""  # reason for the precision, or the gates that failed
    folder: str = ""  # empty if a gate failed, since no bundle was written

    @property
    def passed(self) -> bool:
        """Whether a bundle was written."""
        return bool(self.folder)


def export_every(requests: Iterable[ExportRequest], out: Path) -> Iterator[tuple[Row, ExportResult | None]]:
    """Export each request into `out`/<profile>. If a gate fails for one profile, the other profiles are still exported.

    Raises:
        EcgmoeError: any error other than a failed gate.
    """
    for request in requests:
        profile = request.profile
        try:
            exported = export_model(request, out / profile.name)
        except GateFailed as error:
            yield Row(profile.name, profile.runtime.engine, profile.model.width, why=str(error)), None
            continue
        model = exported.manifest.model
        yield (
            Row(
                profile=profile.name,
                runtime=profile.runtime.engine,
                width=exported.manifest.width,
                precision=model.precision,
                bytes=exported.model.bytes,
                time_ratio=_time_ratio(request, exported),
                lost=_lost(exported),
                why=model.why_precision,
                folder=str(exported.folder),
            ),
            exported,
        )


def _time_ratio(request: ExportRequest, exported: ExportResult) -> float | None:
    """Return the inference time relative to the dense float student in onnxruntime.

    None if the time on this machine does not represent the board, or without the onnx packages.
    """
    if not target_named(request.profile.runtime.format).is_timed_here(request.profile):
        return None
    try:
        from ecgmoe_edge.converters.targets.onnx.dense import export_dense
    except ImportError:  # the onnx packages are not installed
        return None
    beats: CalibrationBeats = request.calibration or shipped_beats()
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "dense.onnx"
        export_dense(float_pieces(request), path)
        return time_ratio(load_bundle(exported.folder).engine, OnnxEngine(path), beats.inputs)


def _lost(exported: ExportResult) -> dict[str, float] | None:
    lost = {}
    for metrics in exported.manifest.metrics:
        for name, full in metrics.full_precision.items():
            if full is not None:
                lost[name] = full - (metrics.exported.get(name) or 0.0)
    return lost or None


def table(rows: Iterable[Row]) -> str:
    """Return the rows as text, one line per profile."""
    lines = [("profile", "runtime", "width", "precision", "bytes", "time", "F1 lost, points", "")]
    for row in rows:
        lost = "unmeasured" if row.lost is None else ", ".join(f"{n.split()[0]} {v:.2f}" for n, v in row.lost.items())
        ratio = "unmeasured" if row.time_ratio is None else f"{row.time_ratio:.2f}"
        size = f"{row.bytes:,}" if row.bytes is not None else ""
        if not row.passed:
            ratio = lost = ""
        lines.append(
            (row.profile, row.runtime, row.width, row.precision, size, ratio, lost, "" if row.passed else "FAILED")
        )
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )
