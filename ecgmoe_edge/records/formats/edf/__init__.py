"""EDF, EDF+, BDF and BDF+: the European Data Format of Holters and polysomnographs, and its 24-bit variant."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ecgmoe_edge.records.first_bytes import files_in, first_bytes
from ecgmoe_edge.records.formats.edf.header import looks_like_edf
from ecgmoe_edge.records.formats.edf.record import EdfRecord, open_edf
from ecgmoe_edge.records.recording import OpenOptions

_EXTENSIONS = (".edf", ".bdf", ".rec")


class EdfFormat:
    """An EDF or BDF file, recognised by its first bytes."""

    name = "EDF, EDF+, BDF (.edf, .bdf)"
    states_rate = True
    may_lack = ("unit",)
    in_folders = True

    def recognise(self, path: Path) -> Path | None:
        """The file itself, if it is an EDF or BDF file."""
        return path if looks_like_edf(first_bytes(path)) else None

    def find(self, folder: Path) -> Iterator[Path]:
        """EDF and BDF files with an extension of these formats."""
        return (path for path in files_in(folder, _EXTENSIONS) if self.recognise(path) is not None)

    def open(self, path: Path, options: OpenOptions) -> EdfRecord:
        """Open the file with `open_edf`."""
        return open_edf(path, options)


FORMAT = EdfFormat()
