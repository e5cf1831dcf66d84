"""What of the recordings can be trained on, found out before the long work begins: what is left out, and why.

Records are opened and judged; whatever is wrong with one is its own reason to be left out, and the rest goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path

from ecgmoe_edge.errors import RecordError, SignalError, UsageError
from ecgmoe_edge.records.annotations import read_annotations
from ecgmoe_edge.records.names import record_name
from ecgmoe_edge.records.opening import open_in_batch
from ecgmoe_edge.records.plausibility import Plausibility, check_plausibility
from ecgmoe_edge.records.recording import Lead, Recording, Remark, is_voltage, position_of
from ecgmoe_edge.training.config import DataSet
from ecgmoe_edge.training.limits import Clock
from ecgmoe_edge.training.sources import Division, Source

_LISTED = 20  # records in the message of a refusal


@dataclass(frozen=True)
class Finding:
    """What can be used of one record."""

    leads: tuple[Lead, ...] = ()  # as the data set names them; or the one lead that is taken instead
    remarks: tuple[Remark, ...] = ()
    why_not: str | None = None  # why it is left out


@dataclass(frozen=True)
class Survey:
    """What is trained on. Records are named "set/record"."""

    divisions: tuple[Division, ...]  # without what cannot be used
    left_out: Mapping[str, str] = field(default_factory=dict)  # record -> why
    remarks: Mapping[str, tuple[Remark, ...]] = field(default_factory=dict)


def survey(
    divisions: Sequence[Division],
    is_made: Callable[[Source], bool] = lambda _: False,
    *,
    jobs: int = 1,
    clock: Clock | None = None,
) -> Survey:
    """Judge the records of divided data sets, and leave out what cannot be used.

    Args:
        divisions: as `divide` gives them.
        is_made: whether the examples of a run are there already; a record of which all are is not looked at again.
        jobs: processes.
        clock: how long it may take; None for ever.

    Raises:
        UsageError: nothing is left to fit on.
        OutOfTime: the clock ended.
    """
    clock = clock or Clock()
    runs: dict[tuple[str, Path], list[Source]] = {}
    for source in (one for division in divisions for one in (*division.fit, *division.validation)):
        runs.setdefault((source.data.name, source.path), []).append(source)
    waiting = {key: of_record[0] for key, of_record in runs.items() if not all(map(is_made, of_record))}
    findings = dict(zip(waiting, _findings(list(waiting.values()), jobs, clock), strict=True))
    made = tuple(_without(division, findings) for division in divisions)
    of_name = {f"{data}/{record_name(path)}": finding for (data, path), finding in findings.items()}
    left_out = {name: why for division in divisions for name, why in division.left_out.items()}
    left_out |= {name: one.why_not for name, one in of_name.items() if one.why_not is not None}
    if not any(division.fit for division in made):
        raise UsageError(f"No record is left to fit on. {listed(left_out)}")
    return Survey(made, left_out, {name: one.remarks for name, one in of_name.items() if one.remarks})


def listed(left_out: Mapping[str, str]) -> str:
    """Records and why they cannot be used, in one line."""
    named = [f"{name}: {why}" for name, why in left_out.items()]
    more = f" And {len(named) - _LISTED} more." if len(named) > _LISTED else ""
    return f"{len(named)} cannot be used: {' '.join(named[:_LISTED])}{more}"


def find_usable(source: Source) -> Finding:
    """Which leads of a record can be trained on; nothing is raised for what is wrong with it."""
    try:
        recording = open_in_batch(source.path)
        if source.data.labels == "beats":
            read_annotations(recording, source.data.annotator)
        return _of_leads(recording, source.data)
    except (RecordError, SignalError) as reason:
        return Finding(why_not=str(reason))


def _of_leads(recording: Recording, data: DataSet) -> Finding:
    there = {lead: at for lead in data.leads if (at := _position(recording, lead)) is not None}
    seen = check_plausibility(recording, list(there.values())) if there else None
    usable = [lead for lead, at in there.items() if seen and at in _good(seen, data)]
    absent = [lead for lead in data.leads if lead not in usable]
    if usable:
        return Finding(tuple(usable), _remarks(recording, seen, [_absent(recording, lead, usable) for lead in absent]))
    if all(isinstance(lead, int) for lead in data.leads):  # no lead was named: any will do
        seen = check_plausibility(recording)
        good = _good(seen, data)
        if good:
            taken = recording.leads[good[0]]
            text = f"The lead that the data set names, {data.leads[0]}, cannot be used: {taken} is used."
            return Finding((good[0],), _remarks(recording, seen, [Remark("lead", text, (taken,))]))
    if seen is None:
        names = ", ".join(map(str, data.leads))
        raise RecordError(f"{recording.name} has no voltage {names}. It has {', '.join(recording.leads)}.")
    raise RecordError(seen.problem or f"{recording.name} holds no signal.")


def _position(recording: Recording, lead: Lead) -> int | None:
    try:
        at = position_of(recording, lead)
    except RecordError:
        return None
    return at if is_voltage(recording.units[at]) else None


def _good(seen: Plausibility, data: DataSet) -> tuple[int, ...]:
    """Where beats are learnt a lead shows some; of a whole record, noise may be what there is to learn."""
    return seen.usable if data.labels == "beats" else seen.with_signal


def _remarks(recording: Recording, seen: Plausibility | None, further: Iterable[Remark]) -> tuple[Remark, ...]:
    return tuple(dict.fromkeys((*recording.remarks, *(seen.remarks if seen else ()), *further)))


def _absent(recording: Recording, lead: Lead, usable: Sequence[Lead]) -> Remark:
    names = ", ".join(recording.leads[position_of(recording, one)] for one in usable)
    return Remark("lead", f"Lead {lead} is absent or cannot be used: {names} is used alone.")


def _without(division: Division, findings: Mapping[tuple[str, Path], Finding]) -> Division:
    def kept(source: Source) -> Source | None:
        finding = findings.get((source.data.name, source.path))
        if finding is None or source.lead in finding.leads:
            return source
        is_first = source.lead == source.data.leads[0]
        return replace(source, lead=finding.leads[0]) if is_first and finding.leads else None

    fit = [one for source in division.fit if (one := kept(source)) is not None]
    validation = [one for source in division.validation if (one := kept(source)) is not None]
    return replace(division, fit=tuple(dict.fromkeys(fit)), validation=tuple(dict.fromkeys(validation)))


def _findings(sources: Sequence[Source], jobs: int, clock: Clock) -> list[Finding]:
    if jobs <= 1 or len(sources) <= 1:
        return [_timely(source, clock) for source in sources]
    with ProcessPoolExecutor(min(jobs, len(sources)), mp_context=get_context("spawn")) as pool:
        try:
            found = []
            for finding in pool.map(find_usable, sources, chunksize=max(1, min(16, len(sources) // (4 * jobs)))):
                clock.check()
                found.append(finding)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
        return found


def _timely(source: Source, clock: Clock) -> Finding:
    clock.check()
    return find_usable(source)
