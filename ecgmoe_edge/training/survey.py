"""Check of all recordings before training: which records and leads are used, which are left out, and why.

A fault in one record leaves out only that record; training continues with the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ecgmoe_edge.errors import RecordError, SignalError, UsageError
from ecgmoe_edge.records.annotations import read_annotations
from ecgmoe_edge.records.names import record_name
from ecgmoe_edge.records.opening import open_in_batch
from ecgmoe_edge.records.plausibility import Plausibility, check_plausibility
from ecgmoe_edge.records.recording import Lead, Recording, Remark, is_voltage, position_of
from ecgmoe_edge.training.config import DataSet
from ecgmoe_edge.training.examples_without_signal import read_rhythms
from ecgmoe_edge.training.limits import Clock
from ecgmoe_edge.training.sources import Division, Source
from ecgmoe_edge.worker_processes import worker_processes

_LISTED = 20  # number of records that an error message lists


@dataclass(frozen=True)
class RecordCheck:
    """The usable leads of one record, or the reason why it is left out."""

    leads: tuple[Lead, ...] = ()  # leads of the data set that can be used, or one lead that replaces them
    remarks: tuple[Remark, ...] = ()
    why_left_out: str | None = None


@dataclass(frozen=True)
class Survey:
    """Result of the check of all records. Records are named "set/record"."""

    divisions: tuple[Division, ...]  # without the records and leads that cannot be used
    left_out: Mapping[str, str] = field(default_factory=dict)  # reason by record
    remarks: Mapping[str, tuple[Remark, ...]] = field(default_factory=dict)  # remarks by record


def survey(
    divisions: Sequence[Division],
    is_made: Callable[[Source], bool] = lambda _: False,
    *,
    jobs: int = 1,
    clock: Clock | None = None,
) -> Survey:
    """Check the records of divided data sets, and leave out those that cannot be used.

    Args:
        divisions: results of `divide`.
        is_made: returns whether the examples of a run exist; a record is not checked if those of all its runs do.
        jobs: number of processes.
        clock: time limit; None for no limit.

    Raises:
        UsageError: no record is left to fit on.
        OutOfTime: the time limit is reached.
    """
    clock = clock or Clock()
    runs: dict[tuple[str, Path], list[Source]] = {}
    for source in (one for division in divisions for one in (*division.fit, *division.validation)):
        runs.setdefault((source.data.name, source.path), []).append(source)
    waiting = {key: of_record[0] for key, of_record in runs.items() if not all(map(is_made, of_record))}
    checks = dict(zip(waiting, _check_all(list(waiting.values()), jobs, clock), strict=True))
    usable = tuple(_without_unusable(division, checks) for division in divisions)
    by_name = {f"{data}/{record_name(path)}": check for (data, path), check in checks.items()}
    left_out = {name: why for division in divisions for name, why in division.left_out.items()}
    left_out |= {name: one.why_left_out for name, one in by_name.items() if one.why_left_out is not None}
    if not any(division.fit for division in usable):
        raise UsageError(f"No record is left to fit on. {listed(left_out)}")
    return Survey(usable, left_out, {name: one.remarks for name, one in by_name.items() if one.remarks})


def listed(left_out: Mapping[str, str]) -> str:
    """List records and the reasons why they cannot be used, in one line."""
    named = [f"{name}: {why}" for name, why in left_out.items()]
    more = f" And {len(named) - _LISTED} more." if len(named) > _LISTED else ""
    return f"{len(named)} cannot be used: {' '.join(named[:_LISTED])}{more}"


def check_record(source: Source) -> RecordCheck:
    """Find the usable leads of a record. An error in the record is returned as reason and not raised."""
    try:
        if source.data.labels == "rhythm-annotations":
            read_rhythms(source)
            return RecordCheck(source.data.leads)
        recording = open_in_batch(source.path)
        if source.data.labels == "beats":
            read_annotations(recording, source.data.annotator)
        return _check_leads(recording, source.data)
    except (RecordError, SignalError) as reason:
        return RecordCheck(why_left_out=str(reason))


def _check_leads(recording: Recording, data: DataSet) -> RecordCheck:
    present = {lead: at for lead in data.leads if (at := _position(recording, lead)) is not None}
    seen = check_plausibility(recording, list(present.values())) if present else None
    usable = [lead for lead, at in present.items() if seen and at in _usable_positions(seen, data)]
    absent = [lead for lead in data.leads if lead not in usable]
    if usable:
        absences = [_absent(recording, lead, usable) for lead in absent]
        return RecordCheck(tuple(usable), _remarks(recording, seen, absences))
    if all(isinstance(lead, int) for lead in data.leads):  # leads are given by number, so another lead may replace them
        seen = check_plausibility(recording)
        positions = _usable_positions(seen, data)
        if positions:
            taken = recording.leads[positions[0]]
            text = f"Lead {data.leads[0]} of the data set cannot be used: {taken} is used instead."
            return RecordCheck((positions[0],), _remarks(recording, seen, [Remark("lead", text, (taken,))]))
    if seen is None:
        names = ", ".join(map(str, data.leads))
        raise RecordError(f"{recording.name} has no voltage {names}. It has {', '.join(recording.leads)}.")
    raise RecordError(seen.problem or f"{recording.name} contains no signal.")


def _position(recording: Recording, lead: Lead) -> int | None:
    try:
        at = position_of(recording, lead)
    except RecordError:
        return None
    return at if is_voltage(recording.units[at]) else None


def _usable_positions(seen: Plausibility, data: DataSet) -> tuple[int, ...]:
    """Return the positions of the usable leads.

    A lead with beat labels must show beats. A lead with a label for the whole record can also be noise.
    """
    return seen.usable if data.labels == "beats" else seen.with_signal


def _remarks(recording: Recording, seen: Plausibility | None, further: Iterable[Remark]) -> tuple[Remark, ...]:
    return tuple(dict.fromkeys((*recording.remarks, *(seen.remarks if seen else ()), *further)))


def _absent(recording: Recording, lead: Lead, usable: Sequence[Lead]) -> Remark:
    names = ", ".join(recording.leads[position_of(recording, one)] for one in usable)
    return Remark("lead", f"Lead {lead} is absent or cannot be used: only {names} is used.")


def _without_unusable(division: Division, checks: Mapping[tuple[str, Path], RecordCheck]) -> Division:
    """Return a division without unusable leads; if the first lead is unusable, another lead replaces it."""

    def kept(source: Source) -> Source | None:
        check = checks.get((source.data.name, source.path))
        if check is None or source.lead in check.leads:
            return source
        is_first = source.lead == source.data.leads[0]
        return replace(source, lead=check.leads[0]) if is_first and check.leads else None

    fit = [one for source in division.fit if (one := kept(source)) is not None]
    validation = [one for source in division.validation if (one := kept(source)) is not None]
    return replace(division, fit=tuple(dict.fromkeys(fit)), validation=tuple(dict.fromkeys(validation)))


def _check_all(sources: Sequence[Source], jobs: int, clock: Clock) -> list[RecordCheck]:
    if jobs <= 1 or len(sources) <= 1:
        return [_check_in_time(source, clock) for source in sources]
    found: list[RecordCheck] = []
    with worker_processes(min(jobs, len(sources))) as pool:
        for check in pool.map(check_record, sources, chunksize=max(1, min(16, len(sources) // (4 * jobs)))):
            clock.check()
            found.append(check)
    return found


def _check_in_time(source: Source, clock: Clock) -> RecordCheck:
    clock.check()
    return check_record(source)
