"""The events of a monitor: one JSON line each, every key with its unit.

All types here are public. A JSON line contains the kind of the event as "event" and the version of this description as
"schema"; `docs/events.md` lists the changes of each version.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal, TypeAlias, get_args

__all__ = [
    "ARTEFACT_REASON",
    "EVENT_SCHEMA",
    "NO_ECG",
    "UNUSABLE",
    "AfBurden",
    "Beat",
    "BeatReason",
    "Clipping",
    "Clock",
    "End",
    "EngineName",
    "Event",
    "EventKind",
    "FallingBehind",
    "Flatline",
    "FlatlineKind",
    "Gap",
    "GapReason",
    "LayerSwitch",
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
    "patient_layer",
    "end",
]
#: Why a beat is `?`; if several apply, the first one is given.
BeatReason: TypeAlias = Literal["incomplete", "no QRS", "quality", "model", "artefact"]
GapReason: TypeAlias = Literal["link", "device overflow", "host overflow", "reconnect", "restart", "nan", "range"]
LeadReason: TypeAlias = Literal["start", "off", "nan", "range", "flat", "rail", "settling", "noise", "no ECG"]
FlatlineKind: TypeAlias = Literal["flat", "rail"]
NotchState: TypeAlias = Literal["in", "out", "not possible at this rate"]
RhythmPhase: TypeAlias = Literal["begin", "end"]
#: What runs the stages of a monitor: the reference, or the same in C.
EngineName: TypeAlias = Literal["numpy", "c"]

ARTEFACT_REASON: Final = "artefact"  # reason of a beat of which the model answered that it is none
NO_ECG: Final = "no ECG"  # reason of a lead whose signal is not that of a heart
#: Reasons of a gap in which samples arrived but are unusable.
UnusableReason: TypeAlias = Literal["nan", "range"]
#: Reasons after which the signal is a new one, even if few samples were lost.
NEW_SIGNAL: Final[tuple[GapReason, ...]] = ("reconnect", "restart")
UNUSABLE: Final[tuple[UnusableReason, ...]] = get_args(UnusableReason)


@dataclass(frozen=True)
class Beat:
    """One heart beat; its label is final.

    `delay_ms` is counted in samples: (sample with which the event was reported - R) / fs. It contains no computing
    time. `label` is N, S, V or F; `?` if the peak has no class, with its `reason`; None without a model (R peaks only).
    """

    sample: int  # R peak, counted from the first sample of the stream, lost samples included
    time_s: float  # sample / fs
    rr_ms: float | None  # interval to the R peak before; None at the start and after a gap
    label: str | None
    scores: Mapping[str, float]  # probability by answer of the model, after the decision rules; `?` is the artefact
    experts: Mapping[str, int]  # index of the selected expert by path
    quality: float  # 0 (unusable) to 1 (clean)
    detection_delay_ms: float  # from the R peak until it was certain
    delay_ms: float  # from the R peak until this event
    compute_ms: float  # computing time of features and inference; the only key that depends on the chunking
    search_back: bool = False  # whether it was found later, with a lower threshold
    lead: str | None = None  # first lead that was classified; None if there is only one, or if none shows the beat
    reason: BeatReason | None = None  # why the label is `?`; None for any other label
    shared_label: str | None = None  # label without the patient's own layer; None if it is the same


@dataclass(frozen=True)
class Rhythm:
    """A rhythm, reported when it begins and when it ends."""

    label: str  # N, AF, other, noisy; pause, V run, bradycardia, tachycardia
    from_s: float
    to_s: float | None  # None while it lasts
    limit: str | None = None  # definition of the label, with its unit ("RR > 2000 ms")
    phase: RhythmPhase = field(init=False)

    def __post_init__(self) -> None:
        """Set the phase: a rhythm without an end begins."""
        object.__setattr__(self, "phase", "begin" if self.to_s is None else "end")


@dataclass(frozen=True)
class Gap:
    """Samples that never arrived or are unusable. Unless it is bridged, no beat and no RR interval spans it."""

    sample: int  # first of these samples
    time_s: float
    lost: int | None  # number of samples; None if the device does not report it
    reason: GapReason  # nan: also a lead that is off; range: beyond what an electrode or a converter can give
    at_least: bool = False  # `lost` is a lower limit, since the counter of the device may have wrapped
    bridged: bool = False  # so short that it was replaced by a straight line; beats and RR intervals span it
    lead: str | None = None  # lead of a bridged gap that not all leads have; else None

    @property
    def unusable(self) -> int:
        """Number of samples that arrived and that no lead could use."""
        return (self.lost or 0) if self.reason in UNUSABLE and self.lead is None else 0


@dataclass(frozen=True)
class Stall:
    """The device has sent nothing for a while, or its port has disappeared."""

    sample: int
    time_s: float
    waited_s: float


@dataclass(frozen=True)
class Reconnect:
    """The port disappeared and came back."""

    sample: int
    time_s: float
    away_s: float
    port: str


@dataclass(frozen=True)
class FallingBehind:
    """The queue of samples grows, since this program is slower than the device; when it is full, samples are lost."""

    sample: int
    time_s: float
    waiting_s: float  # signal in the queue
    room_s: float  # length of the queue


@dataclass(frozen=True)
class Clock:
    """The time of a sample by the clock of this machine: at the start, once a minute, and after a break."""

    sample: int
    time_s: float
    host_time_s: float  # Unix time of `sample`; never earlier than that of an earlier sample
    drift_ppm: float | None  # how much faster the clock of the device is; None in the first half minute


@dataclass(frozen=True)
class LeadOff:
    """The leads that are off from here on; none if all electrodes are attached again."""

    sample: int
    time_s: float
    leads: tuple[str, ...]


@dataclass(frozen=True)
class Flatline:
    """The input was constant for a second: reported after the second, and at its end with its whole length."""

    sample: int
    time_s: float
    duration_s: float  # samples / fs
    kind: FlatlineKind  # rail: at the limit of the amplifier; flat: an input without a signal
    samples: int  # number of constant samples
    lead: str | None = None  # None if there is only one


@dataclass(frozen=True)
class Clipping:
    """Waves were clipped at the rail of the amplifier."""

    sample: int
    time_s: float
    duration_s: float  # samples / fs
    samples: int  # number of samples that were clipped within the second from `sample` on
    lead: str | None = None  # None if there is only one


@dataclass(frozen=True)
class Mains:
    """Mains hum began or ended, and a notch was switched on or off automatically."""

    sample: int  # first sample of the change
    time_s: float
    frequency_hz: float  # nominal: 50, 60, or 16.7 (railways)
    notch: NotchState
    share: float | None  # share of the power in the monitoring band; None if it was not measured
    amplitude_mv: float | None  # amplitude in the monitoring band; None if it was not measured
    lead: str | None = None  # None if there is only one


@dataclass(frozen=True)
class PacingSpike:
    """A pacing spike, which was removed from the signal; detected from 250 Hz on."""

    sample: int  # first sample
    time_s: float
    amplitude_mv: float  # largest deflection, with its sign
    width_ms: float  # samples / fs
    lead: str | None = None  # None if there is only one


@dataclass(frozen=True)
class LeadChange:
    """Other leads are usable, until the next such event or a gap. With one lead: whether it shows an ECG."""

    sample: int
    time_s: float
    leads: tuple[str, ...]  # leads with clear beats
    others: Mapping[str, LeadReason]  # reason for each of the other leads
    broken: bool  # no lead was left: no RR interval spans this sample


@dataclass(frozen=True)
class ModelFault:
    """Outputs of the model were no finite numbers, so these beats are `?`; reported at most once a minute."""

    sample: int  # R peak of the latest of these beats
    time_s: float
    outputs: tuple[str, ...]  # names of the outputs that were NaN, infinite or beyond the limit of the contract
    beats: int  # number of these beats since the event before, this one included


@dataclass(frozen=True)
class LayerSwitch:
    """Whether the patient's own layer decides the labels of the beats that are reported from here on."""

    sample: int  # samples that had arrived; 0: from the start
    time_s: float
    active: bool


@dataclass(frozen=True)
class AfBurden:
    """How much of a stream was atrial fibrillation, by the `rhythm` events of the model."""

    percent: float | None  # `af_s` in per cent of `classified_s`; None if this is 0
    af_s: float
    classified_s: float  # time for which N, AF or other was reported; noisy and unknown rhythm is left out
    episodes: int  # interruptions of the signal end an episode
    longest_s: float  # duration of the longest episode


@dataclass(frozen=True)
class End:
    """The last event of a stream: its totals."""

    samples: int  # number of samples received
    lost: int  # number of samples known to be lost
    unusable: int  # number received, but unusable on all leads: NaN, out of range, or off
    gaps: int  # number of gaps, bridged ones included
    bridged: int  # number of samples in bridged gaps
    duration_s: float  # (samples + lost) / fs
    beats: Mapping[str, int]  # number of beats by label; artefacts under `?`
    mean_heart_rate_bpm: float | None
    delay_ms: Mapping[str, float | None]  # p50, p95, p99
    compute_ms: Mapping[str, float | None]  # p50, p95, p99
    af_burden: AfBurden | None = None  # None: the model does not recognise rhythms
    link: Mapping[str, Any] = field(default_factory=dict)  # counts of the serial link; empty without one
    artefacts: int = 0  # number of the beats that are `?` because the model answered that they are artefacts
    relabelled: int = 0  # number of beats whose label the patient's own layer changed
    engine: EngineName = "numpy"  # what ran the stages
    engine_reason: str | None = None  # why it was not the C engine; None if it was, or if numpy was asked for


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
    | LayerSwitch
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
    LayerSwitch: "patient_layer",
    End: "end",
}


def to_json(event: Event) -> dict[str, Any]:
    """Return the event as a mapping for JSON, with its kind as "event" and the version of this module as "schema"."""
    return {"event": _KINDS[type(event)], "schema": EVENT_SCHEMA, **asdict(event)}
