"""Opens one of many recordings and chooses its leads; any fault is a RecordError, for which the caller skips it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from ecgmoe_edge.errors import MissingExtra, RecordError, UsageError
from ecgmoe_edge.records.plausibility import Plausibility, check_plausibility
from ecgmoe_edge.records.recording import Lead, OpenOptions, Recording, Remark, is_voltage, position_of
from ecgmoe_edge.records.registry import open_recording

#: Leads that the user requests: names or indices; "all": all voltages; None: the first voltage.
LeadsWanted: TypeAlias = Sequence[Lead] | Literal["all"] | None


@dataclass(frozen=True)
class ChosenLeads:
    """The leads of one recording that a command processes."""

    positions: tuple[int, ...]  # indices of the leads
    usable: tuple[int, ...]  # indices of those that show an ECG
    remarks: tuple[Remark, ...]  # remarks of the recording and of the plausibility check

    def names(self, recording: Recording) -> tuple[str, ...]:
        """Names of the leads in the recording."""
        return tuple(recording.leads[position] for position in self.positions)


def open_in_batch(path: Path, stated: OpenOptions | None = None) -> Recording:
    """Open one of many recordings.

    Args:
        path: path, as `open_recording` accepts it.
        stated: properties of those files that do not state them; for other files they are ignored.

    Raises:
        RecordError: the recording cannot be opened for any reason, including an unknown sampling rate or a reader
            that is not installed.
    """
    try:
        if stated is None:
            return open_recording(path)
        try:
            return open_recording(path, **asdict(stated))
        except UsageError:  # the file states these properties itself, or needs others
            return open_recording(path, truncated=stated.truncated)
    except (UsageError, MissingExtra) as reason:
        raise RecordError(str(reason)) from reason


def chosen_leads(recording: Recording, wanted: LeadsWanted = None) -> ChosenLeads:
    """Choose leads of a recording and check their plausibility.

    Args:
        recording: the recording.
        wanted: names or indices of leads, of which at least one must have a signal; "all" chooses all voltages;
            None chooses the first voltage with a signal.

    Raises:
        RecordError: there is no such lead, a named lead is not a voltage, or no chosen lead has a signal.
    """
    if wanted is None:
        return _first(recording)
    if wanted == "all":
        checked = check_plausibility(recording)
        positions = [at for at, unit in enumerate(recording.units) if is_voltage(unit)]
    else:
        positions = list(dict.fromkeys(position_of(recording, lead) for lead in wanted))
        checked = check_plausibility(recording, positions)
    return _chosen(recording, positions, checked)


def _first(recording: Recording) -> ChosenLeads:
    voltages = [at for at, unit in enumerate(recording.units) if is_voltage(unit)]
    checked = check_plausibility(recording, voltages[:1] or None)
    if not checked.with_signal and len(voltages) > 1:
        checked = check_plausibility(recording, voltages)
    if not checked.with_signal:
        return _chosen(recording, voltages[:1], checked)
    position = checked.with_signal[0]
    remarks = checked.remarks
    if position:
        first, taken = recording.leads[0], recording.leads[position]
        why = f"The first lead, {first}, is in {recording.units[0]}" if 0 not in voltages else f"Lead {first} is flat"
        remarks = (Remark("lead", f"{why}: {taken} is used. Choose another with --leads.", (taken,)), *remarks)
    return _chosen(recording, [position], Plausibility((position,), checked.usable, remarks, checked.problem))


def _chosen(recording: Recording, positions: Sequence[int], checked: Plausibility) -> ChosenLeads:
    if not checked.with_signal:
        raise RecordError(checked.problem or f"{recording.name} contains no signal.")
    problem = (Remark("lead", checked.problem),) if checked.problem else ()
    remarks = (*recording.remarks, *checked.remarks, *problem)
    usable = tuple(position for position in positions if position in checked.usable)
    return ChosenLeads(tuple(positions), usable, tuple(dict.fromkeys(remarks)))
