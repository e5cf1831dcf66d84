"""A recording in memory that consists of parts: groups of leads with their own start time, as in clinical files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.errors import RecordError
from ecgmoe_edge.records.recording import Lead, Remark, Sex, blocks_by_reading, checked_stop, choose_leads

_LONGEST_S = 7 * 86400.0  # s from the first to the last sample; a longer time indicates a damaged time stamp


@dataclass(frozen=True)
class Part:
    """One or more leads over a continuous period."""

    start: int  # first sample, counted from the start of the recording
    names: tuple[str, ...]  # names of the leads
    counts: NDArray[Any]  # (n, leads) stored values
    gain: tuple[float, ...]  # mV per count, for each lead
    offset: tuple[float, ...]  # mV at a count of 0, for each lead
    invalid: tuple[int | None, ...] = ()  # count that marks an invalid sample, for each lead; empty: none

    @property
    def stop(self) -> int:
        """Sample after the last."""
        return self.start + int(self.counts.shape[0])

    def millivolts(self, column: int, start: int, stop: int) -> NDArray[np.float64]:
        """Samples of one lead from `start` up to, but not including, `stop`; they must be within the part.

        Args:
            column: index of the lead in this part.
            start: first sample, counted from the start of the recording.
            stop: sample after the last.

        Returns:
            `(n,)` in mV; invalid samples are NaN.
        """
        counts = self.counts[start - self.start : stop - self.start, column]
        values: NDArray[np.float64] = np.multiply(counts, self.gain[column], dtype=np.float64)
        values += self.offset[column]
        if self.invalid and self.invalid[column] is not None:
            values[counts == self.invalid[column]] = np.nan
        return values


@dataclass(frozen=True)
class PartsRecording:
    """A recording of one or more parts; a lead is NaN at times that none of its parts covers."""

    path: Path
    fs: float  # Hz
    leads: tuple[str, ...]
    parts: tuple[Part, ...]
    unit: str = "mV"
    age: int | None = None
    sex: Sex | None = None
    remarks: tuple[Remark, ...] = ()

    @property
    def name(self) -> str:
        """Name of the file, without extension."""
        return self.path.stem

    @property
    def units(self) -> tuple[str, ...]:
        """The unit, which is the same for every lead."""
        return (self.unit,) * len(self.leads)

    @property
    def n_samples(self) -> int:
        """Samples per lead, from the start of the first part to the end of the last part."""
        return max(part.stop for part in self.parts)

    def blocks(self, seconds: float = 60.0, leads: Sequence[Lead] | None = None) -> Iterator[NDArray[np.float64]]:
        """Successive blocks of `seconds`, `(leads, n)` in mV; the last block is shorter."""
        return blocks_by_reading(self, seconds, leads)

    def read(self, start: int = 0, stop: int | None = None, leads: Sequence[Lead] | None = None) -> NDArray[np.float64]:
        """Samples from `start` up to, but not including, `stop`: `(leads, n)` in mV.

        Raises:
            RecordError: there is no such lead or no such sample.
        """
        chosen = choose_leads(self.leads, leads, self.name)
        stop = checked_stop(self, start, stop)
        out = np.full((len(chosen), stop - start), np.nan)
        for part in self.parts:
            begin, end = max(start, part.start), min(stop, part.stop)
            if begin >= end:
                continue
            for row, position in enumerate(chosen):
                if self.leads[position] in part.names:
                    column = part.names.index(self.leads[position])
                    out[row, begin - start : end - start] = part.millivolts(column, begin, end)
        return out


def recording_of_parts(
    path: Path,
    fs: float,
    parts: Sequence[Part],
    *,
    age: int | None = None,
    sex: Sex | None = None,
    remarks: Sequence[Remark] = (),
) -> PartsRecording:
    """Join parts of the same sampling rate. If two parts contain a lead for the same time, the longer part is used.

    Args:
        path: path of the file.
        fs: sampling rate, Hz.
        parts: the parts, with starts relative to any common sample.
        age: age in years, if the file states it.
        sex: sex, if the file states it.
        remarks: remarks about the file.

    Raises:
        RecordError: no part has a sample, or the parts are more than a week apart.
    """
    parts = [part for part in parts if part.names and part.counts.shape[0]]
    if not parts:
        raise RecordError(f"{path.name} contains no ECG sample. Export the recording again.")
    first, last = min(part.start for part in parts), max(part.stop for part in parts)
    if (last - first) / fs > _LONGEST_S:
        raise RecordError(
            f"The parts of {path.name} are more than a week apart. Check their times, and export it again."
        )
    shifted = [replace(part, start=part.start - first) for part in parts]
    kept, twice = _without_overlaps(shifted)
    further = []
    if twice:
        text = f"{path.name} contains {', '.join(twice)} twice for the same time; the longer part is read."
        further.append(Remark("lead", text, tuple(twice)))
    if any(part.start or part.stop < last - first for part in kept):
        text = (
            f"Some leads of {path.name} cover only a part of its {(last - first) / fs:g} s; the rest is missing time."
        )
        further.append(Remark("time", text))
    leads = tuple(dict.fromkeys(name for part in kept for name in part.names))
    return PartsRecording(path, fs, leads, tuple(kept), "mV", age, sex, (*remarks, *further))


def _without_overlaps(parts: Sequence[Part]) -> tuple[list[Part], list[str]]:
    taken: dict[str, list[tuple[int, int]]] = {}
    kept: dict[int, list[int]] = {}
    twice: list[str] = []
    for number in sorted(range(len(parts)), key=lambda one: parts[one].start - parts[one].stop):
        part = parts[number]
        for column, name in enumerate(part.names):
            spans = taken.setdefault(name, [])
            if any(part.start < stop and start < part.stop for start, stop in spans):
                twice.append(name)
            else:
                spans.append((part.start, part.stop))
                kept.setdefault(number, []).append(column)
    chosen = [_columns(parts[number], kept[number]) for number in sorted(kept)]
    return chosen, list(dict.fromkeys(twice))


def _columns(part: Part, columns: Sequence[int]) -> Part:
    if len(columns) == len(part.names):
        return part
    return replace(
        part,
        names=tuple(part.names[column] for column in columns),
        counts=part.counts[:, columns],
        gain=tuple(part.gain[column] for column in columns),
        offset=tuple(part.offset[column] for column in columns),
        invalid=tuple(part.invalid[column] for column in columns) if part.invalid else (),
    )
