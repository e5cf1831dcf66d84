"""The events of a live stream: what a monitor reports, one JSON line each, every key with its unit.

All of these types are public. A JSON line has the kind of the event under "event" and the number of this description
under "schema"; `docs/events.md` lists what each number changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal, TypeAlias, get_args

__all__ = [
    "EVENT_SCHEMA",
    "NO_ECG",
    "UNUSABLE",
    "Beat",
    "Clipping",
    "Clock",
    "End",
    "Event",
    "EventKind",
    "FallingBehind",
    "Flatline",
    "FlatlineKind",
    "Gap",
    "GapReason",
    "LeadChange",
    "LeadOff",
    "LeadReason",
    "Mains",
    "ModelFault",
    "NotchState",
    "PacingSpike",
    "Reconnect",
    "Rhythm",
    "RhythmPhase",
    "Stall",
    "UnusableReason",
    "to_json",
]

EVENT_SCHEMA: Final = 2

EventKind: TypeAlias = Literal[
    "beat",
    "rhythm",
    "gap",
    "stall",
    "reconnect",
    "falling_behind",
    "clock",
    "lead_off",
    "lead_change",
    "flatline",
    "clipping",
    "model_fault",
    "mains",
    "pacing_spike",
    "end",
]
GapReason: TypeAlias = Literal["link", "device overflow", "host overflow", "reconnect", "restart", "nan", "range"]
LeadReason: TypeAlias = Literal["start", "off", "nan", "range", "flat", "rail", "settling", "noise", "no ECG"]
FlatlineKind: TypeAlias = Literal["flat", "rail"]
NotchState: TypeAlias = Literal["in", "out", "not possible at this rate"]
RhythmPhase: TypeAlias = Literal["begin", "end"]

NO_ECG: Final = "no ECG"  # the reason of a lead whose signal is none of a heart
# Reasons of a gap of samples that came and are no use.
UnusableReason: TypeAlias = Literal["nan", "range"]
#: Reasons after which a signal is a new one, however few samples were lost.
NEW_SIGNAL: Final[tuple[GapReason, ...]] = ("reconnect", "restart")
UNUSABLE: Final[tuple[UnusableReason, ...]] = get_args(UnusableReason)


@dataclass(frozen=True)
class Beat:
    """One heart beat, final when it comes.

    `delay_ms` is (sample at which the event came out - R) / fs, counted in samples (causal delay, not compute time).
    `label` is N, S, V or F; `?` a beat too poor to call; None where no classifier runs (R peaks only).
    """

    sample: int  # R peak, counted from the stream's first sample, lost samples included
    time_s: float  # sample / fs
    rr_ms: float | None  # to the R peak before; None at the start and after a gap
    label: str | None
    scores: Mapping[str, float]  # class -> probability after the label rule
    experts: Mapping[str, int]  # path -> index of the expert that ran
    quality: float  # 0 (unusable) .. 1 (clean)
    detection_delay_ms: float  # R peak to the moment the detector was sure of it
    delay_ms: float  # R peak to this event
    compute_ms: float  # time that features and inference took; the only key that chunking may change
    search_back: bool = False  # found afterwards with a lowered threshold
    lead: str | None = None  # first of those that say what it is; None where there is one, or none shows it


@dataclass(frozen=True)
class Rhythm:
    """A stretch of one rhythm, sent when it begins and when it ends; a pause when it has ended."""

    label: str  # N, AF, other, noisy; pause, V run, bradycardia, tachycardia
    from_s: float
    to_s: float | None  # None while it lasts
    limit: str | None = None  # what defines the label, with its unit ("RR > 2000 ms")
    phase: RhythmPhase = field(init=False)

    def __post_init__(self) -> None:
        """A rhythm that has no end yet begins."""
        object.__setattr__(self, "phase", "begin" if self.to_s is None else "end")


@dataclass(frozen=True)
class Gap:
    """Samples that never arrived or could not be used. No RR interval and no beat is made across it, unless bridged."""

    sample: int  # the first sample concerned
    time_s: float
    lost: int | None  # samples; None where the device cannot tell
    reason: GapReason  # nan: also a lead that is off; range: beyond what an electrode or a converter can give
    at_least: bool = False  # the device's counter may have wrapped meanwhile: `lost` or more
    bridged: bool = False  # so short that a straight line took its place, and beats and RR intervals go on
    lead: str | None = None  # of a bridged one that not all leads have: which lead


@dataclass(frozen=True)
class Stall:
    """The device has sent nothing for a while, or its port has gone away."""

    sample: int
    time_s: float
    waited_s: float


@dataclass(frozen=True)
class Reconnect:
    """The port went away and came back."""

    sample: int
    time_s: float
    away_s: float
    port: str


@dataclass(frozen=True)
class FallingBehind:
    """Samples pile up, for this program is slower than the device; once there is no more room, they are lost."""

    sample: int
    time_s: float
    waiting_s: float  # of signal that waits to be worked on
    room_s: float  # of signal that may wait


@dataclass(frozen=True)
class Clock:
    """When a sample was measured by this machine's clock: at the start, once a minute, and after a break."""

    sample: int
    time_s: float
    host_time_s: float  # Unix time at which `sample` was there; never earlier than that of a sample before
    drift_ppm: float | None  # what the device's clock gains on this machine's; None until half a minute was seen


@dataclass(frozen=True)
class LeadOff:
    """Electrodes fell off (or are back on, when no lead is named)."""

    sample: int
    time_s: float
    leads: tuple[str, ...]


@dataclass(frozen=True)
class Flatline:
    """The input did not move for a second: sent when the second is full, and with its whole length at its end."""

    sample: int
    time_s: float
    duration_s: float  # samples / fs
    kind: FlatlineKind  # rail: no sample of the signal lies beyond; flat: a dead input
    samples: int  # that stood still
    lead: str | None = None  # None where there is only one


@dataclass(frozen=True)
class Clipping:
    """Waves were cut off at the input's rail."""

    sample: int
    time_s: float
    duration_s: float  # samples / fs
    samples: int  # that were cut off within one second, counted from `sample`
    lead: str | None = None  # None where there is only one


@dataclass(frozen=True)
class Mains:
    """Mains hum was measured, or is gone; by itself a notch goes in or out."""

    sample: int  # from here on
    time_s: float
    frequency_hz: float  # nominal: 50, 60, or 16.7 of railways
    notch: NotchState
    share: float | None  # of the signal's power in the monitoring band; None where it was not measured
    amplitude_mv: float | None  # in the monitoring band
    lead: str | None = None  # None where there is only one


@dataclass(frozen=True)
class PacingSpike:
    """A pacing spike: it is no beat and was taken out of the signal. From 250 Hz on."""

    sample: int  # its first
    time_s: float
    amplitude_mv: float  # largest deflection, with its sign
    width_ms: float  # samples / fs
    lead: str | None = None  # None where there is only one


@dataclass(frozen=True)
class LeadChange:
    """Other leads than before are of use, until the next such event or a gap. Of one lead: whether it shows an ECG."""

    sample: int
    time_s: float
    leads: tuple[str, ...]  # in which beats are clear
    others: Mapping[str, LeadReason]  # lead -> why not
    broken: bool  # no lead was left: no RR interval spans this sample


@dataclass(frozen=True)
class ModelFault:
    """The model answered with what is no number, so its beats are `?`: at the first, then once a minute at most."""

    sample: int  # R peak of the latest of these beats
    time_s: float
    outputs: tuple[str, ...]  # names of the outputs that were NaN, infinite or beyond the contract's limit
    beats: int  # with such an answer since the event before, this one included


@dataclass(frozen=True)
class End:
    """The last event of a stream: totals that add up."""

    samples: int  # received
    lost: int  # known to be lost
    unusable: int  # received, but NaN, out of range, or of a lead that was off
    gaps: int  # bridged ones among them
    bridged: int  # samples of gaps that were bridged
    duration_s: float  # (samples + lost) / fs
    beats: Mapping[str, int]  # label -> count
    mean_heart_rate_bpm: float | None
    delay_ms: Mapping[str, float | None]  # p50, p95, p99
    compute_ms: Mapping[str, float | None]  # p50, p95, p99
    link: Mapping[str, Any] = field(default_factory=dict)  # what the serial link counted, where there is one


Event: TypeAlias = (
    Beat
    | Rhythm
    | Gap
    | Stall
    | Reconnect
    | FallingBehind
    | Clock
    | LeadOff
    | LeadChange
    | Flatline
    | Clipping
    | ModelFault
    | Mains
    | PacingSpike
    | End
)

_KINDS: Final[Mapping[type, EventKind]] = {
    Beat: "beat",
    Rhythm: "rhythm",
    Gap: "gap",
    Stall: "stall",
    Reconnect: "reconnect",
    FallingBehind: "falling_behind",
    Clock: "clock",
    LeadOff: "lead_off",
    LeadChange: "lead_change",
    Flatline: "flatline",
    Clipping: "clipping",
    ModelFault: "model_fault",
    Mains: "mains",
    PacingSpike: "pacing_spike",
    End: "end",
}


def to_json(event: Event) -> dict[str, Any]:
    """The event as a JSON-ready mapping, its kind under "event", the number of its description under "schema"."""
    return {"event": _KINDS[type(event)], "schema": EVENT_SCHEMA, **asdict(event)}
