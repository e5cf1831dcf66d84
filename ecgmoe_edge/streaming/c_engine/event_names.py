"""From the numbers of the C engine to items and events: names of leads, classes and reasons."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias, get_args

from ecgmoe_edge import contract  # as a module, since it imports this package itself
from ecgmoe_edge.streaming.events import (
    Beat,
    BeatReason,
    Clipping,
    Event,
    Flatline,
    FlatlineKind,
    Gap,
    GapReason,
    LeadChange,
    LeadReason,
    Mains,
    ModelFault,
    NotchState,
    PacingSpike,
    Rhythm,
)
from ecgmoe_edge.streaming.rhythm.alarms import alarm_definitions
from ecgmoe_edge.streaming.rhythm.limits import RhythmLimits

Numbers: TypeAlias = Sequence[Any]  # kind of an event, its sample, and what its kind has

# In the order of the enumerations of ecgmoe_events.h.
GAP_REASONS: tuple[GapReason, ...] = get_args(GapReason)
_LEAD_REASONS: tuple[LeadReason, ...] = get_args(LeadReason)
_BEAT_REASONS: tuple[BeatReason | None, ...] = (None, *get_args(BeatReason))
_FLATLINE_KINDS: tuple[FlatlineKind, ...] = get_args(FlatlineKind)
_NOTCH_STATES: tuple[NotchState, ...] = get_args(NotchState)
_OF_MODEL = 0  # kind of a rhythm that is a class of the model


class EventNames:
    """Makes events.

    Args:
        fs: sampling rate, Hz.
        leads: names of the leads.
        classes: classes of each task of the model; empty without one.
        limits: limits of the rhythm alarms.
    """

    def __init__(
        self, fs: float, leads: Sequence[str], classes: Mapping[str, Sequence[str]], limits: RhythmLimits | None
    ) -> None:
        self._fs = fs
        self._leads = (*leads, None)  # the last one for the index -1
        self._classes = tuple(classes.get(contract.BEAT_TASK, ()))
        self._rhythms = tuple(classes.get(contract.RHYTHM_TASK, ()))
        self._alarms = alarm_definitions(limits or RhythmLimits())
        self._outputs: tuple[str, ...] = ()
        self._paths: tuple[str, ...] = ()
        self._makers: tuple[Callable[..., Event], ...] = (
            self._no_beat,
            self._rhythm,
            self._fault,
            self._gap,
            self._flatline,
            self._clipping,
            self._mains,
            self._spike,
            self._change,
        )

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs of the model, in their order; empty until they are set."""
        return self._outputs

    @outputs.setter
    def outputs(self, names: tuple[str, ...]) -> None:
        self._outputs = names
        self._paths = tuple(contract.path_of(name) for name in names if contract.is_route(name))

    def event(self, numbers: Numbers) -> Event:
        """Return an event other than a beat."""
        return self._makers[numbers[0]](*numbers[1:])

    def beat(self, numbers: Numbers, seconds: float) -> Beat:
        """Return a beat; `seconds` is its computing time."""
        (
            _,
            sample,
            rr,
            scores,
            experts,
            quality,
            known_at,
            ready_at,
            search_back,
            label,
            poor,
            reason,
            lead,
            shared,
        ) = numbers
        classes, fs = self._classes, self._fs
        # Filled directly: the constructor of a frozen dataclass takes most of the time of a beat without a model.
        beat = object.__new__(Beat)
        values = {
            "sample": sample,
            "time_s": sample / fs,
            "rr_ms": 1000.0 * (rr / fs) if rr else None,
            "label": "?" if poor else classes[label] if label >= 0 else None,
            "scores": {} if scores is None else dict(zip(classes, scores, strict=True)),
            "experts": {} if experts is None else dict(zip(self._paths, experts, strict=False)),
            "quality": quality,
            "detection_delay_ms": 1000.0 * (known_at - 1 - sample) / fs,
            "delay_ms": 1000.0 * (ready_at - 1 - sample) / fs,
            "compute_ms": 1000.0 * seconds,
            "search_back": search_back == 1,
            "lead": self._leads[lead],
            "reason": _BEAT_REASONS[reason],
            "shared_label": None if shared < 0 else classes[shared],
        }
        object.__setattr__(beat, "__dict__", values)
        return beat

    def _no_beat(self, *_: Any) -> Event:
        raise AssertionError("a beat has its computing time: it is made by `beat`")

    def _rhythm(self, _: int, from_s: float, to_s: float, kind: int, rhythm: int, ended: int) -> Event:
        label, limit = (self._rhythms[rhythm], None) if kind == _OF_MODEL else self._alarms[kind - 1]
        return Rhythm(label, from_s, to_s if ended else None, limit)

    def _fault(self, sample: int, outputs: Sequence[int], beats: int) -> Event:
        return ModelFault(sample, sample / self._fs, tuple(self.outputs[index] for index in outputs), beats)

    def _gap(self, sample: int, lost: int, reason: int, at_least: int, bridged: int, lead: int) -> Event:
        return Gap(
            sample,
            sample / self._fs,
            None if lost < 0 else lost,
            GAP_REASONS[reason],
            bool(at_least),
            bool(bridged),
            self._leads[lead],
        )

    def _flatline(self, sample: int, samples: int, kind: int, lead: int) -> Event:
        fs = self._fs
        return Flatline(sample, sample / fs, samples / fs, _FLATLINE_KINDS[kind], samples, self._leads[lead])

    def _clipping(self, sample: int, duration: int, samples: int, lead: int) -> Event:
        return Clipping(sample, sample / self._fs, duration / self._fs, samples, self._leads[lead])

    def _mains(
        self, sample: int, frequency_hz: float, share: float, amplitude_mv: float, notch: int, lead: int
    ) -> Event:
        return Mains(
            sample,
            sample / self._fs,
            frequency_hz,
            _NOTCH_STATES[notch],
            _known(share),
            _known(amplitude_mv),
            self._leads[lead],
        )

    def _spike(self, sample: int, amplitude_mv: float, width: int, lead: int) -> Event:
        return PacingSpike(sample, sample / self._fs, amplitude_mv, 1000.0 * width / self._fs, self._leads[lead])

    def _change(
        self, sample: int, clear: Sequence[int], others: Sequence[int], reasons: Sequence[int], broken: int
    ) -> Event:
        names = self._leads
        return LeadChange(
            sample=sample,
            time_s=sample / self._fs,
            leads=tuple(str(names[k]) for k in clear),
            others={str(names[k]): _LEAD_REASONS[reason] for k, reason in zip(others, reasons, strict=True)},
            broken=bool(broken),
        )


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
