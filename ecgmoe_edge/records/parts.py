"""A recording of parts that lie in memory: groups of leads, each with its own start, as clinical files hold them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.errors import RecordError
from ecgmoe_edge.records.recording import Lead, Remark, Sex, choose_leads

_LONGEST_S = 7 * 86400.0  # s from the first to the last sample; more is a damaged time stamp


@dataclass(frozen=True)
class Part:
    """Some leads over one stretch of time."""

    start: int  # first sample, counted from the first of the recording
    names: tuple[str, ...]
    counts: NDArray[Any]  # (n, leads), as the file has them
    gain: tuple[float, ...]  # mV a count
    offset: tuple[float, ...]  # mV of a count of 0
    invalid: tuple[int | None, ...] = ()  # the count of each lead that is no sample; empty: none

    @property
    def stop(self) -> int:
        """Sample after the last."""
        return self.start + int(self.counts.shape[0])

    def millivolts(self, column: int, start: int, stop: int) -> NDArray[np.float64]:
        """Samples `start` to `stop` of the recording, which it must hold."""
        counts = self.counts[start - self.start : stop - self.start, column]
        values: NDArray[np.float64] = np.multiply(counts, self.gain[column], dtype=np.float64)
        values += self.offset[column]
        if self.invalid and self.invalid[column] is not None:
            values[counts == self.invalid[column]] = np.nan
        return values


@dataclass(frozen=True)
class PartsRecording:
    """A recording of one or more parts; where a lead has none, it is NaN."""

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
        """The same of every lead."""
        return (self.unit,) * len(self.leads)

    @property
    def n_samples(self) -> int:
        """Samples a lead, from the first part's first to the last part's last."""
        return max(part.stop for part in self.parts)

    def blocks(self, seconds: float = 60.0, leads: Sequence[Lead] | None = None) -> Iterator[NDArray[np.float64]]:
        """Successive blocks of `seconds`, `(leads, n)` in mV; the last is shorter."""
        size = max(1, round(seconds * self.fs))
        for start in range(0, self.n_samples, size):
            yield self.read(start, min(start + size, self.n_samples), leads)

    def read(self, start: int = 0, stop: int | None = None, leads: Sequence[Lead] | None = None) -> NDArray[np.float64]:
        """Samples `start` to `stop` (not included), `(leads, n)` in mV.

        Raises:
            RecordError: no such lead, or no such sample.
        """
        chosen = choose_leads(self.leads, leads, self.name)
        stop = self.n_samples if stop is None else min(stop, self.n_samples)
        if start < 0 or start > stop:
            raise RecordError(f"{self.name} has samples 0 to {self.n_samples}; {start} to {stop} is not among them.")
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
    """Join parts of one rate; of a lead that two parts hold for the same time, the longer one is taken.

    Raises:
        RecordError: no part with a sample, or parts that lie more than a week apart.
    """
    parts = [part for part in parts if part.names and part.counts.shape[0]]
    if not parts:
        raise RecordError(f"{path.name} holds no ECG sample. Export the recording again.")
    first, last = min(part.start for part in parts), max(part.stop for part in parts)
    if (last - first) / fs > _LONGEST_S:
        raise RecordError(
            f"The parts of {path.name} lie more than a week apart. Check their times, and export it again."
        )
    shifted = [replace(part, start=part.start - first) for part in parts]
    kept, twice = _without_doubles(shifted)
    further = []
    if twice:
        text = f"{path.name} holds {', '.join(twice)} twice for the same time; the longer stretch is read."
        further.append(Remark("lead", text, tuple(twice)))
    if any(part.start or part.stop < last - first for part in kept):
        text = f"Some leads of {path.name} last only a part of its {(last - first) / fs:g} s; the rest is missing."
        further.append(Remark("time", text))
    leads = tuple(dict.fromkeys(name for part in kept for name in part.names))
    return PartsRecording(path, fs, leads, tuple(kept), "mV", age, sex, (*remarks, *further))


def _without_doubles(parts: Sequence[Part]) -> tuple[list[Part], list[str]]:
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
