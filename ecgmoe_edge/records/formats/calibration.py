"""The recording that ships with the package; the name `calibration` in place of a path opens it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ecgmoe_edge.records.recording import ArrayRecording, OpenOptions

NAME = "calibration"


class CalibrationFormat:
    """The name `calibration`, for which no file is needed."""

    name = f"`{NAME}`, the recording that ships with this package"
    states_rate = True
    in_folders = False

    def recognise(self, path: Path) -> Path | None:
        """The name itself; None for any other path."""
        return path if str(path) == NAME else None

    def find(self, folder: Path) -> Iterator[Path]:
        """Nothing, because the recording is part of the package."""
        return iter(())

    def open(self, path: Path, options: OpenOptions) -> ArrayRecording:
        """Open the shipped recording, five minutes of one lead."""
        from ecgmoe_edge.calibration_data import load_calibration

        shipped = load_calibration()
        return ArrayRecording(path, shipped.fs, shipped.leads, shipped.signal)


FORMAT = CalibrationFormat()
