"""What every recording offers, whatever file it lies in: a rate, named leads, and millivolts in blocks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.errors import RecordError

Lead: TypeAlias = str | int
Sex: TypeAlias = Literal["M", "F"]
Truncated: TypeAlias = Literal["error", "read"]

_MILLIVOLTS: dict[str, float] = {"v": 1e3, "mv": 1.0, "uv": 1e-3, "µv": 1e-3, "μv": 1e-3, "nv": 1e-6}


#: What a remark is about: something the file does not state and that was assumed, or something implausible.
RemarkKind: TypeAlias = Literal["rate", "unit", "gain", "amplitude", "time", "lead", "length", "label", "encoding"]


@dataclass(frozen=True)
class Remark:
    """Something about a recording that its user must know: what was assumed, left out or looks wrong."""

    kind: RemarkKind
    text: str  # a whole sentence that says what was found and, where there is one, the option that corrects it
    leads: tuple[str, ...] = ()  # which leads it concerns; empty is all of them


class Recording(Protocol):
    """A recording that is read in blocks, so that a day of ECG never has to fit in memory."""

    @property
    def path(self) -> Path:
        """What `open_recording` opens again; annotations lie beside it, as `<name>.atr`."""

    @property
    def name(self) -> str:
        """Name of the record, without folder and extension."""

    @property
    def fs(self) -> float:
        """Samples a second and lead, Hz."""

    @property
    def leads(self) -> tuple[str, ...]:
        """Names of the leads, in the order of the file."""

    @property
    def units(self) -> tuple[str, ...]:
        """Unit of each lead in the file; `blocks` and `read` give mV of any voltage."""

    @property
    def n_samples(self) -> int:
        """Samples a lead, missing time included; of a file that does not state it, the first use reads it through."""

    @property
    def remarks(self) -> tuple[Remark, ...]:
        """What was assumed or left out when it was opened, and what its header or head shows to be implausible."""

    @property
    def age(self) -> int | None:
        """Age in years, where the file says so."""

    @property
    def sex(self) -> Sex | None:
        """M or F, where the file says so."""

    def blocks(self, seconds: float = 60.0, leads: Sequence[Lead] | None = None) -> Iterator[NDArray[np.float64]]:
        """Successive blocks of `seconds`, `(leads, n)` in mV; the last is shorter.

        Invalid samples are NaN. Time that the file has no samples for (between the parts of an interrupted recording,
        or a hole in its time stamps) is NaN in every lead, so that sample / fs is the time since the first sample.
        """

    def read(self, start: int = 0, stop: int | None = None, leads: Sequence[Lead] | None = None) -> NDArray[np.float64]:
        """Samples `start` to `stop` (not included), `(leads, n)` in mV, as `blocks` gives them."""


@dataclass(frozen=True)
class OpenOptions:
    """What a user states about a file that does not state it itself; None is not stated."""

    fs: float | None = None  # Hz
    unit: str | None = None
    columns: Sequence[Lead] | None = None
    truncated: Truncated = "error"
    uv_per_lsb: float | None = None  # uV, of a table that holds the counts of an A/D converter
    time_column: Lead | None = None  # of a table, where its head does not show which one holds the time


class Format(Protocol):
    """One file format of recordings: the `FORMAT` of a module in `records.formats`."""

    @property
    def name(self) -> str:
        """As a list of known formats has it, such as "WFDB record (.hea)"."""

    @property
    def states_rate(self) -> bool:
        """Whether its files always state their own rate and unit, so that nobody else may.

        Where they do not, `open` raises UsageError for a file whose rate is not known.
        """

    @property
    def in_folders(self) -> bool:
        """Whether `find` looks for its files; where their rate has to be stated, it cannot."""

    def recognise(self, path: Path) -> Path | None:
        """What `open` takes where `path` names a file of this format that is there; None where it does not.

        By its name and, where that does not tell, its first bytes; it reads no signal.
        """

    def find(self, folder: Path) -> Iterator[Path]:
        """Paths for `open` of this format's recordings directly in `folder`, in any order."""

    def open(self, path: Path, options: OpenOptions) -> Recording:
        """Open it.

        Raises:
            RecordError: it cannot be read.
        """


@dataclass(frozen=True)
class ArrayRecording:
    """A recording that is short enough to be held in memory."""

    path: Path
    fs: float  # Hz
    leads: tuple[str, ...]
    signal: NDArray[np.float64]  # (leads, n) mV, invalid samples as NaN
    age: int | None = None
    sex: Sex | None = None
    remarks: tuple[Remark, ...] = ()

    @property
    def name(self) -> str:
        """Name of the file, without extension."""
        return self.path.stem

    @property
    def units(self) -> tuple[str, ...]:
        """Millivolts of every lead."""
        return ("mV",) * len(self.leads)

    @property
    def n_samples(self) -> int:
        """Samples a lead."""
        return int(self.signal.shape[1])

    def blocks(self, seconds: float = 60.0, leads: Sequence[Lead] | None = None) -> Iterator[NDArray[np.float64]]:
        """Successive blocks of `seconds`, `(leads, n)` in mV; the last is shorter."""
        size = max(1, round(seconds * self.fs))
        for start in range(0, self.n_samples, size):
            yield self.read(start, start + size, leads)

    def read(self, start: int = 0, stop: int | None = None, leads: Sequence[Lead] | None = None) -> NDArray[np.float64]:
        """Samples `start` to `stop` (not included), `(leads, n)` in mV."""
        return self.signal[choose_leads(self.leads, leads, self.name), start:stop]


def read_of_blocks(blocks: Iterable[NDArray[np.float64]], start: int, stop: int | None) -> NDArray[np.float64]:
    """Samples `start` to `stop` (not included) of successive blocks `(leads, n)`, for files without random access."""
    kept, at = [], 0
    for block in blocks:
        if stop is not None and at >= stop:
            break
        kept.append(block[:, max(0, start - at) : None if stop is None else stop - at])
        at += block.shape[1]
    return np.concatenate(kept, axis=1)


def position_of(recording: Recording, lead: Lead) -> int:
    """Where a lead, given by name or position, stands among the leads.

    Raises:
        RecordError: no such lead.
    """
    return choose_leads(recording.leads, [lead], recording.name)[0]


def voltage_leads(recording: Recording) -> list[str]:
    """Names of the leads whose unit is a voltage: what a command takes where its user names no leads.

    Raises:
        RecordError: not one of them is.
    """
    voltages = [lead for lead, unit in zip(recording.leads, recording.units, strict=True) if is_voltage(unit)]
    if not voltages:
        raise RecordError(f"No lead of {recording.name} is a voltage. Name a recording that holds an ECG.")
    return voltages


def is_voltage(unit: str) -> bool:
    """Whether `millivolts_per` knows the unit.

    >>> is_voltage("uV"), is_voltage("mmHg")
    (True, False)
    """
    try:
        millivolts_per(unit)
    except RecordError:
        return False
    return True


def millivolts_per(unit: str) -> float:
    """How many mV one of `unit` is: V, mV, uV, µV or nV, in any case.

    Raises:
        RecordError: the unit is not a voltage that this package knows.

    >>> millivolts_per("uV"), millivolts_per("V")
    (0.001, 1000.0)
    """
    try:
        return _MILLIVOLTS[unit.strip().casefold()]
    except KeyError:
        raise RecordError(f"{unit!r} is not a voltage. Use a signal in V, mV, uV or nV.") from None


def choose_leads(available: Sequence[str], wanted: Sequence[Lead] | None, record: str) -> list[int]:
    """Positions in `available` of the wanted leads, each a name or a position counted from 0; None is all.

    A name is taken as it is, then without regard to case, then, if it is a number, as a position.

    Raises:
        RecordError: no such lead, or none wanted.

    >>> choose_leads(["II", "V1", "Resp"], ["v1", 0], "patient-07")
    [1, 0]
    """
    if wanted is None:
        return list(range(len(available)))
    if not wanted:
        raise RecordError(f"No lead of {record} was asked for. Name at least one of {_listed(available)}.")
    return [_choose_lead(available, lead, record) for lead in wanted]


def _choose_lead(available: Sequence[str], lead: Lead, record: str) -> int:
    if isinstance(lead, str):
        if lead in available:
            return list(available).index(lead)
        folded = [name.casefold() for name in available]
        if lead.casefold() in folded:
            return folded.index(lead.casefold())
    if isinstance(lead, int) or lead.isdecimal():
        position = int(lead)
        if 0 <= position < len(available):
            return position
    raise RecordError(
        f"{record} has no lead {lead!r}. It has {_listed(available)}: give one of these names or its "
        "position, counted from 0."
    )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)
