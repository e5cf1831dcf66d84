"""`overlaps`: finds excerpts of one recording under different names, which would leak from training into a test."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ecgmoe_edge.cli.options import JsonOption
from ecgmoe_edge.cli.output import result, result_json, say

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

EXAMPLES = (
    "ecgmoe-edge overlaps ~/physionet/mitdb ~/physionet/svdb",
    "ecgmoe-edge overlaps ./our-test-set ./our-training-set --json",
)


def overlaps(
    folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="FOLDER...", help="Folders of annotated WFDB records, the largest last; the signals may be missing."
        ),
    ],
    annotator: Annotated[str, typer.Option(help="Extension of the annotation files.")] = "atr",
    as_json: JsonOption = False,
) -> None:
    """Find records that hold the same stretch of the same patient, by their sequences of RR intervals.

    Each record is compared with all others, at any offset and sampling rate; the records of the last of several
    folders are compared with those of the folders before it only, so that it may be large. A stretch is found if about
    half a minute of it has irregular RR intervals. Another stretch of the same patient is not found.
    """
    from dataclasses import asdict

    from ecgmoe_edge.records.annotations_alone import annotated_records
    from ecgmoe_edge.records.overlaps import find_overlaps

    skipped: dict[str, str] = {}
    known: dict[str, NDArray[np.float64]] = {}
    by_folder = [annotated_records(folder, annotator) for folder in folders]
    paths = [path for records in by_folder for path in records.values()]
    for path in [path for records in by_folder[:-1] or by_folder for path in records.values()]:
        if (times := _beat_times(path, annotator, skipped)) is not None:
            known[str(path)] = times
    found = []
    for overlap in find_overlaps(known, _others(paths, known, annotator, skipped)):
        say(f"{overlap.first} and {overlap.second} overlap")
        found.append(overlap)
    found.sort(key=lambda one: -one.duration_s)
    if as_json:
        result_json(
            {"records": len(paths) - len(skipped), "skipped": skipped, "overlaps": [asdict(one) for one in found]}
        )
        return
    for one in found:
        result(
            f"{one.first} from {one.first_s:.1f} s = {one.second} from {one.second_s:.1f} s, "
            f"for {one.duration_s:.0f} s ({one.matched} of {one.compared} irregular runs of RR intervals agree)"
        )
    result(f"{len(paths) - len(skipped)} records compared, {len(found)} overlap{'' if len(found) == 1 else 's'}")
    for name, reason in skipped.items():
        result(f"skipped {name}: {reason}")


def _others(
    paths: Sequence[Path], known: Mapping[str, NDArray[np.float64]], annotator: str, skipped: dict[str, str]
) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """All records one after the other; those of the last folder are read here, so that few are in memory at a time."""
    for done, path in enumerate(paths, start=1):
        name = str(path)
        if name in skipped:
            continue
        times = known[name] if name in known else _beat_times(path, annotator, skipped)
        say(f"{done}/{len(paths)} {name}")
        if times is not None:
            yield name, times


def _beat_times(path: Path, annotator: str, skipped: dict[str, str]) -> NDArray[np.float64] | None:
    """Times of the annotated beats, s; None if the record cannot be used, with the reason in `skipped`."""
    from ecgmoe_edge.errors import RecordError
    from ecgmoe_edge.records.annotations_alone import read_annotated_record

    try:
        return read_annotated_record(path, annotator).beat_times
    except RecordError as reason:
        skipped[str(path)] = str(reason)
        return None
