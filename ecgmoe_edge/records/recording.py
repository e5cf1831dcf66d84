"""The interface of a recording of any format: a sampling rate, named leads, and blocks of samples in mV."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.errors import RecordError

Lead: TypeAlias = str | int
Sex: TypeAlias = Literal["M", "F"]
Truncated: TypeAlias = Literal["error", "read"]
#: The second half of the advice about a truncated file.
READ_TRUNCATED = "read what is present: --truncated in `replay` and `evaluate`, truncated='read' in Python"
#: Labels of a whole recording by task: a class of a classification, or a number in the unit of a regression.
Facts: TypeAlias = Mapping[str, str | float]

_MILLIVOLTS: dict[str, float] = {"v": 1e3, "mv": 1.0, "uv": 1e-3, "µv": 1e-3, "μv": 1e-3, "nv": 1e-6}
_SEXES: Mapping[Sex, str] = MappingProxyType({"F": "female", "M": "male"})

_SPELLED_UNITS = {
    "microvolt": "uV", "uvolt": "uV", "mcv": "uV", "millivolt": "mV", "mvolt": "mV", "volt": "V", "nanovolt": "nV",
    "microvol": "uV", "millivol": "mV",  # cut to the eight characters of EDF
}  # fmt: skip
_MICRO_SIGN = re.compile(r"[^\x00-\x7f\ufffd]{1,2}(?=[vV]\Z)")

#: The subject of a remark.
RemarkKind: TypeAlias = Literal["rate", "unit", "gain", "amplitude", "time", "lead", "length", "label", "encoding"]


@dataclass(frozen=True)
class Remark:
    """A note for the user about a recording: an assumed value, ignored data or an implausible value."""

    kind: RemarkKind
    text: str  # a complete sentence that states the finding and, if there is one, the option that corrects it
    leads: tuple[str, ...] = ()  # names of the leads concerned; empty: all leads


class Recording(Protocol):
    """A recording. It is read in blocks, so that a day of ECG need not fit in memory."""

    @property
    def path(self) -> Path:
        """The path that `open_recording` accepts; annotations are in the same folder, as `<name>.atr`."""

    @property
    def name(self) -> str:
        """Name of the record, without folder and extension."""

    @property
    def fs(self) -> float:
        """Sampling rate of the leads, Hz."""

    @property
    def leads(self) -> tuple[str, ...]:
        """Names of the leads, in the order of the file."""

    @property
    def units(self) -> tuple[str, ...]:
        """Unit of each lead in the file; `blocks` and `read` convert every voltage to mV."""

    @property
    def n_samples(self) -> int:
        """Samples per lead, including missing time; if the file does not state it, the first use reads the file."""

    @property
    def remarks(self) -> tuple[Remark, ...]:
        """Assumed values, ignored data, and implausible values in the header or the first samples."""

    @property
    def age(self) -> int | None:
        """Age in years; None if the file does not state it."""

    @property
    def sex(self) -> Sex | None:
        """M or F; None if the file does not state it."""

    def blocks(self, seconds: float = 60.0, leads: Sequence[Lead] | None = None) -> Iterator[NDArray[np.float64]]:
        """Read the recording in successive blocks.

        Invalid samples are NaN. Missing time (a period without samples between the parts of an interrupted recording,
        or a gap in the time stamps) is NaN in every lead, so that sample / fs is the time since the first sample.

        Args:
            seconds: length of a block, s; the last block is shorter.
            leads: names or indices of the leads; None reads all.

        Yields:
            Blocks `(leads, n)` in mV.

        Raises:
            RecordError: there is no such lead, or the signal cannot be read.
        """

    def read(self, start: int = 0, stop: int | None = None, leads: Sequence[Lead] | None = None) -> NDArray[np.float64]:
        """Samples from `start` up to, but not including, `stop`: `(leads, n)` in mV, as `blocks` yields them."""


@dataclass(frozen=True)
class OpenOptions:
    """Properties that the user states for a file that does not state them; None: not stated."""

    fs: float | None = None  # sampling rate, Hz
    unit: str | None = None
    columns: Sequence[Lead] | None = None  # columns of a table to read as leads
    truncated: Truncated = "error"  # "read": read a truncated file up to its end
    uv_per_lsb: float | None = None  # uV per count of the A/D converter
    time_column: Lead | None = None  # column of a table that holds the time


class Format(Protocol):
    """A file format of recordings: the object `FORMAT` of a module in `records.formats`."""

    @property
    def name(self) -> str:
        """Name of the format in messages, such as "WFDB record (.hea)"."""

    @property
    def states_rate(self) -> bool:
        """Whether files of this format always state their rate and unit, so that the user must not state them.

        If not, `open` raises UsageError for a file whose rate is unknown.
        """

    @property
    def in_folders(self) -> bool:
        """Whether `find` searches for files of this format; it cannot if the user has to state their rate."""

    def recognise(self, path: Path) -> Path | None:
        """The path that `open` accepts if `path` names an existing file of this format; otherwise None.

        The decision uses the name and, if that is not sufficient, the first bytes; the signal is not read.
        """

    def find(self, folder: Path) -> Iterator[Path]:
        """Paths, as `open` accepts them, of the recordings of this format directly in `folder`, in any order."""

    def open(self, path: Path, options: OpenOptions) -> Recording:
        """Open a recording.

        Raises:
            RecordError: the recording cannot be read.
            UsageError: a property is neither stated by the file nor by the user, or is stated by both.
        """


@dataclass(frozen=True)
class ArrayRecording:
    """A recording in memory."""

    path: Path
    fs: float  # Hz
    leads: tuple[str, ...]
    signal: NDArray[np.float64]  # (leads, n) in mV; invalid samples are NaN
    age: int | None = None
    sex: Sex | None = None
    remarks: tuple[Remark, ...] = ()

    @property
    def name(self) -> str:
        """Name of the file, without extension."""
        return self.path.stem

    @property
    def units(self) -> tuple[str, ...]:
        """Millivolts for every lead."""
        return ("mV",) * len(self.leads)

    @property
    def n_samples(self) -> int:
        """Samples per lead."""
        return int(self.signal.shape[1])

    def blocks(self, seconds: float = 60.0, leads: Sequence[Lead] | None = None) -> Iterator[NDArray[np.float64]]:
        """Successive blocks of `seconds`, `(leads, n)` in mV; the last block is shorter."""
        return blocks_by_reading(self, seconds, leads)

    def read(self, start: int = 0, stop: int | None = None, leads: Sequence[Lead] | None = None) -> NDArray[np.float64]:
        """Samples from `start` up to, but not including, `stop`: `(leads, n)` in mV."""
        return self.signal[choose_leads(self.leads, leads, self.name), start:stop]


def blocks_by_reading(
    recording: Recording, seconds: float, leads: Sequence[Lead] | None
) -> Iterator[NDArray[np.float64]]:
    """Successive blocks of `seconds` of a recording that can be read from any sample on."""
    size = max(1, round(seconds * recording.fs))
    for start in range(0, recording.n_samples, size):
        yield recording.read(start, min(start + size, recording.n_samples), leads)


def checked_stop(recording: Recording, start: int, stop: int | None) -> int:
    """The sample after the last that `read` returns: `stop`, but not after the end of the recording.

    Raises:
        RecordError: there is no sample `start`, or `stop` is before it.
    """
    stop = recording.n_samples if stop is None else min(stop, recording.n_samples)
    if start < 0 or start > stop:
        raise RecordError(
            f"{recording.name} has samples 0 to {recording.n_samples}; {start} to {stop} is not among them."
        )
    return stop


def read_from_blocks(blocks: Iterable[NDArray[np.float64]], start: int, stop: int | None) -> NDArray[np.float64]:
    """Samples from `start` up to, but not including, `stop`, for files without random access.

    Args:
        blocks: successive blocks of the recording, `(leads, n)`.
        start: first sample.
        stop: sample after the last; None reads to the end.
    """
    kept, at = [], 0
    for block in blocks:
        if stop is not None and at >= stop:
            break
        kept.append(block[:, max(0, start - at) : None if stop is None else stop - at])
        at += block.shape[1]
    return np.concatenate(kept, axis=1)


def position_of(recording: Recording, lead: Lead) -> int:
    """Index of a lead that is given by name or index.

    Raises:
        RecordError: there is no such lead.
    """
    return choose_leads(recording.leads, [lead], recording.name)[0]


def voltage_leads(recording: Recording) -> list[str]:
    """Names of the leads whose unit is a voltage; commands use them if the user names no leads.

    Raises:
        RecordError: no lead has a voltage as its unit.
    """
    voltages = [lead for lead, unit in zip(recording.leads, recording.units, strict=True) if is_voltage(unit)]
    if not voltages:
        raise RecordError(no_voltage(recording))
    return voltages


def no_voltage(recording: Recording) -> str:
    """A sentence about a recording without a voltage."""
    units = [f"{lead} in {unit or 'no unit'}" for lead, unit in zip(recording.leads, recording.units, strict=True)]
    return (
        f"No lead of {recording.name} is a voltage ({_listed(units)}): correct the unit in the header if one is an "
        "ECG, or name another recording."
    )


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


def usual_unit(unit: str) -> str:
    """A unit with one spelling of the micro sign, U+00B5, and with the symbols of volts, as far as it is one of volts.

    Files have the micro sign in several encodings, of which some are decoded as other characters: a character that is
    not ASCII before V is a micro sign, because milli, nano and kilo are ASCII.

    >>> usual_unit("\u03bcV"), usual_unit("microvolts"), usual_unit("mmHg")
    ('µV', 'uV', 'mmHg')
    """
    spelled = _SPELLED_UNITS.get(unit.casefold().replace("\u03bc", "u").removesuffix("s"))  # casefold gives U+03BC
    return spelled or _MICRO_SIGN.sub("\u00b5", unit)


def millivolts_per(unit: str) -> float:
    """Millivolts per unit. Known units are V, mV, uV, µV and nV, in upper or lower case.

    >>> millivolts_per("uV")
    0.001

    Raises:
        RecordError: the unit is not a known voltage.

    >>> millivolts_per("uV"), millivolts_per("V")
    (0.001, 1000.0)
    """
    try:
        return _MILLIVOLTS[unit.strip().casefold()]
    except KeyError:
        raise RecordError(f"{unit!r} is not a voltage. Use a signal in V, mV, uV or nV.") from None


def choose_leads(available: Sequence[str], wanted: Sequence[Lead] | None, record: str) -> list[int]:
    """Indices of the wanted leads.

    Args:
        available: names of the leads.
        wanted: names or indices from 0; None selects all. A name is compared exactly, then without regard to case,
            and then, if it is a number, used as an index.
        record: name of the recording, for messages.

    Raises:
        RecordError: there is no such lead, or `wanted` is empty.

    >>> choose_leads(["II", "V1", "Resp"], ["v1", 0], "patient-07")
    [1, 0]
    """
    if wanted is None:
        return list(range(len(available)))
    if not wanted:
        raise RecordError(f"No lead of {record} was named. Name at least one of {_listed(available)}.")
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


def stated_facts(age: float | None = None, sex: Sex | None = None, **further: str | float | None) -> Facts:
    """The labels that are known: age in years, sex, and the class or value of other tasks by their names.

    >>> stated_facts(63, "F", potassium=None)
    {'age': 63, 'sex': 'female'}
    """
    facts = {"age": age, "sex": None if sex is None else _SEXES[sex], **further}
    return {name: value for name, value in facts.items() if value is not None}


def facts_of(recording: Recording) -> Facts:
    """The labels in the header of a recording."""
    return stated_facts(recording.age, recording.sex)
