"""The recording that ships with the package, opened by the name `calibration` in place of a path."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ecgmoe_edge.records.recording import ArrayRecording, OpenOptions

NAME = "calibration"


class CalibrationFormat:
    """The name `calibration`; no file is asked for."""

    name = f"`{NAME}`, the recording that ships with this package"
    states_rate = True
    in_folders = False

    def recognise(self, path: Path) -> Path | None:
        """The name itself."""
        return path if str(path) == NAME else None

    def find(self, folder: Path) -> Iterator[Path]:
        """Nothing: it lies in no folder that a user names."""
        return iter(())

    def open(self, path: Path, options: OpenOptions) -> ArrayRecording:
        """Five minutes of one lead."""
        from ecgmoe_edge.calibration_data import load_calibration

        shipped = load_calibration()
        return ArrayRecording(path, shipped.fs, shipped.leads, shipped.signal)


FORMAT = CalibrationFormat()
