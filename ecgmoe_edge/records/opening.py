"""One of many recordings opened and judged: whatever is wrong with it is its own reason to be left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from ecgmoe_edge.errors import MissingExtra, RecordError, UsageError
from ecgmoe_edge.records.plausibility import Judgement, examine
from ecgmoe_edge.records.recording import Lead, OpenOptions, Recording, Remark, is_voltage, position_of
from ecgmoe_edge.records.registry import open_recording

#: Leads that a command is given: names and positions; "all" that are voltages; None, the first that is one.
LeadsWanted: TypeAlias = Sequence[Lead] | Literal["all"] | None


@dataclass(frozen=True)
class ChosenLeads:
    """The leads of one recording that a command runs."""

    positions: tuple[int, ...]
    usable: tuple[int, ...]  # those of them that show an ECG
    remarks: tuple[Remark, ...]  # the recording's own and those of its judgement

    def names(self, recording: Recording) -> tuple[str, ...]:
        """As the recording has them."""
        return tuple(recording.leads[position] for position in self.positions)


def open_of_many(path: Path, stated: OpenOptions | None = None) -> Recording:
    """Open one of many recordings.

    Args:
        path: as `open_recording` takes it.
        stated: what the user states of files that do not state it themselves; one that does keeps its own.

    Raises:
        RecordError: it cannot be opened, for whatever reason: no rate is stated, its reader is not installed.
    """
    try:
        if stated is None:
            return open_recording(path)
        try:
            return open_recording(path, **asdict(stated))
        except UsageError:  # it states its own, or nothing that it needs was stated
            return open_recording(path)
    except (UsageError, MissingExtra) as reason:
        raise RecordError(str(reason)) from reason


def chosen_leads(recording: Recording, wanted: LeadsWanted = None) -> ChosenLeads:
    """The wanted leads of a recording, judged.

    None takes the first lead that is a voltage and holds a signal. Named leads are taken as they are, so long as one of
    them holds a signal.

    Raises:
        RecordError: no such lead, a named one that is no voltage, or none of them holds a signal.
    """
    if wanted is None:
        return _first(recording)
    if wanted == "all":
        seen = examine(recording)
        positions = [at for at, unit in enumerate(recording.units) if is_voltage(unit)]
    else:
        positions = list(dict.fromkeys(position_of(recording, lead) for lead in wanted))
        seen = examine(recording, positions)
    return _chosen(recording, positions, seen)


def _first(recording: Recording) -> ChosenLeads:
    voltages = [at for at, unit in enumerate(recording.units) if is_voltage(unit)]
    seen = examine(recording, voltages[:1] or None)
    if not seen.moving and len(voltages) > 1:
        seen = examine(recording, voltages)
    if not seen.moving:
        return _chosen(recording, voltages[:1], seen)
    position = seen.moving[0]
    remarks = seen.remarks
    if position:
        first, taken = recording.leads[0], recording.leads[position]
        why = f"The first lead, {first}, is in {recording.units[0]}" if 0 not in voltages else f"Lead {first} is still"
        remarks = (Remark("lead", f"{why}: {taken} is used. Another is named with --leads.", (taken,)), *remarks)
    return _chosen(recording, [position], Judgement((position,), seen.usable, remarks, seen.problem))


def _chosen(recording: Recording, positions: Sequence[int], seen: Judgement) -> ChosenLeads:
    if not seen.moving:
        raise RecordError(seen.problem or f"{recording.name} holds no signal.")
    problem = (Remark("lead", seen.problem),) if seen.problem else ()
    remarks = (*recording.remarks, *seen.remarks, *problem)
    usable = tuple(position for position in positions if position in seen.usable)
    return ChosenLeads(tuple(positions), usable, tuple(dict.fromkeys(remarks)))
