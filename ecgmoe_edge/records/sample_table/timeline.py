"""Places the rows of a table on an even time axis; gaps in time stamps or sample counter become missing time (NaN)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.errors import RecordError
from ecgmoe_edge.records.sample_table.stamps import DAY_S, StampTiming

_PIECE = 1 << 16  # most missing samples in one block
_WRAPS = (2.0**16, 2.0**32)  # wrap of clocks that count ms or us, such as millis() and micros()
_LONGEST_WRAP_STEP_S = 60.0
_AHEAD = 16  # stamps after a late stamp that show whether all following stamps are late
_PENDING = 256  # stamps that are kept until gaps before them can be determined

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Rows:
    """Successive rows of a table."""

    values: Floats  # (leads, n) in mV
    lines: Ints  # (n,) line numbers, from 1
    stamps: Floats | None = None  # (n,) s
    counts: Floats | None = None  # (n,) sample counter

    def cut(self, start: int, stop: int | None = None) -> Rows:
        """Rows from `start` up to, but not including, `stop`."""
        part = slice(start, stop)
        return Rows(
            self.values[:, part],
            self.lines[part],
            None if self.stamps is None else self.stamps[part],
            None if self.counts is None else self.counts[part],
        )


def joined(first: Rows, second: Rows) -> Rows:
    """Concatenate two blocks of rows."""
    return Rows(
        np.concatenate([first.values, second.values], axis=1),
        np.concatenate([first.lines, second.lines]),
        None if first.stamps is None or second.stamps is None else np.concatenate([first.stamps, second.stamps]),
        None if first.counts is None or second.counts is None else np.concatenate([first.counts, second.counts]),
    )


@dataclass
class SampleCounter:
    """Finds missing rows with a sample counter, which may wrap."""

    name: str  # name of the file, for messages
    step: float  # increment per row
    modulus: float | None  # the counter wraps after this number of counts; None: unknown
    longest: float  # most rows that may be missing in one gap
    _last: float | None = None

    def missing(self, counts: Floats, lines: Ints) -> Ints:
        """Number of missing rows before each row.

        Args:
            counts: the counter, `(n,)`.
            lines: line numbers, `(n,)`.

        Raises:
            RecordError: the counter repeats a number, goes backwards, or has too long a gap.
        """
        before = np.concatenate([[counts[0] - self.step if self._last is None else self._last], counts[:-1]])
        before = _filled(before)
        counts = _filled(counts, before[0] + self.step)
        self._last = float(counts[-1])
        steps = counts - before
        if self.modulus is not None:
            steps = np.mod(steps, self.modulus)
            steps[steps == 0] = self.modulus
            if (repeated := np.flatnonzero((counts == before) & (self.modulus > 2 * self.step))).size:
                raise self._error(int(lines[repeated[0]]), "repeats a number")
        else:
            for at in np.flatnonzero(steps <= 0):
                steps[at] = self._step_over_wrap(float(before[at]), float(counts[at]), int(lines[at]))
        lost = np.rint(steps / self.step).astype(np.int64) - 1
        if (far := np.flatnonzero(lost > self.longest)).size:
            raise self._error(int(lines[far[0]]), f"skips {lost[far[0]]:,} samples")
        return np.maximum(lost, 0)

    def _step_over_wrap(self, before: float, now: float, line: int) -> float:
        for modulus in (100.0, 128.0, 256.0, 1000.0, 1024.0, 4096.0, 10_000.0, 2.0**16, 2.0**24, 2.0**31, 2.0**32):
            step = now + modulus - before
            if 0 < step <= max(self.step, 0.1 * modulus) and before < modulus:
                return step
        raise self._error(line, "goes backwards" if now < before else "repeats a number")

    def _error(self, line: int, does: str) -> RecordError:
        return RecordError(
            f"The sample counter of {self.name} {does} at line {line}. Correct the file, or name another time column "
            "with --time-column (`none` if the rows are evenly spaced)."
        )


@dataclass
class Clock:
    """Finds missing rows with time stamps, which may be even, uneven, or shared by a packet of rows."""

    name: str  # name of the file, for messages
    timing: StampTiming
    unit: float  # seconds per unit of an integer clock that wraps at 2^16 or 2^32; 0: the clock does not wrap
    is_time_of_day: bool
    quantum: float = 1.0  # rows are missing in multiples of this, because the sample counter wraps
    _shift: float = 0.0  # s added for wraps so far
    _last: float | None = None
    _is_first: bool = True  # whether the stamp has not changed yet

    def unwrapped(self, stamps: Floats, lines: Ints) -> Floats:
        """Stamps without wraps, `(n,)` in s; a missing stamp is replaced by the one before.

        Raises:
            RecordError: time goes backwards, or forwards by more than a day.
        """
        missing_first = 0 if self._last is not None else int(np.argmax(np.isfinite(stamps)))
        stamps = _filled(stamps + self._shift, self._last)
        stamps[:missing_first] -= np.arange(missing_first, 0, -1) / self.timing.fs
        if self._last is None:
            self._last = float(stamps[0])
        steps = np.diff(stamps, prepend=self._last)
        back = max(3 * self.timing.jitter, 1.5 * self.timing.packet / self.timing.fs)
        for at in np.flatnonzero((steps < -back) | (steps > DAY_S)):
            added = self._added(float(steps[at])) if steps[at] < 0 else None
            if added is None:
                way = "backwards" if steps[at] < 0 else "forwards"
                raise RecordError(
                    f"The time of {self.name} jumps {way} by {abs(steps[at]):,.6g} s at line {lines[at]}. Split the "
                    "file there, correct it, or give --time-column none and --fs if the rows are evenly spaced."
                )
            stamps[at:] += added
            self._shift += added
        self._last = float(stamps[-1])
        return stamps

    def _added(self, step: float) -> float | None:
        if self.is_time_of_day and step < -DAY_S / 2:
            return DAY_S
        if self.unit:
            return next(
                (wrap * self.unit for wrap in _WRAPS if 0 < step + wrap * self.unit <= _LONGEST_WRAP_STEP_S), None
            )
        return None

    def missing(self, stamps: Floats, lines: Ints, known: Ints, since: int, begin: float) -> Ints:
        """Number of missing rows before each row, in addition to the known ones.

        Args:
            stamps: unwrapped stamps, `(n,)` in s.
            lines: line numbers, `(n,)`.
            known: rows missing before each row by the sample counter, `(n,)`.
            since: rows, including known missing ones, from the last change of the stamp to the first row.
            begin: stamp of the row before the first row, s.

        Raises:
            RecordError: even stamps repeat.
        """
        lost = np.zeros(len(stamps), dtype=np.int64)
        places = np.arange(len(stamps)) + np.cumsum(known) + since
        at = np.flatnonzero(np.diff(stamps, prepend=begin) != 0)
        steps = np.diff(stamps[at], prepend=begin)
        rows = np.diff(places[at], prepend=0)
        excess = steps * self.timing.fs - rows
        if self._is_first and len(excess):
            self._is_first = False
            if self.timing.packet > 1:
                excess[0] = 0.0  # the file may start within a packet
        if self.timing.is_even:
            if self.quantum == 1 and (repeated := np.flatnonzero(excess < -0.5)).size:
                raise RecordError(
                    f"The time of {self.name} repeats or goes backwards before line {lines[at[repeated[0]]]}. Correct "
                    "it, or give --time-column none and --fs if the rows are evenly spaced."
                )
            late = np.flatnonzero(excess > 0.5)
            lost[at[late]] = self._whole(excess[late])
            return lost
        least = max(1.5, 3 * self.timing.jitter * self.timing.fs, 0.05 * self.timing.packet, 0.5 * self.quantum)
        lag = np.cumsum(excess)
        for number in np.flatnonzero(excess > least):
            before = lag[max(0, number - _AHEAD) : number]
            after = lag[number : number + _AHEAD]
            jump = float(np.percentile(after, 25)) - (float(np.median(before)) if len(before) else 0.0)
            if jump > least:
                lost[at[number]] = self._whole(np.array([jump]))[0]
                lag[number:] -= lost[at[number]]
        return lost

    def _whole(self, excess: Floats) -> Ints:
        return (np.rint(excess / self.quantum) * self.quantum).astype(np.int64)


@dataclass
class Timeline:
    """Places rows in time by their stamps and their counter; without either, the rows are consecutive."""

    clock: Clock | None = None
    counter: SampleCounter | None = None
    _pending: Rows | None = None
    _known: Ints = field(default_factory=lambda: np.zeros(0, dtype=np.int64))  # missing rows before pending rows
    _begin: float | None = None
    _since: int = 0

    def add(self, rows: Rows) -> Iterator[Floats]:
        """Add rows, and yield the samples whose place in time is certain, `(leads, n)` with missing time as NaN.

        Raises:
            RecordError: time or counter is invalid; the message names the line.
        """
        known = np.zeros(len(rows.lines), dtype=np.int64)
        if self.counter is not None and rows.counts is not None:
            known = self.counter.missing(rows.counts, rows.lines)
        if self.clock is None or rows.stamps is None:
            yield from _with_missing(rows.values, known)
            return
        stamps = self.clock.unwrapped(rows.stamps, rows.lines)
        rows = Rows(rows.values, rows.lines, stamps)
        self._pending = rows if self._pending is None else joined(self._pending, rows)
        self._known = np.concatenate([self._known, known])
        yield from self._decided(final=False)

    def finish(self) -> Iterator[Floats]:
        """The remaining samples after the last row was added."""
        if self._pending is not None and len(self._pending.lines):
            yield from self._decided(final=True)

    def _decided(self, *, final: bool) -> Iterator[Floats]:
        rows = self._pending
        if rows is None or rows.stamps is None or self.clock is None:
            return
        if self._begin is None:
            self._begin = float(rows.stamps[0])
        changes = np.flatnonzero(np.diff(rows.stamps, prepend=self._begin) != 0)
        ahead = 0 if self.clock.timing.is_even else _AHEAD
        ready = len(rows.lines)
        if ahead and not final:
            if len(changes) < _PENDING and len(rows.lines) < 4 * _PIECE:
                return
            ready = int(changes[-ahead]) if len(changes) > 2 * ahead else ready
        lost = self.clock.missing(rows.stamps, rows.lines, self._known, self._since, self._begin)[:ready]
        lost += self._known[:ready]
        done = rows.cut(0, ready)
        decided = changes[changes < ready]
        if len(decided):
            self._since = int(ready - decided[-1] + self._known[decided[-1] + 1 : ready].sum())
        else:
            self._since += int(ready + self._known[:ready].sum())
        self._begin = float(rows.stamps[ready - 1])
        self._pending, self._known = rows.cut(ready), self._known[ready:]
        yield from _with_missing(done.values, lost)


def _with_missing(values: Floats, lost: Ints) -> Iterator[Floats]:
    start = 0
    for at in np.flatnonzero(lost > _PIECE):
        if at > start:
            yield _spread(values[:, start:at], lost[start:at])
        left = int(lost[at])
        while left > 0:
            yield np.full((len(values), min(left, _PIECE)), np.nan)
            left -= _PIECE
        lost[at] = 0
        start = int(at)
    if start < len(lost):
        yield _spread(values[:, start:], lost[start:])


def _spread(values: Floats, lost: Ints) -> Floats:
    if not lost.any():
        return values
    spread = np.full((len(values), len(lost) + int(lost.sum())), np.nan)
    spread[:, np.arange(len(lost)) + np.cumsum(lost)] = values
    return spread


def _filled(numbers: Floats, first: float | None = None) -> Floats:
    """The numbers with each missing one replaced by the one before it, or by `first` at the start."""
    gone = ~np.isfinite(numbers)
    if not gone.any():
        return numbers
    at = np.where(gone, -1, np.arange(len(numbers)))
    at = np.maximum.accumulate(at)
    start = first if first is not None else float(numbers[~gone][0]) if not gone.all() else 0.0
    return np.where(at < 0, start, numbers[np.maximum(at, 0)])
