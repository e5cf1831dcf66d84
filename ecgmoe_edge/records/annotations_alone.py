"""Records of which only header and annotations are at hand: beat times and rhythms without a signal.

The Long-Term AF Database is often kept this way: a day of annotations has 200 KB, its signal 40 MB.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.errors import RecordError
from ecgmoe_edge.records.annotations import BeatAnnotations, Timeline, annotations_on
from ecgmoe_edge.records.names import record_name
from ecgmoe_edge.records.wfdb_files.header import ASSUMED_RATE_HZ, header_file, read_header, record_path


@dataclass(frozen=True)
class AnnotatedRecord:
    """The annotations of a record, with its time axis."""

    timeline: Timeline
    annotations: BeatAnnotations

    @property
    def name(self) -> str:
        """Name of the record, without folder."""
        return self.timeline.name

    @property
    def beat_times(self) -> NDArray[np.float64]:
        """(n,) times of the annotated beats, s."""
        return self.annotations.samples / self.timeline.fs


def read_annotated_record(path: Path | str, extension: str = "atr", *, beats_needed: bool = True) -> AnnotatedRecord:
    """Read the annotations of a WFDB record; its signal files may be missing.

    Args:
        path: the record, with or without `.hea`.
        extension: extension of the annotation file.
        beats_needed: False also accepts a file that has only rhythm changes.

    Raises:
        RecordError: the header or the annotations cannot be read, the header does not state the length, or the
            annotations lie outside the record.
    """
    path = record_path(Path(path))
    header = read_header(header_file(path))
    if header.length is None:
        raise RecordError(
            f"{header.file.name} does not state the length of the record. Add the number of samples to its first line."
        )
    rate = header.rate or ASSUMED_RATE_HZ
    timeline = Timeline(path, rate, header.length, rate)
    return AnnotatedRecord(timeline, annotations_on(timeline, extension, beats_needed=beats_needed))


def annotated_records(folder: Path, extension: str = "atr") -> dict[str, Path]:
    """Paths of the records in a folder that have a header and annotations, by name, sorted.

    Raises:
        RecordError: the folder does not exist or contains no such record.
    """
    if not folder.is_dir():
        raise RecordError(f"There is no folder {folder}. Name a folder of annotated WFDB records.")
    names = sorted(record_name(file) for file in folder.glob("*.hea"))
    annotated = {name: folder / name for name in names if (folder / f"{name}.{extension}").is_file()}
    if not annotated:
        raise RecordError(f"{folder} contains no WFDB record with a .{extension} file. Name another folder.")
    return annotated
