"""The state of the monitor, buffer by buffer: the memory that an implementation on a microcontroller needs.

    python -m ecgmoe_edge.streaming.state [FS]

prints the table of docs/architecture.md. The lengths are those of the objects that own the buffers, so the table is
always up to date; sizes are in float32. The buffers in Python are longer, since they take a minute of signal at once.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass

from ecgmoe_edge.streaming.patient.lead_history import AMPLITUDE_BEATS, TEMPLATE_BEATS
from ecgmoe_edge.streaming.patient.rr_history import RR_FEATURE_NAMES, RR_MEMORY, RR_SEQUENCE
from ecgmoe_edge.streaming.patient.shapes import ShapeMemory
from ecgmoe_edge.streaming.qrs.candidates import DOMINANCE_S, WAVEFORM, CandidateFinder
from ecgmoe_edge.streaming.qrs.detector import MOST_REJECTED
from ecgmoe_edge.streaming.qrs.lead_memory import LOUD_PEAKS
from ecgmoe_edge.streaming.qrs.rating import MEMORY
from ecgmoe_edge.streaming.signal.bridge import HoleBridge
from ecgmoe_edge.streaming.signal.filters import CausalFilter
from ecgmoe_edge.streaming.signal.lead import LeadSignal
from ecgmoe_edge.streaming.signal.mains import HumFilter
from ecgmoe_edge.streaming.signal.pacing import SpikeFilter
from ecgmoe_edge.streaming.signal.quality import SignalQuality
from ecgmoe_edge.streaming.signal.windows import BEAT_GRID
from ecgmoe_edge.streaming.unusable import LARGEST_MV

BYTES = 4  # size of a float32, and of an int32

_CANDIDATE = WAVEFORM + 12  # waveform, five ratios, energy, its logarithm, energy that follows, four sample numbers
_LEARNING_S = 2.0  # candidates of this time are collected before the first beat
_WAITING = 4  # candidates before the energy after them is known, and beats before their window is complete


@dataclass(frozen=True)
class Buffer:
    """One buffer of numbers with four bytes each."""

    name: str
    length: int

    @property
    def bytes(self) -> int:
        """Size in bytes."""
        return BYTES * self.length


def lead_buffers(fs: float) -> tuple[Buffer, ...]:
    """Return the buffers of each lead, at a sampling rate of `fs` Hz."""
    lead = LeadSignal(0, fs, BEAT_GRID)
    finder = lead.finder
    longest = HoleBridge(fs, 1, LARGEST_MV).longest
    learning = round(_LEARNING_S / DOMINANCE_S) + 1
    return (
        Buffer("filters: two numbers for each second-order section", _filter_state(lead.band, finder)),
        Buffer("pacing: the last 40 ms, and a possible spike", SpikeFilter(0, fs).length),
        Buffer(
            "holes: the longest one, and one bit for each sample: bridged or not",
            longest + 1 + -(-lead.signal.keep // 32),
        ),
        Buffer("mains: one second, and its phasors", HumFilter(fs).block + 2 * 3 * 4 + 16),
        Buffer("unfiltered signal", lead.raw.keep),
        Buffer("signal in the monitoring band", lead.signal.keep),
        Buffer("energies of three bands, background, QRS band", finder.past.keep * finder.past.rows),
        Buffer("cumulative sums of slopes", finder.sums.block + 2 * finder.sums.width),
        Buffer(
            f"candidates: {learning} while learning, else {MOST_REJECTED} rejected; {LOUD_PEAKS} loud, {_WAITING} open",
            _CANDIDATE * (max(learning, MOST_REJECTED) + LOUD_PEAKS + _WAITING),
        ),
        Buffer(f"waveforms and energies of the last {MEMORY} beats and {MEMORY} others", MEMORY * (WAVEFORM + 3)),
        Buffer(f"windows of the last {TEMPLATE_BEATS} beats", TEMPLATE_BEATS * BEAT_GRID.size),
        Buffer(f"R amplitudes of the last {AMPLITUDE_BEATS} beats, in order and sorted", 2 * AMPLITUDE_BEATS),
        Buffer("quality: R amplitude and steepness of beats, mean signal before and around R", SignalQuality.length),
    )


def patient_buffers() -> tuple[Buffer, ...]:
    """Return the buffers that all leads share."""
    shapes = ShapeMemory(0.85, 0.85)
    return (
        Buffer(f"the last {RR_MEMORY} RR intervals, in order and sorted", 2 * RR_MEMORY),
        Buffer("the last 64, 32 and 16 RR intervals and their steps", 2 * 64 + 32 + 15 + 2 * 31),
        Buffer(f"RR sequence of {RR_SEQUENCE} and features", 2 * RR_SEQUENCE + len(RR_FEATURE_NAMES)),
        Buffer("beat shapes with their margins", shapes.length),
        Buffer(f"timing of the last {MEMORY} beats; decision rule; rhythm", 4 * MEMORY + 48),
    )


def _filter_state(band: CausalFilter, finder: CandidateFinder) -> int:
    return sum(2 * each.sections for each in (band, *finder.bands))


def table(fs: float) -> str:
    """Return the buffers as a table in Markdown; `fs` in Hz."""

    def rows(buffers: Iterable[Buffer]) -> list[str]:
        return [f"| {buffer.name} | {buffer.length} | {buffer.bytes} |" for buffer in buffers]

    lead, patient = lead_buffers(fs), patient_buffers()
    return "\n".join(
        (
            f"| buffer at {fs:g} Hz | numbers | bytes |",
            "| --- | ---: | ---: |",
            *rows(lead),
            f"| **one lead** | {sum(b.length for b in lead)} | {sum(b.bytes for b in lead)} |",
            *rows(patient),
            f"| **shared by all leads** | {sum(b.length for b in patient)} | {sum(b.bytes for b in patient)} |",
        )
    )


if __name__ == "__main__":
    sys.stdout.write(table(float(sys.argv[1]) if len(sys.argv) > 1 else 250.0) + "\n")
